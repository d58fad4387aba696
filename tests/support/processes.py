"""Processes of the lab's tests: start one as a user does, find its QEMU, and wait for what is to happen."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def until(condition, seconds: float = 20):
    """Poll until ``condition`` is true; fail when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        select.select([], [], [], 0.02)
    return found


def lab_process(*words: str, verb: str = "run", **options) -> subprocess.Popen:
    """Start `bpfasm lab VERB` as a command of its own; the options are Popen's."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "bpfasm", "lab", verb, *words],
        **({"cwd": ROOT, "env": variables} | pipes | options),
    )


def machines_of(pid: int) -> list[int]:
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


def gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits for its parent to ask has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
