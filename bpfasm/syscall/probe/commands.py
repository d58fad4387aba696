"""The commands of bpf(2), and the fields that its attr has gained.

A command is asked for with a file descriptor that is none, or an id that nothing has: a kernel that knows the command
says so, another one says EINVAL. A field that a kernel does not know must be zero: EINVAL where its attr has room
there, E2BIG beyond its end.
"""

from __future__ import annotations

from errno import E2BIG, EBADF, EBADFD, EEXIST, EFAULT, EINVAL, ENOENT
from functools import partial

from bpfasm.syscall.bpf import Attr
from bpfasm.syscall.libc import ENOTSUPP, NR, buffer, errno, syscall
from bpfasm.syscall.probe.answer import Answer, Tried, denied, judge, yes
from bpfasm.syscall.probe.btf import loaded
from bpfasm.syscall.probe.feature import Feature, label
from bpfasm.syscall.probe.links import named
from bpfasm.syscall.probe.trying import COMMANDS, NO_FD, attempt, map_of, opening
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Probe = Callable[[], Answer]

#: No id is this large.
_NO_ID = 0x7FFFFFFE

#: A command the kernel knows gets as far as one of these.
_KNOWN = (EBADF, EBADFD, ENOENT, EFAULT, EEXIST)


def ask(number: int, fields: dict[str, Any]) -> Tried:
    """Make a call that does nothing."""
    return attempt(COMMANDS[number], lambda: Attr(fields).call(number))


def _asked(number: int, **fields: Any) -> Probe:
    def probe() -> Answer:
        return judge(ask(number, fields), there=_KNOWN, absent=(EINVAL,), reason="the kernel does not know it")

    return probe


def _by_fd(number: int, field: str, **more: Any) -> Probe:
    return _asked(number, **{field: NO_FD}, **more)


def _by_id(number: int, field: str = "start_id") -> Probe:
    """By an id that nothing has, or after the last one there can be."""
    return _asked(number, **{field: _NO_ID})


def _map_command(number: int) -> Probe:
    """On an element of a map."""

    def use() -> None:
        with map_of(bpf.BPF_MAP_TYPE_HASH, key_size=4, value_size=4, max_entries=1) as table:
            fields: dict[str, Any] = {"map_fd": table.number, "key": buffer(4)}
            if number != bpf.BPF_MAP_DELETE_ELEM:
                fields["value"] = buffer(4)
            Attr(fields).call(number)

    return lambda: judge(attempt(COMMANDS[number], use), there=(ENOENT,), absent=(EINVAL,))


def _create() -> Answer:
    fields = {"map_type": bpf.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 4, "max_entries": 1}
    return judge(opening(bpf.BPF_MAP_CREATE, fields))


def _pin() -> Answer:
    """Under a name that there is already."""

    def use() -> None:
        with map_of(bpf.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1) as table:
            Attr({"bpf_fd": table.number, "pathname": buffer(b"/\0")}).call(bpf.BPF_OBJ_PIN)

    return judge(attempt("BPF_OBJ_PIN", use), there=(EEXIST,), absent=(EINVAL,))


_NOWHERE = buffer(b"/proc/self/bpfasm_no_such\0")

