"""Why a reader was not made, in words."""

from __future__ import annotations

import os
from errno import EACCES, ENODEV, ENOMEM, EPERM

from bpfasm.errors import AssemblyError, BpfasmError, FeatureMissing, KernelError, RecordError
from bpfasm.kernel.base.no_memory import more_memory
from bpfasm.kernel.base.privilege import event_not_permitted
from bpfasm.kernel.base.words import errno_name, map_type
from bpfasm.uapi.bpf import BPF_MAP_TYPE_PERF_EVENT_ARRAY, BPF_MAP_TYPE_RINGBUF, BPF_MAP_TYPE_USER_RINGBUF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.maps import MapSpec


def no_reader(spec: MapSpec, reader: str) -> AssemblyError:
    """Say that a map is none that a reader reads."""
    return AssemblyError(
        f"{spec.name} is a map of type {map_type(spec.type)}, which {reader} does not take",
        "RingReader reads a RingBuf, PerfReader a PerfEventArray, UserRing writes a UserRingBuf; others are dicts",
        rule="no-reader",
    )


def in_use(spec: MapSpec) -> AssemblyError:
    """Say that a buffer has its reader, or its sender."""
    why = {
        BPF_MAP_TYPE_RINGBUF: "a reader, and what one reads frees its place for all",
        BPF_MAP_TYPE_USER_RINGBUF: "a sender, and two would write over each other's messages",
        BPF_MAP_TYPE_PERF_EVENT_ARRAY: "a reader for that CPU, and each event goes to one place",
    }
    return AssemblyError(
        f"{spec.name} has {why[spec.type]}",
        "use that one, from several threads if you like, or close it first",
        rule="ring-in-use",
    )


def not_mapped(spec: MapSpec, number: int, fd: int | None = None) -> KernelError:
    """Say why the memory of a ring was not mapped; ``fd`` is that of its map, which may not be for writing."""
    from bpfasm.kernel.maps.info import access_of, frozen

    why, do = errno_name(number), "dmesg may tell more"
    if fd is not None and access_of(fd) != os.O_RDWR:
        why = "it was opened with BPF_F_RDONLY or BPF_F_WRONLY, and is read and written"
        do = "open it without the flag"
    elif fd is not None and frozen(fd):
        why, do = "it is frozen, and who reads a ring writes how far", "do not freeze it"
    elif number == EPERM:
        do = "what a process may lock in memory is limited: read with fewer pages, or raise it (ulimit -l unlimited)"
    elif number == ENOMEM:
        do = more_memory("use a smaller buffer, or let this process have more memory (ulimit -v)")
    return KernelError(number, f"the memory of {spec.name} was not mapped: {why}", do, rule="reader-memory")


def no_barrier(number: int) -> FeatureMissing:
    """Say that there is no memory barrier."""
    return FeatureMissing(
        f"reading a ring takes memory barriers on this machine, and membarrier(2) fails: {errno_name(number)}",
        "allow the system call membarrier (a seccomp profile may forbid it), or use a kernel from 4.16 on",
        rule="no-barrier",
    )


def not_settled(spec: MapSpec, number: int) -> FeatureMissing:
    """Say that what programs were writing cannot be waited for."""
    return FeatureMissing(
        f"a snapshot of {spec.name} has to wait for programs that write to it, and may not: {errno_name(number)}",
        "allow the system call membarrier (a seccomp profile may forbid it), or this process to run on all CPUs",
        rule="no-barrier",
    )


def no_views() -> RecordError:
    """Say that what is put in order, or kept, cannot be a view of a buffer that goes on."""
    return RecordError(
        "memoryview is no way to read events that are sorted or recorded: their memory is used again meanwhile",
        "read bytes instead, which are copies",
        rule="event-make",
    )


def two_wakeups() -> AssemblyError:
    """Say that one wakes by events or by bytes."""
    return AssemblyError(
        "wakeup_events and wakeup_watermark share a field: a reader is woken by one of them",
        "give a number of events, or a number of bytes",
        rule="perf-buffer",
    )


def pages_no_power(pages: int) -> AssemblyError:
    """Say that a perf buffer has another size."""
    return AssemblyError(
        f"a perf buffer has a power of two of pages, and {pages} is none",
        "give 1, 2, 4, 8, 16, 32, 64 ...",
        rule="perf-buffer",
    )


def none_online(spec: MapSpec) -> KernelError:
    """Say that there is no CPU to read."""
    return KernelError(
        ENODEV, f"none of the CPUs to read for {spec.name} is online", "see which are: lscpu", rule="perf-open"
    )


def not_opened(spec: MapSpec, cpu: int, number: int) -> BpfasmError:
    """Say why a perf event was not opened."""
    if number in (EACCES, EPERM):
        return event_not_permitted(f"opening a perf buffer for {spec.name}", errno_name(number))
    return KernelError(
        number,
        f"the perf buffer of CPU {cpu} for {spec.name} was not opened: {errno_name(number)}",
        "see which CPUs are online: lscpu",
        rule="perf-open",
    )


def no_message(name: str, message: object) -> RecordError:
    """Say that something is no message."""
    return RecordError(
        f"{message!r:.60} is no message for {name}, but of type {type(message).__name__}",
        "send bytes, or what the ring was declared with (record=)",
        rule="message-size",
    )


def no_counter(spec: MapSpec) -> AssemblyError:
    """Say that a map does not count what found no place."""
    return AssemblyError(
        f"{spec.name} does not count what is lost: it is no per-CPU array",
        f'declare PerCpuArrayMap("{spec.name}", value=u64, max_entries=1), and give it to the snippet, too',
        rule="no-reader",
    )


def message_too_large(name: str, size: int, most: int) -> RecordError:
    """Say that a message never fits."""
    return RecordError(
        f"a message of {size} bytes does not fit {name}, which has {most} with 8 for each header",
        "declare the ring with a larger max_entries, or send it in parts",
        rule="message-size",
    )
