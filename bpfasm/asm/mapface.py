"""``MapFace``: what every map looks like from Python, over four operations on bytes.

Whoever holds a map's elements, a kernel or the simulator, derives from it and supplies ``_lookup``, ``_update``,
``_delete`` and ``_next_key``.
"""

from __future__ import annotations

from bpfasm.errors import RecordError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from bpfasm.asm.maps import MapSpec


class MapFace:
    """The elements of a map, behaving like a ``dict`` where a map can.

    Keys and values are what the spec's types make of their bytes: ints, bytes, records. In a per-CPU map a value is
    a list with one item a CPU; assigning a single value gives it to each CPU.

    Unlike in a ``dict``, every access asks anew: a program may change the map between any two of them. Iteration
    goes on while it changes. It ends after ``max_entries`` keys; it may meet a key twice or miss one, which is the
    kernel's guarantee too.
    """

    #: The elements, in bytes. ``_lookup`` returns None and ``_delete`` False where there is no such key;
    #: ``_next_key`` returns the first key for None and for a key that is not there, None after the last.
    _lookup: Callable[[bytes], bytes | None]
    _update: Callable[[bytes, bytes, int], None]
    _delete: Callable[[bytes], bool]
    _next_key: Callable[[bytes | None], bytes | None]

    def __init__(self, spec: MapSpec, cpus: int = 0) -> None:
        """Take the declaration, and in a per-CPU map the number of CPUs that have a value."""
        self.spec = spec
        self._pack_key, self._unpack_key = _codec(spec.key, f"a key of {spec.name}")
        pack, unpack = _codec(spec.value, f"a value of {spec.name}")
        if spec.per_cpu:
            each = _PerCpu(spec, cpus, pack, unpack)
            pack, unpack = each.pack, each.unpack
        self._pack_value, self._unpack_value = pack, unpack

    def __getitem__(self, key: Any) -> Any:
        value = self._lookup(self._pack_key(key))
        if value is None:
            raise KeyError(key)
        return self._unpack_value(value)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._update(self._pack_key(key), self._pack_value(value), 0)

    def __delitem__(self, key: Any) -> None:
        if not self._delete(self._pack_key(key)):
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        return self._lookup(self._pack_key(key)) is not None

    def __iter__(self) -> Iterator[Any]:
        return map(self._unpack_key, self._keys())

    def __len__(self) -> int:
        """Count the keys, one by one."""
        return sum(1 for _ in self._keys())

    def __bool__(self) -> bool:
        return self._next_key(None) is not None

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value at a key, or ``default``."""
        value = self._lookup(self._pack_key(key))
        return default if value is None else self._unpack_value(value)

    def put(self, key: Any, value: Any, flags: int = 0) -> None:
        """Set the value at a key; with BPF_NOEXIST only where there is none, with BPF_EXIST where there is one."""
        self._update(self._pack_key(key), self._pack_value(value), flags)

    def keys(self) -> Iterator[Any]:
        """Iterate over the keys."""
        return iter(self)

    def values(self) -> Iterator[Any]:
        """Iterate over the values."""
        return (value for _, value in self.items())

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over (key, value); a key that is deleted meanwhile is passed over."""
        for key in self._keys():
            value = self._lookup(key)
            if value is not None:
                yield self._unpack_key(key), self._unpack_value(value)

    def update(self, values: Any) -> None:
        """Set the values of a ``dict``, or of an iterable of pairs."""
        for key, value in dict(values).items():
            self[key] = value

    def clear(self) -> None:
        """Delete every key there is."""
        for key in self._keys():
            self._delete(key)

    def _keys(self) -> Iterator[bytes]:
        key = self._next_key(None)
        for _ in range(self.spec.max_entries):
            if key is None:
                return
            # Asked for before the caller sees ``key``: of a key that was deleted, the next is the first one again.
            following = self._next_key(key)
            yield key
            key = following

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name}>"


class _PerCpu:
    """The values of all CPUs as a list; in memory each starts at a multiple of 8 bytes."""

    def __init__(
        self, spec: MapSpec, cpus: int, pack: Callable[[Any], bytes], unpack: Callable[[bytes], Any]
    ) -> None:
        self.name, self.cpus = spec.name, cpus
        self.size = spec.value_size
        self.step = (self.size + 7) // 8 * 8
        self._pack, self._unpack = pack, unpack

    def pack(self, value: Any) -> bytes:
        values = value if isinstance(value, list | tuple) else [value] * self.cpus
        if len(values) != self.cpus:
            raise RecordError(
                f"{self.name} has a value for each of {self.cpus} CPUs, and {len(values)} were given",
                "give a list of that length, or one value for all",
                rule="value-range",
            )
        return b"".join(self._pack(value).ljust(self.step, b"\0") for value in values)

    def unpack(self, data: bytes) -> list[Any]:
        size, unpack = self.size, self._unpack
        return [unpack(data[at : at + size]) for at in range(0, len(data), self.step)]


def _codec(kind: Any, what: str) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Return what packs and unpacks a key or value: the type's own, or for a size the bytes themselves."""
    if not isinstance(kind, int):
        return kind.pack, kind.unpack

    def pack(value: Any) -> bytes:
        data = bytes(memoryview(value))
        if len(data) != kind:
            raise RecordError(
                f"{what} is {kind} bytes, and {len(data)} were given",
                "pad it, or declare the map with a type or a Record",
                rule="value-range",
            )
        return data

    return pack, bytes
