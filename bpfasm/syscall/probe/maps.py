"""Types of maps with what each must be given, their flags, and what can be done with their elements."""

from __future__ import annotations

from errno import E2BIG, EBADF, EINVAL, ENOENT
from functools import partial
from mmap import ACCESS_WRITE, PAGESIZE, mmap

from bpfasm.asm.map_types import all_types
from bpfasm.syscall import system
from bpfasm.syscall.bpf import Attr
from bpfasm.syscall.libc import ENOTSUPP, buffer
from bpfasm.syscall.probe import btf as types
from bpfasm.syscall.probe.answer import Answer, denied, judge, no, refused, unknown, yes
from bpfasm.syscall.probe.feature import Feature, label
from bpfasm.syscall.probe.trying import COMMANDS, attempt, create, map_of
from bpfasm.uapi import bpf, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.syscall.libc import Buffer

_NO_SUCH_FLAG = (EINVAL, E2BIG)
_UNKNOWN = "the kernel does not know it"
_SHA256_BYTES = 32

#: What a type must be given to be created, where that is not a key and a value of 4 bytes and one entry.
_REQUIRED: dict[int, dict[str, int]] = {
    bpf.BPF_MAP_TYPE_STACK_TRACE: {"value_size": 8},
    bpf.BPF_MAP_TYPE_LPM_TRIE: {"key_size": 8, "map_flags": bpf.BPF_F_NO_PREALLOC},
    bpf.BPF_MAP_TYPE_CGROUP_STORAGE: {"key_size": 16, "max_entries": 0},
    bpf.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE: {"key_size": 16, "max_entries": 0},
    bpf.BPF_MAP_TYPE_QUEUE: {"key_size": 0},
    bpf.BPF_MAP_TYPE_STACK: {"key_size": 0},
    bpf.BPF_MAP_TYPE_RINGBUF: {"key_size": 0, "value_size": 0, "max_entries": PAGESIZE},
    bpf.BPF_MAP_TYPE_BLOOM_FILTER: {"key_size": 0},
    bpf.BPF_MAP_TYPE_USER_RINGBUF: {"key_size": 0, "value_size": 0, "max_entries": PAGESIZE},
    bpf.BPF_MAP_TYPE_ARENA: {"key_size": 0, "value_size": 0, "map_flags": bpf.BPF_F_MMAPABLE},
    bpf.BPF_MAP_TYPE_INSN_ARRAY: {"value_size": bpf.sizeof_struct_bpf_insn_array_value},
    bpf.BPF_MAP_TYPE_RHASH: {"map_flags": bpf.BPF_F_NO_PREALLOC},
}

#: Storage that hangs on an object of the kernel: BTF must say what key and value are.
_LOCAL_STORAGE = (
    bpf.BPF_MAP_TYPE_SK_STORAGE,
    bpf.BPF_MAP_TYPE_INODE_STORAGE,
    bpf.BPF_MAP_TYPE_TASK_STORAGE,
    bpf.BPF_MAP_TYPE_CGRP_STORAGE,
)

_OF_MAPS = (bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, bpf.BPF_MAP_TYPE_HASH_OF_MAPS)


def created(type: int, **more: int) -> Answer:
    """Return whether a map of a type can be created; ``more`` are fields beyond what the type must be given."""
    given = {"key_size": 4, "value_size": 4, "max_entries": 1} | _REQUIRED.get(type, {}) | more
    try:
        if type in _LOCAL_STORAGE:
            given |= {"max_entries": 0, "btf_key_type_id": 1, "btf_value_type_id": 1}
            given["map_flags"] = given.get("map_flags", 0) | bpf.BPF_F_NO_PREALLOC
            with types.loaded() as numbers:
                return _created(type, given | {"btf_fd": numbers.number})
        if type in _OF_MAPS:
            with map_of(bpf.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1) as inner:
                return _created(type, given | {"inner_map_fd": inner.number})
    except OSError as error:
        return unknown("what such a map is made of was refused", str(error), error.errno or 0)
    return _created(type, given)


def _created(type: int, fields: dict[str, Any]) -> Answer:
    return judge(create(type, **fields), absent=_NO_SUCH_FLAG, reason=_UNKNOWN)


def map_type(type: int) -> Answer:
    """Return whether the kernel has a type of map, by creating one."""
    if type == bpf.BPF_MAP_TYPE_STRUCT_OPS:
        return _struct_ops((ENOTSUPP,))
    if type == bpf.BPF_MAP_TYPE_ARENA:
        # Its size is that of the address space it is given.
        return created(type, map_extra=1 << 44)
    return created(type)


