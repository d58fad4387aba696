"""``bpfasm asm`` and ``bpfasm disasm``: the same program in another form."""

from __future__ import annotations

import json
import sys

from bpfasm import inputs
from bpfasm.asm import assemble, link
from bpfasm.asm.syntax import hexdump
from bpfasm.cli.options import Parser, add_output, write
from bpfasm.views import documents
from bpfasm.views.listing import PRINTERS, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from bpfasm.asm import Program

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
    return _convert(inputs.read(args.input, args.syntax).whole(), args)


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
    args = parser.parse_args(argv)
    given = inputs.read(args.input, args.syntax)
    _convert(given.programs, args, given.rest)
    if given.problem:
        sys.stdout.flush()
        raise given.problem
    return 0


def _parser(verb: str, what: str, examples: str, default: str) -> Parser:
    parser = Parser(verb, what, examples)
    parser.add_argument("input", metavar="INPUT", help="FILE.py[:NAME], hex digits, raw bytes, or - (standard input)")
    parser.add_argument(
        "--from", dest="syntax", choices=inputs.SYNTAXES, help="what INPUT is (default: by its name and content)"
    )
    parser.add_argument("--to", choices=FORMATS, default=default, help=f"what to print (default: {default})")
    parser.add_argument("--bytes", action="store_true", help="show each instruction's bytes before its text")
    add_output(parser)
    return parser


def _convert(programs: Sequence[Program], args: Namespace, rest: bytes = b"") -> int:
    """Write programs, and the bytes after them that are no whole slot, in the format that was asked for."""
    to, out = args.to, args.out
    if args.json:
        text = json.dumps(documents.programs(map(assemble, programs)), indent=1)
        write((text + "\n").encode(), out)
        return 0
    if to in {"hex", "raw"}:
        linked = link(inputs.Input(args.input, tuple(programs)).one())
        for slot, spec in linked.unresolved:
            print(f"note: map {spec.name} at slot {slot} is left as fd 0: load() fills it in", file=sys.stderr)
        write(
            linked.code if to == "raw" else "".join(f"{line}\n" for line in hexdump.lines(linked.code)).encode(), out
        )
        return 0
    lines = []
    for number, program in enumerate(programs):
        if len(programs) > 1:
            lines += [""] * bool(number) + [f"{'#' if to == 'macro' else ';'} {program.name}"]
        assembled = assemble(program)
        lines += listing(assembled, to, show_bytes=args.bytes)
    if rest:
        slots = sum(insn.width for insn in assembled.insns)
        lines.append(f"{slots}: {rest.hex()}  ; {len(rest)} of 8 bytes: the slot is cut short")
    write("".join(f"{line}\n" for line in lines).encode(), out)
    return 0
