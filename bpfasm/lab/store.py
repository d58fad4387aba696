"""Bring a kernel of the matrix into the cache: packages got, checked, unpacked, and put in place at once.

What is on its way is kept in the cache's folder ``partial`` until all of it is there, so that an interrupted download
goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil

from bpfasm.errors import LabError, UsageError
from bpfasm.lab import cache, deb, debian, matrix
from bpfasm.lab.matrix import Kernel, find, place, tree_in
from bpfasm.lab.package import ARCHITECTURES
from bpfasm.lab.progress import Reporter
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from bpfasm.lab.package import Progress


class Bundle(Value):
    """What is fetched together and unpacked into one tree: a kernel and packages, for one processor."""

    name: str
    arch: str
    suites: tuple[str, ...]
    releases: str
    packages: tuple[str, ...]


def fetch(kernel: Kernel | str | None = None, *, progress: Progress | None = None, renew: bool = False) -> Kernel:
    """Return the kernel with its files on this machine, got from the Debian mirror when they are not there yet.

    ``progress`` is called with what is being got, bytes so far and bytes in all (100: a percentage); without it
    stderr shows it. ``renew`` gets the newest package again. LabError: no apt, no network, no space.
    """
    if not isinstance(kernel, Kernel):
        kernel = find(kernel)
    if kernel.cached and not renew:
        return kernel
    if not kernel.releases:
        raise UsageError(
            f"{kernel.version} is a file, not a kernel to fetch",
            "name a version of `bpfasm lab kernels`",
            rule="lab-version",
        )
    bundle = Bundle(kernel.version, kernel.arch, kernel.suites, kernel.releases, matrix.along())
    with cache.locked(f"fetch-{bundle.name}", f"fetching {bundle.name}"):
        tree = tree_in(place(kernel.version))
        if tree is None or renew:
            _bring(bundle, place(kernel.version), progress or Reporter())
            tree = tree_in(place(kernel.version))
    if tree is None:
        raise LabError(
            f"no kernel image in the packages of {kernel.version}",
            "the suite changed its packages: see kernels.toml",
            rule="lab-fetch",
        )
    return kernel.replace(tree=tree)


def userland(arch: str, *, progress: Progress | None = None) -> Path:
    """Return a folder with a Python for another processor (``aarch64``), unpacked from Debian's packages.

    It is got once: another list of packages in ``kernels.toml`` is another folder.
    """
    wanted = matrix.userland()
    key = hashlib.sha256(repr(wanted).encode()).hexdigest()[:8]
    bundle = Bundle(f"userland-{arch}", arch, wanted.suites, "", wanted.packages)
    folder = cache.root() / "userland" / f"{arch}-{key}"
    with cache.locked(f"fetch-{bundle.name}", f"fetching Python for {arch}"):
        if not folder.exists():
            _bring(bundle, folder, progress or Reporter())
    return folder


def _bring(bundle: Bundle, folder: Path, progress: Progress) -> None:
    """Get a bundle's packages and put them, unpacked, in place of ``folder``."""
    cache.sweep()
    if not debian.available():
        raise LabError(
            f"the lab gets {bundle.name} with apt, and there is none on this machine",
            "name a kernel of yours instead: --on /boot/vmlinuz-... with its modules in /lib/modules",
            rule="lab-apt",
        )
    partial = cache.directory(f"partial/{bundle.name}")
    apt = debian.prepare(partial / "apt", bundle.suites, ARCHITECTURES[bundle.arch])
    debian.update(apt, progress)
    packages = debian.find(apt, bundle.releases, bundle.packages)
    debian.download(apt, packages, partial, bundle.name, progress)
    with cache.workdir() as work:
        for package in packages:
            deb.unpack(partial / package.file, work / "tree")
        cache.publish(work / "tree", folder)
    shutil.rmtree(partial, ignore_errors=True)
