"""Attaching to tracepoints by the events that tracefs lists (from kernel 4.7 on)."""

from __future__ import annotations

from errno import EACCES, EPERM

from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.tracing.perf_link import bind
from bpfasm.syscall import perf_event, system, tracefs
from bpfasm.uapi.perf_event import PERF_SAMPLE_RAW, PERF_TYPE_TRACEPOINT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach import Tracepoint
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "perf")


def open_link(program: LoadedProgram, where: Tracepoint, mode: str = "auto") -> Link:
    """Attach a program of type TRACEPOINT at a tracepoint.

    ``mode`` is ``link`` (from kernel 5.15 on), ``perf`` (the program set by ioctl), or ``auto``, the first that is
    there. Raises FeatureMissing, KernelError.
    """
    return bind(open_event(where.group, where.name), program, where, mode, cookie=where.cookie)


def open_event(group: str, name: str) -> int:
    """Open the event of a tracepoint; return its fd. Raises FeatureMissing, KernelError."""
    from bpfasm.kernel.links.tracing import tracepoint_refused as refused

    root = tracefs.find()
    if root is None:
        raise refused.no_tracefs()
    try:
        number = tracefs.event_id(root, group, name)
    except OSError as error:
        if error.errno in (EACCES, EPERM):
            raise refused.not_readable(root, error.errno) from None
        raise refused.no_tracepoint(name, group) from None
    try:
        return open_number(number)
    except OSError as error:
        raise refused.refusal(f"{group}:{name}", error.errno or 0) from None


def open_number(event: int, **whose: int) -> int:
    """Open an event by its number in tracefs; return its fd. ``whose`` are pid and CPU, else all processes'.

    Raises OSError.
    """
    return perf_event.perf_event_open(
        **(whose or {"cpu": system.online_cpu()}),
        type=PERF_TYPE_TRACEPOINT,
        config=event,
        sample_type=PERF_SAMPLE_RAW,
        sample_period=1,
        wakeup_events=1,
    )
