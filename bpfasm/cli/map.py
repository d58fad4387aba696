"""``bpfasm map``: the maps in the kernel, whoever made them."""

from __future__ import annotations

from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text
from bpfasm.errors import InputError
from bpfasm.kernel.maps.dump import MapContent, map_facts
from bpfasm.views import map_content, object_documents, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.kernel.objects.select import Opened


def main(argv: list[str]) -> int:
    """Run ``bpfasm map``."""
    parser = ObjectParser(
        "map",
        "List the maps in the kernel, or dump one: decoded where the map has types, else as bytes.",
        """
  bpfasm map list
  bpfasm map dump name counts
""",
        """
  bpfasm map {list|show} [MAP]
  bpfasm map dump MAP
""",
    )
    args, command, words = parse(parser, argv)
    if command == "show":
        found = (map_facts(opened.fd) for opened in chosen(parser, words))
        if args.json:
            return put_json(object_documents.maps(found), args)
        return put_text((line for facts in found for line in objects.map_lines(facts)), args)
    if command != "dump":
        raise parser.refuse(f"map has no command {command!r}: it has list, show and dump")
    if not words:
        raise parser.refuse("dump needs a map: id N, name NAME or pinned PATH")
    what = " ".join(words)
    if args.json:
        documents = [object_documents.map_dump(MapContent(opened.fd)) for opened in chosen(parser, words)]
        if len(documents) > 1:
            raise InputError(f"several maps have the {what}", "take one by its id", rule="several-maps")
        return put_json(documents[0], args)
    return put_text(_dumps(chosen(parser, words)), args)


def _dumps(maps: Iterator[Opened]) -> Iterator[str]:
    for number, opened in enumerate(maps):
        if number:
            yield ""
        yield from map_content.map_lines(MapContent(opened.fd))
