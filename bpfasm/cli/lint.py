"""``bpfasm lint``: mistakes in a program, found before any kernel is asked."""

from __future__ import annotations

import json

from bpfasm import inputs
from bpfasm.asm.lint import lint
from bpfasm.asm.lint.finding import release_of
from bpfasm.cli.options import Parser, add_input, add_output, write
from bpfasm.errors import InputError, UsageError
from bpfasm.views.lint import document, lines

ISA = ("v1", "v2", "v3", "v4")


def main(argv: list[str]) -> int:
    """Run ``bpfasm lint``; return 1 where it found something."""
    args = _parser().parse_args(argv)
    given = inputs.read(args.input, args.syntax, seccomp=args.seccomp)
    programs = given.whole()
    if given.names:
        raise InputError(
            f"{args.input} is a program as the kernel left it",
            "it has passed the verifier: lint what it was made from, a file",
            rule="lint-dump",
        )
    found = [(program.name, lint(program, kernel=args.kernel, isa=args.isa)) for program in programs]
    if args.json:
        text = f"{json.dumps(document(found), indent=1)}\n"
    else:
        text = "".join(f"{line}\n" for line in lines(found, given.name))
    write(text.encode(), args.out)
    return int(any(findings for _, findings in found))


def _parser() -> Parser:
    parser = Parser(
        "lint",
        "Find mistakes in INPUT before any kernel is asked. Each has its line, and what to do; with any, status 1.",
        """
  bpfasm lint examples/chowncount.py
  bpfasm lint examples/execs.py --kernel 5.10
""",
    )
    add_input(parser, kernel=False)
    parser.add_argument("--kernel", metavar="VERSION", type=_release, help="the oldest kernel it has to run on: 5.10")
    parser.add_argument("--isa", choices=ISA, help="the highest ISA level, as LLVM's -mcpu has them")
    add_output(parser)
    return parser


def _release(text: str) -> str:
    """Return a release; raise UsageError for what is none."""
    try:
        release_of(text)
    except ValueError:
        raise UsageError(f"--kernel: {text!r} is no version", "write two numbers: 5.10", rule="usage") from None
    return text
