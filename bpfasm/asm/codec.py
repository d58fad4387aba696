"""From the keys and values of a map to bytes and back: one at a time, and many at once.

A ``Codec`` is made from what a map was declared with: a type, a Record class, or a number of bytes.
"""

from __future__ import annotations

from struct import Struct, error as struct_error, unpack_from

from bpfasm.asm.record import Record
from bpfasm.asm.types import Type
from bpfasm.errors import RecordError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    #: What is read from and written to a map: bytes, or a view of some.
    Bytes = bytes | bytearray | memoryview


class Codec:
    """``pack`` and ``unpack`` one key or value; ``pack_many`` and ``unpack_many`` those of a batch.

    ``size`` are the bytes of one; in a batch they follow each other without a gap. ``format`` is the struct format of
    a single number, where it is one.
    """

    def __init__(
        self,
        size: int,
        pack: Callable[[Any], bytes],
        unpack: Callable[[Any], Any],
        *,
        format: str = "",
        unpack_many: Callable[[Any, int], Iterable[Any]] | None = None,
    ) -> None:
        self.size, self.pack, self.unpack, self.format = size, pack, unpack, format
        self.unpack_many = unpack_many or self._one_by_one

    def pack_many(self, values: Iterable[Any]) -> bytes:
        """Return the bytes of many values."""
        values = list(values)
        if self.format:
            try:
                return Struct(f"={len(values)}{self.format}").pack(*values)
            except struct_error:
                pass  # one of them is no number, or does not fit: its own error says so
        return b"".join(map(self.pack, values))

    def _one_by_one(self, data: Bytes, count: int) -> Iterable[Any]:
        if self.format:
            return unpack_from(f"={count}{self.format}", data)
        size, unpack = self.size, self.unpack
        return [unpack(data[at : at + size]) for at in range(0, count * size, size)]


def codec_of(kind: Any, what: str) -> Codec:
    """Return the codec of a key or value; ``what`` is how it is called in an error."""
    if isinstance(kind, int):
        return Codec(kind, _plain(kind, what), bytes)
    if isinstance(kind, type) and issubclass(kind, Record):
        return Codec(kind.size, _record(kind), kind.from_bytes, unpack_many=_records(kind))
    number = isinstance(kind, Type) and not kind.format.endswith("s")
    return Codec(kind.size, _typed(kind), kind.unpack, format=kind.format if number else "")


def per_cpu(one: Codec, cpus: int, name: str) -> Codec:
    """Return the codec of the values of all CPUs, a list; in memory each starts at a multiple of 8 bytes.

    What is no list is one value, for each of them.
    """
    size, unpack_one, pack_one = one.size, one.unpack, one.pack
    step = (size + 7) // 8 * 8
    total = step * cpus

    def pack(value: Any) -> bytes:
        values = value if isinstance(value, list) else [value] * cpus
        if len(values) != cpus:
            raise RecordError(
                f"{name} has a value for each of {cpus} CPUs, and {len(values)} were given",
                "give a list of that length, or one value for all",
                source=outside(),
                rule="value-range",
            )
        return b"".join(pack_one(value).ljust(step, b"\0") for value in values)

    def unpack(data: Bytes) -> list[Any]:
        return [unpack_one(data[at : at + size]) for at in range(0, total, step)]

    if not one.format:
        return Codec(total, pack, unpack)
    numbers = Struct("=" + f"{one.format}{step - size}x" * cpus)
    return Codec(
        total,
        pack,
        lambda data: list(numbers.unpack(data)),
        unpack_many=lambda data, count: map(list, numbers.iter_unpack(data[: count * total])),
    )


def _plain(size: int, what: str) -> Callable[[Any], bytes]:
    """Return what packs the bytes of a key or value that was declared as a number of bytes."""

    def pack(value: Any) -> bytes:
        data = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else None
        if data is None or len(data) != size:
            raise RecordError(
                f"{what} is {size} bytes, and {f'{value!r} was' if data is None else f'{len(data)} were'} given",
                "pad it, or declare the map with a type or a Record",
                source=outside(),
                rule="value-range",
            )
        return data

    return pack


def _record(kind: type[Record]) -> Callable[[Any], bytes]:
    """Return what packs a record: an instance, its fields in a tuple, or its bytes."""
    fields = [field.name for field in kind.fields if not field.name.startswith("_")]

    def pack(value: Any) -> bytes:
        if isinstance(value, kind):
            return value.to_bytes()
        if isinstance(value, tuple | list) and len(value) == len(fields):
            return kind(**dict(zip(fields, value, strict=True))).to_bytes()
        if isinstance(value, bytes | bytearray | memoryview):
            return kind.from_bytes(bytes(value)).to_bytes()
        raise RecordError(
            f"{value!r} is no {kind.__name__}",
            f"give {kind.__name__}({', '.join(f'{name}=...' for name in fields)}), a tuple of these, or its bytes",
            source=outside(),
            rule="value-range",
        )

    return pack


def _records(kind: type[Record]) -> Callable[[Any, int], Iterable[Any]]:
    """Return what makes many records."""
    rows, size = kind._struct.iter_unpack, kind.size
    return lambda data, count: kind.from_rows(rows(data[: count * size]))


def _typed(kind: Any) -> Callable[[Any], bytes]:
    """Return what packs a value of a type; its bytes are taken, too."""
    pack_value, size = kind.pack, kind.size

    def pack(value: Any) -> bytes:
        try:
            return pack_value(value)  # type: ignore[no-any-return]
        except RecordError:
            if isinstance(value, bytes | bytearray | memoryview) and len(value) == size:
                return bytes(value)
            raise

    return pack