#: (type, what it is, commit, options); since when, asm/map_types.py says of all that a user creates
_TYPES = (
    (bpf.BPF_MAP_TYPE_HASH, "hash table", "0f8e4bd8a1fc", ""),
    (bpf.BPF_MAP_TYPE_ARRAY, "array", "28fbcfa08d8e", ""),
    (bpf.BPF_MAP_TYPE_PROG_ARRAY, "programs for tail calls", "04fd61ab36ec", ""),
    (bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY, "perf events, one for each CPU", "ea317b267e9d", ""),
    (bpf.BPF_MAP_TYPE_PERCPU_HASH, "hash table with a value for each CPU", "824bd0ce6c7c", ""),
    (bpf.BPF_MAP_TYPE_PERCPU_ARRAY, "array with a value for each CPU", "a10423b87a7e", ""),
    (bpf.BPF_MAP_TYPE_STACK_TRACE, "stacks of kernel and user space", "d5a3b1f69186", "PERF_EVENTS"),
    (bpf.BPF_MAP_TYPE_CGROUP_ARRAY, "cgroups", "4ed8ec521ed5", "CGROUPS"),
    (bpf.BPF_MAP_TYPE_LRU_HASH, "hash table that drops what was not used for long", "29ba732acbee", ""),
    (bpf.BPF_MAP_TYPE_LRU_PERCPU_HASH, "the same with a value for each CPU", "8f8449384ec3", ""),
    (bpf.BPF_MAP_TYPE_LPM_TRIE, "longest prefix match", "b95a5c4db09b", ""),
    (bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, "array of maps", "56f668dfe00d", ""),
    (bpf.BPF_MAP_TYPE_HASH_OF_MAPS, "hash table of maps", "bcc6b1b7ebf8", ""),
    (bpf.BPF_MAP_TYPE_DEVMAP, "network devices to redirect to", "546ac1ffb70d", "NET"),
    (bpf.BPF_MAP_TYPE_SOCKMAP, "sockets", "174a79ff9515", "BPF_STREAM_PARSER"),
    (bpf.BPF_MAP_TYPE_CPUMAP, "CPUs to redirect to", "6710e1126934", "NET"),
    (bpf.BPF_MAP_TYPE_XSKMAP, "AF_XDP sockets", "fbfc504a24f5", "XDP_SOCKETS"),
    (bpf.BPF_MAP_TYPE_SOCKHASH, "sockets by a key", "81110384441a", "BPF_STREAM_PARSER"),
    (bpf.BPF_MAP_TYPE_CGROUP_STORAGE, "storage of a program in a cgroup", "de9cbbaadba5", "CGROUP_BPF"),
    (bpf.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, "sockets that share a port", "5dc4c4b7d4e8", "INET"),
    (bpf.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, "the same for each CPU", "b741f1630346", "CGROUP_BPF"),
    (bpf.BPF_MAP_TYPE_QUEUE, "first in, first out", "f1a2e44a3aec", ""),
    (bpf.BPF_MAP_TYPE_STACK, "last in, first out", "f1a2e44a3aec", ""),
    (bpf.BPF_MAP_TYPE_SK_STORAGE, "storage on a socket", "6ac99e8f23d4", "NET"),
    (bpf.BPF_MAP_TYPE_DEVMAP_HASH, "network devices by a key", "6f9d451ab1a3", "NET"),
    (bpf.BPF_MAP_TYPE_STRUCT_OPS, "functions of the kernel, by programs", "85d33df357b6", "BPF_JIT"),
    (bpf.BPF_MAP_TYPE_RINGBUF, "ring buffer to user space", "457f44363a88", ""),
    (bpf.BPF_MAP_TYPE_INODE_STORAGE, "storage on an inode", "8ea636848aca", "BPF_LSM"),
    (bpf.BPF_MAP_TYPE_TASK_STORAGE, "storage on a task", "4cf1bc1f1045", ""),
    (bpf.BPF_MAP_TYPE_BLOOM_FILTER, "Bloom filter", "9330986c0300", ""),
    (bpf.BPF_MAP_TYPE_USER_RINGBUF, "ring buffer from user space", "583c1f420173", ""),
    (bpf.BPF_MAP_TYPE_CGRP_STORAGE, "storage on a cgroup", "c4bcfb38a95e", "CGROUPS"),
    (bpf.BPF_MAP_TYPE_ARENA, "memory shared with user space, pointers included", "317460317a02", "MMU"),
    (bpf.BPF_MAP_TYPE_INSN_ARRAY, "instructions to jump to", "b4ce5923e780", ""),
    (bpf.BPF_MAP_TYPE_RHASH, "hash table that grows", "", ""),
)

