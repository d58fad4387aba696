"""The bytes of a type to Python values: what a map's key or value is, in the words of its BTF.

A struct becomes a ``dict``, its unnamed members beside the others as in C; a union a ``dict`` with each way to read
it; an array a ``list``, or a ``str`` where it is one of char; an enum the name of its value. Pointers are text in
hex, and so is what has no value of its own (a forward declaration, a function).
"""

from __future__ import annotations

import sys
from struct import unpack

from bpfasm.btf.read import COMPOSITE, MOST_DEEP
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from bpfasm.btf.read import Btf, BtfType, Member

#: Unions within unions can stand for far more values than there are bytes: an end to it, for a value of no bytes and
#: for each byte.
MOST_VALUES = (1 << 10, 1 << 4)


def value_of(btf: Btf, type: int, data: bytes) -> Any:
    """Return the value that bytes hold. Raises DecodeError where the type needs more of them, or is none."""
    return _Reader(btf, len(data)).read(btf.resolve(type), data, 0)


class _Reader:
    """Reads one value, and counts how many it is made of."""

    def __init__(self, btf: Btf, size: int) -> None:
        self.btf = btf
        self.left = MOST_VALUES[0] + MOST_VALUES[1] * size

    def read(self, type: BtfType, data: bytes, depth: int) -> Any:
        """Return the value of a type that has been resolved."""
        self.left -= 1
        if depth > MOST_DEEP or self.left < 0:
            raise DecodeError(
                f"a value of type {type.name or type.id} is too large, or holds itself",
                "show its bytes instead",
                rule="btf",
            )
        if type.kind in COMPOSITE:
            return self._members(type, _cut(type, data, type.size), depth)
        if type.kind == uapi.BTF_KIND_ARRAY:
            return self._array(type, data, depth)
        if type.kind == uapi.BTF_KIND_DATASEC:
            held = ((each.name, each.type, data[each.offset : each.offset + each.size]) for each in type.members)
            return {name: self.read(self.btf.resolve(id), part, depth + 1) for name, id, part in held}
        if type.kind == uapi.BTF_KIND_VAR:
            return self.read(self.btf.resolve(type.type), data, depth + 1)
        return _scalar(type, data)

    def _members(self, type: BtfType, data: bytes, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for member in type.members:
            inner = self.btf.resolve(member.type)
            bits = member.bits or _old_bits(inner)
            if bits:
                found[member.name] = _bit_field(inner, member, bits, data)
                continue
            value = self.read(inner, data[member.offset // 8 :], depth + 1)
            if member.name or not isinstance(value, dict):
                found[member.name] = value
            else:
                found |= value
        return found

    def _array(self, type: BtfType, data: bytes, depth: int) -> Any:
        element = self.btf.resolve(type.type)
        size = self.btf.size_of(type.type)
        whole = _cut(type, data, size * type.detail)
        if _is_char(element):
            text = whole.partition(b"\0")[0]
            if text.isascii() and (not text or text.decode().isprintable()):
                return text.decode()
        if not size:
            return []
        return [self.read(element, whole[at : at + size], depth + 1) for at in range(0, len(whole), size)]


def _cut(type: BtfType, data: bytes, size: int) -> bytes:
    """Return the first bytes of some. Raises DecodeError where there are fewer."""
    if len(data) < size:
        raise DecodeError(
            f"{type.name or f'type {type.id}'} takes {size} bytes, and there are {len(data)}",
            "the BTF is not that of these bytes",
            rule="btf",
        )
    return data[:size]


def _is_char(type: BtfType) -> bool:
    """Tell char from a number of one byte, which clang does by name and gcc by encoding."""
    char = bool(_encoding(type) & uapi.BTF_INT_CHAR)
    return type.kind == uapi.BTF_KIND_INT and type.size == 1 and (char or type.name == "char")


def _encoding(type: BtfType) -> int:
    return type.detail >> 24 & 15


def _scalar(type: BtfType, data: bytes) -> Any:
    if type.kind == uapi.BTF_KIND_PTR:
        return f"{int.from_bytes(_cut(type, data, 8), sys.byteorder):#x}"
    if type.kind == uapi.BTF_KIND_FLOAT and type.size in (4, 8):
        return unpack("=f" if type.size == 4 else "=d", _cut(type, data, type.size))[0]
    if type.kind in (uapi.BTF_KIND_INT, uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64):
        return _number(type, int.from_bytes(_cut(type, data, type.size), sys.byteorder), 8 * type.size)
    return data[: type.size].hex()


def _number(type: BtfType, value: int, bits: int) -> int | bool | str:
    """Read so many bits of a number as an int or an enum does."""
    signed = _encoding(type) & uapi.BTF_INT_SIGNED if type.kind == uapi.BTF_KIND_INT else type.flag
    if signed and bits and value >> (bits - 1):
        value -= 1 << bits
    if type.kind != uapi.BTF_KIND_INT:
        return next((each.name for each in type.members if each.value == value), value)
    return bool(value) if _encoding(type) & uapi.BTF_INT_BOOL else value


def _old_bits(type: BtfType) -> int:
    """Return the bits of an int that is narrower than its bytes: what a bit field was before kind_flag."""
    bits = type.detail & 0xFF if type.kind == uapi.BTF_KIND_INT else 0
    return bits if bits != 8 * type.size else 0


def _bit_field(type: BtfType, member: Member, bits: int, data: bytes) -> int | bool | str:
    first = member.offset + (type.detail >> 16 & 0xFF if type.kind == uapi.BTF_KIND_INT else 0)
    end = (first + bits + 7) // 8
    part = _cut(type, data, end)[first // 8 :]
    order: Literal["little", "big"] = sys.byteorder
    value = int.from_bytes(part, order)
    low = first % 8 if order == "little" else 8 * len(part) - first % 8 - bits
    return _number(type, value >> low & (1 << bits) - 1, bits)
