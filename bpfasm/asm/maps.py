"""Map declarations: what a program needs, before any kernel is asked. ``load()`` makes the maps.

One constructor for each type that a user can create; ``bpfasm.asm.map_types`` has the table of what each takes.
"""

from __future__ import annotations

from bpfasm.asm.map_types import EVENTS, RINGS, type_of
from bpfasm.asm.symbols import Symbol
from bpfasm.asm.types import size_of_type, u32
from bpfasm.errors import LinkError, RecordError
from bpfasm.isa.where import outside
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Target
    from bpfasm.asm.map_types import MapType
    from bpfasm.elf.reading.types import MapTypes
    from bpfasm.isa.insn import Insn

#: The length of a kernel object's name without its final zero.
NAME_MAX = bpf.BPF_OBJ_NAME_LEN - 1

#: No kernel has smaller pages; one with larger ones says so itself.
_PAGE = 4096

_OF_MAPS = (bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, bpf.BPF_MAP_TYPE_HASH_OF_MAPS)


class MapSpec(Symbol):
    """A map as it is declared: ``key`` and ``value`` are types, ``Record`` classes or sizes in bytes.

    ``flags`` are BPF_F_*; those that the type cannot do without are added. ``initial`` is what the map holds after
    ``load()``: a dict, or a list of values where there are no keys; in a per-CPU map each CPU gets the value.
    ``record`` is what a reader makes of the events in a ring or perf buffer. ``inner`` is what the maps in a map look
    like. ``map_extra`` depends on the type, ``numa_node`` is where the memory is to be. ``pinned`` is True, or a path
    in a bpf file system: a map that is pinned there is used instead of a new one. ``types`` are those that an object
    file has of its key and value. Raises MapError for what no kernel would create.
    """

    word = "map"
    told = "map_fds"
    twice = "map-twice"

    name: str
    type: int
    key: Any
    value: Any
    max_entries: int
    flags: int = 0
    initial: Any = {}  # noqa: RUF012  a default that nothing changes: values are frozen
    record: Any = None
    inner: MapSpec | None = None
    map_extra: int = 0
    numa_node: int | None = None
    pinned: bool | str = False
    types: MapTypes | None = None

    def __post_init__(self) -> None:
        plain = self.name.replace("_", "a").replace(".", "a")
        if len(plain) > NAME_MAX or not (plain.isascii() and plain.isalnum()):
            raise RecordError(
                f"the map's name {self.name!r} is not one the kernel takes",
                f"use up to {NAME_MAX} of A-Z a-z 0-9 _ and . (bpftool shows it)",
                source=outside(),
                rule="object-name",
            )
        row = self.row
        self._set(flags=self.flags | row.flags | (self.numa_node is not None and bpf.BPF_F_NUMA_NODE))
        entries, ring = self.max_entries, self.type in RINGS
        if (
            not (isinstance(entries, int) and isinstance(self.map_extra, int))  # of others a range is gone through
            or self.key_size not in row.key
            or self.value_size not in row.value
            or entries not in row.entries
            or self.map_extra not in row.extra
            or (ring and (entries % _PAGE or entries & (entries - 1)))
            or (self.inner is None) == (self.type in _OF_MAPS)
            or not self.has_prefixes
            or (self.record is not None and self.type not in EVENTS)
            or not hasattr(self.initial, "__iter__")
            or (row.keys == "none" and isinstance(self.initial, dict) and self.initial)
        ):
            from bpfasm.asm.maps_refused import refused

            raise refused(self)

    @classmethod
    def as_is(cls, **fields: Any) -> MapSpec:
        """Return the declaration of a map that exists, and that nobody has to check."""
        spec = cls.__new__(cls)
        spec._set(**{**cls._defaults, **fields})
        return spec

    @property
    def row(self) -> MapType:
        """Its type's row in the table."""
        return type_of(self.type)

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
        return self.row.per_cpu

    @property
    def has_prefixes(self) -> bool:
        """Whether its keys can be prefixes, where they must: bytes, or what begins with the number of bits."""
        if self.row.keys != "prefix" or isinstance(self.key, int):
            return True
        first = getattr(self.key, "fields", None)
        if first:
            return bool(first[0].type.size == 4)
        return bool(self.key.format.endswith("s"))  # any other is a number

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn:
        """Return the load with the map's fd."""
        return insn.replace(imm=fd_of(self.name, insn, target))

    def __hash__(self) -> int:
        return hash((self.name, self.type))

    def __repr__(self) -> str:
        return f"<map {self.name}>"


