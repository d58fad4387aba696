"""``bpfasm ref``: what is known of a name, from the tables."""

from __future__ import annotations

import json

from bpfasm.cli.options import Parser, add_output, write
from bpfasm.errors import UsageError
from bpfasm.views import ref


def main(argv: list[str]) -> int:
    """Run ``bpfasm ref``."""
    parser = Parser(
        "ref",
        "Explain NAME: a macro, an instruction, a helper, a constant, an errno, a type of map or program.",
        """
  bpfasm ref BPF_ATOMIC_OP
  bpfasm ref bpf_ringbuf_reserve
""",
    )
    parser.add_argument(
        "name", metavar="NAME", help="BPF_JMP_IMM, add64_imm, map_lookup_elem, BPF_ANY, E2BIG, HashMap"
    )
    add_output(parser)
    args = parser.parse_args(argv)
    found = ref.entries(args.name)
    if not found:
        close = ref.nearest(args.name)
        raise UsageError(
            f"nothing is called {args.name}",
            f"did you mean {' or '.join(close)}?"
            if close
            else "names are those of the kernel's headers and of bpfasm.asm",
            rule="ref-unknown",
        )
    text = json.dumps(ref.document(found), indent=1) if args.json else "\n".join(ref.lines(found))
    write(f"{text}\n".encode(), args.out)
    return 0
