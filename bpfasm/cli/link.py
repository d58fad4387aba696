"""``bpfasm link``: what is attached in the kernel by links, and where."""

from __future__ import annotations

from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text
from bpfasm.kernel.link_info import link_info
from bpfasm.views import object_documents, objects


def main(argv: list[str]) -> int:
    """Run ``bpfasm link``."""
    parser = ObjectParser(
        "link",
        "List the links in the kernel: which program is attached where.",
        """
  bpfasm link list
  bpfasm link show id 3
""",
        "  bpfasm link {list|show} [LINK]",
    )
    args, command, words = parse(parser, argv)
    if command != "show":
        raise parser.refuse(f"link has no command {command!r}: it has list and show")
    found = (link_info(opened.fd) for opened in chosen(parser, words))
    if args.json:
        return put_json(object_documents.links(found), args)
    return put_text((line for info in found for line in objects.link_lines(info)), args)
