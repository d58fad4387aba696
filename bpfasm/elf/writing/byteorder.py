"""The bytes of a value in the other byte order: what a type packs is in this machine's."""

from __future__ import annotations

import sys

from bpfasm.asm.arrays import Array
from bpfasm.asm.opaque import Opaque
from bpfasm.asm.prefixes import Prefix
from bpfasm.asm.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.isa.insn import ByteOrder


def in_order(kind: Any, data: bytes, byteorder: ByteOrder) -> bytes:
    """Return the bytes of a value of a type, packed here, as a machine of a byte order has them.

    >>> from bpfasm.asm.types import u32
    >>> in_order(u32, u32.pack(1), "big").hex()
    '00000001'
    """
    return data if byteorder == sys.byteorder else _swapped(kind, data)


def _swapped(kind: Any, data: bytes) -> bytes:
    if isinstance(kind, type) and issubclass(kind, Record):
        return b"".join(_swapped(each.type, data[each.off : each.off + each.size]) for each in kind.fields)
    if isinstance(kind, Array):
        step = kind.element.size
        return b"".join(_swapped(kind.element, data[at : at + step]) for at in range(0, len(data), step))
    if isinstance(kind, Prefix):
        return data[3::-1] + data[4:]
    if isinstance(kind, Opaque):
        return b"".join(data[at : at + kind.align][::-1] for at in range(0, len(data), kind.align))
    return data if isinstance(kind, int) or kind.format.endswith("s") else data[::-1]