#: (command, since, commit, probe)
_COMMANDS: tuple[tuple[int, str, str, Probe], ...] = (
    (bpf.BPF_MAP_CREATE, "3.18", "99c55f7d47c0", _create),
    (bpf.BPF_MAP_LOOKUP_ELEM, "3.18", "db20fd2b0108", _map_command(bpf.BPF_MAP_LOOKUP_ELEM)),
    (bpf.BPF_MAP_UPDATE_ELEM, "3.18", "db20fd2b0108", _map_command(bpf.BPF_MAP_UPDATE_ELEM)),
    (bpf.BPF_MAP_DELETE_ELEM, "3.18", "db20fd2b0108", _map_command(bpf.BPF_MAP_DELETE_ELEM)),
    (bpf.BPF_MAP_GET_NEXT_KEY, "3.18", "db20fd2b0108", _map_command(bpf.BPF_MAP_GET_NEXT_KEY)),
    (bpf.BPF_PROG_LOAD, "3.18", "09756af46893",
     _asked(bpf.BPF_PROG_LOAD, prog_type=bpf.BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt=1)),
    (bpf.BPF_OBJ_PIN, "4.4", "b2197755b263", _pin),
    (bpf.BPF_OBJ_GET, "4.4", "b2197755b263", _asked(bpf.BPF_OBJ_GET, pathname=_NOWHERE)),
    (bpf.BPF_PROG_ATTACH, "4.10", "f4324551489e", _by_fd(bpf.BPF_PROG_ATTACH, "attach_bpf_fd", target_fd=NO_FD)),
    (bpf.BPF_PROG_DETACH, "4.10", "f4324551489e", _by_fd(bpf.BPF_PROG_DETACH, "target_fd")),
    (bpf.BPF_PROG_TEST_RUN, "4.12", "1cf1cae963c2", _by_fd(bpf.BPF_PROG_TEST_RUN, "test.prog_fd")),
    (bpf.BPF_PROG_GET_NEXT_ID, "4.13", "34ad5580f8f9", _by_id(bpf.BPF_PROG_GET_NEXT_ID)),
    (bpf.BPF_MAP_GET_NEXT_ID, "4.13", "34ad5580f8f9", _by_id(bpf.BPF_MAP_GET_NEXT_ID)),
    (bpf.BPF_PROG_GET_FD_BY_ID, "4.13", "b16d9aa4c2b9", _by_id(bpf.BPF_PROG_GET_FD_BY_ID, "prog_id")),
    (bpf.BPF_MAP_GET_FD_BY_ID, "4.13", "bd5f5f4ecb78", _by_id(bpf.BPF_MAP_GET_FD_BY_ID, "map_id")),
    (bpf.BPF_OBJ_GET_INFO_BY_FD, "4.13", "1e2709769086", _by_fd(bpf.BPF_OBJ_GET_INFO_BY_FD, "info.bpf_fd")),
    (bpf.BPF_PROG_QUERY, "4.15", "468e2f64d220", _by_fd(bpf.BPF_PROG_QUERY, "query.target_fd")),
    (bpf.BPF_RAW_TRACEPOINT_OPEN, "4.17", "c4f6699dfcb8",
     _by_fd(bpf.BPF_RAW_TRACEPOINT_OPEN, "raw_tracepoint.prog_fd")),
    (bpf.BPF_BTF_LOAD, "4.18", "f56a653c1fd1", _asked(bpf.BPF_BTF_LOAD, btf=1, btf_size=64)),
    (bpf.BPF_BTF_GET_FD_BY_ID, "4.18", "78958fca7ead", _by_id(bpf.BPF_BTF_GET_FD_BY_ID, "btf_id")),
    (bpf.BPF_TASK_FD_QUERY, "4.18", "41bdc4b40ed6", _asked(bpf.BPF_TASK_FD_QUERY, **{"task_fd_query.pid": _NO_ID})),
    (bpf.BPF_MAP_LOOKUP_AND_DELETE_ELEM, "4.20", "bd513cd08f10",
     _by_fd(bpf.BPF_MAP_LOOKUP_AND_DELETE_ELEM, "map_fd")),
    (bpf.BPF_MAP_FREEZE, "5.2", "87df15de441b", _by_fd(bpf.BPF_MAP_FREEZE, "map_fd")),
    (bpf.BPF_BTF_GET_NEXT_ID, "5.4", "1b9ed84ecf26", _by_id(bpf.BPF_BTF_GET_NEXT_ID)),
    (bpf.BPF_MAP_LOOKUP_BATCH, "5.6", "cb4d03ab499d", _by_fd(bpf.BPF_MAP_LOOKUP_BATCH, "batch.map_fd")),
    (bpf.BPF_MAP_LOOKUP_AND_DELETE_BATCH, "5.6", "057996380a42",
     _by_fd(bpf.BPF_MAP_LOOKUP_AND_DELETE_BATCH, "batch.map_fd")),
    (bpf.BPF_MAP_UPDATE_BATCH, "5.6", "aa2e93b8e58e", _by_fd(bpf.BPF_MAP_UPDATE_BATCH, "batch.map_fd")),
    (bpf.BPF_MAP_DELETE_BATCH, "5.6", "aa2e93b8e58e", _by_fd(bpf.BPF_MAP_DELETE_BATCH, "batch.map_fd")),
    (bpf.BPF_LINK_CREATE, "5.7", "af6eea57437a", _by_fd(bpf.BPF_LINK_CREATE, "link_create.prog_fd")),
    (bpf.BPF_LINK_UPDATE, "5.7", "0c991ebc8c69", _by_fd(bpf.BPF_LINK_UPDATE, "link_update.link_fd")),
    (bpf.BPF_LINK_GET_FD_BY_ID, "5.8", "2d602c8cf40d", _by_id(bpf.BPF_LINK_GET_FD_BY_ID, "link_id")),
    (bpf.BPF_LINK_GET_NEXT_ID, "5.8", "2d602c8cf40d", _by_id(bpf.BPF_LINK_GET_NEXT_ID)),
    # To ask is to switch it on.
    (bpf.BPF_ENABLE_STATS, "5.8", "d46edd671a14", named("BPF_ENABLE_STATS")),
    (bpf.BPF_ITER_CREATE, "5.8", "ac51d99bf81c", _by_fd(bpf.BPF_ITER_CREATE, "iter_create.link_fd")),
    (bpf.BPF_LINK_DETACH, "5.9", "73b11c2ab072", _by_fd(bpf.BPF_LINK_DETACH, "link_detach.link_fd")),
    (bpf.BPF_PROG_BIND_MAP, "5.10", "ef15314aa5de", _by_fd(bpf.BPF_PROG_BIND_MAP, "prog_bind_map.prog_fd")),
    (bpf.BPF_TOKEN_CREATE, "6.9", "35f96de04127", _by_fd(bpf.BPF_TOKEN_CREATE, "token_create.bpffs_fd")),
    (bpf.BPF_PROG_STREAM_READ_BY_FD, "6.17", "5ab154f1463a",
     _by_fd(bpf.BPF_PROG_STREAM_READ_BY_FD, "prog_stream_read.prog_fd")),
    (bpf.BPF_PROG_ASSOC_STRUCT_OPS, "7.0", "",
     _by_fd(bpf.BPF_PROG_ASSOC_STRUCT_OPS, "prog_assoc_struct_ops.prog_fd")),
)  # fmt: skip


