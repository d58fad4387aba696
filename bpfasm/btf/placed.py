"""What a declaration in C has to say, so that a compiler puts each member where BTF has it.

BTF has the place of each member, and not what was said in the source: packed, aligned. A compiler puts a member
behind the one before, where its type is aligned. Where that is another place, there is a gap of bits without a name,
or what holds it is packed; a union that is larger than what is in it is aligned.

>>> from bpfasm.btf.read import Btf
>>> from bpfasm.btf.write import Writer
>>> writer = Writer()
>>> number = writer.add_int("int", 4)
>>> event = writer.add_struct("event", 9, [("pid", number, 0), ("late", number, 40)])
>>> types = Btf(writer.to_bytes())
>>> Places(types).of(types.type(event))
Placed(align=1, packed=True, aligned=0, gaps=((), (('char', 8),), ()))
"""

from __future__ import annotations

from bpfasm.btf.read import COMPOSITE, ENUMS, MODIFIERS, MOST_DEEP, too_deep
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.btf.read import BtfType, Member, Types

_NUMBERS = (uapi.BTF_KIND_INT, uapi.BTF_KIND_FLOAT, *ENUMS)

#: The types that a gap is made of, and their bits.
_UNITS = {"char": 8, "short": 16, "int": 32, "long": 64}

#: The largest gap that is written; every 64 bits of it are a line.
_MOST_BITS = 1 << 20

#: A gap: bit fields without a name, each with its type.
Gap = tuple[tuple[str, int], ...]


class Placed(Value):
    """How a struct or union is written: ``align`` in bytes is what a compiler gives it then.

    ``gaps`` has one for each member, before it, and the last behind them all; ``aligned`` is 0 where nothing is said.
    """

    align: int
    packed: bool = False
    aligned: int = 0
    gaps: tuple[Gap, ...] = ()


class Places:
    """The places of what is in structs and unions, as a compiler for 64 bits has them (System V, AAPCS64)."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._known: dict[int, Placed] = {}

    def of(self, type: BtfType, depth: int = 0) -> Placed:
        """Return how a struct or union is written. Raises DecodeError for one that holds itself."""
        found = self._known.get(type.id)
        if found is None:
            if depth > MOST_DEEP:
                raise too_deep(type.id)
            found = (self._struct if type.kind == uapi.BTF_KIND_STRUCT else self._union)(type, depth)
            self._known[type.id] = found
        return found

    def _align(self, id: int, depth: int) -> int:
        """Return the alignment of a type in bytes."""
        for _ in range(MOST_DEEP):
            type = self._types.type(id)
            if type.kind in COMPOSITE:
                return self.of(type, depth + 1).align
            if type.kind in _NUMBERS:
                return max(1, min(type.size, 16))
            if type.kind == uapi.BTF_KIND_PTR:
                return 8
            if type.kind not in (*MODIFIERS, uapi.BTF_KIND_ARRAY):
                break
            id = type.type
        return 1

    def _struct(self, type: BtfType, depth: int) -> Placed:
        aligns = [self._align(each.type, depth) for each in type.members]
        align = max(aligns, default=1)
        packed = bool(type.size % align) or any(map(self._is_misplaced, type.members, aligns))
        if packed:
            align, aligns = 1, [1] * len(aligns)
        # The type of a gap's bits counts for the alignment on some processors.
        most = 64 if packed else 8 * align
        gaps, end = [], 0
        for member, unit in zip(type.members, aligns, strict=True):
            if not member.bits:
                natural = _up(end, 8 * unit)
            elif packed or _fits(end, member.bits, self._unit(member)):
                natural = end
            else:
                natural = _up(end, self._unit(member))
            gaps.append(_gap(end, member.offset, most) if natural != member.offset else ())
            end = member.offset + self._bits(member)
        size = 8 * type.size
        gaps.append(_gap(end, size, most) if _up(end, 8 * align) != size else ())
        return Placed(align, packed, 0, tuple(gaps))

    def _union(self, type: BtfType, depth: int) -> Placed:
        align = max((self._align(each.type, depth) for each in type.members), default=1)
        packed = bool(type.size % align)
        align = 1 if packed else align
        most = max((_up(self._bits(each), 8) // 8 for each in type.members), default=0)
        aligned, behind = _aligned(most, align, type.size), Gap()
        if not aligned:  # a bit field without a name is what is as large
            most = min(type.size, 8)
            aligned, behind = _aligned(most, align, type.size) or align, _gap(0, 8 * most, 64)
        gaps = (*((),) * len(type.members), behind)
        return Placed(aligned, packed, aligned if aligned > align else 0, gaps)

    def _bits(self, member: Member) -> int:
        return member.bits or 8 * self._types.size_of(member.type)

    def _is_misplaced(self, member: Member, align: int) -> bool:
        """Whether a member is where a compiler puts none of its type."""
        if member.bits:
            return not _fits(member.offset, member.bits, self._unit(member))
        return member.offset % (8 * align) != 0

    def _unit(self, member: Member) -> int:
        """Return the bits of a bit field's type, at a multiple of which it begins or which it is within."""
        return max(1, 8 * self._types.size_of(member.type))


def _gap(start: int, end: int, most: int) -> Gap:
    """Return bit fields that take the bits from ``start`` to ``end``, of types of up to ``most`` bits."""
    if end - start > _MOST_BITS:
        raise DecodeError(
            f"a struct has nothing in {(end - start) // 8} bytes, which are not written in C",
            "the BTF may be broken; `bpfasm btf show` has where its members are",
            rule="btf",
        )
    found = []
    while start < end:
        # Bits are within one unit of their type. Of two types that take as many the smaller one will do.
        bits, name = max(
            ((min(end - start, unit - start % unit), name) for name, unit in _UNITS.items() if unit <= most),
            key=lambda each: each[0],
        )
        found.append((name, bits))
        start += bits
    return tuple(found)


def _aligned(most: int, align: int, size: int) -> int:
    """Return the least alignment, from ``align`` on, that makes what is ``most`` bytes a union of ``size``; or 0."""
    while most and _up(most, align) < size:
        align *= 2
    return align if _up(most, align) == size else 0


def _fits(start: int, bits: int, unit: int) -> bool:
    """Whether bits are within one unit of so many."""
    return start // unit == (start + bits - 1) // unit


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
