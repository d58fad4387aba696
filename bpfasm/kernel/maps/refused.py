"""Why a map was not created, or an operation on it refused, in words."""

from __future__ import annotations

import os
from errno import (
    E2BIG,
    EAGAIN,
    EBADF,
    EBUSY,
    EEXIST,
    EINVAL,
    ENOBUFS,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOSYS,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    ERANGE,
)

from bpfasm.asm.maps import MapSpec
from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.memlock import plenty
from bpfasm.kernel.base.no_memory import more_memory
from bpfasm.kernel.base.privilege import barred, lacking
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name, map_type
from bpfasm.kernel.maps.create import create_fields
from bpfasm.syscall import bpf, system
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.kernel.maps.map import LoadedMap

#: The types that need CAP_NET_ADMIN (kernel/bpf/syscall.c map_create()); the others need CAP_BPF.
_NET_ADMIN = (
    uapi.BPF_MAP_TYPE_SOCKMAP,
    uapi.BPF_MAP_TYPE_SOCKHASH,
    uapi.BPF_MAP_TYPE_DEVMAP,
    uapi.BPF_MAP_TYPE_DEVMAP_HASH,
    uapi.BPF_MAP_TYPE_XSKMAP,
)

#: What a kernel says to a type, a command or a flag that it does not have.
_NOT_THERE = (EINVAL, ENOTSUPP, EOPNOTSUPP)


def needs_of_map(type: int) -> tuple[str, ...]:
    """Return the capabilities that creating a map of this type takes."""
    return ("CAP_BPF", "CAP_NET_ADMIN") if type in _NET_ADMIN else ("CAP_BPF",)


def not_created(spec: MapSpec, number: int, fields: dict[str, Any] | None = None) -> Exception:
    """Say why a map was not created (kernel/bpf/syscall.c map_create() and each type's map_alloc_check()).

    ``fields`` are those of the call, where they are more than the declaration says.
    """
    fields = fields or create_fields(spec)
    kind, what = map_type(spec.type), f"the map {spec.name} was not created"
    sizes = (
        f"key {spec.key_size}, value {spec.value_size} bytes, {fields['max_entries']} entries, flags {spec.flags:#x}"
    )
    needs = needs_of_map(spec.type)
    if spec.flags & uapi.BPF_F_ZERO_SEED and lacking(("CAP_SYS_ADMIN",)):
        needs = ("CAP_SYS_ADMIN",)
    lack = barred(f"creating the map {spec.name}", number, needs)
    if lack is not None:
        return lack
    if number in _NOT_THERE:
        if has_map_type(spec.type) is False:
            return FeatureMissing(
                f"{what}: this kernel ({system.release()}) has no maps of type {kind}",
                "use a type that it has, or run it on a newer kernel (--on 7)",
                rule="no-map-type",
            )
        said = bpf.map_create_log(fields).strip()
        return KernelError(
            number,
            f"{what}: {kind} does not take {sizes} ({errno_name(number)}{f': {said}' if said else ''})",
            _what_else(spec),
            rule="map-create",
        )
    if number == E2BIG:
        return KernelError(
            number, f"{what}: it is too large ({sizes})", "make its values smaller or fewer", rule="map-create"
        )
    if number == ENOMEM:
        takes = f"{_bytes_of(spec, fields['max_entries'])} bytes and more"
        return KernelError(
            number,
            f"{what}: the kernel has no memory for it, {takes} ({sizes})",
            more_memory("make it smaller"),
            rule="map-create",
        )
    return KernelError(
        number, f"{what}: {errno_name(number)} for {kind}, {sizes}", "dmesg may tell more", rule="map-create"
    )


def _bytes_of(spec: MapSpec, entries: int) -> int:
    """Return how many bytes the elements of a map take; the entries of a ring are bytes."""
    value = (spec.value_size + 7) // 8 * 8 * (system.possible_cpus() if spec.per_cpu else 1)
    key = 0 if spec.row.keys == "index" else spec.key_size
    return entries * (key + value or 1)


