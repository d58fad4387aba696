"""``Record``: the layout of an event, a key or a value, declared once for the program and for user space."""

from __future__ import annotations

from struct import Struct, error as struct_error

from bpfasm.asm.types import Chars, Field, Type
from bpfasm.errors import RecordError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, ClassVar, Self


class _Names(dict[str, "Any"]):
    """The names in the body of a record's class. A field whose name comes twice would take the first one's place."""

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Field) and name in self:
            raise RecordError(
                f"two fields are called {name}",
                f"number them: {name}1, {name}2",
                source=outside(),
                rule="record-fields",
            )
        super().__setitem__(name, value)


class _RecordClass(type):
    """The class of records' classes.

    A record has slots and no ``__dict__``: it is made in half the time and takes a third of the memory, which counts
    for a million events. A slot takes the name of its field in the record's class; so the field itself is an
    attribute of that class's class, one for each record, where ``Event.pid`` finds it and ``event.pid`` does not.
    """

    @classmethod
    def __prepare__(cls, _name: str, _bases: tuple[type, ...], /, **_more: Any) -> _Names:
        return _Names()

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> Any:
        own = {key: value for key, value in body.items() if isinstance(value, Field)}
        for key in own:
            if any(hasattr(base, key) for base in bases):
                raise RecordError(
                    f"{name} cannot have a field called {key}: {bases[0].__name__}.{key} is in use",
                    f"give the field another name, such as {key}_",
                    source=outside(),
                    rule="record-fields",
                )
        rest = {key: value for key, value in body.items() if key not in own}
        # Neither ``pid = u32`` nor ``pid: u32`` is a field, and each looks like one.
        annotated = body.get("__annotations__", {}) if bases else {}
        bare = {key: value for key, value in annotated.items() if key not in body and "ClassVar" not in str(value)}
        for key, value in {**bare, **rest}.items():
            if key in bare or isinstance(value, Type):
                raise RecordError(
                    f"{name}.{key} is no field: a field is assigned, and its type is called with what it is for",
                    f'write {key} = {value}("what it is")',
                    source=outside(),
                    rule="record-fields",
                )
        holder: type = type.__new__(type, f"{name}Fields", (cls,), own) if own else cls
        return type.__new__(holder, name, bases, {**rest, "__slots__": tuple(own), "_own": tuple(own.items())})


