"""``bpf(2)``, one function a command.

Arguments have the names of ``union bpf_attr``'s fields, as in C; what is not given is zero, as in C. A field that
is a pointer takes a ``Buffer``. Each raises ``OSError`` with the kernel's errno; ``TypeError`` names a field that
there is not.
"""

from __future__ import annotations

import os
from errno import EAGAIN, EINTR

from bpfasm.syscall.layout import end, get, put
from bpfasm.syscall.libc import NR, buffer, errno, failure, good_fd, syscall
from bpfasm.uapi import bpf as uapi, names
from bpfasm.uapi.bpf import (
    BPF_BTF_GET_FD_BY_ID,
    BPF_BTF_GET_NEXT_ID,
    BPF_BTF_LOAD,
    BPF_COMMON_ATTRS,
    BPF_ENABLE_STATS,
    BPF_ITER_CREATE,
    BPF_LINK_CREATE,
    BPF_LINK_DETACH,
    BPF_LINK_GET_FD_BY_ID,
    BPF_LINK_GET_NEXT_ID,
    BPF_LINK_UPDATE,
    BPF_MAP_CREATE,
    BPF_MAP_DELETE_ELEM,
    BPF_MAP_FREEZE,
    BPF_MAP_GET_FD_BY_ID,
    BPF_MAP_GET_NEXT_ID,
    BPF_MAP_GET_NEXT_KEY,
    BPF_MAP_LOOKUP_AND_DELETE_ELEM,
    BPF_MAP_LOOKUP_ELEM,
    BPF_MAP_UPDATE_ELEM,
    BPF_OBJ_GET,
    BPF_OBJ_GET_INFO_BY_FD,
    BPF_OBJ_PIN,
    BPF_PROG_ATTACH,
    BPF_PROG_BIND_MAP,
    BPF_PROG_DETACH,
    BPF_PROG_GET_FD_BY_ID,
    BPF_PROG_GET_NEXT_ID,
    BPF_PROG_LOAD,
    BPF_PROG_QUERY,
    BPF_PROG_TEST_RUN,
    BPF_RAW_TRACEPOINT_OPEN,
    BPF_TASK_FD_QUERY,
    sizeof_struct_bpf_common_attr,
    sizeof_union_bpf_attr,
    struct_bpf_common_attr,
    union_bpf_attr,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.syscall.layout import Field, Layout
    from bpfasm.syscall.libc import Buffer

_NR_BPF = NR["__NR_bpf"]

#: The verifier gives up with EAGAIN when a signal is pending. A timer that fires again and again could keep a large
#: program from ever loading, so there is an end to it.
TRIES = 6


class Attr:
    """A ``union bpf_attr``: zeros, but for the fields that were given.

    ``size`` is the end of the last field that is not zero, so that an old kernel is not asked about fields it does
    not know (it refuses only those that are set), and at least ``least`` bytes, for fields the kernel writes.
    """

    def __init__(self, fields: dict[str, Field], *, least: int = 0) -> None:
        self.memory = buffer(sizeof_union_bpf_attr)
        self.kept = fields  # what the pointers point at
        self.size = least
        for name, value in fields.items():
            last = put(self.memory, "union bpf_attr", union_bpf_attr, name, value)
            if value:
                self.size = max(self.size, last)

    def __getitem__(self, name: str) -> int:
        """Return a field that is a number, as the kernel may have changed it."""
        value: int = get(self.memory, union_bpf_attr, name)
        return value

    def call(self, command: int) -> int:
        """Make the call; return what it returns. Raises OSError."""
        result: int = syscall(_NR_BPF, command, self.memory, self.size)
        if result < 0:
            raise failure(errno(), names(uapi, "bpf_cmd")[command])
        return result

    def open(self, command: int) -> int:
        """Make a call that returns a file descriptor."""
        return good_fd(self.call(command))


def map_create(**fields: Field) -> int:
    """Create a map; return its fd. Fields: map_type, key_size, value_size, max_entries, map_flags, map_name ..."""
    return Attr(fields).open(BPF_MAP_CREATE)


def map_create_log(fields: dict[str, Field]) -> str:
    """Try to create a map that was refused; return what the kernel writes about it: nothing before Linux 7.1."""
    log = buffer(4096)
    common = buffer(sizeof_struct_bpf_common_attr)
    given: dict[str, Field] = {"log_buf": log, "log_size": len(log), "log_level": 1}
    for name, value in given.items():
        put(common, "struct bpf_common_attr", struct_bpf_common_attr, name, value)
    attr = Attr(fields)
    fd: int = syscall(_NR_BPF, BPF_MAP_CREATE | BPF_COMMON_ATTRS, attr.memory, attr.size, common, len(common))
    if fd >= 0:
        os.close(fd)
    return log.value.decode(errors="replace")


def map_lookup_elem(*, map_fd: int, key: Buffer, value: Buffer, flags: int = 0) -> None:
    """Read the value at a key into ``value``."""
    Attr({"map_fd": map_fd, "key": key, "value": value, "flags": flags}).call(BPF_MAP_LOOKUP_ELEM)


def map_update_elem(*, map_fd: int, key: Buffer, value: Buffer, flags: int = 0) -> None:
    """Set the value at a key."""
    Attr({"map_fd": map_fd, "key": key, "value": value, "flags": flags}).call(BPF_MAP_UPDATE_ELEM)


def map_delete_elem(*, map_fd: int, key: Buffer) -> None:
    """Delete a key."""
    Attr({"map_fd": map_fd, "key": key}).call(BPF_MAP_DELETE_ELEM)


def map_get_next_key(*, map_fd: int, key: Buffer | int, next_key: Buffer) -> None:
    """Read the key after ``key`` into ``next_key``, or the first one if ``key`` is 0 or is not there.

    Raises ENOENT after the last.
    """
    Attr({"map_fd": map_fd, "key": key, "next_key": next_key}).call(BPF_MAP_GET_NEXT_KEY)


def map_lookup_and_delete_elem(*, map_fd: int, key: Buffer | int, value: Buffer, flags: int = 0) -> None:
    """Read the value at a key into ``value``, and delete the key. A queue and a stack have no keys: 0."""
    Attr({"map_fd": map_fd, "key": key, "value": value, "flags": flags}).call(BPF_MAP_LOOKUP_AND_DELETE_ELEM)


def map_freeze(map_fd: int) -> None:
    """Make a map read-only for user space, for good. Raises EBUSY where it is being written, or frozen already."""
    Attr({"map_fd": map_fd}).call(BPF_MAP_FREEZE)


def btf_load(btf: Buffer, **fields: Field) -> int:
    """Load BTF; return its fd. Fields: btf_log_buf, btf_log_size, btf_log_level."""
    return Attr({"btf": btf, "btf_size": len(btf), **fields}).open(BPF_BTF_LOAD)


class LoadError(OSError):
    """A program that was not loaded; ``log_true_size`` is how many bytes the verifier's whole log takes.

    It is 0 before kernel 6.4, which does not tell, and where the verifier was not asked.
    """

    log_true_size = 0


def prog_load(**fields: Field) -> tuple[int, int]:
    """Load a program; return its fd and the size of the verifier's whole log, as in ``LoadError``.

    Fields: prog_type, insn_cnt, insns, license, prog_name, log_level, log_size, log_buf ... Raises LoadError.
    """
    for left in reversed(range(TRIES)):
        attr = Attr(fields, least=end(union_bpf_attr, "log_true_size"))
        try:
            return attr.open(BPF_PROG_LOAD), attr["log_true_size"]
        except OSError as error:
            # Between two tries the interpreter runs the handler of the signal that was in the way.
            if error.errno != EAGAIN or not left:
                refused = LoadError(*error.args)
                refused.log_true_size = attr["log_true_size"]
                raise refused from None
    raise AssertionError


class RunError(OSError):
    """A test run that failed; of one whose data or context did not fit (ENOSPC), how many bytes they are now."""

    data_size_out = 0
    ctx_size_out = 0


def prog_test_run(**fields: Field) -> dict[str, int]:
    """Run a program on given data; return ``retval``, ``duration`` (ns a run), ``data_size_out``, ``ctx_size_out``.

    Fields: prog_fd, data_in, data_size_in, data_out, data_size_out, ctx_in ..., repeat, flags, cpu, batch_size. A
    signal cuts a run short; it is then made again, so the program may run more often than asked. Raises RunError.
    """
    for left in reversed(range(TRIES)):
        attr = Attr({f"test.{name}": value for name, value in fields.items()})
        try:
            attr.call(BPF_PROG_TEST_RUN)
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR) or not left:
                failed = RunError(*error.args)
                failed.data_size_out, failed.ctx_size_out = attr["test.data_size_out"], attr["test.ctx_size_out"]
                raise failed from None
        else:
            return {name: attr[f"test.{name}"] for name in ("retval", "duration", "data_size_out", "ctx_size_out")}
    raise AssertionError


