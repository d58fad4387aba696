"""``bpfasm asm`` and ``bpfasm disasm``: the same program in another form."""

from __future__ import annotations

import json
import sys

from bpfasm import inputs
from bpfasm.asm import Global, Kfunc, MapSpec, assemble, link
from bpfasm.asm.syntax import hexdump
from bpfasm.cli.options import Parser, add_output, write
from bpfasm.isa.insn import SLOT_BYTES, Insn
from bpfasm.views import documents
from bpfasm.views.listing import PRINTERS, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from bpfasm.inputs import Input

FORMATS = ("hex", "raw", *PRINTERS)


def asm(argv: list[str]) -> int:
    """Run ``bpfasm asm``."""
    parser = _parser(
        "asm",
        "Turn INPUT into bytes: hex digits, 16 a slot, or raw; or show it as kernel text or macros.",
        """
  bpfasm asm examples/chowncount.py:chowncount
  echo b700000000000000 9500000000000000 | bpfasm asm - --to kernel
""",
        "hex",
    )
    args = parser.parse_args(argv)
    given = inputs.read(args.input, args.syntax)
    given.whole()
    _write(given, args)
    return 0


def disasm(argv: list[str]) -> int:
    """Run ``bpfasm disasm``: whatever cannot be decoded is shown as data, with the reason."""
    parser = _parser(
        "disasm",
        "Show INPUT as the kernel's own disassembler does; what is no instruction is shown as data.",
        """
  echo b700000000000000 9500000000000000 | bpfasm disasm -
  bpfasm disasm prog.bin --to macro
""",
        "kernel",
    )
    parser.add_argument("--cfg", choices=("text", "svg", "dot"), help="draw its blocks, and how control flows")
    args = parser.parse_args(argv)
    given = inputs.read(args.input, args.syntax)
    if args.cfg:
        from bpfasm.cli.cfg import drawn

        write(drawn(given, args.cfg).encode(), args.out)
    else:
        _write(given, args)
    if given.problem:
        sys.stdout.flush()
        raise given.problem
    return 0


def _parser(verb: str, what: str, examples: str, default: str) -> Parser:
    parser = Parser(verb, what, examples)
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="FILE.py[:NAME], hex digits, raw bytes, - (standard input), id:N, tag:HEX, name:NAME, pinned:PATH",
    )
    parser.add_argument(
        "--from", dest="syntax", choices=inputs.SYNTAXES, help="what INPUT is (default: by its name and content)"
    )
    parser.add_argument("--to", choices=FORMATS, default=default, help=f"what to print (default: {default})")
    parser.add_argument("--bytes", action="store_true", help="show each instruction's bytes before its text")
    add_output(parser)
    return parser


#: What an operand is that only a target knows.
_WORDS = {MapSpec: "map", Global: "variable", Kfunc: "kernel function"}


def _write(given: Input, args: Namespace) -> None:
    """Write an INPUT in the format that was asked for."""
    if args.json:
        text = json.dumps(documents.programs(map(assemble, given.programs), given.names), indent=1)
        write(f"{text}\n".encode(), args.out)
    elif args.to in PRINTERS:
        write("".join(f"{line}\n" for line in _listing(given, args)).encode(), args.out)
    else:
        linked = link(given.one())
        for slot, operand in linked.unresolved:
            print(
                f"note: {_WORDS[type(operand)]} {operand.name} at slot {slot} is left as 0: load() fills it in",
                file=sys.stderr,
            )
        text = "".join(f"{line}\n" for line in hexdump.lines(linked.code))
        write(linked.code if args.to == "raw" else text.encode(), args.out)


def _listing(given: Input, args: Namespace) -> Iterator[str]:
    """Yield the lines of every program, and of the bytes behind them that are no whole slot."""
    for number, program in enumerate(given.programs):
        if len(given.programs) > 1:
            yield from [""] * bool(number)
            yield f"{'#' if args.to == 'macro' else ';'} {program.name}"
        names = given.names[number] if given.names else None
        yield from listing(assemble(program), args.to, show_bytes=args.bytes, names=names)
    if given.rest:
        pc = sum(insn.width for insn in given.programs[0].insns if isinstance(insn, Insn))
        yield f"{pc}: {given.rest.hex()}  ; {len(given.rest)} of {SLOT_BYTES} bytes: the slot is cut short"
