"""Bring a kernel of the matrix into the cache: packages got, checked, unpacked, and put in place at once.

What is on its way is kept in the cache's folder ``partial`` until all of it is there, so that an interrupted download
goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.matrix import Kernel, find, place, tree_in
from bpfasm.lab.packages import bundle, deb, debian, pins, sources, web
from bpfasm.lab.packages.pool import ARCHITECTURES
from bpfasm.lab.packages.progress import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from bpfasm.lab.packages.bundle import Bundle
    from bpfasm.lab.packages.pool import Package, Progress

#: The file at the top of a tree with the checksums of its packages.
MADE_OF = "packages.sha256"


def fetch(
    kernel: Kernel | str | None = None,
    *,
    progress: Progress | None = None,
    renew: bool = False,
    mirror: str = "",
    pinned: bool = False,
) -> Kernel:
    """Return the kernel with its files on this machine, got from a mirror of Debian when they are not there yet.

    ``progress`` is called with what is being got, bytes so far and bytes in all (100: a percentage); without it
    stderr shows it. ``renew`` gets the newest package again. ``mirror`` is a folder or URI to get it from
    (sources.mirror()). ``pinned`` takes exactly the packages of ``pins.toml``, as is done where there is no apt,
    and where the mirror has the suite no more. LabError: no network, no space, packages that are not as listed.
    """
    if not isinstance(kernel, Kernel):
        kernel = find(kernel)
    if kernel.cached and not renew and not pinned:
        return kernel
    wanted = bundle.of_kernel(kernel)
    folder = place(kernel.version)
    with cache.locked(f"fetch-{kernel.version}", f"fetching {kernel.version}"):
        # Another process may have fetched it meanwhile.
        if renew or not (_is_pinned(wanted, folder) if pinned else find(kernel.version).cached):
            _bring(wanted, folder, progress, mirror, pinned)
    tree = tree_in(folder)
    if tree is None:
        raise LabError(
            f"no kernel image in the packages of {kernel.version}",
            "the suite changed its packages: see kernels.toml",
            rule="lab-fetch",
        )
    return kernel.replace(tree=tree)


def userland(arch: str, *, progress: Progress | None = None, mirror: str = "", pinned: bool = False) -> Path:
    """Return a folder with a Python for another processor (``aarch64``), unpacked from Debian's packages.

    It is got once; another list of packages in ``kernels.toml`` makes another folder. Options as in ``fetch``.
    """
    wanted = bundle.of_userland(arch)
    key = hashlib.sha256(repr(wanted).encode()).hexdigest()[:8]
    folder = cache.root() / "userland" / f"{arch}-{key}"
    with cache.locked(f"fetch-{wanted.name}", f"fetching Python for {arch}"):
        if not (_is_pinned(wanted, folder) if pinned else folder.exists()):
            _bring(wanted, folder, progress, mirror, pinned)
    return folder


def get(
    wanted: Bundle, into: Path, state: Path, progress: Progress | None, mirror: str, pinned: bool
) -> list[Package]:
    """Get a bundle's packages into the folder ``into``, by apt or by the pins, and return them.

    Those of apt have a ``uri``; its state is the folder ``state``. Options and errors as for ``fetch``.
    """
    where = _mirror(mirror)
    folder = where.folder if where else None
    if where and folder and wanted.name not in folder.holds:
        raise LabError(
            f"no {wanted.name} in {where.main.uri}: it holds {', '.join(folder.holds) or 'nothing yet'}",
            f"where there is a network, bpfasm lab fetch {wanted.name} --to DIR adds it to the folder",
            rule="lab-mirror",
        )
    by_pins = pinned or not where or not debian.available() or (folder and wanted.name in folder.pinned)
    if where and not by_pins:
        try:
            with shown(progress) as show:
                return _by_apt(
                    wanted, into, debian.prepare(state, where, wanted.suites, ARCHITECTURES[wanted.arch]), show
                )
        except LabError as error:
            if error.rule != "lab-suite" or not pins.find(wanted.name):
                raise
            print(f"lab: {error.what}; getting {wanted.name} as it is pinned", file=sys.stderr, flush=True)
    packages = pins.find(wanted.name)
    if not packages:
        raise LabError(
            f"no packages of {wanted.name} are pinned, and there is no apt here that knows of Debian",
            "name a kernel of yours instead: --on /boot/vmlinuz-... with its modules in /lib/modules",
            rule="lab-apt",
        )
    with shown(progress) as show:
        web.download(packages, into, pins.urls(where), wanted.name, show)
    return packages


def _by_apt(wanted: Bundle, into: Path, apt: debian.Apt, progress: Progress) -> list[Package]:
    debian.update(apt, progress)
    packages = debian.find(apt, wanted.releases, wanted.packages)
    debian.download(apt, packages, into, wanted.name, progress)
    return packages


def _mirror(named: str) -> sources.Mirror | None:
    """Return the mirror to use; None where none is named and apt, if there is one, knows of none."""
    if named or os.environ.get("BPFASM_MIRROR"):
        return sources.mirror(named)
    try:
        return sources.mirror()
    except LabError:
        return None


def _is_pinned(wanted: Bundle, folder: Path) -> bool:
    """Whether a bundle is unpacked in a folder, and made of the pinned packages."""
    try:
        made_of = (folder / MADE_OF).read_text().split()
    except OSError:
        return False
    return sorted(made_of) == sorted(package.sha256 for package in pins.find(wanted.name))


def _bring(wanted: Bundle, folder: Path, progress: Progress | None, mirror: str, pinned: bool) -> None:
    """Get a bundle and put it, unpacked, in place of ``folder``."""
    cache.sweep()
    partial = cache.directory(f"partial/{wanted.name}")
    packages = get(wanted, partial, partial / "apt", progress, mirror, pinned)
    with cache.workdir() as work:
        with shown(progress) as show:
            done, total = 0, sum(package.size for package in packages)
            for package in packages:
                show(f"unpacking {wanted.name}", done, total)
                deb.unpack(partial / package.path, work / "tree")
                done += package.size
            show(f"unpacking {wanted.name}", done, total)
        with cache.writing(work):
            (work / "tree" / MADE_OF).write_text("".join(f"{package.sha256}\n" for package in packages))
        cache.publish(work / "tree", folder)
    shutil.rmtree(partial, ignore_errors=True)