def _what_else(spec: MapSpec) -> str:
    """Return what to look at where a map that seems right is refused."""
    if spec.flags & ~(spec.row.flags | uapi.BPF_F_NUMA_NODE):
        return f"a flag may be newer than this kernel ({system.release()}), or not for maps of this type"
    if spec.map_extra:
        return f"map_extra is newer than this kernel ({system.release()}), or not for maps of this type"
    if spec.numa_node is not None:
        return f"numa_node={spec.numa_node} may be no node of this machine, or these maps take none"
    if spec.type == uapi.BPF_MAP_TYPE_STACK_TRACE:
        deepest = system.read("/proc/sys/kernel/perf_event_max_stack")
        return (
            f"a stack has kernel.perf_event_max_stack={(deepest or '?').strip()} frames at most: take a lower depth"
        )
    return "docs/maps.rst says what each type takes"


def has_map_type(type: int) -> bool | None:
    """Return whether this kernel has a type of map, by creating one; None where that does not tell (privileges)."""
    from bpfasm.syscall.probe.answer import NO, YES
    from bpfasm.syscall.probe.maps import map_type as ask

    with plenty():
        return {YES: True, NO: False}.get(ask(type).state)


def element_refused(spec: MapSpec, number: int, call: str, fd: int | None = None) -> Exception:
    """Say why an operation on an element was refused; ``fd`` is asked how the map may be used."""
    name, row = spec.name, spec.row
    what, do = f"{name}: {call} failed with {errno_name(number)}", ""
    setting = call == "BPF_MAP_UPDATE_ELEM"
    if number == E2BIG and row.keys == "index":
        what = f"{name} has no such key: an array's keys are 0 to max_entries - 1 = {spec.max_entries - 1}"
        do = "declare it with a larger max_entries, or use a HashMap"
    elif number == E2BIG and row.keys == "none":
        what = f"{name} is full: it holds max_entries = {spec.max_entries} values"
        do = "pop one, push(value, BPF_EXIST) to drop the oldest, or declare it with a larger max_entries"
    elif number == ENOSPC and not setting:
        what = f"{name} has values of {spec.value_size} bytes, and a socket's cookie has 8"
        do = "declare it with SockMap, SockHash or ReuseportSockArray, whose values have 8"
    elif number in (E2BIG, ENOSPC):
        what = f"{name} is full: it holds max_entries = {spec.max_entries} keys"
        do = "delete one, declare it with a larger max_entries, or use an LRU map"
    elif number == EEXIST:
        what, do = f"{name} has this key already, and the flag BPF_NOEXIST was given", "leave the flag out"
    elif number == ENOENT and row.keys == "handle":
        what, do = f"{name} was given a {row.handle} that is gone", "open it again"
    elif number == ENOENT:
        what, do = f"{name} does not have this key, and the flag BPF_EXIST was given", "leave the flag out"
    elif number == EPERM and (why := _read_only(spec, fd, call)):
        what, do = why
    elif number == ENOMEM:
        what = f"the kernel has no memory for another element of {name}"
        do = more_memory("delete some")
    elif number in (EBUSY, EAGAIN) and not row.handle:
        what, do = f"{name} is in use by another CPU ({errno_name(number)})", "try again"
    elif number == EOVERFLOW and spec.type == uapi.BPF_MAP_TYPE_CPUMAP:
        what, do = f"{name}: a CPU's queue holds 16384 packets at most", "give it a smaller value"
    elif number in (ENODEV, ERANGE):
        what, do = (
            f"{name} was given a CPU that this machine does not have",
            f"it has 0 to {system.cpu_numbers() - 1}",
        )
    elif number in (EBADF, *_NOT_THERE, ENOBUFS) or (row.handle and number not in (EPERM, ENOSYS)):
        return _not_taken(spec, number, call)
    else:
        lack = barred(f"{call} on {name}", number)
        if lack is not None:
            return lack
    return KernelError(number, what, do, rule="map-element")


