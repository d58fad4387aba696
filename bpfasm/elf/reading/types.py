"""The types of an object's variables, keys and values: numbers and text as the notation has them, the rest by BTF."""

from __future__ import annotations

from bpfasm.asm.arrays import Array
from bpfasm.asm.types import Type, chars, raw, s8, s16, s32, s64, u8, u16, u32, u64
from bpfasm.btf.read import MOST_DEEP
from bpfasm.errors import DecodeError, RecordError
from bpfasm.isa.where import outside
from bpfasm.uapi import btf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.btf.read import Btf, BtfType

_UNSIGNED = {1: u8, 2: u16, 4: u32, 8: u64}
_SIGNED = {1: s8, 2: s16, 4: s32, 8: s64}

#: A value that has more bytes than this is none that a map could have (KMALLOC_MAX_SIZE is less).
_MOST_BYTES = 1 << 30

#: Arrays of more numbers than this are not worth a tuple.
_MOST_NUMBERS = 1 << 16


class Typed(Type["Any"]):
    """A struct, union or array of some, by its BTF: a dict or list when read, written as its bytes, or part by part.

    A dict may leave members out, which are zeros then.
    """

    def __init__(self, btf: Btf, id: int, size: int) -> None:
        named = btf.type(id)
        super().__init__(
            named.name or f"type {id}", size, 8 if size % 8 == 0 else 4 if size % 4 == 0 else 1, f"{size}s"
        )
        self.btf, self.id = btf, id

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a dict or a list; bytes of the right size are taken as they are."""
        if isinstance(value, bytes | bytearray | memoryview):
            if len(value) == self.size:
                return bytes(value)
        else:
            try:
                return _pack(self.btf, self.btf.resolve(self.id), value, self.size, 0)
            except (DecodeError, RecordError):
                pass
        raise RecordError(
            f"{value!r} is no {self.name}", f"{self.name} takes {self.takes}", source=outside(), rule="value-range"
        )

    def unpack(self, data: Any) -> Any:
        """Return the value of ``size`` bytes."""
        from bpfasm.btf.values import value_of

        return value_of(self.btf, self.id, bytes(data))

    @property
    def takes(self) -> str:
        return f"{self.size} bytes, or a dict or list of its parts"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Typed)
            and (self.btf is other.btf or self.btf.data == other.btf.data)
            and (self.id == other.id)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.format))


def type_of(btf: Btf, id: int, known: dict[int, Any] | None = None) -> Any:
    """Return the type of the notation for one of BTF; 0 for one without bytes. Raises DecodeError.

    ``known`` has those that were asked for before.
    """
    if known is None:
        return _type_of(btf, id)
    if id not in known:
        known[id] = _type_of(btf, id)
    return known[id]


def _type_of(btf: Btf, id: int) -> Any:
    found = btf.resolve(id)
    size = btf.size_of(id)
    if size > _MOST_BYTES:
        raise DecodeError(
            f"a value of type {found.name or found.id} has {size} bytes", "no map has values that large", rule="btf"
        )
    if not size:
        return 0
    number = _number(found)
    if number is not None:
        return number
    if found.kind == uapi.BTF_KIND_ARRAY:
        element = btf.resolve(found.type)
        if _is_char(element):
            return chars(size)
        number = _number(element)
        if number is not None and found.detail <= _MOST_NUMBERS:
            return Array(number, found.detail)
    if found.kind in (uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION, uapi.BTF_KIND_ARRAY):
        return Typed(btf, id, size)
    return raw(size)


def _is_char(type: BtfType) -> bool:
    return type.kind == uapi.BTF_KIND_INT and type.size == 1 and type.name == "char"


def _number(type: BtfType) -> Type[int] | None:
    """Return the number that a scalar is, None for what is none."""
    if type.kind == uapi.BTF_KIND_PTR:
        return u64
    if type.kind == uapi.BTF_KIND_INT:
        signed = type.detail >> 24 & uapi.BTF_INT_SIGNED
        return (_SIGNED if signed else _UNSIGNED).get(type.size)
    if type.kind in (uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64):
        signed = type.flag or any(each.value < 0 for each in type.members)
        return (_SIGNED if signed else _UNSIGNED).get(type.size)
    return None


def _pack(btf: Btf, type: BtfType, value: Any, size: int, depth: int) -> bytes:
    """Return the bytes of a value made of parts."""
    if depth > MOST_DEEP:
        raise DecodeError(f"type {type.name or type.id} holds itself", "give its bytes instead", rule="btf")
    if isinstance(value, bytes | bytearray | memoryview) and len(value) == size:
        return bytes(value)
    data = bytearray(size)
    if type.kind in (uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION) and isinstance(value, dict):
        left = dict(value)
        for member in type.members:
            inner = btf.resolve(member.type)
            if not member.name and inner.kind in (uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION):
                part = {name: left.pop(name) for name in _names(btf, inner, depth) if name in left}
                if not part:
                    continue
                given: Any = part
            elif member.name in left:
                given = left.pop(member.name)
            else:
                continue
            _put(btf, data, member.offset, member.bits, inner, given, depth)
        if left:
            raise DecodeError(f"{type.name} has no member {next(iter(left))}", "give those it has", rule="btf")
        return bytes(data)
    if type.kind == uapi.BTF_KIND_ARRAY and isinstance(value, list | tuple | str | bytes):
        element = btf.resolve(type.type)
        step = btf.size_of(type.type)
        if isinstance(value, str | bytes):
            text = value.encode() if isinstance(value, str) else value
            if len(text) <= size and step == 1:
                return text.ljust(size, b"\0")
        elif len(value) <= type.detail:
            parts = (_pack(btf, element, each, step, depth + 1) for each in value)
            return b"".join(parts).ljust(size, b"\0")
    number = _number(type)
    if number is not None:
        return number.pack(value)
    raise DecodeError(f"{value!r} is no {type.name or type.id}", "give its bytes instead", rule="btf")


def _put(btf: Btf, data: bytearray, offset: int, bits: int, type: BtfType, value: Any, depth: int) -> None:
    """Write a member at an offset in bits."""
    import sys

    if bits:
        size = -(-(offset % 8 + bits) // 8)
        at = offset // 8
        low = offset % 8 if sys.byteorder == "little" else 8 * size - offset % 8 - bits
        word = int.from_bytes(data[at : at + size], sys.byteorder)
        word |= (int(value) & ((1 << bits) - 1)) << low
        data[at : at + size] = word.to_bytes(size, sys.byteorder)
        return
    size = btf.size_of(type.id)
    data[offset // 8 : offset // 8 + size] = _pack(btf, type, value, size, depth + 1)


def _names(btf: Btf, type: BtfType, depth: int) -> list[str]:
    """Return the names of members, those of unnamed members too."""
    if depth > MOST_DEEP:
        return []
    names: list[str] = []
    for member in type.members:
        if member.name:
            names.append(member.name)
        else:
            inner = btf.resolve(member.type)
            names += _names(btf, inner, depth + 1) if inner.members else []
    return names


class ObjectTypes(Value):
    """The types that an object brings along, in a form that a kernel takes: ``data`` is BTF.

    ``btf`` is the same, to be read.
    """

    data: bytes
    btf: Btf

    def __hash__(self) -> int:
        return hash(self.data)

    def __repr__(self) -> str:
        return f"<types, {len(self.data)} bytes>"


class MapTypes(Value):
    """What an object's types say of a map: the ids of its key and value, 0 for none."""

    types: ObjectTypes
    key: int
    value: int
