"""The table of map types against the running kernel: which there are, what sizes they take, what can be done."""

import errno
import os
from contextlib import contextmanager

import pytest
from support.bpf2 import running_series
from support.each import each

from bpfasm.asm import *
from bpfasm.asm.map_types import OPS, all_types, type_of
from bpfasm.kernel.base.memlock import plenty
from bpfasm.kernel.maps.create import create_fields, create_with_types
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import bpf, system
from bpfasm.syscall.bpf import Attr
from bpfasm.syscall.libc import ENOTSUPP, buffer

pytestmark = pytest.mark.lab

each_type = each(all_types(), named=lambda row: row.spec)

#: What a kernel says to what it does not have.
NOT_THERE = (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP)


def number(series):
    return tuple(map(int, series.split(".")))


RUNNING = number(running_series())


def is_built_out(row):
    """Tell whether this kernel is configured without a type."""
    if row.type == BPF_MAP_TYPE_INODE_STORAGE:
        return "bpf_lsm_inode_permission" not in system.kernel_symbols()
    if row.type == BPF_MAP_TYPE_XSKMAP:
        return "xsk_map_alloc" not in system.kernel_symbols()
    return False


def try_creating(fields):
    """Return 0 where a map was created, or the errno.

    With locked memory enough: before 5.11 maps count against its limit, and those of a moment ago may still be there.
    """
    with plenty():
        try:
            os.close(bpf.map_create(**fields))
        except OSError as error:
            return error.errno
        return 0


def sample_of(type):
    """Return a declaration that a kernel takes if it has the type, and its fields."""
    row = type_of(type)
    ring = type in (BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF)
    spec = MapSpec.as_is(
        name="probe",
        type=type,
        key=u32 if row.key[0] == u32.size else row.key[0],
        value=row.value[0],
        max_entries=os.sysconf("SC_PAGESIZE") if ring else row.entries[0],
        flags=row.flags,
    )
    fields = create_fields(spec)
    if row.handle == "map":
        # An fd that is none: looked at after everything else, and EBADF then.
        fields["inner_map_fd"] = (1 << 31) - 1
    return spec, fields


def sample(row):
    """Return a declaration that this kernel takes, and its fields; skip a type that it does not have."""
    if has_map_type(row.type) is False:
        pytest.skip("this kernel does not have it")
    spec, fields = sample_of(row.type)
    if row.handle == "socket" and row.keys != "handle":
        spec = MapSpec.as_is(**{**spec.__dict__, "value": 8})  # room for a cookie
        fields["value_size"] = 8
    return spec, fields


@each_type
def test_a_kernel_has_a_type_from_its_release_on(row):
    assert has_map_type(row.type) is (number(row.since) <= RUNNING and not is_built_out(row))


# Ops


@contextmanager
def opened(row, spec, fields):
    """Make a map of the type, and close it."""
    if row.handle == "map":
        fields = fields | {
            "inner_map_fd": bpf.map_create(map_type=BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1)
        }
    fd = create_with_types(spec, fields)
    if row.handle == "map":
        os.close(fields["inner_map_fd"])
    try:
        yield fd
    finally:
        os.close(fd)


