"""Locked memory: kernels before 5.11 charge programs and maps to RLIMIT_MEMLOCK, and say EPERM when it is full."""

from __future__ import annotations

from errno import EPERM

from bpfasm.syscall import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_UNLIMITED = -1


def with_memory(call: Callable[[], T]) -> T:
    """Make a call; where it fails with EPERM, once more with as much locked memory as this process may have.

    The limit stays raised if that helped: what was loaded counts against it for as long as it lives.
    """
    try:
        return call()
    except OSError as error:
        if error.errno != EPERM:
            raise
        before = system.memlock_limit()
        if not _raise(before):
            raise
    try:
        return call()
    except OSError:
        system.set_memlock_limit(*before)
        raise


class plenty:  # noqa: N801  used like a function
    """Within ``with plenty():`` this process has as much locked memory as it may have; for what is closed again."""

    def __enter__(self) -> None:
        self._before = system.memlock_limit()
        _raise(self._before)

    def __exit__(self, *_: object) -> None:
        if system.memlock_limit() != self._before:
            system.set_memlock_limit(*self._before)


def _raise(before: tuple[int, int]) -> bool:
    """Lift the limit, the soft one if that is all we may; return whether there was room."""
    soft, hard = before
    for wanted in ((_UNLIMITED, _UNLIMITED), (hard, hard)):
        if wanted == before or (wanted[0] == soft):
            continue
        try:
            system.set_memlock_limit(*wanted)
        except (OSError, ValueError):
            continue
        return True
    return False
