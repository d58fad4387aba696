"""The ``Target`` that this machine's kernel is."""

from __future__ import annotations

from bpfasm.asm.linker import Target


def local(map_fds: dict[str, int]) -> Target:
    """Return this machine's target with maps that are open here, by name."""
    return Target(map_fds=map_fds)
