"""Probes at functions of programs and libraries, and at the marks that their authors left (USDT)."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, refuse
from bpfasm.uapi.bpf import BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_MULTI, BPF_TRACE_UPROBE_SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Uprobe(Place):
    """A probe in a file of code: at a ``symbol``, ``offset`` bytes into it, or without a symbol at that file offset.

    ``path`` is a path, or the name of a library (``"libc"``) or program (``"bash"``). ``retprobe`` is the function's
    return. ``pid`` is the one process that is watched, None is all. ``inside`` is a process whose root and mounts
    the path is looked up in: one in a container. ``semaphore`` is the file offset of a counter of those who watch.
    """

    path: str
    symbol: str = ""
    offset: int = 0
    retprobe: bool = False
    pid: int | None = None
    inside: int = 0
    cookie: int = 0
    semaphore: int = 0

    takes = (BPF_PROG_TYPE_KPROBE,)

    def __post_init__(self) -> None:
        _check_file("uprobe", self.path)
        if not self.symbol and not self.offset:
            raise refuse(
                "uprobe() takes a symbol, or an offset in the file",
                'write uprobe("libc", "getpriority"), or uprobe("/bin/true", offset=0x1234)',
            )
        if self.offset < 0:
            raise refuse(f"uprobe(): the offset {self.offset} is before the beginning", "offsets are bytes, from 0")

    def __str__(self) -> str:
        kind = "uretprobe" if self.retprobe else "uprobe"
        at = f"+{self.offset:#x}" if self.symbol and self.offset else ""
        return f"{kind} {self.path}:{self.symbol or hex(self.offset)}{at}"


class UprobeMulti(Place):
    """Many functions of one file at once: ``symbols``, those that a ``pattern`` matches, or ``offsets`` in the file.

    The rest is that of :class:`Uprobe` and of ``kprobe_multi()``.
    """

    path: str
    symbols: tuple[str, ...] = ()
    pattern: str = ""
    offsets: tuple[int, ...] = ()
    retprobe: bool = False
    session: bool = False
    pid: int | None = None
    inside: int = 0
    cookies: tuple[int, ...] = ()
    semaphores: tuple[int, ...] = ()

    takes = (BPF_PROG_TYPE_KPROBE,)

    def __post_init__(self) -> None:
        _check_file("uprobe_multi", self.path)
        for name in ("symbols", "offsets", "cookies", "semaphores"):
            self._set(**{name: tuple(self.__dict__[name])})
        if sum(map(bool, (self.symbols, self.pattern, self.offsets))) != 1:
            raise refuse(
                "uprobe_multi() takes symbols, a pattern or offsets",
                'write uprobe_multi("libc", "malloc", "free"), or uprobe_multi("libc", pattern="mem*")',
            )
        places = len(self.symbols or self.offsets)
        for name in ("cookies", "semaphores"):
            if self.__dict__[name] and len(self.__dict__[name]) != places:
                raise refuse(
                    f"uprobe_multi() has {places} places and {len(self.__dict__[name])} {name}",
                    f"give {name} for each place, in their order; a pattern has none",
                )
        if self.session and self.retprobe:
            raise refuse("a session is at the entry and at the return", "leave retprobe out")

    @property
    def attach_type(self) -> int:
        """BPF_TRACE_UPROBE_MULTI, or that of a session."""
        return BPF_TRACE_UPROBE_SESSION if self.session else BPF_TRACE_UPROBE_MULTI

    def told_at_load(self) -> dict[str, Any]:
        """Return how it is attached: the program gets cookies in another way."""
        return {"expected_attach_type": self.attach_type}

    def __str__(self) -> str:
        kind = "uprobe.session" if self.session else "uretprobe.multi" if self.retprobe else "uprobe.multi"
        names = self.symbols or tuple(map(hex, self.offsets))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{kind} {self.path}:{self.pattern or names[0]}{more}"


class Usdt(Place):
    """A mark that a program's author left in it: ``provider`` and ``name``; it may be at several sites.

    ``path``, ``pid`` and ``inside`` are those of :class:`Uprobe`.
    """

    path: str
    provider: str
    name: str
    pid: int | None = None
    inside: int = 0
    cookie: int = 0

    takes = (BPF_PROG_TYPE_KPROBE,)

    def __post_init__(self) -> None:
        _check_file("usdt", self.path)
        if not self.provider or not self.name:
            raise refuse(
                "usdt() takes a provider and a name",
                'write usdt("libc", "libc", "setjmp"); `readelf -n FILE` lists what a file has',
            )

    def __str__(self) -> str:
        return f"usdt {self.path}:{self.provider}:{self.name}"


def _check_file(maker: str, path: object) -> None:
    if not isinstance(path, str) or not path or "\0" in path:
        raise refuse(f"{maker}(): {path!r} names no file", 'give a path, or a name such as "libc"')


def uprobe(
    path: str,
    symbol: str = "",
    *,
    offset: int = 0,
    pid: int | None = None,
    inside: int = 0,
    cookie: int = 0,
    semaphore: int = 0,
) -> Uprobe:
    """Attach where a function of a program or library is entered, or ``offset`` bytes into it.

    ``uprobe("libc", "getpriority")`` is at every process's calls, with ``pid`` at one process's. The program's type
    is BPF_PROG_TYPE_KPROBE. (4.3; a cookie 5.15)
    """
    return Uprobe(path, symbol, offset, False, pid, inside, cookie, semaphore)


def uretprobe(path: str, symbol: str, *, pid: int | None = None, inside: int = 0, cookie: int = 0) -> Uprobe:
    """Attach where a function of a program or library returns."""
    return Uprobe(path, symbol, 0, True, pid, inside, cookie)


def uprobe_multi(
    path: str,
    *symbols: str,
    pattern: str = "",
    offsets: Iterable[int] = (),
    retprobe: bool = False,
    session: bool = False,
    pid: int | None = None,
    inside: int = 0,
    cookies: Iterable[int] = (),
    semaphores: Iterable[int] = (),
) -> UprobeMulti:
    """Attach at many functions of a file by one link. (6.6; a session 6.13)"""
    return UprobeMulti(
        path, symbols, pattern, tuple(offsets), retprobe, session, pid, inside, tuple(cookies), tuple(semaphores)
    )


def usdt(path: str, provider: str, name: str, *, pid: int | None = None, inside: int = 0, cookie: int = 0) -> Usdt:
    """Attach at the marks of a name that a program's author left in it; its semaphore is seen to.

    ``bpfasm.kernel.user.marks(path)`` has those of a file, with their arguments. (4.20 where it has a semaphore)
    """
    return Usdt(path, provider, name, pid, inside, cookie)
