"""``bpfasm link``: what is attached in the kernel by links, and where."""

from __future__ import annotations

from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text
from bpfasm.kernel.links.info import link_info
from bpfasm.kernel.links.link import KernelLink
from bpfasm.kernel.links.placed import another
from bpfasm.views import object_documents, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.kernel.links.info import LinkInfo


def main(argv: list[str]) -> int:
    """Run ``bpfasm link``."""
    parser = ObjectParser(
        "link",
        "List the links in the kernel: which program is attached where; or detach one, whoever holds it.",
        """
  bpfasm link list
  bpfasm link show id 3
  bpfasm link detach pinned /sys/fs/bpf/mine
""",
        "  bpfasm link {list|show} [LINK]\n  bpfasm link detach LINK",
    )
    args, command, words = parse(parser, argv)
    if command == "detach":
        if not words:
            raise parser.refuse("detach needs a link: id N or pinned PATH")
        detached = [_detach(opened.fd) for opened in chosen(parser, words)]
        return put_json(object_documents.links(detached), args) if args.json else 0
    if command != "show":
        raise parser.refuse(f"link has no command {command!r}: it has list, show and detach")
    found = (link_info(opened.fd) for opened in chosen(parser, words))
    if args.json:
        return put_json(object_documents.links(found), args)
    return put_text((line for info in found for line in objects.link_lines(info)), args)


def _detach(fd: int) -> LinkInfo:
    """Detach a link; return what it is then: a link to nothing."""
    with KernelLink(another(fd)) as link:
        link.detach()
        return link.info()