# What can be asked of a map beyond its type


def _struct_ops(there: tuple[int, ...], **more: int) -> Answer:
    """Create a map for a struct of the kernel's; its first type is none, and is refused as such."""
    given = {"key_size": 4, "value_size": 4, "max_entries": 1, "btf_vmlinux_value_type_id": 1} | more
    tried = create(bpf.BPF_MAP_TYPE_STRUCT_OPS, **given)
    return judge(tried, there=there, absent=_NO_SUCH_FLAG, reason=_UNKNOWN)


def _exclusive() -> Answer:
    tried = create(
        bpf.BPF_MAP_TYPE_ARRAY,
        key_size=4,
        value_size=4,
        max_entries=1,
        excl_prog_hash=buffer(_SHA256_BYTES),
        excl_prog_hash_size=_SHA256_BYTES,
    )
    return judge(tried, absent=_NO_SUCH_FLAG, reason=_UNKNOWN)


def _flag(type: int, flag: int, **more: int) -> Callable[[], Answer]:
    """Return a probe of a flag: the map is created with it."""
    flags = _REQUIRED.get(type, {}).get("map_flags", 0) | flag
    return partial(created, type, map_flags=flags, **more)


def _token() -> Answer:
    """With a token that is none: only a kernel that knows the flag looks at it."""
    fields = {"key_size": 4, "value_size": 4, "max_entries": 1}
    tried = create(bpf.BPF_MAP_TYPE_ARRAY, **fields, map_flags=bpf.BPF_F_TOKEN_FD, map_token_fd=-1)
    return judge(tried, there=(EBADF,), absent=_NO_SUCH_FLAG, reason=_UNKNOWN)


def on_a_map(type: int, use: Callable[[int], object], absent: tuple[int, ...], call: str, **fields: int) -> Answer:
    """Create a map, use it, and judge what came of that."""
    given = {"key_size": 4, "value_size": 4, "max_entries": 4} | fields
    try:
        table = map_of(type, **given)
    except OSError as error:
        return unknown("the map for it was refused", f"BPF_MAP_CREATE: {error.strerror}", error.errno or 0)
    with table:
        return judge(attempt(call, lambda: use(table.number)), there=(ENOENT,), absent=absent, reason=_UNKNOWN)


def values_of_every_cpu() -> Buffer:
    """Return room for what an element of a probe's map may have: a per-CPU one has 8 bytes for each possible CPU."""
    return buffer(max(4096, 8 * system.possible_cpus()))


def _batch(command: int, type: int, **fields: int) -> Callable[[], Answer]:
    """Return a probe of a batch operation, by making it on a map."""

    def use(fd: int) -> None:
        memory: dict[str, Any] = {
            "batch.keys": buffer(64),
            "batch.values": values_of_every_cpu(),
            "batch.out_batch": buffer(64),
        }
        if command in (bpf.BPF_MAP_UPDATE_BATCH, bpf.BPF_MAP_DELETE_BATCH):
            del memory["batch.out_batch"]
        if command == bpf.BPF_MAP_DELETE_BATCH:
            del memory["batch.values"]
        Attr({**memory, "batch.map_fd": fd, "batch.count": 1}).call(command)

    return partial(on_a_map, type, use, (EINVAL, ENOTSUPP), COMMANDS[command], **fields)


def _element(command: int, type: int, flags: int = 0, **fields: int) -> Callable[[], Answer]:
    """Return a probe of an operation on an element, by making it."""

    def use(fd: int) -> None:
        given: dict[str, Any] = {"map_fd": fd, "value": values_of_every_cpu(), "flags": flags}
        if fields.get("key_size", 4):
            given["key"] = buffer(64)
        Attr(given).call(command)

    return partial(on_a_map, type, use, (EINVAL, ENOTSUPP), COMMANDS[command], **fields)


def _mapped() -> Answer:
    """An array whose values are memory of this process."""

    def use(fd: int) -> None:
        mmap(fd, PAGESIZE, access=ACCESS_WRITE).close()

    return on_a_map(bpf.BPF_MAP_TYPE_ARRAY, use, _NO_SUCH_FLAG, "mmap", map_flags=bpf.BPF_F_MMAPABLE)


