"""ENOMEM, explained: what to do, and whose limit may be in the way."""

from __future__ import annotations

from bpfasm.syscall import system


def more_memory(otherwise: str) -> str:
    """Return what to do where the kernel has no memory: ``otherwise``, or raise the limit that there is.

    From 5.11 on maps and programs count for the memory cgroup of who makes them, as a container has one.
    """
    limit = system.memory_cgroup_limit()
    if limit is None:
        return otherwise
    return f"{otherwise}, or raise the limit of this process's memory cgroup (a container's), which is {limit} bytes"
