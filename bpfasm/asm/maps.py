"""Map declarations: what a program needs, before any kernel is asked. ``load()`` makes the maps."""

from __future__ import annotations

from bpfasm.asm.types import size_of_type, u32
from bpfasm.errors import RecordError
from bpfasm.isa.where import outside
from bpfasm.uapi import bpf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PER_CPU = (
    bpf.BPF_MAP_TYPE_PERCPU_HASH,
    bpf.BPF_MAP_TYPE_PERCPU_ARRAY,
    bpf.BPF_MAP_TYPE_LRU_PERCPU_HASH,
    bpf.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
)

#: The length of a kernel object's name without its final zero.
NAME_MAX = bpf.BPF_OBJ_NAME_LEN - 1


class MapSpec(Value):
    """A map as it is declared: ``key`` and ``value`` are types, ``Record`` classes or sizes in bytes.

    ``initial`` is what it holds after ``load()``; in a per-CPU map each CPU gets the value. ``record`` is what a
    reader makes of the events in a ring or perf buffer.
    """

    name: str
    type: int
    key: Any
    value: Any
    max_entries: int
    flags: int = 0
    initial: dict[Any, Any] = {}  # noqa: RUF012  a default that nothing changes: values are frozen
    record: Any = None

    def __post_init__(self) -> None:
        plain = self.name.replace("_", "a").replace(".", "a")
        if len(plain) > NAME_MAX or not (plain.isascii() and plain.isalnum()):
            raise RecordError(
                f"the map's name {self.name!r} is not one the kernel takes",
                f"use up to {NAME_MAX} of A-Z a-z 0-9 _ and . (bpftool shows it)",
                source=outside(),
                rule="object-name",
            )
        size_of_type(self.key)
        size_of_type(self.value)

    @property
    def key_size(self) -> int:
        """The bytes of a key."""
        return size_of_type(self.key)

    @property
    def value_size(self) -> int:
        """The bytes of a value, of one CPU's where the map is per CPU."""
        return size_of_type(self.value)

    @property
    def per_cpu(self) -> bool:
        """Whether each CPU has a value of its own."""
        return self.type in _PER_CPU

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    def __repr__(self) -> str:
        return f"<map {self.name}>"


def HashMap(name: str, *, key: Any, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_HASH, key, value, max_entries, **more)


def ArrayMap(name: str, *, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array: the keys are 0 to ``max_entries - 1``, every value exists and starts as zeros."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_ARRAY, u32, value, max_entries, **more)


def PerCpuHashMap(name: str, *, key: Any, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map in which each CPU has a value of its own."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_PERCPU_HASH, key, value, max_entries, **more)


def PerCpuArrayMap(name: str, *, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array in which each CPU has a value of its own."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_PERCPU_ARRAY, u32, value, max_entries, **more)


def RingBuf(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare a ring buffer for events of programs; ``max_entries`` are bytes, a power of two and whole pages."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_RINGBUF, 0, 0, max_entries, **more)


def UserRingBuf(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare a ring buffer for messages to programs; ``max_entries`` are bytes, a power of two and whole pages."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, max_entries, **more)


def PerfEventArray(name: str, *, max_entries: int = 0, **more: Any) -> MapSpec:
    """Declare an array of perf events, by CPU; with ``max_entries=0`` it has room for every CPU there may be."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY, u32, u32, max_entries, **more)
