"""Probes at functions of the kernel."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, c_name, refuse
from bpfasm.uapi.bpf import BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI, BPF_TRACE_KPROBE_SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Kprobe(Place):
    """A probe at a kernel function: its entry, an offset into it, or (``retprobe``) its return.

    Exactly one of ``symbol`` and ``syscall`` is given. A syscall's function has a prefix that differs by
    architecture and kernel; attaching tries them.
    """

    symbol: str = ""
    syscall: str = ""
    offset: int = 0
    retprobe: bool = False
    cookie: int = 0
    maxactive: int = 0

    takes = (BPF_PROG_TYPE_KPROBE,)

    def __post_init__(self) -> None:
        kind = "kretprobe" if self.retprobe else "kprobe"
        if bool(self.symbol) == bool(self.syscall):
            raise refuse(
                f"{kind}() takes a symbol or a syscall",
                f'write {kind}("vfs_read") for a kernel function, or {kind}(syscall="fchownat")',
            )
        c_name(
            kind,
            self.symbol or self.syscall,
            "a kernel function",
            "a name has letters, digits, _ and the dots of what a compiler made: vfs_read.isra.0",
            more=".",
        )
        if self.retprobe and self.offset:
            raise refuse(
                f"a kretprobe has no offset, and {self.offset} was given",
                "drop the offset: it fires where the function returns",
            )

    def __str__(self) -> str:
        kind = "kretprobe" if self.retprobe else "kprobe"
        offset = f"+{self.offset:#x}" if self.offset else ""
        return f"{kind} {self.symbol or f'syscall {self.syscall}'}{offset}"


def kprobe(symbol: str = "", *, syscall: str = "", offset: int = 0, cookie: int = 0) -> Kprobe:
    """Attach where a kernel function is entered, or ``offset`` bytes into it.

    ``cookie`` is a number that the program gets from bpf_get_attach_cookie(), so that one program can be at many
    places (from kernel 5.15 on).
    """
    return Kprobe(symbol=symbol, syscall=syscall, offset=offset, cookie=cookie)


def kretprobe(symbol: str = "", *, syscall: str = "", cookie: int = 0, maxactive: int = 0) -> Kprobe:
    """Attach where a kernel function returns.

    ``maxactive`` is how many calls may be under way at once; what comes above is missed. Only tracefs takes it: the
    kernel's own choice is twice the CPUs, or from 6.1 on what it has room for.
    """
    return Kprobe(symbol=symbol, syscall=syscall, retprobe=True, cookie=cookie, maxactive=maxactive)


class KprobeMulti(Place):
    """Many functions of the kernel at once: by their ``symbols``, or those that a ``pattern`` with * and ? matches.

    ``cookies`` are one for each symbol. A ``session`` runs the program at the entry and, if it then returned 0, at
    the return.
    """

    symbols: tuple[str, ...] = ()
    pattern: str = ""
    retprobe: bool = False
    session: bool = False
    cookies: tuple[int, ...] = ()

    takes = (BPF_PROG_TYPE_KPROBE,)

    def __post_init__(self) -> None:
        self._set(symbols=tuple(self.symbols), cookies=tuple(self.cookies))
        if bool(self.symbols) == bool(self.pattern):
            raise refuse(
                "kprobe_multi() takes symbols or a pattern",
                'write kprobe_multi("vfs_read", "vfs_write"), or kprobe_multi(pattern="vfs_*")',
            )
        for each in self.symbols:
            c_name("kprobe_multi", each, "a kernel function", "patterns go into pattern=", more=".")
        if self.cookies and len(self.cookies) != len(self.symbols):
            raise refuse(
                f"kprobe_multi() has {len(self.symbols)} symbols and {len(self.cookies)} cookies",
                "give a cookie for each symbol, in their order; a pattern has none",
            )
        if self.session and self.retprobe:
            raise refuse("a session is at the entry and at the return", "leave retprobe out")

    @property
    def attach_type(self) -> int:
        """BPF_TRACE_KPROBE_MULTI, or that of a session."""
        return BPF_TRACE_KPROBE_SESSION if self.session else BPF_TRACE_KPROBE_MULTI

    def told_at_load(self) -> dict[str, Any]:
        """Return how it is attached: the program gets cookies in another way."""
        return {"expected_attach_type": self.attach_type}

    def __str__(self) -> str:
        kind = "kprobe.session" if self.session else "kretprobe.multi" if self.retprobe else "kprobe.multi"
        more = f" and {len(self.symbols) - 1} more" if len(self.symbols) > 1 else ""
        return f"{kind} {self.pattern or self.symbols[0]}{more}"


def kprobe_multi(
    *symbols: str,
    pattern: str = "",
    retprobe: bool = False,
    session: bool = False,
    cookies: Iterable[int] = (),
) -> KprobeMulti:
    """Attach where many functions of the kernel are entered, by one link; with ``retprobe`` where they return.

    Thousands attach in the time that a kprobe takes. A ``pattern`` is matched with what ftrace can reach
    (``available_filter_functions``). ``session`` runs one program at both ends of each call. (5.18; a session 6.10;
    ``CONFIG_FPROBE``)
    """
    return KprobeMulti(symbols, pattern, retprobe, session, tuple(cookies))