def _larger_inner() -> Answer:
    """A map of maps that takes an array of another size than its model."""
    small = {"key_size": 4, "value_size": 4, "max_entries": 1, "map_flags": bpf.BPF_F_INNER_MAP}

    def use(outer: int) -> None:
        with map_of(bpf.BPF_MAP_TYPE_ARRAY, **(small | {"max_entries": 2})) as larger:
            value = buffer(larger.number.to_bytes(4, "little"))
            Attr({"map_fd": outer, "key": buffer(4), "value": value}).call(bpf.BPF_MAP_UPDATE_ELEM)

    try:
        model = map_of(bpf.BPF_MAP_TYPE_ARRAY, **small)
    except OSError as error:
        return refused(error, absent=(EINVAL,), reason="the kernel does not know BPF_F_INNER_MAP")
    with model:
        return on_a_map(
            bpf.BPF_MAP_TYPE_ARRAY_OF_MAPS, use, (EINVAL,), "BPF_MAP_UPDATE_ELEM", inner_map_fd=model.number
        )


def _frozen() -> Answer:
    def use(fd: int) -> None:
        Attr({"map_fd": fd}).call(bpf.BPF_MAP_FREEZE)

    return on_a_map(bpf.BPF_MAP_TYPE_ARRAY, use, (EINVAL, ENOTSUPP), "BPF_MAP_FREEZE")


def charged_to_memlock() -> Answer:
    """Whether maps count as locked memory of the user: with a limit of 0 none is created then."""
    from bpfasm.syscall import system

    soft, hard = system.memlock_limit()
    system.set_memlock_limit(0, hard)
    try:
        tried = create(bpf.BPF_MAP_TYPE_ARRAY, "RLIMIT_MEMLOCK 0", key_size=4, value_size=4, max_entries=1)
    finally:
        system.set_memlock_limit(soft, hard)
    if not tried.errno:
        return no("memory is charged to the cgroup", tried.words)
    if not tried.not_permitted:
        return unknown("a map was refused for another reason", tried.words)
    # It may be refused for another reason; with the limit as it was, too.
    again = create(bpf.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1)
    return denied(again) if again.not_permitted else yes(tried.words)


_A, _H, _PA, _Q = (
    bpf.BPF_MAP_TYPE_ARRAY,
    bpf.BPF_MAP_TYPE_HASH,
    bpf.BPF_MAP_TYPE_PERCPU_ARRAY,
    bpf.BPF_MAP_TYPE_QUEUE,
)
_SO, _RB, _BLOOM, _ARENA = (
    bpf.BPF_MAP_TYPE_STRUCT_OPS,
    bpf.BPF_MAP_TYPE_RINGBUF,
    bpf.BPF_MAP_TYPE_BLOOM_FILTER,
    bpf.BPF_MAP_TYPE_ARENA,
)
_ANYWHERE = {"map_extra": 1 << 44}