def common_attributes() -> Answer:
    """A log for every command: the kernel reads its attributes from an address that is none."""
    attr = Attr({})
    result = syscall(NR["__NR_bpf"], bpf.BPF_MAP_CREATE | bpf.BPF_COMMON_ATTRS, attr.memory, attr.size, 0, 24)
    tried = Tried("BPF_MAP_CREATE | BPF_COMMON_ATTRS", errno() if result < 0 else 0)
    return judge(tried, there=(EFAULT,), absent=(EINVAL,), reason="the kernel does not know them")


# Fields

#: Calls that do nothing: what is wrong with them is looked at after the fields that must be zero.
_IDLE: dict[int, dict[str, Any]] = {
    bpf.BPF_PROG_LOAD: {"prog_type": bpf.BPF_PROG_TYPE_SOCKET_FILTER, "insn_cnt": 1},
    bpf.BPF_MAP_CREATE: {
        "map_type": bpf.BPF_MAP_TYPE_ARRAY,
        "key_size": 4,
        "value_size": 4,
        "max_entries": 1,
        "btf_key_type_id": 1,
        "btf_value_type_id": 1,
        "btf_fd": NO_FD,
    },
    bpf.BPF_LINK_CREATE: {"link_create.prog_fd": NO_FD},
    bpf.BPF_PROG_TEST_RUN: {"test.prog_fd": NO_FD},
    bpf.BPF_RAW_TRACEPOINT_OPEN: {"raw_tracepoint.prog_fd": NO_FD},
    bpf.BPF_BTF_LOAD: {"btf": 1, "btf_size": 64},
    bpf.BPF_PROG_ATTACH: {"attach_bpf_fd": NO_FD},
}


