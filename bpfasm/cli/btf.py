"""``bpfasm btf``: the types in the kernel, of itself, its modules, programs and maps."""

from __future__ import annotations

from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text
from bpfasm.kernel.btf_info import btf_infos
from bpfasm.views import object_documents, objects


def main(argv: list[str]) -> int:
    """Run ``bpfasm btf``."""
    parser = ObjectParser(
        "btf",
        "List the BTF objects in the kernel, and the programs and maps that use them.",
        """
  bpfasm btf list
  bpfasm btf show id 1
""",
        "  bpfasm btf {list|show} [BTF]",
    )
    args, command, words = parse(parser, argv)
    if command != "show":
        raise parser.refuse(f"btf has no command {command!r}: it has list and show")
    found = btf_infos(chosen(parser, words))
    if args.json:
        return put_json(object_documents.btfs(found), args)
    return put_text((line for info in found for line in objects.btf_lines(info)), args)
