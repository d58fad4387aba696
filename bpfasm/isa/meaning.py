"""The words that an instruction's meaning is written in.

A row's ``meaning`` is a Python expression over ``d`` and ``s`` (the destination and source registers, unsigned 64
bits), ``i`` (the immediate, sign-extended to 64 bits and read as unsigned), ``r0``, and ``m`` (the old content of
the memory that an atomic operation names). These functions are the rest of its vocabulary.
"""

from __future__ import annotations

import sys


def u8(x: int) -> int:
    """Keep the low 8 bits."""
    return x & 0xFF


def u16(x: int) -> int:
    """Keep the low 16 bits."""
    return x & 0xFFFF


def u32(x: int) -> int:
    """Keep the low 32 bits."""
    return x & 0xFFFF_FFFF


def u64(x: int) -> int:
    """Keep the low 64 bits."""
    return x & 0xFFFF_FFFF_FFFF_FFFF


def s8(x: int) -> int:
    """Read the low 8 bits as a signed number."""
    return (x & 0x7F) - (x & 0x80)


def s16(x: int) -> int:
    """Read the low 16 bits as a signed number."""
    return (x & 0x7FFF) - (x & 0x8000)


def s32(x: int) -> int:
    """Read the low 32 bits as a signed number."""
    return (x & 0x7FFF_FFFF) - (x & 0x8000_0000)


def s64(x: int) -> int:
    """Read the low 64 bits as a signed number."""
    return (x & 0x7FFF_FFFF_FFFF_FFFF) - (x & 0x8000_0000_0000_0000)


def quot(x: int, y: int) -> int:
    """Divide and drop the fraction, as C does; a division by zero gives 0 (RFC 9669 section 4.1)."""
    if y == 0:
        return 0
    magnitude = abs(x) // abs(y)
    return magnitude if (x < 0) == (y < 0) else -magnitude


def rem(x: int, y: int) -> int:
    """Return what division leaves, with the sign of ``x`` as in C; modulo zero gives ``x``."""
    return x - y * quot(x, y) if y else x


def swap(x: int, bits: int) -> int:
    """Reverse the bytes of the low ``bits`` bits."""
    size = bits // 8
    return int.from_bytes((x & ((1 << bits) - 1)).to_bytes(size, "little"), "big")


def le(x: int, bits: int, byteorder: str = sys.byteorder) -> int:
    """Convert the low bits between this machine's order and little-endian."""
    return x & ((1 << bits) - 1) if byteorder == "little" else swap(x, bits)


def be(x: int, bits: int, byteorder: str = sys.byteorder) -> int:
    """Convert the low bits between this machine's order and big-endian."""
    return x & ((1 << bits) - 1) if byteorder == "big" else swap(x, bits)


VOCABULARY = {f.__name__: f for f in (u8, u16, u32, u64, s8, s16, s32, s64, quot, rem, swap, le, be)}
