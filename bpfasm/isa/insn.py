"""One instruction as a value, and its bytes.

An ``Insn`` has the fields of ``struct bpf_insn``. Instructions of two slots (``BPF_LD_IMM64`` and its kin) are one
``Insn`` of width 2, whose ``off2`` and ``imm2`` hold what the second slot can carry, so no bit is ever lost.
"""

from __future__ import annotations

from itertools import islice
from operator import itemgetter
from struct import Struct, error as struct_error, pack

from bpfasm.errors import DecodeError, LinkError, OperandError
from bpfasm.isa.where import outside, source_of
from bpfasm.uapi import bpf, bpf_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Literal, Self

    from bpfasm.errors import Source
    from bpfasm.isa.where import Where

    ByteOrder = Literal["little", "big"]
    Fields = tuple[Any, ...]
else:
    Fields = tuple

SLOT_BYTES = 8
LD_IMM64 = bpf_common.BPF_LD | bpf_common.BPF_IMM | bpf.BPF_DW

#: The fields that make an instruction what it is; ``where`` only says where it was written.
FIELDS = ("code", "dst_reg", "src_reg", "off", "imm", "off2", "imm2")


class Insn(Fields):
    """One frozen instruction.

    ``code``, ``dst_reg``, ``src_reg`` are ints; ``off`` and ``imm`` are ints, or a symbolic operand (a label, a map,
    a subprogram) until ``link()`` resolves it. ``off2`` and ``imm2`` are None unless the width is 2. Where it was
    written (``source``) takes no part in comparison.

    A tuple subclass, because that is the cheapest frozen object Python has: programs make thousands.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        code: int
        dst_reg: int
        src_reg: int
        off: Any
        imm: Any
        off2: int | None
        imm2: Any
        where: Where | None
    else:
        code, dst_reg, src_reg, off, imm, off2, imm2, where = (property(itemgetter(n)) for n in range(8))

    def __new__(
        cls,
        code: int,
        dst_reg: int = 0,
        src_reg: int = 0,
        off: Any = 0,
        imm: Any = 0,
        off2: int | None = None,
        imm2: Any = None,
        where: Where | None = None,
    ) -> Self:
        for name, register in (("dst_reg", dst_reg), ("src_reg", src_reg)):
            # encode() puts both into one byte, where a number that is too large would become another register.
            if register not in _NIBBLE:
                raise OperandError(
                    f"{name} is {register!r}, and 4 bits hold 0 to 15",
                    "give the register's number, or use a macro, which takes registers",
                    source=outside(),
                    rule="not-a-register",
                )
        return tuple.__new__(cls, (code, dst_reg, src_reg, off, imm, off2, imm2, where))

    @property
    def width(self) -> int:
        """The number of 8-byte slots it takes: 1 or 2."""
        return 1 if self[6] is None else 2

    @property
    def source(self) -> Source | None:
        """The file and line that made it."""
        return source_of(self[7])

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return type(self)(**{**dict(zip((*FIELDS, "where"), self, strict=True)), **changes})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Insn) and self[:7] == other[:7]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:7])

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in zip(FIELDS, self, strict=False) if value is not None]
        return f"Insn({', '.join(shown)})"


_NIBBLE = range(16)
_SLOT = {"little": Struct("<BBhi"), "big": Struct(">BBhi")}


def encode(insns: Iterable[Insn], byteorder: ByteOrder = "little") -> bytes:
    """Return the bytes of linked instructions, 8 a slot, in memory order.

    On a big-endian machine the two register nibbles change places as well (``struct bpf_insn``'s bit fields).
    Raises LinkError where a field is still symbolic.
    """
    rows = insns if isinstance(insns, tuple) else tuple(insns)
    return b"".join(_pack(rows[at : at + CHUNK], byteorder) for at in range(0, len(rows), CHUNK))


#: So many instructions are looked at together, field by field, which is done in C; while they are in the cache, since
#: a long program is not. It takes half the time of one after the other.
CHUNK = 256


def _pack(rows: Fields, byteorder: ByteOrder) -> bytes:
    code, dst, src, off, imm, _, imm2 = islice(zip(*rows, strict=True), len(FIELDS))
    if imm2.count(None) != len(imm2):
        wide = [(row, (0, 0, 0, *row[5:7])) if row[6] is not None else (row,) for row in rows]
        code, dst, src, off, imm = zip(*(slot[:5] for slots in wide for slot in slots), strict=True)
    order, low, high, count = ("<", 0, 4, len(code)) if byteorder == "little" else (">", 4, 0, len(code))
    out = bytearray(SLOT_BYTES * count)
    try:
        out[0::8] = bytes(code)
        # All registers as one number: they have 4 bits each, so none reaches into the next byte.
        registers = int.from_bytes(bytes(dst), "little") << low | int.from_bytes(bytes(src), "little") << high
        out[1::8] = registers.to_bytes(count, "little")
        offsets, numbers = pack(f"{order}{count}h", *off), pack(f"{order}{count}i", *imm)
    except (struct_error, TypeError, ValueError):
        raise _unlinked(next(row for row in rows if not _fits(row))) from None
    # Of the four halves of a slot the second, of its two words the second; their bytes are in order already.
    slots = memoryview(out)
    slots.cast("h")[1::4] = memoryview(offsets).cast("h")
    slots.cast("i")[1::2] = memoryview(numbers).cast("i")
    return bytes(out)


def _fits(row: Insn) -> bool:
    """Return whether an instruction is numbers that the kernel's struct holds."""
    try:
        for slot in (row[:5], (0, 0, 0, *row[5:7])) if row[6] is not None else (row[:5],):
            pack("BBBhi", *slot)
    except struct_error:
        return False
    return True


def _unlinked(insn: Insn) -> LinkError:
    for name, value in zip(FIELDS, insn, strict=False):
        if not isinstance(value, int | None):
            return LinkError(
                f"{name} of this instruction still refers to {value!r}",
                "link() the program first: it turns labels, maps and subprograms into numbers",
                source=insn.source,
                rule="unlinked",
            )
    return LinkError(
        f"{insn!r} does not fit struct bpf_insn",
        "code has 8 bits, off and off2 have 16, imm and imm2 have 32",
        source=insn.source,
        rule="unlinked",
    )


def decode(data: bytes, byteorder: ByteOrder = "little") -> list[Insn]:
    """Return the instructions in ``data``; every 8 bytes are a slot, whatever they hold.

    Two slots become one ``Insn`` where the first is BPF_LD_IMM64 and the second has only the fields it may have.
    Raises DecodeError where the length is no multiple of 8.
    """
    if len(data) % SLOT_BYTES:
        raise cut_slot(data)
    swapped = byteorder == "big"
    insns: list[Insn] = []
    new, make = tuple.__new__, insns.append
    first = None
    for code, regs, off, imm in _SLOT[byteorder].iter_unpack(data):
        if first is not None:
            if code == 0 and regs == 0:
                make(new(Insn, (*first, off, imm, None)))
                first = None
                continue
            make(new(Insn, (*first, None, None, None)))
            first = None
        slot = (code, regs >> 4, regs & 15, off, imm) if swapped else (code, regs & 15, regs >> 4, off, imm)
        if code == LD_IMM64:
            first = slot
        else:
            make(new(Insn, (*slot, None, None, None)))
    if first is not None:
        make(new(Insn, (*first, None, None, None)))
    return insns


def slots(insns: Iterable[Insn]) -> Iterator[tuple[int, Insn]]:
    """Yield each instruction with its pc, the slot it starts at."""
    pc = 0
    for insn in insns:
        yield pc, insn
        pc += insn.width


def cut_slot(data: bytes, name: str = "") -> DecodeError:
    """Return the error for data (of ``name``) whose last slot is not whole."""
    whole, rest = divmod(len(data), SLOT_BYTES)
    prefix = f"{name}: " if name else ""
    return DecodeError(
        f"{prefix}{len(data)} bytes are {_count(whole, 'slot')} of 8 and {_count(rest, 'byte')} more",
        "the last slot is cut short, or something before it does not belong to the program",
        rule="cut-slot",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
