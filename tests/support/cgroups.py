"""Cgroups (version 2) of a test's own."""

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpfasm.syscall import system


@contextmanager
def cgroups(place):
    """Make a cgroup; ``place`` is a folder to mount the hierarchy at, where it is not mounted."""
    mounted = next(iter(system.mounts("cgroup2")), "")
    if not mounted and ctypes.CDLL(None, use_errno=True).mount(b"none", str(place).encode(), b"cgroup2", 0, None):
        pytest.skip(f"cgroup2 cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    made = Path(mounted or place, f"bpfasm_{os.getpid()}")
    made.mkdir()
    try:
        yield made
    finally:
        for folder in sorted(made.rglob("*/"), reverse=True):
            folder.rmdir()
        made.rmdir()
        if not mounted:
            ctypes.CDLL(None).umount(str(place).encode())


def enter(cgroup):
    """Be in a cgroup from now on."""
    Path(cgroup, "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def memory_cgroup(limit):
    """Make a cgroup whose processes may use ``limit`` bytes together; version 2 or, where that has no memory, 1."""
    for kind, file in (("cgroup2", "memory.max"), ("cgroup", "memory.limit_in_bytes")):
        for root in map(Path, system.mounts(kind)):
            control = root / "cgroup.subtree_control"
            if kind == "cgroup2" and "memory" in (system.read(f"{root}/cgroup.controllers") or "").split():
                control.write_text("+memory")
            made = root / f"bpfasm_memory_{os.getpid()}"
            made.mkdir()
            try:
                if (made / file).exists():
                    (made / file).write_text(str(limit))
                    yield made
                    return
            finally:
                made.rmdir()
    pytest.skip("no cgroup here limits memory")
