"""The C types of keys, values and record fields: sizes for the program, packing for user space.

A type is used in two ways: by itself, ``HashMap(key=u32, value=u64)``, and called with a few words of
documentation to declare a field of a ``Record``, ``pid = u32("tgid of the caller")``.
"""

from __future__ import annotations

from struct import Struct, error as struct_error

from bpfasm.errors import RecordError
from bpfasm.isa.operands import BPF_B, BPF_DW, BPF_H, BPF_W, Size
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Generic, Self, TypeVar, overload

    T = TypeVar("T")
else:

    class Generic:
        """Stand in at run time for ``typing.Generic``, which costs 10 ms to import."""

        def __class_getitem__(cls, _parameter):
            return cls

    T = None

_SIZES = {1: BPF_B, 2: BPF_H, 4: BPF_W, 8: BPF_DW}


class Type(Generic[T]):
    """A C type: its name, ``size`` and ``align`` in bytes, and the ``struct`` format that packs it."""

    def __init__(self, name: str, size: int, align: int, format: str) -> None:
        self.name = name
        self.size = size
        self.align = align
        self.format = format
        self._struct = Struct("=" + format)

    def __call__(self, doc: str = "") -> Field[T]:
        """Declare a field of this type; ``doc`` becomes its column's description."""
        return Field(self, doc)

    def pack(self, value: T) -> bytes:
        """Return the bytes of a value, in this machine's byte order. Raises RecordError if it does not fit."""
        try:
            # struct would cut a text that is too long.
            if not self.format.endswith("s") or len(value) <= self.size:  # type: ignore[arg-type]
                return self._struct.pack(value)
        except (struct_error, TypeError):
            pass
        raise RecordError(
            f"{value!r} is no {self.name}",
            f"{self.name} takes {self.takes}",
            source=outside(),
            rule="value-range",
        )

    def unpack(self, data: bytes) -> T:
        """Return the value of ``size`` bytes."""
        value: T = self._struct.unpack(data)[0]
        return value

    @property
    def of_bytes(self) -> bool:
        """Whether a value is made by ``unpack`` from the bytes that ``struct`` gives: a text, an array."""
        return self.format.endswith("s") and type(self) is not Type

    @property
    def takes(self) -> str:
        """What values fit, in words."""
        if self.format.endswith("s"):
            return f'at most {self.size} bytes, as in b"text"'
        bits = 8 * self.size
        signed = self.format.islower()
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        return f"{low} to {high}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and (self.name, self.format) == (other.name, other.format)

    def __hash__(self) -> int:
        return hash((self.name, self.format))

    def __repr__(self) -> str:
        return self.name


class Chars(Type[bytes]):
    """``char name[n]``: text that ends at the first zero byte, as ``comm`` and paths are."""

    def unpack(self, data: bytes) -> bytes:
        return bytes(data).split(b"\0", 1)[0]


u8: Type[int] = Type("u8", 1, 1, "B")
u16: Type[int] = Type("u16", 2, 2, "H")
u32: Type[int] = Type("u32", 4, 4, "I")
u64: Type[int] = Type("u64", 8, 8, "Q")
s8: Type[int] = Type("s8", 1, 1, "b")
s16: Type[int] = Type("s16", 2, 2, "h")
s32: Type[int] = Type("s32", 4, 4, "i")
s64: Type[int] = Type("s64", 8, 8, "q")


def chars(size: int) -> Chars:
    """Return the type of a text of up to ``size`` bytes, filled with zeros."""
    return Chars(f"char[{size}]", size, 1, f"{size}s")


def raw(size: int) -> Type[bytes]:
    """Return the type of ``size`` bytes that are kept as they are."""
    return Type(f"u8[{size}]", size, 1, f"{size}s")


def pad(size: int) -> Field[bytes]:
    """Declare ``size`` bytes of padding in a record; the program has to write them like any field."""
    return Field(raw(size), "")


class Field(Generic[T]):
    """One field of a record: ``Event.pid`` is the field, ``event.pid`` its value.

    ``off`` and ``size`` are bytes; ``bpf_size`` is the size operand that loads or stores it whole.
    """

    name: str
    off: int

    def __init__(self, type: Type[T], doc: str) -> None:
        self.type = type
        self.doc = doc

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.type.size

    @property
    def bpf_size(self) -> Size:
        """BPF_B, BPF_H, BPF_W or BPF_DW. Raises RecordError for text and other long fields."""
        try:
            return _SIZES[self.type.size]
        except KeyError:
            raise RecordError(
                f"{self.name} has {self.type.size} bytes: no single load or store moves it",
                "fill it with a helper, bpf_probe_read_kernel or bpf_get_current_comm, or in parts",
                source=outside(),
                rule="field-size",
            ) from None

    if TYPE_CHECKING:

        @overload
        def __get__(self, record: None, owner: Any) -> Self: ...
        @overload
        def __get__(self, record: object, owner: Any) -> T: ...
        def __get__(self, record: object | None, owner: Any) -> Any: ...
        def __set__(self, record: object, value: T) -> None: ...

    else:
        # It is an attribute of a record's class's class (record.py): there is no record here, only its class.
        def __get__(self, record, owner):
            return self

        def __set__(self, record, value):
            raise AttributeError(f"{record.__name__}.{self.name} is a field: it can be set in a record only")

    def __repr__(self) -> str:
        return f"<{self.type} {self.name} at {self.off}>"


def size_of_type(type: Any) -> int:
    """Return the bytes of what a map may be given as key or value: a type, a Record, or a plain size."""
    size = type if isinstance(type, int) else getattr(type, "size", None)
    if isinstance(size, int) and size >= 0:
        return int(size)
    raise RecordError(
        f"{type!r} is no type",
        "give u32 or another number's type, chars(16), a Record, or a number of bytes",
        source=outside(),
        rule="not-a-type",
    )
