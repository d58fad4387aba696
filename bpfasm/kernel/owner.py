"""Whose it is: the tag on what outlives its process, so that ``clean`` can tell the dead's from the living's."""

from __future__ import annotations

import os

from bpfasm.syscall import system
from bpfasm.value import Value

_PREFIX = "bpfasm"


class Owner(Value):
    """A process, for good: pids are given out again, and differ between pid namespaces.

    ``start_time`` is in clock ticks since boot, ``namespace`` the inode of the pid namespace.
    """

    pid: int
    start_time: int
    namespace: int

    def tag(self) -> str:
        """Return a new name that carries the owner, ``bpfasm_<pid>_<start time>_<namespace>_<random>``."""
        return f"{_PREFIX}_{self.pid}_{self.start_time}_{self.namespace}_{os.urandom(4).hex()}"

    def alive(self) -> bool | None:
        """Return whether the process still runs; None where that cannot be seen from here."""
        if self.namespace != system.pid_namespace():
            return None
        return system.start_time(self.pid) == self.start_time


def this_process() -> Owner:
    """Return the process that asks."""
    return Owner(os.getpid(), system.start_time() or 0, system.pid_namespace() or 0)


def owner_of(tag: str) -> Owner | None:
    """Return the owner that a name carries, None where it is none of ours."""
    parts = tag.split("_")
    if len(parts) != 5 or parts[0] != _PREFIX or not all(part.isdigit() for part in parts[1:4]):
        return None
    pid, start_time, namespace = map(int, parts[1:4])
    return Owner(pid, start_time, namespace)
