"""What is fetched together and unpacked into one tree: a kernel with what comes along, or a Python to run in one."""

from __future__ import annotations

import os
import sys

from bpfasm.errors import UsageError
from bpfasm.lab import matrix
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.lab.matrix import Kernel

_USERLAND = "userland-"


class Bundle(Value):
    """Packages of suites for one processor (as in ``uname -m``), and the newest kernel of ``releases`` ("": none)."""

    name: str
    arch: str
    suites: tuple[str, ...]
    releases: str
    packages: tuple[str, ...]


def of_kernel(kernel: Kernel) -> Bundle:
    """Return what a kernel of the matrix is made of; raise UsageError for one that is a file."""
    if not kernel.releases:
        raise UsageError(
            f"{kernel.version} is a file, not a kernel to fetch",
            "name a version of `bpfasm lab kernels`",
            rule="lab-version",
        )
    return Bundle(kernel.version, kernel.arch, kernel.suites, kernel.releases, matrix.along())


def of_userland(arch: str) -> Bundle:
    """Return what the Python for a processor is made of."""
    wanted = matrix.userland()
    return Bundle(_USERLAND + arch, arch, wanted.suites, "", wanted.packages)


def named(name: str) -> Bundle | None:
    """Return the bundle with a name, or None where the matrix has none."""
    if name.startswith(_USERLAND):
        return of_userland(name.removeprefix(_USERLAND))
    return next((of_kernel(kernel) for kernel in matrix.everything() if kernel.version == name), None)


def is_foreign(kernel: Kernel) -> bool:
    """Whether a kernel is for another processor than this machine's: its guests need a Python of their own."""
    return kernel.arch != os.uname().machine


def userlands(kernel: Kernel) -> list[str]:
    """Return the processors that guests of this kernel need a Python for; none where they have this machine's.

    The guest's own is the first. Where that is of another version, one for this machine compiles for it.
    """
    if not is_foreign(kernel):
        return []
    mine = f"python{sys.version_info.major}.{sys.version_info.minor}-minimal"
    return [kernel.arch] if mine in matrix.userland().packages else [kernel.arch, os.uname().machine]
