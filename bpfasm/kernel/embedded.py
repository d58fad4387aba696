"""``Embedded``: an object file that a Python module carries, loaded with no file around.

``bpfasm embed`` writes the module: a subclass with an attribute for each map, program and variable, and their types
for who checks types.
"""

from __future__ import annotations

from bpfasm.asm.map_types import RINGS
from bpfasm.asm.variables import Section
from bpfasm.kernel.load import load
from bpfasm.uapi.bpf import BPF_MAP_TYPE_PERF_EVENT_ARRAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

    from bpfasm.asm.program import Program
    from bpfasm.asm.struct_ops import StructOps
    from bpfasm.elf.object import Object
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.load import Loaded
    from bpfasm.kernel.maps.map import LoadedMap

    K = TypeVar("K")
    V = TypeVar("V")
    E = TypeVar("E")

    class Map(Protocol[K, V]):
        """A loaded map with keys and values of one type each: what ``LoadedMap`` is to a type checker."""

        def __getitem__(self, key: K) -> V: ...
        def __setitem__(self, key: K, value: V) -> None: ...
        def __delitem__(self, key: K) -> None: ...
        def __contains__(self, key: K) -> bool: ...
        def __iter__(self) -> Iterator[K]: ...
        def __len__(self) -> int: ...
        def get(self, key: K, default: Any = None, *, flags: int = 0, cpu: int | None = None) -> V | Any: ...
        def put(self, key: K, value: Any, flags: int = 0, *, cpu: int | None = None) -> None: ...
        def pop(self, key: K = ..., default: Any = ...) -> V: ...
        def keys(self, *, strict: bool = False) -> Iterator[K]: ...
        def values(self, *, strict: bool = False) -> Iterator[V]: ...
        def items(self, *, strict: bool = False) -> Iterator[tuple[K, V]]: ...
        def snapshot(self, *, strict: bool = False) -> dict[K, V]: ...
        def update(self, values: Mapping[K, V], flags: int = 0) -> None: ...
        def clear(self) -> None: ...
        @property
        def fd(self) -> int: ...

    class Events(Protocol[E]):
        """A reader of events of one type: what ``RingReader`` and ``PerfReader`` are to a type checker."""

        def __iter__(self) -> Iterator[E]: ...
        def events(self, timeout: float | None = None) -> Iterator[E]: ...
        def batch(self, most: int | None = None, timeout: float | None = None) -> list[E]: ...
        def drain(self) -> list[E]: ...
        def read(self, timeout: float | None = None) -> E: ...
        def close(self) -> None: ...
        @property
        def lost(self) -> int | None: ...

else:
    from bpfasm.asm.types import Generic

    E = None


class Buffer(Generic[E]):
    """A ring buffer or perf event array: ``map`` is the map, ``reader()`` gives its events."""

    def __init__(self, loaded: Loaded, map: LoadedMap) -> None:
        self._loaded, self.map = loaded, map

    def reader(self, **options: Any) -> Events[E]:
        """Return a reader, closed with the object; the options are those of ``Loaded.reader()``."""
        return self._loaded.reader(self.map.spec, **options)

    def __repr__(self) -> str:
        return f"<Buffer {self.map.spec.name}>"


class Embedded:
    """An object in the kernel, from when it is made to ``close()``; a context manager.

    ``loaded`` is what ``load()`` returned. Maps and programs are attributes; a variable is one that is read and set
    where the programs see it.
    """

    #: The object: base85 of what zlib made of the file.
    _object: ClassVar[str] = ""
    #: What the file is called; maps of variables are named by it.
    _name: ClassVar[str] = ""
    #: Attributes that are not called as in the object.
    _renamed: ClassVar[dict[str, str]] = {}
    #: By map: fields of its declaration that an object does not have, or has with less of a type.
    _fields: ClassVar[dict[str, dict[str, Any]]] = {}
    #: The records that variables are.
    _records: ClassVar[dict[str, Any]] = {}

    loaded: Loaded

    def __init__(self, *, log_level: int = 0, **values: Any) -> None:
        """Load the object, with the values that variables are to have at first.

        Raises VerifierError, FeatureMissing, KernelError, and LinkError for what the kernel does not have.
        """
        obj = self.read()
        own = {self._renamed.get(name, name): value for name, value in values.items()}
        loaded = load(*obj, log_level=log_level, values=own)
        self.__dict__["loaded"] = loaded
        attributes = {name: attribute for attribute, name in self._renamed.items()}
        held: tuple[Program | StructOps, ...] = (*obj.programs, *obj.structs.values())
        for item in held:
            if item.name not in obj.manual:
                self.__dict__[attributes.get(item.name, item.name)] = loaded[item]
        for name, spec in obj.maps.items():
            if not isinstance(spec.value, Section):
                found: Any = loaded[spec]
                if spec.type in RINGS or spec.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY:
                    found = Buffer(loaded, found)
                self.__dict__[attributes.get(name, name)] = found

    @classmethod
    def data(cls) -> bytes:
        """Return the bytes of the object file."""
        from base64 import b85decode
        from zlib import decompress

        return decompress(b85decode(cls._object))

    @classmethod
    def read(cls) -> Object:
        """Return the programs and maps, before anything is loaded: ``load(*Chowncount.read())``."""
        from bpfasm.elf.object import read_object

        obj = read_object(cls.data(), f"{cls._name}.o")
        for name, fields in cls._fields.items():
            obj.maps[name]._set(**fields)
        for spec in obj.maps.values():
            if isinstance(spec.value, Section):
                places = tuple(
                    (each.replace(type=cls._records[each.name]) if each.name in cls._records else each, offset)
                    for each, offset in spec.value.places
                )
                spec._set(value=spec.value.replace(places=places))
        return obj

    def attach(self, mode: str = "auto") -> tuple[Link, ...]:
        """Attach every program that says where: all or none. Return the links, which are closed with the rest."""
        return self.loaded.attach(mode)

    def close(self) -> None:
        """Stop reading, detach, and close everything; a second time does nothing."""
        self.loaded.close()

    if not TYPE_CHECKING:  # who checks types goes by the attributes that the subclass declares

        def __getattr__(self, name):
            """Return the value of a variable."""
            if name.startswith("__") or "loaded" not in self.__dict__:
                raise AttributeError(name)
            try:
                return self.loaded.globals[self._renamed.get(name, name)]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no map, program or variable {name}") from None

        def __setattr__(self, name, value):
            """Set a variable."""
            try:
                self.loaded.globals[self._renamed.get(name, name)] = value
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no variable {name} to be set") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}.o>"
