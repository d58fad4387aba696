"""Processes, seen through /proc: the guests below one, and whether one has ended."""

import contextlib
import select
import time
from pathlib import Path


def until(condition, seconds=20):
    """Poll until ``condition`` is true, and return it; fail when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        select.select([], [], [], 0.02)
    return found


def machines_of(pid):
    """Return the processes of QEMU that ``pid`` has started, itself or by others."""
    parents, machines = {}, set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            name, _, rest = entry.read_text().rpartition(")")
            parents[int(entry.parent.name)] = int(rest.split()[1])
            if "qemu" in name:
                machines.add(int(entry.parent.name))
    below = {pid}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sorted(machines & below)


def gone(pid):
    """Whether a process has ended; one that only waits for its parent to ask has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
