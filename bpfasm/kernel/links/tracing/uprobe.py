"""Attaching in programs and libraries: uprobe and uretprobe, by the uprobe PMU or by tracefs."""

from __future__ import annotations

import os

from bpfasm.elf.probes import function_offset
from bpfasm.kernel.links.tracing.perf_link import bind
from bpfasm.kernel.links.tracing.tracefs_event import TracefsEvent
from bpfasm.kernel.user import code_of, find_file
from bpfasm.syscall import perf_event, system, tracefs
from bpfasm.syscall.libc import buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.uprobe import Uprobe
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "perf", "tracefs")

#: The bit of perf_event_attr.config where a semaphore's offset begins, which has the 32 above it.
_SEMAPHORE = 32


def open_link(program: LoadedProgram, where: Uprobe, mode: str = "auto") -> Link:
    """Attach a program of type KPROBE in a file.

    ``mode`` is the mechanism: ``link`` (uprobe PMU and BPF link, from kernel 5.15 on), ``perf`` (uprobe PMU, the
    program set by ioctl), ``tracefs`` (an event in uprobe_events; it outlives a killed process, so its group names
    the owner), or ``auto``, the first of these that is there. Raises FeatureMissing, KernelError, InputError.
    """
    path = find_file(where.path, pid=where.pid, inside=where.inside)
    offset = function_offset(code_of(path), where.symbol, where.offset) if where.symbol else where.offset
    return open_at(program, where, path, offset, mode)


def open_at(program: LoadedProgram, where: Uprobe, path: str, offset: int, mode: str) -> Link:
    """Attach at an offset of a file."""
    from bpfasm.kernel.links.tracing import uprobe_refused as refused

    pmu = system.pmu_type("uprobe")
    if mode == "tracefs" or (mode == "auto" and pmu is None):
        return _by_tracefs(program, where, path, offset, mode)
    if pmu is None:
        raise refused.no_pmu()
    config = 1 << (system.pmu_bit("uprobe", "retprobe") or 0) if where.retprobe else 0
    if where.semaphore >> 32:
        raise refused.semaphore_too_far(where)
    try:
        event = perf_event.perf_event_open(
            **_whose(where),
            type=pmu,
            config=config | where.semaphore << _SEMAPHORE,
            uprobe_path=buffer(os.fsencode(path) + b"\0"),
            probe_offset=offset,
        )
    except OSError as error:
        raise refused.refusal(where, path, offset, error.errno or 0) from None
    return bind(event, program, where, mode, cookie=where.cookie)


def _whose(where: Uprobe) -> dict[str, int]:
    """Return pid and CPU for perf_event_open(2): one process wherever it runs, or all processes."""
    return {"pid": -1, "cpu": system.online_cpu()} if where.pid is None else {"pid": where.pid, "cpu": -1}


def _by_tracefs(program: LoadedProgram, where: Uprobe, path: str, offset: int, mode: str) -> Link:
    """Attach by an event in uprobe_events."""
    from bpfasm.kernel.links.tracing import uprobe_refused as refused

    root = tracefs.find()
    if root is None or not os.path.exists(f"{root}/uprobe_events"):
        raise refused.no_tracefs(root)
    if any(each in path for each in ": \t\n"):
        raise refused.no_such_path_in_tracefs(path)
    made = TracefsEvent(root, "uprobe", where.symbol or os.path.basename(path))
    semaphore = f"({where.semaphore:#x})" if where.semaphore else ""
    try:
        event = made.open("r" if where.retprobe else "p", f"{path}:{offset:#x}{semaphore}", **_whose(where))
    except OSError as error:
        said = tracefs.error_of(root, made.group)
        made.remove()
        raise refused.refusal(where, path, offset, error.errno or 0, said) from None
    except BaseException:
        made.remove()
        raise
    return bind(event, program, where, mode, cookie=where.cookie, made=made)