def _types_of_modules() -> Answer:
    """Whether attach_prog_fd may be an fd of types: with some that are no module's, it is refused as such."""
    with loaded() as types:
        given = {**_IDLE[bpf.BPF_PROG_LOAD], "prog_type": bpf.BPF_PROG_TYPE_TRACING, "license": buffer(b"GPL\0")}
        tried = ask(bpf.BPF_PROG_LOAD, {**given, "attach_btf_obj_fd": types.number})
    tried = tried.replace(call=f"{tried.call} with attach_btf_obj_fd")
    return judge(tried, there=(ENOTSUPP,), absent=(EINVAL,), reason="the kernel does not know it")


#: (command, field, since): the fields of a command that came after the command itself.
_FIELDS = (
    (bpf.BPF_MAP_CREATE, "map_token_fd", "6.9"),
    (bpf.BPF_MAP_CREATE, "value_type_btf_obj_fd", "6.9"),
    (bpf.BPF_PROG_LOAD, "attach_btf_obj_fd", "5.11"),
    (bpf.BPF_PROG_LOAD, "fd_array", "5.14"),
    (bpf.BPF_PROG_LOAD, "core_relo_cnt", "5.17"),
    (bpf.BPF_PROG_LOAD, "core_relos", "5.17"),
    (bpf.BPF_PROG_LOAD, "core_relo_rec_size", "5.17"),
    (bpf.BPF_PROG_LOAD, "prog_token_fd", "6.9"),
    (bpf.BPF_PROG_LOAD, "fd_array_cnt", "6.14"),
    (bpf.BPF_PROG_LOAD, "signature", "6.18"),
    (bpf.BPF_PROG_LOAD, "signature_size", "6.18"),
    (bpf.BPF_PROG_LOAD, "keyring_id", "6.18"),
    (bpf.BPF_PROG_ATTACH, "replace_bpf_fd", "5.6"),
    (bpf.BPF_PROG_ATTACH, "relative_fd", "6.6"),
    (bpf.BPF_PROG_ATTACH, "expected_revision", "6.6"),
    (bpf.BPF_PROG_TEST_RUN, "test.flags", "5.10"),
    (bpf.BPF_PROG_TEST_RUN, "test.cpu", "5.10"),
    (bpf.BPF_PROG_TEST_RUN, "test.batch_size", "5.18"),
    (bpf.BPF_RAW_TRACEPOINT_OPEN, "raw_tracepoint.cookie", "6.10"),
    (bpf.BPF_BTF_LOAD, "btf_token_fd", "6.9"),
    (bpf.BPF_LINK_CREATE, "link_create.iter_info", "5.9"),
    (bpf.BPF_LINK_CREATE, "link_create.kprobe_multi.cookies", "5.18"),
    (bpf.BPF_LINK_CREATE, "link_create.uprobe_multi.pid", "6.6"),
)


def field(number: int, name: str) -> Answer:
    """Return whether the kernel knows a field of a command, by setting it in a call that does nothing."""
    if name == "attach_btf_obj_fd":
        return _types_of_modules()
    before = ask(number, _IDLE[number])
    tried = ask(number, {**_IDLE[number], name: 1})
    tried = tried.replace(call=f"{tried.call} with {name}")
    if tried.errno == before.errno:
        # Before 5.19 the system call is refused to who may not make it before anything is looked at.
        return denied(tried) if tried.not_permitted else yes(tried.words)
    return judge(tried, absent=(EINVAL, E2BIG), reason="the kernel does not know it")


def unknown_fields(number: int, given: dict[str, Any]) -> dict[str, str]:
    """Return which of the fields that a call was given the running kernel does not know, with their releases."""
    return {
        name: since
        for command, name, since in _FIELDS
        if command == number and given.get(name) and field(number, name).state == "no"
    }


def _features() -> tuple[Feature, ...]:
    rows = [
        Feature("command", label(COMMANDS[number], "BPF_"), "", since, probe, commit)
        for number, since, commit, probe in _COMMANDS
    ]
    rows.append(Feature("command", "common_attrs", "a log for every command", "7.2", common_attributes))
    for number, name, since in _FIELDS:
        called = f"{label(COMMANDS[number], 'BPF_')}.{name.rpartition('.')[2]}"
        rows.append(Feature("field", called, "", since, partial(field, number, name)))
    return tuple(rows)


FEATURES = _features()
