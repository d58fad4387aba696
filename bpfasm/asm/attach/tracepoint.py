"""Tracepoints: places in the kernel's source that were made to be watched, and keep their names."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, c_name
from bpfasm.uapi.bpf import (
    BPF_PROG_TYPE_RAW_TRACEPOINT,
    BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
    BPF_PROG_TYPE_TRACEPOINT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.format import TracepointField


class Tracepoint(Place):
    """A tracepoint by its group and name; the context is the record that tracefs describes in its ``format``."""

    group: str
    name: str
    cookie: int = 0

    takes = (BPF_PROG_TYPE_TRACEPOINT,)

    def __post_init__(self) -> None:
        for each in (self.group, self.name):
            c_name(
                "tracepoint",
                each,
                "a tracepoint or its group",
                'write tracepoint("syscalls", "sys_enter_openat"): names have letters, digits and _',
                more="-",
            )

    def field(self, name: str) -> TracepointField:
        """Name a field of the record: where it is, for an offset; its ``.size``, for a number.

        ``load()`` reads both from the kernel's own format, so the program fits kernels whose records differ.

        >>> from bpfasm.asm import *
        >>> opened = tracepoint("syscalls", "sys_enter_openat")
        >>> BPF_LDX_MEM(BPF_DW, R2, R1, opened.field("filename")).off
        tracepoint("syscalls", "sys_enter_openat").field("filename")
        """
        from bpfasm.asm.attach.format import TracepointField

        c_name("field", name, "a field", "the names are in events/GROUP/NAME/format of tracefs")
        return TracepointField(self.replace(cookie=0), name)

    def __str__(self) -> str:
        return f"tracepoint {self.group}:{self.name}"


class RawTracepoint(Place):
    """A tracepoint of the kernel, by its name without a group; the context is the tracepoint's own arguments."""

    name: str
    cookie: int = 0

    takes = (BPF_PROG_TYPE_RAW_TRACEPOINT, BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE)

    def __post_init__(self) -> None:
        c_name(
            "raw_tracepoint",
            self.name,
            "a tracepoint",
            "a name has letters, digits and _, and no group: sched_process_exec",
        )

    def __str__(self) -> str:
        return f"raw tracepoint {self.name}"


def tracepoint(group: str, name: str, *, cookie: int = 0) -> Tracepoint:
    """Attach at a tracepoint, such as ``tracepoint("syscalls", "sys_enter_openat")``.

    The context is the record that ``events/GROUP/NAME/format`` in tracefs describes. The program's type is
    BPF_PROG_TYPE_TRACEPOINT. ``cookie`` is that of ``kprobe()``.
    """
    return Tracepoint(group, name, cookie)


def raw_tracepoint(name: str, *, cookie: int = 0) -> RawTracepoint:
    """Attach at a tracepoint, whose arguments the context holds, 8 bytes each.

    They are those of TP_PROTO in the kernel's include/trace/events/. The program's type is
    BPF_PROG_TYPE_RAW_TRACEPOINT, or with _WRITABLE one that may change what the tracepoint lets it. ``cookie`` is
    that of ``kprobe()``, from kernel 6.10 on.
    """
    return RawTracepoint(name, cookie)