def obj_get_info_by_fd(fd: int, layout: Layout, size: int, **given: Field) -> dict[str, int | bytes]:
    """Return what the kernel tells of an object, by the names of its struct's fields.

    ``layout`` and ``size`` are those of ``struct_bpf_prog_info``, ``struct_bpf_map_info`` ... A field that this
    kernel does not have is 0. ``given`` are fields that the kernel reads: where to put an array, and its room.
    """
    memory = buffer(size)
    for name, value in given.items():
        put(memory, "the info", layout, name, value)
    Attr({"info.bpf_fd": fd, "info.info_len": size, "info.info": memory}).call(BPF_OBJ_GET_INFO_BY_FD)
    return {name: get(memory, layout, name) for name, (_, length, _) in layout.items() if length}


def info_size(fd: int) -> int:
    """Return how many bytes this kernel tells of an object: where its struct ends."""
    memory = buffer(_LONGEST_INFO)
    attr = Attr({"info.bpf_fd": fd, "info.info_len": len(memory), "info.info": memory})
    attr.call(BPF_OBJ_GET_INFO_BY_FD)
    return attr["info.info_len"]


#: Longer than any struct that tells of an object; what is behind the kernel's own is zero, as the kernel wants it.
_LONGEST_INFO = 512


def enable_stats(type: int) -> int:
    """Count what running programs costs (``type`` BPF_STATS_RUN_TIME) until the fd that is returned is closed."""
    return Attr({"enable_stats.type": type}, least=end(union_bpf_attr, "enable_stats.type")).open(BPF_ENABLE_STATS)


