"""How the lines of a shape are read: what is left of a line without its numbers, and what becomes of these."""

from __future__ import annotations

import re
from operator import itemgetter

from bpfasm.isa.insn import Insn
from bpfasm.isa.match import MAX_REG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.errors import Source

    #: What reads a line from its numbers and its place: None where a number is out of range.
    Make = Callable[[list[str], Source], Insn | None]

NoneType = type(None)

#: The numbers of a line, those of its registers, and those in words (``u32``, ``be16``).
CUT = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)")
#: What stands for them in a shape: whether a number is in hex belongs to it.
_NUMBER, _HEX = "0", "\1"

#: The places of an instruction's fields while it is read, and behind them what is no field itself.
CODE, DST, SRC, OFF, IMM_AT, OFF2, IMM2, WHERE, CONSTANT, WIDE, TO, FROM, AGAIN = range(13)
EMPTY: list[Any] = [0, 0, 0, 0, 0, None, None, None, 0, None, None, 0, 0]

#: Digits become one, and the rest blanks.
_TO_NUMBERS = {ord(digit): _NUMBER for digit in "123456789"}
_TO_BLANKS = {code: " " for code in range(128) if chr(code) not in "0123456789"}


def cut(text: str) -> tuple[list[str], list[str]]:
    """Return the shapes of a text's lines, and all its numbers one after the other."""
    if text.isascii() and "0x" not in text and "0X" not in text:
        # Without a regular expression it takes a third of the time.
        shapes = text.translate(_TO_NUMBERS)
        while "00" in shapes:
            shapes = shapes.replace("00", _NUMBER)
        return shapes.split("\n"), text.translate(_TO_BLANKS).split()
    pieces = CUT.split(text)
    numbers = pieces[1::2]
    pieces[1::2] = [_HEX if number[:2] in ("0x", "0X") else _NUMBER for number in numbers]
    return "".join(pieces).split("\n"), numbers


def numbers_in(shape: str) -> int:
    """Return how many numbers the lines of a shape have."""
    return shape.count(_NUMBER) + shape.count(_HEX)


class Plan:
    """How lines of a shape are read: fixed ``fields``, and for each number of the line an operation.

    An operation is (place, base, sign, lowest, highest). ``local`` plans hold names of one text.
    """

    __slots__ = ("again", "fields", "local", "ops")

    def __init__(self, fields: list[Any]) -> None:
        self.fields = fields
        self.ops: list[tuple[int, int, int, int, int]] = []
        self.local = False
        self.again = 0

    def compile(self) -> Make:
        """Return the function that reads such a line. Registers are looked up, other numbers converted."""
        # What a name stands for is no literal.
        fields = [repr(f) if f.__class__ in (int, NoneType) else f"f[{at}]" for at, f in enumerate(self.fields)]
        given: set[int] = set()
        lines = ["".join(f"n{number}, " for number in range(len(self.ops))) + "= p"] if self.ops else []
        for number, (place, base, sign, low, high) in enumerate(self.ops):
            if place == CONSTANT:
                # Words of the template are what the plan is found by.
                continue
            given.add(place)
            value = fields[place] = f"n{number}"
            if place in (DST, SRC, AGAIN):
                fields[place] = f"r[{value}]"
                continue
            lines.append(f"{value} = {'-' if sign < 0 else ''}int({value}{', 16' if base == 16 else ''})")
            lines.append(f"if not {low} <= {value} <= {high}: return None")
            if high > 0x7FFF_FFFF and place != WIDE:
                lines.append(f"if {value} > 0x7fffffff: {value} -= 0x100000000")
        if self.again:
            lines.append(f"if {fields[AGAIN]} != {fields[self.again]}: return None")
        if WIDE in given:
            lines.append(f"low = {fields[WIDE]} & 0xffffffff; high = {fields[WIDE]} >> 32 & 0xffffffff")
            fields[IMM_AT], fields[IMM2] = ("(low ^ 0x80000000) - 0x80000000", "(high ^ 0x80000000) - 0x80000000")
        if TO in given:
            fields[IMM_AT] = f"(({fields[TO]} << 16 | {fields[FROM]}) ^ 0x80000000) - 0x80000000"
        lines.append(f"return new(Insn, ({', '.join(fields[:WHERE])}, w))")
        body = "\n  ".join(lines)
        source = f"def make(p, w):\n try:\n  {body}\n except (KeyError, ValueError): return None"
        scope: dict[str, Any] = {"f": self.fields, "r": _REGISTERS, "new": tuple.__new__, "Insn": Insn}
        exec(source, scope)
        make: Make = scope["make"]
        return make


#: Registers by the digits of their names.
_REGISTERS = {str(number): number for number in range(MAX_REG + 1)}


class Shape:
    """What is known of the lines of a shape, which have ``count`` numbers.

    ``words`` takes those that are words of the templates (``u32``, ``be16``), None where there are none; by them
    ``makes`` has what reads a line.
    """

    __slots__ = ("count", "makes", "places", "words")

    def __init__(self, count: int, places: tuple[int, ...]) -> None:
        self.count, self.places = count, places
        self.words: Callable[[list[str]], Any] | None = itemgetter(*places) if places else None
        self.makes: dict[Any, Make] = {}

    def read(self, numbers: list[str], where: Source) -> Insn | None:
        """Return the instruction of a line, from its numbers; None where they are not those of a known plan."""
        make = self.makes.get(self.words(numbers) if self.words else None)
        return make(numbers, where) if make else None
