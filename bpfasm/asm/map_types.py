"""The table of map types: what each takes and what user space can do with it. Checks, faces and docs read it.

Where a kernel differs from the table it is older: the table is that of the kernel ``bpfasm.uapi`` is made from
(kernel/bpf/, net/core/sock_map.c, net/xdp/xskmap.c), and the live tests hold it against every kernel of the lab.
"""

from __future__ import annotations

from bpfasm.uapi import bpf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: Numbers that are allowed: ``in`` tells.
    Numbers = range | tuple[int, ...]

_U32 = 1 << 32
_ANY = range(1, 1 << 31)
_INDEX = (4,)
_NONE = (0,)
_SOME = range(1, _U32)

#: A per-CPU value fits the smallest unit of the kernel's per-CPU memory (PCPU_MIN_UNIT_SIZE).
_PER_CPU = range(1, (32 << 10) + 1)

#: A value of local storage (BPF_LOCAL_STORAGE_MAX_VALUE_SIZE) is less than a skb's 64 KiB.
_STORED = range(1, 64 << 10)

#: The commands on elements, by the names that ``MapType.ops`` has for them.
OPS = {
    "lookup": bpf.BPF_MAP_LOOKUP_ELEM,
    "update": bpf.BPF_MAP_UPDATE_ELEM,
    "delete": bpf.BPF_MAP_DELETE_ELEM,
    "next": bpf.BPF_MAP_GET_NEXT_KEY,
    "take": bpf.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
    "lookup_batch": bpf.BPF_MAP_LOOKUP_BATCH,
    "update_batch": bpf.BPF_MAP_UPDATE_BATCH,
    "delete_batch": bpf.BPF_MAP_DELETE_BATCH,
    "take_batch": bpf.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
}


class MapType(Value):
    """One type of map.

    ``spec`` is the name of its constructor, ``since`` the first release that has it. ``key``, ``value`` are the sizes
    it takes, in bytes, ``entries`` the numbers for max_entries, ``extra`` those for map_extra. ``keys`` says what a
    key is: "any", "index" (0 to max_entries - 1), "prefix", "handle" (a file descriptor), "none". ``ops`` are what
    user space can do, each with the release that brought it, "" where it came with the type. ``sparse`` is an index
    that may have no element. ``batch`` says how a batch goes on: at a "bucket", at an "index", after a "key", which
    may be gone, or in a "table" whose order changes as it grows and shrinks. ``handle`` is what an element is written
    as, ``flags`` what creating takes, ``btf`` whether it has types: "no", "yes", "must". ``note`` is for people.
    """

    type: int
    spec: str
    since: str
    key: Numbers = _ANY
    value: Numbers = _ANY
    entries: Numbers = _SOME
    extra: Numbers = _NONE
    keys: str = "any"
    ops: dict[str, str] = {}  # noqa: RUF012  values are frozen
    per_cpu: bool = False
    sparse: bool = False
    batch: str = ""
    handle: str = ""
    flags: int = 0
    btf: str = "yes"
    note: str = ""


_DICT = {"lookup": "", "update": "", "delete": "", "next": ""}
_ARRAY = {"lookup": "", "update": "", "next": ""}
_BATCH = {"lookup_batch": "5.6", "update_batch": "5.6", "delete_batch": "5.6", "take_batch": "5.6"}
_HASH = {**_DICT, "take": "5.14", **_BATCH}
_QUEUE = {"lookup": "", "update": "", "take": ""}
_OWNED = {"lookup": "", "update": "", "delete": ""}
_NO_PREALLOC = bpf.BPF_F_NO_PREALLOC
_STORAGE = {"entries": _NONE, "keys": "handle", "ops": _OWNED, "flags": _NO_PREALLOC, "btf": "must"}


def _row(type: int, spec: str, since: str, key: Numbers = _ANY, value: Numbers = _ANY, **more: Any) -> dict[str, Any]:
    return {"type": type, "spec": spec, "since": since, "key": key, "value": value, **more}


