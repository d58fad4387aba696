"""``array()``: the type of several elements of one type, as a key, a value or a field of a record."""

from __future__ import annotations

from struct import Struct, error as struct_error

from bpfasm.asm.types import Type
from bpfasm.errors import RecordError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Array(Type["tuple[Any, ...]"]):
    """``type name[n]``: a tuple of n values."""

    def __init__(self, element: Type[Any], count: int) -> None:
        super().__init__(f"{element}[{count}]", element.size * count, element.align, f"{element.size * count}s")
        self.element, self.count = element, count
        self._elements = Struct("=" + element.format * count)

    def pack(self, value: Any) -> bytes:
        """Return the bytes of n values; bytes of the right size are taken as they are."""
        if isinstance(value, bytes | bytearray | memoryview) and len(value) == self.size:
            return bytes(value)
        if isinstance(value, list | tuple) and len(value) == self.count:
            try:
                return self._elements.pack(*value)
            except struct_error:
                return b"".join(map(self.element.pack, value))  # says which one does not fit
        raise RecordError(
            f"{value!r} is no {self.name}",
            f"{self.name} takes {self.count} values, each {self.element.takes}",
            source=outside(),
            rule="value-range",
        )

    def unpack(self, data: bytes) -> tuple[Any, ...]:
        """Return the values of ``size`` bytes."""
        return self._elements.unpack(data)


def array(type: Type[Any], count: int) -> Array:
    """Return the type of ``count`` numbers of a type, which are a tuple in Python.

    >>> from bpfasm.asm import array, u16
    >>> array(u16, 3).pack((1, 2, 3)).hex(), array(u16, 3).unpack(b"\\1\\0\\2\\0\\3\\0")
    ('010002000300', (1, 2, 3))
    """
    if not isinstance(type, Type) or type.format.endswith("s") or count < 1:
        raise RecordError(
            f"there is no array of {count} of {type!r}",
            "its elements are numbers, u8 to s64, and it has one at least",
            source=outside(),
            rule="not-a-type",
        )
    return Array(type, count)
