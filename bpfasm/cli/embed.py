"""``bpfasm embed``: an object as a Python module."""

from __future__ import annotations

import os
import sys

from bpfasm import inputs
from bpfasm.cli import object_options
from bpfasm.cli.options import Parser, write
from bpfasm.errors import InputError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from bpfasm.inputs import Input
    from bpfasm.isa.insn import ByteOrder

_MAGIC = b"\x7fELF"


def main(argv: list[str]) -> int:
    """Run ``bpfasm embed``."""
    parser = Parser(
        "embed",
        "Write a Python module that carries the bytes of INPUT's object file, and has an attribute with a type for\n"
        "each map, program and variable. It loads with no file around.",
        """
  bpfasm embed examples/chowncount.py:chowncount --out chowncount_bpf.py
  bpfasm embed examples/execs.py:by_ring --record execs=Exec --out execs_bpf.py
""",
    )
    parser.add_argument("input", metavar="INPUT", help="FILE.o, or what bpfasm asm takes")
    parser.add_argument(
        "--name", help="what the object is called, and its class, in other letters (default: as the file)"
    )
    parser.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="MAP=STRUCT",
        help="the events in a ring or perf buffer are such structs of the object",
    )
    parser.add_argument("--out", metavar="FILE", help="write there instead of to standard output")
    object_options.add_options(parser)
    args = parser.parse_args(argv)
    from bpfasm.views import embed

    records = dict(_pair(each) for each in args.record)
    data, initial, name = _object(args)
    write(embed.module(data, args.name or name, records=records, initial=initial).encode(), args.out)
    return 0


def _pair(text: str) -> tuple[str, str]:
    map, equals, struct = text.partition("=")
    if not (map and equals and struct):
        raise UsageError(f"--record {text}: that is no MAP=STRUCT", "write --record execs=Exec", rule="usage")
    return map, struct


def _object(args: Namespace) -> tuple[bytes, dict[str, dict[bytes, bytes]], str]:
    """Return the bytes of an object, what its maps hold at first that it does not say, and its name."""
    path = args.input
    name = os.path.basename(path.partition(":")[0]).split(".")[0].replace("-", "stdin") or "object"
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        data = b""  # inputs.read() says what is wrong with it
    if data[:4] == _MAGIC:
        return data, {}, name
    given = inputs.read(path)
    if not path.partition(":")[0].endswith(".py"):
        raise InputError(
            f"{path} is neither an object nor a file of programs with their maps",
            "give FILE.o or FILE.py[:NAME]",
            rule="embed-input",
        )
    args.leave_initial = True
    return object_options.written(given, args), _initial(given, args.byteorder or sys.byteorder), name


def _initial(given: Input, byteorder: ByteOrder) -> dict[str, dict[bytes, bytes]]:
    """Return the first contents of maps that an object cannot say, as bytes."""
    from bpfasm.asm.gather import Gathered
    from bpfasm.elf.writing.refused import first_content

    found = {}
    for spec in Gathered(given.whole()).specs.values():
        content = first_content(spec, byteorder)
        if content:
            found[spec.name] = content
    return found