def fd_of(name: str, insn: Insn, target: Target) -> int:
    """Return the fd of a map of the target, 0 where it does not say. Raises LinkError where it has no such map."""
    if target.map_fds is None:
        return 0
    try:
        return target.map_fds[name]
    except KeyError:
        known = ", ".join(target.map_fds) or "none"
        raise LinkError(
            f"the target has no map {name}",
            f"its maps are: {known}",
            source=insn.source,
            rule="map-unknown",
        ) from None


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


def LruHashMap(name: str, *, key: Any, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map that, when full, makes room by dropping keys that were not used for long."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_LRU_HASH, key, value, max_entries, **more)


def LruPerCpuHashMap(name: str, *, key: Any, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map that drops keys like LruHashMap, and in which each CPU has a value of its own."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_LRU_PERCPU_HASH, key, value, max_entries, **more)


def LpmTrie(name: str, *, key: Any, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a map that finds the longest prefix of a key.

    ``key`` is ``ipv4_prefix``, ``ipv6_prefix``, ``lpm_key(n)``, or a Record that begins with the number of bits, a
    u32.
    """
    return MapSpec(name, bpf.BPF_MAP_TYPE_LPM_TRIE, key, value, max_entries, **more)


def RHash(name: str, *, key: Any, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map that grows as it fills; ``map_extra`` is how many keys it has room for at first."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_RHASH, key, value, max_entries, **more)


def ArrayOfMaps(name: str, *, inner: MapSpec, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array whose elements are maps that look like ``inner``."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, u32, _fd(4), max_entries, inner=inner, **more)


def HashOfMaps(name: str, *, key: Any, inner: MapSpec, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map whose values are maps that look like ``inner``."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_HASH_OF_MAPS, key, _fd(4), max_entries, inner=inner, **more)


def ProgArray(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array of programs, for bpf_tail_call; all are of one type."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_PROG_ARRAY, u32, _fd(4), max_entries, **more)


def PerfEventArray(name: str, *, max_entries: int = 0, **more: Any) -> MapSpec:
    """Declare an array of perf events, by CPU; with ``max_entries=0`` it has room for every CPU there may be."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY, u32, _fd(4), max_entries, **more)


def CgroupArray(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array of cgroups, for bpf_skb_under_cgroup and bpf_current_task_under_cgroup."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_CGROUP_ARRAY, u32, _fd(4), max_entries, **more)


def StackTrace(name: str, *, max_entries: int, depth: int = 127, value: Any = None, **more: Any) -> MapSpec:
    """Declare a map of stack traces by their ids, which bpf_get_stackid fills: ``depth`` addresses each, then 0.

    With BPF_F_STACK_BUILD_ID an entry is a ``struct bpf_stack_build_id``: give ``value``.
    """
    if value is None:
        from bpfasm.asm.arrays import array
        from bpfasm.asm.types import u64

        value = array(u64, depth)
    return MapSpec(name, bpf.BPF_MAP_TYPE_STACK_TRACE, u32, value, max_entries, **more)


def Queue(name: str, *, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a queue: what was pushed first is popped first."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_QUEUE, 0, value, max_entries, **more)


def Stack(name: str, *, value: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a stack: what was pushed last is popped first."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_STACK, 0, value, max_entries, **more)


def BloomFilter(name: str, *, value: Any, max_entries: int, hashes: int = 0, **more: Any) -> MapSpec:
    """Declare a set that may take a value for a member that is none, but never misses one.

    ``max_entries`` is how many are expected, ``hashes`` how many bits each sets, 1 to 15; 0 leaves it to the kernel.
    """
    return MapSpec(name, bpf.BPF_MAP_TYPE_BLOOM_FILTER, 0, value, max_entries, map_extra=hashes, **more)


def RingBuf(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare a ring buffer for events of programs; ``max_entries`` are bytes, a power of two and whole pages."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_RINGBUF, 0, 0, max_entries, **more)


def UserRingBuf(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare a ring buffer for messages to programs; ``max_entries`` are bytes, a power of two and whole pages."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, max_entries, **more)


def SkStorage(name: str, *, value: Any, **more: Any) -> MapSpec:
    """Declare a value that sockets have; the keys are file descriptors of sockets."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_SK_STORAGE, _fd(4), value, 0, **more)


def InodeStorage(name: str, *, value: Any, **more: Any) -> MapSpec:
    """Declare a value that inodes have; the keys are file descriptors of open files."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_INODE_STORAGE, _fd(4), value, 0, **more)


def TaskStorage(name: str, *, value: Any, **more: Any) -> MapSpec:
    """Declare a value that tasks have; the keys are pidfds: ``os.pidfd_open(pid)``."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_TASK_STORAGE, _fd(4), value, 0, **more)


def CgrpStorage(name: str, *, value: Any, **more: Any) -> MapSpec:
    """Declare a value that cgroups have; the keys are file descriptors of their directories."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_CGRP_STORAGE, _fd(4), value, 0, **more)


def CgroupStorage(name: str, *, value: Any, key: Any = None, **more: Any) -> MapSpec:
    """Declare a value that each attachment to a cgroup has; deprecated by the kernel, CgrpStorage is newer.

    ``key`` is a u64, the cgroup's id, or the ``CgroupStorageKey`` that is the default: one value for each cgroup and
    type of attachment.
    """
    return MapSpec(name, bpf.BPF_MAP_TYPE_CGROUP_STORAGE, key or _cgroup_key(), value, 0, **more)


def PerCpuCgroupStorage(name: str, *, value: Any, key: Any = None, **more: Any) -> MapSpec:
    """Declare a value as CgroupStorage does, of which each CPU has its own."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, key or _cgroup_key(), value, 0, **more)


def DevMap(name: str, *, max_entries: int, value: Any = u32, **more: Any) -> MapSpec:
    """Declare an array of network interfaces, for bpf_redirect_map.

    A value is an interface's index, or with ``value=DevMapValue`` that and a program to run there.
    """
    return MapSpec(name, bpf.BPF_MAP_TYPE_DEVMAP, u32, value, max_entries, **more)


def DevMapHash(name: str, *, max_entries: int, value: Any = u32, **more: Any) -> MapSpec:
    """Declare a hash map of network interfaces, for bpf_redirect_map; values as in DevMap, the keys any u32."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_DEVMAP_HASH, u32, value, max_entries, **more)


def CpuMap(name: str, *, max_entries: int, value: Any = u32, **more: Any) -> MapSpec:
    """Declare an array of CPUs to which bpf_redirect_map hands packets.

    A value is the length of the CPU's queue, or with ``value=CpuMapValue`` that and a program to run there.
    """
    return MapSpec(name, bpf.BPF_MAP_TYPE_CPUMAP, u32, value, max_entries, **more)


def XskMap(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array of AF_XDP sockets, by receive queue, for bpf_redirect_map."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_XSKMAP, u32, _fd(4), max_entries, **more)


def SockMap(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array of sockets, for redirecting between them; reading gives their cookies."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_SOCKMAP, u32, _fd(8), max_entries, **more)


def SockHash(name: str, *, key: Any, max_entries: int, **more: Any) -> MapSpec:
    """Declare a hash map of sockets, for redirecting between them; reading gives their cookies."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_SOCKHASH, key, _fd(8), max_entries, **more)


def ReuseportSockArray(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare an array of the sockets of a SO_REUSEPORT group, for bpf_sk_select_reuseport."""
    return MapSpec(name, bpf.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, u32, _fd(8), max_entries, **more)


def Arena(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare memory that programs and this process share: ``max_entries`` pages, made when they are touched.

    ``map_extra`` is the address that this process is to have it at; 0 leaves it to the kernel.
    """
    return MapSpec(name, bpf.BPF_MAP_TYPE_ARENA, 0, 0, max_entries, **more)


def InsnArray(name: str, *, max_entries: int, **more: Any) -> MapSpec:
    """Declare the targets of indirect jumps: slots of the program that uses it, by index."""
    from bpfasm.asm.map_values import InsnArrayValue

    return MapSpec(name, bpf.BPF_MAP_TYPE_INSN_ARRAY, u32, InsnArrayValue, max_entries, **more)


def _fd(size: int) -> Any:
    """Return the type of values, or keys, that are written as file descriptors."""
    from bpfasm.asm.handles import fd32, fd64

    return fd32 if size == fd32.size else fd64


def _cgroup_key() -> Any:
    from bpfasm.asm.map_values import CgroupStorageKey

    return CgroupStorageKey
