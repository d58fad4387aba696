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
