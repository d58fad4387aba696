"""``perf_event_open(2)`` and the calls on its file descriptors."""

from __future__ import annotations

from bpfasm.syscall.layout import put
from bpfasm.syscall.libc import NR, buffer, errno, failure, good_fd, syscall
from bpfasm.uapi.perf_event import (
    PERF_ATTR_SIZE_VER1,
    PERF_EVENT_IOC_DISABLE,
    PERF_EVENT_IOC_ENABLE,
    PERF_EVENT_IOC_PAUSE_OUTPUT,
    PERF_EVENT_IOC_SET_BPF,
    PERF_FLAG_FD_CLOEXEC,
    sizeof_struct_perf_event_attr,
    struct_perf_event_attr,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.syscall.libc import Buffer


def perf_event_open(*, pid: int = -1, cpu: int = 0, **fields: int | Buffer) -> int:
    """Open an event; return its fd, closed on exec.

    Fields have the names of ``struct perf_event_attr``: type, config, kprobe_func, probe_offset, sample_period ...
    A field that is a pointer takes a ``Buffer``. ``pid`` -1 is every process (then ``cpu`` is one CPU).
    """
    memory = buffer(sizeof_struct_perf_event_attr)
    size = PERF_ATTR_SIZE_VER1
    for name, value in fields.items():
        size = max(size, put(memory, "struct perf_event_attr", struct_perf_event_attr, name, value))
    put(memory, "struct perf_event_attr", struct_perf_event_attr, "size", size)
    fd: int = syscall(NR["__NR_perf_event_open"], memory, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC)
    if fd < 0:
        raise failure(errno(), "perf_event_open")
    return good_fd(fd)


def set_bpf(event_fd: int, prog_fd: int) -> None:
    """Run a program at each occurrence of an event."""
    _ioctl(event_fd, PERF_EVENT_IOC_SET_BPF, prog_fd)


def enable(event_fd: int) -> None:
    """Let an event occur."""
    _ioctl(event_fd, PERF_EVENT_IOC_ENABLE)


def disable(event_fd: int) -> None:
    """Stop an event from occurring."""
    _ioctl(event_fd, PERF_EVENT_IOC_DISABLE)


def pause_output(event_fd: int, pause: bool) -> None:
    """Let nothing into an event's buffer, or let it in again."""
    _ioctl(event_fd, PERF_EVENT_IOC_PAUSE_OUTPUT, int(pause))


def _ioctl(fd: int, request: int, argument: int = 0) -> None:
    from fcntl import ioctl

    ioctl(fd, request, argument)