def try_op(row, spec, fd, op):
    """Return 0, or the errno of an operation that has nothing wrong but that an fd is none, or a key not there."""
    cpus = system.possible_cpus() if row.per_cpu else 1
    value = bytearray((spec.value_size + 7) // 8 * 8 * cpus)
    if row.handle and row.keys != "handle":
        value[:4] = (0x7FFFFFFF).to_bytes(4, "little")
    elif row.type in (BPF_MAP_TYPE_DEVMAP, BPF_MAP_TYPE_DEVMAP_HASH, BPF_MAP_TYPE_CPUMAP):
        value[0] = 1  # the first interface is lo; a queue of one
    key = b"\xff\xff\xff\x7f" if row.keys == "handle" else bytes(max(spec.key_size, 8))
    keys, values, place = buffer(key), buffer(bytes(value)), buffer(max(spec.key_size, 8))
    fields = {"map_fd": fd, "key": keys if spec.key_size else 0, "value": values}
    if op == "delete":
        fields.pop("value")
    elif op == "next":
        fields |= {"next_key": fields.pop("value"), "key": 0}
    elif "batch" in op:
        fields = {"batch.map_fd": fd, "batch.keys": keys, "batch.values": values, "batch.count": 1}
        if op in ("lookup_batch", "take_batch"):
            fields["batch.out_batch"] = place
        elif op == "delete_batch":
            fields.pop("batch.values")
    try:
        Attr(fields).call(OPS[op])
    except OSError as error:
        return error.errno
    return 0


@each_type
def test_what_can_be_done(row):
    spec, fields = sample(row)
    wrong = {}
    with opened(row, spec, fields) as fd:
        for op in OPS:
            if op == "next" and "lookup" not in row.ops and row.keys == "index":
                continue  # the kernel lists all its numbers, whether there is an element or not
            there = op in row.ops and max(number(row.ops[op] or row.since), number(row.since)) <= RUNNING
            done = (0, errno.ENOENT, errno.EBADF, errno.ESRCH)
            if row.type == BPF_MAP_TYPE_SOCKMAP and op == "delete":
                done = (errno.EINVAL,)  # its ENOENT
            result = try_op(row, spec, fd, op)
            if result not in (done if there else NOT_THERE):
                wrong[op] = errno.errorcode.get(result, result)
    assert wrong == {}


# Sizes


def beside(allowed):
    """Yield numbers that are not allowed, next to those that are."""
    near = {allowed[0] - 1, allowed[0] + 1, allowed[-1] - 1, allowed[-1] + 1}
    return sorted(n for n in near if 0 <= n < 1 << 17 and n not in allowed)


SIZES = {"key": "key_size", "value": "value_size"}


@each_type
def test_sizes_beside_those_in_the_table_are_refused(row):
    _, fields = sample(row)
    for part, field in (SIZES | {"entries": "max_entries"}).items():
        if row.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY and part == "entries":
            continue
        for size in beside(getattr(row, part)):
            assert try_creating(fields | {field: size}) not in (0, errno.EPERM), (part, size)


@each_type
def test_sizes_in_the_table_are_taken(row):
    _, fields = sample(row)
    if row.btf == "must" or row.handle == "map":
        return
    for part, field in SIZES.items():
        allowed = getattr(row, part)
        last = [allowed[-1]] if allowed[-1] < 1 << 15 else [512]  # more than the stack holds is newer than 5.10
        if row.type == BPF_MAP_TYPE_STACK_TRACE and part == "value":
            last = [8 * 127]  # as many as kernel.perf_event_max_stack says
        for size in {allowed[0], *last}:
            assert try_creating(fields | {field: size}) == 0, (part, size)


@each_type
def test_flags_that_a_type_cannot_do_without(row):
    _, fields = sample(row)
    if row.flags and row.btf != "must":
        assert try_creating(fields | {"map_flags": 0}) in NOT_THERE


@each_type
def test_map_extra(row):
    _, fields = sample(row)
    for extra in beside(row.extra):
        assert try_creating(fields | {"map_extra": extra}) != 0


# BTF


def typed(row):
    """Return a declaration of the type with types for key and value."""
    key = u32 if 4 in row.key else u64 if 8 in row.key else 0
    key = ipv4_prefix if row.keys == "prefix" else key
    value = u32 if 4 in row.value else 0 if 0 in row.value else row.value[0]
    if 8 in row.value and row.type == BPF_MAP_TYPE_STACK_TRACE:
        value = u64
    spec, _ = sample_of(row.type)
    return MapSpec.as_is(**{**spec.__dict__, "key": key, "value": value, "max_entries": spec.max_entries})


@each_type
def test_types_are_told_where_the_kernel_takes_them(row):
    from bpfasm.kernel.maps.create import _with_btf

    sample(row)
    spec = typed(row)
    fields = create_fields(spec)
    inner = None
    if row.handle == "map":
        inner = fields["inner_map_fd"] = bpf.map_create(
            map_type=BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1
        )
    try:
        os.close(_with_btf(spec, fields))
        taken = True
    except OSError as error:
        assert error.errno in NOT_THERE
        taken = False
    finally:
        if inner is not None:
            os.close(inner)
    assert taken is (row.btf != "no")