def link_create(**fields: Field) -> int:
    """Attach a program; return the link's fd. Fields: those of ``link_create``, ``perf_event.bpf_cookie`` too."""
    return Attr({f"link_create.{name}": value for name, value in fields.items()}).open(BPF_LINK_CREATE)


def raw_tracepoint_open(name: str, prog_fd: int, cookie: int = 0) -> int:
    """Attach a program at a tracepoint; return the link's fd.

    Without a name at what it was loaded for: that is how tracing programs were attached before they had links.
    """
    fields: dict[str, Field] = {
        "raw_tracepoint.name": buffer(name.encode() + b"\0") if name else 0,
        "raw_tracepoint.prog_fd": prog_fd,
        "raw_tracepoint.cookie": cookie,
    }
    return Attr(fields).open(BPF_RAW_TRACEPOINT_OPEN)


def link_update(**fields: Field) -> None:
    """Put another program into a link. Fields: link_fd, new_prog_fd, flags (BPF_F_REPLACE), old_prog_fd."""
    Attr({f"link_update.{name}": value for name, value in fields.items()}).call(BPF_LINK_UPDATE)


def iter_create(link_fd: int) -> int:
    """Return a file of what an iterator's program writes, to be read once from its beginning to its end."""
    return Attr({"iter_create.link_fd": link_fd}).open(BPF_ITER_CREATE)


def link_detach(link_fd: int) -> None:
    """Detach a link's program while the link stays."""
    Attr({"link_detach.link_fd": link_fd}).call(BPF_LINK_DETACH)