#: The rows. A program has few maps: a row becomes a MapType when its type is asked for, which saves 0.3 ms at start.
_ROWS = (
    _row(bpf.BPF_MAP_TYPE_HASH, "HashMap", "3.19", ops=_HASH, batch="bucket"),
    _row(
        bpf.BPF_MAP_TYPE_ARRAY, "ArrayMap", "3.19", _INDEX, keys="index", batch="index",
        ops={**_ARRAY, "lookup_batch": "5.6", "update_batch": "5.6"},
        note="every element exists, as zeros at first; with BPF_F_MMAPABLE it is memory: memory()",
    ),
    _row(
        bpf.BPF_MAP_TYPE_PROG_ARRAY, "ProgArray", "4.2", _INDEX, (4,), keys="index", sparse=True, handle="program",
        ops=_DICT, note="for tail calls; reading gives a program's id",
    ),
    _row(
        bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY, "PerfEventArray", "4.3", _INDEX, (4,), entries=range(_U32), keys="index",
        sparse=True, handle="perf event", ops={"update": "", "delete": ""}, btf="no",
        note="max_entries=0 is one for each CPU there may be",
    ),
    _row(
        bpf.BPF_MAP_TYPE_PERCPU_HASH, "PerCpuHashMap", "4.6", value=_PER_CPU, per_cpu=True, ops=_HASH, batch="bucket",
    ),
    _row(
        bpf.BPF_MAP_TYPE_PERCPU_ARRAY, "PerCpuArrayMap", "4.6", _INDEX, _PER_CPU, keys="index", per_cpu=True,
        ops={**_ARRAY, "lookup_batch": "5.13", "update_batch": "5.13"}, batch="index",
        note="every element exists, as zeros at first",
    ),
    _row(
        bpf.BPF_MAP_TYPE_STACK_TRACE, "StackTrace", "4.6", _INDEX, range(8, 64 << 10, 8),
        ops={"lookup": "", "delete": "", "next": "", "take": "6.18"}, btf="no",
        note="programs fill it: bpf_get_stackid; it has room for the next power of two",
    ),
    _row(
        bpf.BPF_MAP_TYPE_CGROUP_ARRAY, "CgroupArray", "4.8", _INDEX, (4,), keys="index", sparse=True, handle="cgroup",
        ops={"update": "", "delete": ""}, btf="no",
    ),
    _row(
        bpf.BPF_MAP_TYPE_LRU_HASH, "LruHashMap", "4.10", ops=_HASH, batch="bucket",
        note="a full one drops what was not used for long, some of it before it is full",
    ),
    _row(
        bpf.BPF_MAP_TYPE_LRU_PERCPU_HASH, "LruPerCpuHashMap", "4.10", value=_PER_CPU, per_cpu=True, ops=_HASH,
        batch="bucket", note="a full one drops what was not used for long",
    ),
    _row(
        bpf.BPF_MAP_TYPE_LPM_TRIE, "LpmTrie", "4.11", range(5, 261), keys="prefix", flags=_NO_PREALLOC, batch="key",
        ops={**_DICT, "lookup_batch": "5.13", "update_batch": "5.13", "delete_batch": "5.13"},
        note="reading finds the longest prefix that the key has",
    ),
    _row(
        bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, "ArrayOfMaps", "4.12", _INDEX, (4,), keys="index", sparse=True, handle="map",
        ops={**_DICT, "lookup_batch": "5.16", "update_batch": "5.16"}, batch="index", btf="no",
        note="reading gives a map's id",
    ),
    _row(
        bpf.BPF_MAP_TYPE_HASH_OF_MAPS, "HashOfMaps", "4.12", value=(4,), handle="map", batch="bucket", btf="no",
        ops={**_DICT, "lookup_batch": "5.16", "update_batch": "5.16", "delete_batch": "5.16", "take_batch": "5.16"},
        note="reading gives a map's id",
    ),
    _row(
        bpf.BPF_MAP_TYPE_DEVMAP, "DevMap", "4.14", _INDEX, (4, 8), keys="index", sparse=True, ops=_DICT, btf="no",
        note="an interface's index, or with a program that runs there: DevMapValue",
    ),
    _row(
        bpf.BPF_MAP_TYPE_SOCKMAP, "SockMap", "4.14", _INDEX, (4, 8), keys="index", sparse=True, handle="socket",
        ops=_DICT, btf="no", note="reading gives a socket's cookie, where values have 8 bytes",
    ),
    _row(
        bpf.BPF_MAP_TYPE_CPUMAP, "CpuMap", "4.15", _INDEX, (4, 8), keys="index", sparse=True, ops=_DICT, btf="no",
        note="a queue's length, or with a program that runs there: CpuMapValue",
    ),
    _row(
        bpf.BPF_MAP_TYPE_XSKMAP, "XskMap", "4.18", _INDEX, (4,), keys="index", sparse=True, handle="AF_XDP socket",
        ops={"update": "", "delete": ""}, btf="no",
    ),
    _row(
        bpf.BPF_MAP_TYPE_SOCKHASH, "SockHash", "4.18", range(1, 513), (4, 8), handle="socket", ops=_DICT, btf="no",
        note="reading gives a socket's cookie, where values have 8 bytes",
    ),
    _row(
        bpf.BPF_MAP_TYPE_CGROUP_STORAGE, "CgroupStorage", "4.19", (8, 16), _STORED, entries=_NONE,
        ops={"lookup": "", "update": "", "next": ""}, note="deprecated; CgrpStorage is newer",
    ),
    _row(
        bpf.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, "ReuseportSockArray", "4.19", _INDEX, (4, 8), keys="index", sparse=True,
        handle="socket", ops=_DICT, note="reading gives a socket's cookie, where values have 8 bytes",
    ),
    _row(
        bpf.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, "PerCpuCgroupStorage", "4.20", (8, 16), _PER_CPU, entries=_NONE,
        per_cpu=True, ops={"lookup": "", "update": "", "next": ""}, note="deprecated; CgrpStorage is newer",
    ),
    _row(bpf.BPF_MAP_TYPE_QUEUE, "Queue", "4.20", _NONE, keys="none", ops=_QUEUE, btf="no"),
    _row(bpf.BPF_MAP_TYPE_STACK, "Stack", "4.20", _NONE, keys="none", ops=_QUEUE, btf="no"),
    _row(
        bpf.BPF_MAP_TYPE_SK_STORAGE, "SkStorage", "5.2", _INDEX, _STORED, handle="socket", **_STORAGE,
    ),
    _row(
        bpf.BPF_MAP_TYPE_DEVMAP_HASH, "DevMapHash", "5.4", _INDEX, (4, 8), ops=_DICT, btf="no",
        note="an interface's index, or with a program that runs there: DevMapValue",
    ),
    _row(
        bpf.BPF_MAP_TYPE_RINGBUF, "RingBuf", "5.8", _NONE, _NONE, keys="none", btf="no",
        note="max_entries are bytes: a power of two and whole pages",
    ),
    _row(
        bpf.BPF_MAP_TYPE_INODE_STORAGE, "InodeStorage", "5.10", _INDEX, _STORED, handle="file",
        note="needs CONFIG_BPF_LSM", **_STORAGE,
    ),
    _row(
        bpf.BPF_MAP_TYPE_TASK_STORAGE, "TaskStorage", "5.11", _INDEX, _STORED, handle="pidfd", **_STORAGE,
    ),
    _row(
        bpf.BPF_MAP_TYPE_BLOOM_FILTER, "BloomFilter", "5.16", _NONE, keys="none", extra=range(16),
        ops={"lookup": "", "update": ""}, note="map_extra is the number of hashes, 5 where it is 0",
    ),
    _row(
        bpf.BPF_MAP_TYPE_USER_RINGBUF, "UserRingBuf", "6.1", _NONE, _NONE, keys="none", btf="no",
        note="max_entries are bytes: a power of two and whole pages",
    ),
    _row(
        bpf.BPF_MAP_TYPE_CGRP_STORAGE, "CgrpStorage", "6.2", _INDEX, _STORED, handle="cgroup", **_STORAGE,
    ),
    _row(
        bpf.BPF_MAP_TYPE_ARENA, "Arena", "6.9", _NONE, _NONE, entries=range(1, (4 << 30) // 4096 + 1),
        extra=range(0, 1 << 64, 4096), keys="none", flags=bpf.BPF_F_MMAPABLE, btf="no",
        note="max_entries are pages, map_extra the address it is at; memory() is what programs see",
    ),
    _row(
        bpf.BPF_MAP_TYPE_INSN_ARRAY, "InsnArray", "6.19", _INDEX, (16,), keys="index", ops=_ARRAY, btf="no",
        note="for BPF_JA with a register; to be frozen before the program is loaded",
    ),
    _row(
        bpf.BPF_MAP_TYPE_RHASH, "RHash", "7.2", range(1, 1 << 16), extra=range(1 << 16), flags=_NO_PREALLOC,
        ops={**_DICT, "take": "", "lookup_batch": "", "update_batch": "", "delete_batch": "", "take_batch": ""},
        batch="table", note="it grows as it fills; map_extra is how many it has room for at first",
    ),
)  # fmt: skip

_BY_TYPE = {row["type"]: row for row in _ROWS}
_made: dict[int, MapType] = {}

#: Their max_entries are bytes.
RINGS = (bpf.BPF_MAP_TYPE_RINGBUF, bpf.BPF_MAP_TYPE_USER_RINGBUF)

#: What events go through.
EVENTS = (*RINGS, bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY)


def type_of(number: int) -> MapType:
    """Return the row of a type, or for a type that is not in the table one that allows everything."""
    if number not in _made:
        everything = _row(
            number, f"map of type {number}", "", range(1 << 31), range(1 << 31), entries=range(_U32),
            extra=range(1 << 64), ops=dict.fromkeys(OPS, ""),
        )  # fmt: skip
        _made[number] = MapType(**_BY_TYPE.get(number, everything))
    return _made[number]


def all_types() -> list[MapType]:
    """Return the rows of all types that a user can create, the oldest first."""
    return [type_of(number) for number in _BY_TYPE]
