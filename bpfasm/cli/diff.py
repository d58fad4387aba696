"""``bpfasm diff``: two programs beside each other, by instruction."""

from __future__ import annotations

import json

from bpfasm import inputs
from bpfasm.asm.align import align
from bpfasm.cli.options import Parser, add_output, add_seccomp, write
from bpfasm.views import diff as view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm import Program


def _program(given: str, seccomp: bool) -> Program:
    """Return the one program of an INPUT, in the form that programs are written in."""
    found = inputs.read(given, seccomp=seccomp)
    found.one()
    return found.as_written()[0]


def main(argv: list[str]) -> int:
    """Run ``bpfasm diff``; return 1 where the programs differ."""
    parser = Parser(
        "diff",
        "Compare two programs by instruction: jumps by where they lead, not by how far. Status 1: they differ.",
        """
  bpfasm diff examples/execs.py:by_ring examples/execs.py:by_perf
  bpfasm diff examples/chowncount.py:seed examples/chowncount.py:percpu --all
""",
    )
    parser.add_argument("a", metavar="A", help="an INPUT: FILE.py:NAME, hex digits, raw bytes, -, id:N")
    parser.add_argument("b", metavar="B", help="another")
    parser.add_argument("--all", action="store_true", help="show what is the same, too, and not only around changes")
    add_seccomp(parser)
    add_output(parser)
    args = parser.parse_args(argv)
    first, second = (_program(each, args.seccomp) for each in (args.a, args.b))
    pairs = align(first, second)
    if args.json:
        text = f"{json.dumps(view.document(first, second, pairs), indent=1)}\n"
    else:
        text = "".join(f"{line}\n" for line in view.lines(first, second, pairs, everything=args.all))
    write(text.encode(), args.out)
    return int(any(pair.kind != "same" for pair in pairs))
