"""Where a program is to be attached, as a value; ``bpfasm.kernel`` does the attaching."""

from __future__ import annotations

from bpfasm.errors import OperandError
from bpfasm.isa.where import outside
from bpfasm.value import Value

#: What a name may have besides letters and digits, as letters.
_IN_NAMES = {ord("_"): "a", ord("."): "a"}


class Kprobe(Value):
    """A probe at a kernel function: its entry, an offset into it, or (``retprobe``) its return.

    Exactly one of ``symbol`` and ``syscall`` is given. A syscall's function has a prefix that differs by
    architecture and kernel; attaching tries them.
    """

    symbol: str = ""
    syscall: str = ""
    offset: int = 0
    retprobe: bool = False

    def __post_init__(self) -> None:
        kind = "kretprobe" if self.retprobe else "kprobe"
        if bool(self.symbol) == bool(self.syscall):
            raise OperandError(
                f"{kind}() takes a symbol or a syscall",
                f'write {kind}("vfs_read") for a kernel function, or {kind}(syscall="fchownat")',
                source=outside(),
                rule="attach-target",
            )
        name = self.symbol or self.syscall
        if not name.isascii() or not name.translate(_IN_NAMES).isalnum() or name[0].isdigit():
            raise OperandError(
                f"{kind}(): {name!r} is no name of a kernel function",
                "a name has letters, digits, _ and the dots of what a compiler made: vfs_read.isra.0",
                source=outside(),
                rule="attach-target",
            )
        if self.retprobe and self.offset:
            raise OperandError(
                f"a kretprobe has no offset, and {self.offset} was given",
                "drop the offset: it fires where the function returns",
                source=outside(),
                rule="attach-target",
            )

    def __str__(self) -> str:
        kind = "kretprobe" if self.retprobe else "kprobe"
        offset = f"+{self.offset:#x}" if self.offset else ""
        return f"{kind} {self.symbol or f'syscall {self.syscall}'}{offset}"


class RawTracepoint(Value):
    """A tracepoint of the kernel, by its name without a group; the context is the tracepoint's own arguments."""

    name: str

    def __post_init__(self) -> None:
        plain = self.name.replace("_", "a")
        if not (plain.isascii() and plain.isalnum()) or plain[0].isdigit():
            raise OperandError(
                f"raw_tracepoint(): {self.name!r} is no name of a tracepoint",
                "a name has letters, digits and _, and no group: sched_process_exec",
                source=outside(),
                rule="attach-target",
            )

    def __str__(self) -> str:
        return f"raw tracepoint {self.name}"


def raw_tracepoint(name: str) -> RawTracepoint:
    """Attach at a tracepoint, whose arguments the context holds, 8 bytes each.

    They are those of TP_PROTO in the kernel's include/trace/events/. The program's type is
    BPF_PROG_TYPE_RAW_TRACEPOINT.
    """
    return RawTracepoint(name)


def kprobe(symbol: str = "", *, syscall: str = "", offset: int = 0) -> Kprobe:
    """Attach where a kernel function is entered, or ``offset`` bytes into it."""
    return Kprobe(symbol=symbol, syscall=syscall, offset=offset)


def kretprobe(symbol: str = "", *, syscall: str = "") -> Kprobe:
    """Attach where a kernel function returns."""
    return Kprobe(symbol=symbol, syscall=syscall, retprobe=True)