def _read_only(spec: MapSpec, fd: int | None, call: str) -> tuple[str, str] | None:
    """Say why nobody may read or write elements by this file descriptor, and what to do; None where some may."""
    from bpfasm.kernel.maps.info import access_of, frozen

    name, access = spec.name, os.O_RDWR if fd is None else access_of(fd)
    if access == os.O_RDONLY:
        return f"{name} was opened with BPF_F_RDONLY, and {call} writes it", "open it without the flag"
    if access == os.O_WRONLY:
        return f"{name} was opened with BPF_F_WRONLY, and {call} reads it", "open it without the flag"
    if fd is not None and frozen(fd):
        return f"{name} is frozen: user space cannot change it any more", "freeze it later, or load it again"
    return None


#: What to look at where something that stands for another object was not taken, by what it is.
_TAKEN = {
    "map": "a map whose type, sizes and flags are those of inner= (an array's max_entries, too)",
    "program": "a program of the type that the programs calling it have, loaded and open",
    "perf event": "the fd of perf_event_open()",
    "cgroup": "the fd of a directory in a cgroup2 file system",
    "socket": "a TCP socket that is connected or listening, or a UDP or Unix socket",
    "AF_XDP socket": "an AF_XDP socket with a receive ring",
    "pidfd": "the fd of os.pidfd_open()",
    "file": "the fd of an open file",
}

_REUSEPORT = "a TCP or UDP socket with SO_REUSEPORT that is bound, and in no such map yet"


def _not_taken(spec: MapSpec, number: int, call: str) -> Exception:
    """Say what may be wrong with a key, value or flag."""
    name, row = spec.name, spec.row
    what, do = f"{name}: {call} failed with {errno_name(number)}", ""
    if row.handle:
        do = _REUSEPORT if spec.type == uapi.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY else _TAKEN[row.handle]
        where = "keys" if row.keys == "handle" else "elements"
        what, do = f"{name} did not take this {row.handle} ({errno_name(number)})", f"its {where} are each {do}"
    elif spec.type in (uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_DEVMAP_HASH):
        what = f"{name} did not take this interface or program ({errno_name(number)})"
        do = "give the index of an interface (socket.if_nametoindex), and an XDP program for BPF_XDP_DEVMAP or none"
    elif number == EINVAL and call != "BPF_MAP_GET_NEXT_KEY":
        what = f"{name} does not take this key, value or flag (EINVAL)"
        do = "BPF_F_LOCK is for values with a spin_lock, BPF_F_CPU for per-CPU maps of Linux 7 and newer"
    elif number in (ENOTSUPP, EOPNOTSUPP):
        return FeatureMissing(
            f"{name}: this kernel ({system.release()}) has no {call} for maps of type {map_type(spec.type)}",
            f"run it on a newer kernel (--on 7), or {IN_THE_LAB}",
            rule="no-map-command",
        )
    return KernelError(number, what, do, rule="map-element")


def no_single_cpu(spec: MapSpec) -> FeatureMissing:
    """Say that the value of one CPU cannot be set alone."""
    return FeatureMissing(
        f"{spec.name}: this kernel ({system.release()}) does not set the value of one CPU (BPF_F_CPU)",
        "set those of all, m[key] = [...], while no program writes; or run it on Linux 7 (--on 7)",
        rule="no-map-command",
    )


def not_frozen(map: LoadedMap, number: int) -> Exception:
    """Say why a map was not frozen (kernel/bpf/syscall.c map_freeze())."""
    from bpfasm.kernel.maps.info import frozen

    name = map.spec.name
    what, do = f"{name} was not frozen: {errno_name(number)}", ""
    if number in (EBUSY, EPERM) and frozen(map.fd):
        what, do = f"{name} is frozen already", "freeze it once"
    elif number == EBUSY:
        what = f"{name} was not frozen: it is memory that somebody may write, or being written"
        do = "drop the memory() that is writable first, with the views of it"
    elif number == ENOTSUPP:
        what, do = f"{name} was not frozen: its values have a lock or timer", "keep these in another map"
    elif number == EPERM and (why := _read_only(map.spec, map.fd, "BPF_MAP_FREEZE")):
        what, do = why
    else:
        lack = barred(f"freezing {name}", number)
        if lack is not None:
            return lack
    return KernelError(number, what, do, rule="map-freeze")
