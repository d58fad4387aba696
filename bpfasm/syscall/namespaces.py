"""Network namespaces: finding one by its number, and doing something in it."""

from __future__ import annotations

import os
from contextlib import contextmanager

from bpfasm.syscall import system
from bpfasm.syscall.libc import NR, errno, failure, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_OWN = "/proc/self/ns/net"


def netns_path(number: int) -> str | None:
    """Return a path of a network namespace by its inode: a process's, or a name's; None where none is to be seen."""
    paths = (_OWN, *(f"/proc/{pid}/ns/net" for pid in system.processes()), *system.mounts("nsfs"))
    for path in paths:
        try:
            if os.stat(path).st_ino == number:
                return path
        except OSError:
            continue
    return None


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Let this thread be in a network namespace for a while. Raises OSError."""
    if path == _OWN:
        yield
        return
    own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        other = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(other)
        finally:
            os.close(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(fd: int) -> None:
    if syscall(NR["__NR_setns"], fd, 0):
        raise failure(errno(), "setns")
