"""``bpfasm ref``: what is known of a name, from the tables."""

from __future__ import annotations

import json

from bpfasm.cli.options import Parser, add_output, write
from bpfasm.errors import InputError, UsageError
from bpfasm.inputs import shipped_path
from bpfasm.views import ref
from bpfasm.views.rules import PAGES


def main(argv: list[str]) -> int:
    """Run ``bpfasm ref``."""
    parser = Parser(
        "ref",
        "Explain NAME: a macro, an instruction, a helper, a constant, an errno, a type of map or program, "
        "the rule of an error.",
        """
  bpfasm ref BPF_ATOMIC_OP
  bpfasm ref bpf_ringbuf_reserve
  bpfasm ref jump-range
""",
    )
    parser.add_argument(
        "name",
        metavar="NAME",
        help="BPF_JMP_IMM, add64_imm, lddw, map_lookup_elem, BPF_ANY, E2BIG, HashMap, jump-range",
    )
    add_output(parser)
    # An errno as the kernel returns it is no option.
    args = parser.parse_args([word[1:] if _is_errno(word) else word for word in argv])
    pages = _pages(args.name)
    found = ref.entries(args.name, pages)
    if not found:
        close = ref.nearest(args.name, pages)
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


def _is_errno(word: str) -> bool:
    return word[:1] == "-" and (word[1:].isdecimal() or (word[1:2] == "E" and word[1:].isalnum()))


def _pages(name: str) -> list[str]:
    """Return the pages that have the rules; none where they are not here (in a guest) and the name is another's."""
    pages = []
    try:
        for path in PAGES:
            with open(shipped_path(path), encoding="utf-8") as file:
                pages.append(file.read())
    except InputError:
        if not ref.entries(name):
            raise
    return pages
