"""Asking the verifier: the load itself, and the whole log when the answer is no."""

from __future__ import annotations

import os
from errno import EAGAIN, ENOSPC

from bpfasm.kernel.base.memlock import with_memory
from bpfasm.syscall import bpf
from bpfasm.syscall.files import NO_FILE
from bpfasm.syscall.libc import buffer_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap
    from typing import Any

#: The first size of a log buffer where the kernel does not tell how much it has to say, and the largest it takes
#: (kernel/bpf/log.c bpf_verifier_log_attr_valid()).
FIRST_SIZE = 64 << 10
LARGEST_SIZE = (1 << 30) - 1

#: Each try makes the verifier go through the whole program again, so a buffer that was too small grows by much.
GROWTH = 4

#: What a log may grow by between the call that asks for its size and the one that fetches it: a digit of a time.
SLACK = 1 << 10


class Verdict:
    """What came of loading a program: an ``fd``, or the ``errno`` of the refusal; and the verifier's ``log``."""

    def __init__(self, fd: int | None, errno: int, log: str) -> None:
        self.fd = fd
        self.errno = errno
        self.log = log


def verify(
    fields: dict[str, Any], log_level: int = 0, explained: Callable[[], dict[str, Any]] | None = None
) -> Verdict:
    """Load a program given by the fields of BPF_PROG_LOAD; ``explained`` are more of them, for a log of a refusal.

    Without a log at first, which takes a third of the time, and where that fails once more with one; with a
    ``log_level``, with a log at once. A log that does not fit its buffer makes the errno ENOSPC, whatever was wrong
    with the program: then the errno is that of a load without log.
    """
    errno = 0
    if not log_level:
        fd, errno = _load(fields)
        if fd is not None:
            return Verdict(fd, 0, "")
        if errno == EAGAIN or errno in NO_FILE:
            return Verdict(None, errno, "")  # what was in the way is in the way of a log, too
        if explained:
            fields = fields | explained()
    fd, later, log = _load_with_log(fields, log_level or 1)
    if fd is None and later == ENOSPC and not errno:
        fd, errno = _load(fields)
    return Verdict(fd, errno or later if fd is None else 0, log)


def _load(fields: dict[str, Any]) -> tuple[int | None, int]:
    try:
        return with_memory(lambda: bpf.prog_load(**fields))[0], 0
    except OSError as error:
        return None, error.errno or 0


def _load_with_log(fields: dict[str, Any], level: int) -> tuple[int | None, int, str]:
    """Return the fd or None, the errno, and the log."""
    from mmap import mmap

    size = _log_size(fields, level) or FIRST_SIZE
    memory = mmap(-1, size)  # unlike a buffer of ctypes, not filled with zeros page by page
    while True:
        fd, errno = _load({**fields, "log_level": level, "log_buf": buffer_over(memory), "log_size": size})
        if errno != ENOSPC or size == LARGEST_SIZE:
            break
        size = min(size * GROWTH, LARGEST_SIZE)
        try:
            memory = mmap(-1, size)
        except OSError:
            break  # there is no room for the rest of it
    return fd, errno, _text(memory)


def _log_size(fields: dict[str, Any], level: int) -> int:
    """Return how many bytes the log takes, 0 where the kernel does not tell: before 6.4, and of an empty log."""
    try:
        fd, size = bpf.prog_load(**fields, log_level=level)
    except bpf.LoadError as error:
        size = error.log_true_size
    else:
        os.close(fd)
    return min(size + SLACK, LARGEST_SIZE) if size else 0


def _text(memory: mmap) -> str:
    end = memory.find(b"\0")
    with memoryview(memory) as view:
        return str(view[: end if end >= 0 else len(view)], "utf-8", "replace")
