"""Cgroups, as places name them: by a path, or by an open file descriptor."""

from __future__ import annotations

import os

from bpfasm.errors import KernelError
from bpfasm.kernel.base.words import errno_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


def _opened(cgroup: str | int) -> Iterator[int]:
    if isinstance(cgroup, int):
        yield cgroup
        return
    try:
        fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or 0
        raise KernelError(
            number,
            f"the cgroup {cgroup} was not opened: {errno_name(number)}",
            "give its folder below /sys/fs/cgroup; mkdir makes one",
            rule="cgroup",
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)


def cgroup_fd(cgroup: str | int) -> AbstractContextManager[int]:
    """Open a cgroup for a while; an fd that is given stays open. Raises KernelError."""
    from contextlib import contextmanager

    return contextmanager(_opened)(cgroup)