#: (name, what it is, since, commit, options, probe)
_MORE: tuple[tuple[str, str, str, str, str, Callable[[], Answer]], ...] = (
    ("no_prealloc", "elements of a hash table are made when they are set", "4.6", "6c9059817432", "",
     _flag(_H, bpf.BPF_F_NO_PREALLOC)),
    ("no_common_lru", "each CPU has its own list of what was used", "4.10", "29ba732acbee", "",
     _flag(bpf.BPF_MAP_TYPE_LRU_HASH, bpf.BPF_F_NO_COMMON_LRU)),
    ("numa_node", "memory of a chosen node", "4.14", "96eabe7a40aa", "", _flag(_H, bpf.BPF_F_NUMA_NODE)),
    ("rdonly", "user space does not write", "4.15", "6e71b04a8224", "", _flag(_A, bpf.BPF_F_RDONLY)),
    ("wronly", "user space does not read", "4.15", "6e71b04a8224", "", _flag(_A, bpf.BPF_F_WRONLY)),
    ("stack_build_id", "stacks as offsets into files", "4.17", "615755a77b24", "PERF_EVENTS",
     _flag(bpf.BPF_MAP_TYPE_STACK_TRACE, bpf.BPF_F_STACK_BUILD_ID, value_size=32)),
    ("lookup_and_delete_queue", "take an element of a queue", "4.20", "bd513cd08f10", "",
     _element(bpf.BPF_MAP_LOOKUP_AND_DELETE_ELEM, _Q, key_size=0)),
    ("zero_seed", "a hash without a secret", "5.0", "96b3b6c9091d", "", _flag(_H, bpf.BPF_F_ZERO_SEED)),
    ("freeze", "user space can no longer write", "5.2", "87df15de441b", "", _frozen),
    ("rdonly_prog", "programs do not write", "5.2", "591fe9888d78", "", _flag(_A, bpf.BPF_F_RDONLY_PROG)),
    ("wronly_prog", "programs do not read", "5.2", "591fe9888d78", "", _flag(_A, bpf.BPF_F_WRONLY_PROG)),
    ("clone", "storage goes over to a socket that is accepted", "5.4", "8f51dfc73bf1", "NET",
     _flag(bpf.BPF_MAP_TYPE_SK_STORAGE, bpf.BPF_F_CLONE)),
    ("mmapable", "an array as memory of the process", "5.5", "fc9702273e2e", "", _mapped),
    ("lookup_batch", "many elements by one call", "5.6", "cb4d03ab499d", "", _batch(bpf.BPF_MAP_LOOKUP_BATCH, _H)),
    ("update_batch", "set many elements by one call", "5.6", "aa2e93b8e58e", "",
     _batch(bpf.BPF_MAP_UPDATE_BATCH, _H)),
    ("delete_batch", "delete many elements by one call", "5.6", "aa2e93b8e58e", "",
     _batch(bpf.BPF_MAP_DELETE_BATCH, _H)),
    ("lookup_and_delete_batch", "take many elements by one call", "5.6", "057996380a42", "",
     _batch(bpf.BPF_MAP_LOOKUP_AND_DELETE_BATCH, _H)),
    ("devmap_prog", "a program runs where a packet was redirected to", "5.8", "fbee97feed9b", "NET",
     partial(created, bpf.BPF_MAP_TYPE_DEVMAP, value_size=8)),
    ("cpumap_prog", "the same on another CPU", "5.9", "9216477449f3", "NET",
     partial(created, bpf.BPF_MAP_TYPE_CPUMAP, value_size=8)),
    ("inner_map", "a map of maps takes arrays of any size", "5.10", "4a8f87e60f6d", "", _larger_inner),
    ("preserve_elems", "perf events stay when their owner has gone", "5.10", "792caccc4526", "",
     _flag(bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY, bpf.BPF_F_PRESERVE_ELEMS)),
    ("lookup_batch_percpu_array", "many elements of a per-CPU array by one call", "5.13", "f008d732ab18", "",
     _batch(bpf.BPF_MAP_LOOKUP_BATCH, _PA)),
    ("lookup_and_delete_hash", "take an element of a hash table", "5.14", "3e87f192b405", "",
     _element(bpf.BPF_MAP_LOOKUP_AND_DELETE_ELEM, _H)),
    ("map_extra", "the number of hash functions of a Bloom filter", "5.16", "9330986c0300", "",
     partial(created, _BLOOM, map_extra=3)),
    ("struct_ops_link", "struct_ops that are registered by a link", "6.4", "68b04864ca42", "BPF_JIT",
     partial(_struct_ops, (ENOTSUPP,), map_flags=bpf.BPF_F_LINK)),
    ("token", "leave by a token", "6.9", "a177fc2bf6fd", "", _token),
    ("vtype_btf_obj", "struct_ops of a module", "6.9", "fcc2c1fb0651", "BPF_JIT",
     partial(_struct_ops, (EBADF,), map_flags=bpf.BPF_F_VTYPE_BTF_OBJ_FD, value_type_btf_obj_fd=-1)),
    ("segv_on_fault", "an arena without a page is a fault", "6.9", "317460317a02", "MMU",
     _flag(_ARENA, bpf.BPF_F_SEGV_ON_FAULT, **_ANYWHERE)),
    ("no_user_conv", "an arena whose pointers only programs use", "6.9", "317460317a02", "MMU",
     _flag(_ARENA, bpf.BPF_F_NO_USER_CONV, **_ANYWHERE)),
    ("excl_prog_hash", "a map for one signed program", "6.18", "baefdbdf6812", "", _exclusive),
    ("rb_overwrite", "a ring buffer that drops its oldest record", "6.19", "feeaf1346f80", "",
     _flag(_RB, bpf.BPF_F_RB_OVERWRITE)),
    ("elem_cpu", "the value of one CPU", "7.0", "", "", _element(bpf.BPF_MAP_LOOKUP_ELEM, _PA, bpf.BPF_F_CPU)),
)  # fmt: skip


_SINCE = {row.type: row.since for row in all_types()} | {bpf.BPF_MAP_TYPE_STRUCT_OPS: "5.6"}

FEATURES = tuple(
    Feature(
        "map",
        label(names(bpf, "bpf_map_type")[type], "BPF_MAP_TYPE_"),
        what,
        _SINCE[type],
        partial(map_type, type),
        commit,
        tuple(config.split()),
    )
    for type, what, commit, config in _TYPES
) + tuple(
    Feature("mapuse", name, what, since, probe, commit, tuple(config.split()))
    for name, what, since, commit, config, probe in _MORE
)