def prog_attach(**fields: Field) -> None:
    """Attach a program without a link.

    Fields: target_fd, attach_bpf_fd, attach_type, attach_flags, replace_bpf_fd.
    """
    Attr(fields).call(BPF_PROG_ATTACH)


def prog_detach(**fields: Field) -> None:
    """Detach a program that was attached without a link. Fields: target_fd, attach_bpf_fd, attach_type."""
    Attr(fields).call(BPF_PROG_DETACH)


def prog_query(**fields: Field) -> Attr:
    """Ask what is attached to a target; return the answer, whose fields begin with ``query.``.

    Fields: target_fd, attach_type, query_flags, prog_ids, prog_cnt, link_ids ... Raises ENOSPC where there is more
    than ``prog_cnt``.
    """
    # The kernel writes flags and a count; it looks at no more fields than it is given.
    attr = Attr(
        {f"query.{name}": value for name, value in fields.items()}, least=end(union_bpf_attr, "query.prog_cnt")
    )
    attr.call(BPF_PROG_QUERY)
    return attr


def prog_bind_map(prog_fd: int, map_fd: int) -> None:
    """Let a map live as long as a program, which need not refer to it. (5.10)"""
    Attr({"prog_bind_map.prog_fd": prog_fd, "prog_bind_map.map_fd": map_fd}).call(BPF_PROG_BIND_MAP)


def task_fd_query(pid: int, fd: int, text: Buffer) -> Attr:
    """Ask which program a process's perf event or raw tracepoint runs, and where: ``text`` gets the place's name.

    The answer's fields are ``task_fd_query.prog_id``, ``.fd_type`` (BPF_FD_TYPE_*), ``.probe_offset``,
    ``.probe_addr``. Raises ENOENT for an event without a program, ENOTSUPP for what is no event.
    """
    fields: dict[str, Field] = {"pid": pid, "fd": fd, "buf": text, "buf_len": len(text)}
    attr = Attr(
        {f"task_fd_query.{name}": value for name, value in fields.items()},
        least=end(union_bpf_attr, "task_fd_query.probe_addr"),
    )
    attr.call(BPF_TASK_FD_QUERY)
    return attr


def obj_pin(fd: int, path: str) -> None:
    """Give an object a name in a bpf file system, where it outlives its process."""
    Attr({"bpf_fd": fd, "pathname": buffer(os.fsencode(path) + b"\0")}).call(BPF_OBJ_PIN)


def obj_get(path: str, file_flags: int = 0) -> int:
    """Return an fd of a pinned object; ``file_flags`` are BPF_F_RDONLY, BPF_F_WRONLY or 0."""
    return Attr({"pathname": buffer(os.fsencode(path) + b"\0"), "file_flags": file_flags}).open(BPF_OBJ_GET)


#: The commands that go from id to id, and from an id to an fd, by what they are about.
_NEXT_ID = {
    "prog": BPF_PROG_GET_NEXT_ID,
    "map": BPF_MAP_GET_NEXT_ID,
    "btf": BPF_BTF_GET_NEXT_ID,
    "link": BPF_LINK_GET_NEXT_ID,
}
_FD_BY_ID = {
    "prog": (BPF_PROG_GET_FD_BY_ID, "prog_id"),
    "map": (BPF_MAP_GET_FD_BY_ID, "map_id"),
    "btf": (BPF_BTF_GET_FD_BY_ID, "btf_id"),
    "link": (BPF_LINK_GET_FD_BY_ID, "link_id"),
}


def get_next_id(kind: str, start_id: int) -> int:
    """Return the id after ``start_id`` of a kind: prog, map, btf or link. Raises ENOENT after the last."""
    attr = Attr({"start_id": start_id}, least=end(union_bpf_attr, "next_id"))
    attr.call(_NEXT_ID[kind])
    return attr["next_id"]


def get_fd_by_id(kind: str, id: int, open_flags: int = 0) -> int:
    """Return an fd of a prog, map, btf or link by its id; ``open_flags`` are for a map. Raises ENOENT, EPERM."""
    command, field = _FD_BY_ID[kind]
    return Attr({field: id, "open_flags": open_flags}).open(command)