class Record(metaclass=_RecordClass):
    """A C struct, declared as a class of fields by assignment.

    >>> from bpfasm.asm import Record, chars, u32, u64
    >>> class Event(Record):
    ...     ts = u64("time of the call, ns since boot")
    ...     pid = u32("tgid of the caller")
    ...     comm = chars(12)("name of the thread")
    >>> Event.size, Event.pid.off, Event.pid.bpf_size
    (24, 8, BPF_W)
    >>> Event.from_bytes(Event(ts=7, pid=1, comm=b"init").to_bytes())
    Event(ts=7, pid=1, comm=b'init')

    Padding that C would put between fields is refused: the verifier accepts a record whose padding was never
    written, and the kernel's stale bytes would reach user space. Say ``_ = pad(4)`` and write it, or reorder.
    """

    #: The bytes of the struct, and its alignment.
    size: ClassVar[int] = 0
    align: ClassVar[int] = 1
    fields: ClassVar[tuple[Field[Any], ...]] = ()
    _own: ClassVar[tuple[tuple[str, Field[Any]], ...]]
    _struct: ClassVar[Struct]
    _texts: ClassVar[tuple[Field[Any], ...]]
    _made: ClassVar[Callable[[Iterable[tuple[Any, ...]]], list[Any]] | None]

    def __init_subclass__(cls) -> None:
        fields = [*cls.fields]
        off, align = cls.size, cls.align
        for name, field in cls._own:
            gap = -off % field.type.align
            if gap:
                raise _hole(cls, fields, gap, f"before {name} ({field.type})")
            field.name, field.off = name, off
            off += field.type.size
            align = max(align, field.type.align)
            fields.append(field)
        gap = -off % align
        if gap:
            raise _hole(cls, fields, gap, "at the end")
        cls.size, cls.align, cls.fields = off, align, tuple(fields)
        cls._struct = Struct("=" + "".join(field.type.format for field in fields))
        cls._texts = tuple(field for field in fields if field.type.format.endswith("s"))
        cls._made = None

    def __init__(self, **values: Any) -> None:
        for field in self.fields:
            if field.name in values:
                setattr(self, field.name, values.pop(field.name))
            elif field.name.startswith("_"):
                setattr(self, field.name, bytes(field.size))
            else:
                raise RecordError(
                    f"{type(self).__name__}() is missing {field.name}",
                    f"its fields are {', '.join(f.name for f in self.fields)}",
                    source=outside(),
                    rule="record-fields",
                )
        if values:
            raise RecordError(
                f"{type(self).__name__} has no field {next(iter(values))}",
                f"its fields are {', '.join(f.name for f in self.fields)}",
                source=outside(),
                rule="record-fields",
            )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the record that ``size`` bytes hold."""
        if len(data) != cls.size:
            raise RecordError(
                f"{cls.__name__} is {cls.size} bytes, and {len(data)} were given",
                "give the whole value of the map or event",
                source=outside(),
                rule="record-size",
            )
        return cls.from_rows((cls._struct.unpack(data),))[0]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[Any, ...]]) -> list[Self]:
        """Return the records of rows, each the fields' values in their order, as ``struct`` unpacks them."""
        make = cls._made
        if make is None:
            make = cls._made = _maker(cls)
        return make(rows)

    def to_bytes(self) -> bytes:
        """Return the record's bytes, in this machine's order. Raises RecordError where a value does not fit."""
        try:
            # struct would cut a text that is too long.
            if all(len(getattr(self, field.name)) <= field.size for field in self._texts):
                return self._struct.pack(*self._values())
        except (struct_error, TypeError):
            pass
        return b"".join(field.type.pack(value) for field, value in zip(self.fields, self._values(), strict=True))

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in self.fields]

    # A Record class serves as the type of a key or value.
    @classmethod
    def pack(cls, value: Self) -> bytes:
        """Return the bytes of a record."""
        return value.to_bytes()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return the record of these bytes."""
        return cls.from_bytes(data)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self.to_bytes()))

    def __repr__(self) -> str:
        shown = (f"{f.name}={getattr(self, f.name)!r}" for f in self.fields if not f.name.startswith("_"))
        return f"{type(self).__name__}({', '.join(shown)})"


def _maker(record: type[Record]) -> Callable[[Iterable[tuple[Any, ...]]], list[Any]]:
    """Return what makes records of rows: a function of this record alone, 0.2 us each where a loop takes 0.7."""
    names: dict[str, Any] = {"cls": record, "new": object.__new__, "zero": b"\0"}
    values, stores = [], ["record = new(cls)"]
    for number, field in enumerate(record.fields):
        value = f"v{number}"
        values.append(value)
        if isinstance(field.type, Chars):
            value += ".partition(zero)[0]"
        elif field.type.of_bytes:
            names[f"unpack{number}"] = field.type.unpack
            value = f"unpack{number}({value})"
        stores.append(f"record.{field.name} = {value}")
    source = f"""
def make(rows):
    records = []
    add = records.append
    for [{", ".join(values)}] in rows:
        {"; ".join(stores)}
        add(record)
    return records
"""
    exec(source, names)
    made: Callable[[Iterable[tuple[Any, ...]]], list[Any]] = names["make"]
    return made


def _hole(record: type[Record], fields: list[Field[Any]], gap: int, where: str) -> RecordError:
    plural = "s" if gap > 1 else ""
    pads = sum(field.name.startswith("_") for field in fields)
    name = f"_{pads + 1}" if pads else "_"
    return RecordError(
        f"{record.__name__} has {gap} byte{plural} of padding {where}, which nothing would write",
        f"put `{name} = pad({gap})` after {fields[-1].name} and write it in the program, "
        "or put the larger fields first",
        source=outside(),
        rule="record-padding",
    )
