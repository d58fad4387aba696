"""What a reader makes of an event's bytes: records, values, tuples, bytes, views, or what a function returns."""

from __future__ import annotations

from struct import Struct

from bpfasm.asm.record import Record
from bpfasm.asm.types import Type
from bpfasm.errors import RecordError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Rows = Iterable[tuple[Any, ...]]


class Shape:
    """How to decode events.

    ``size`` is the bytes of every event, None where they differ. ``one`` decodes a view of an event. ``rows``, where
    the size is fixed, is what ``struct`` unpacks made into a list of events: many at once, a tenth of the time each.
    ``borrowed`` says that events are views of the ring's own memory.
    """

    def __init__(
        self,
        name: str,
        one: Callable[[memoryview], Any],
        *,
        size: int | None = None,
        format: str = "",
        rows: Callable[[Rows], list[Any]] | None = None,
        borrowed: bool = False,
    ) -> None:
        self.name = name
        self.one = one
        self.size = size
        self.format = format
        self.rows = rows
        self.borrowed = borrowed
        self._many: dict[tuple[int, int], Callable[[memoryview], list[Any]]] = {}

    def many(self, before: int, step: int) -> Callable[[memoryview], list[Any]]:
        """Return what decodes events that follow each other ``step`` bytes apart, each after ``before`` bytes."""
        try:
            return self._many[before, step]
        except KeyError:
            pass
        assert self.size is not None
        assert self.rows is not None
        unpack, rows = Struct(f"={before}x{self.format}{step - before - self.size}x").iter_unpack, self.rows
        decode = self._many[before, step] = lambda memory: rows(unpack(memory))
        return decode


def shape_of(make: Any, record: Any = None) -> Shape:
    """Return how to decode what ``make`` says: a Record class, a type, tuple, bytes, memoryview, or a function.

    ``record`` is what the buffer was declared with: it stands where ``make`` is None, and says what a tuple holds.
    """
    if make is None:
        make = bytes if record is None else record
    if make is bytes:
        return Shape("bytes", bytes)
    if make is memoryview:
        return Shape("memoryview", lambda view: view, borrowed=True)
    what = record if make is tuple else make
    if isinstance(what, type) and issubclass(what, Record):
        return _fixed(what.__name__, what._struct.format[1:], list if make is tuple else what.from_rows)
    if isinstance(what, Type):
        single: Callable[[Rows], list[Any]] = lambda rows: [value for (value,) in rows]  # noqa: E731
        if what.of_bytes:
            unpack = what.unpack
            single = lambda rows: [unpack(value) for (value,) in rows]  # noqa: E731
        return _fixed(what.name, what.format, list if make is tuple else single)
    if make is not tuple and callable(make):
        return Shape(getattr(make, "__name__", repr(make)), make)
    raise RecordError(
        f"{make.__name__ if make is tuple else repr(make)} does not say what to make of an event",
        "give a Record, a type, bytes, memoryview, or a function of a memoryview; "
        "tuple takes its fields from the record that the buffer is declared with",
        source=outside(),
        rule="event-make",
    )


def _fixed(name: str, format: str, rows: Callable[[Rows], list[Any]]) -> Shape:
    """Return the shape of events that all have one size."""
    struct = Struct(f"={format}")

    def one(view: memoryview) -> Any:
        if len(view) != struct.size:
            raise RecordError(
                f"an event of {len(view)} bytes came, and {name} is {struct.size}",
                "read events of several sizes as bytes, or with a function of a memoryview",
                rule="event-size",
            )
        return rows((struct.unpack(view),))[0]

    return Shape(name, one, size=struct.size, format=format, rows=rows)
