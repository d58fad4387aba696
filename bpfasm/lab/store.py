"""Bring a kernel of the matrix into the cache: packages got, checked by apt, unpacked, and put in place at once."""

from __future__ import annotations

import sys
import time

from bpfasm.errors import LabError, UsageError
from bpfasm.lab import cache, debian
from bpfasm.lab.matrix import Kernel, find, place, tree_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.lab.debian import Progress


def fetch(kernel: Kernel | str | None = None, *, progress: Progress | None = None, renew: bool = False) -> Kernel:
    """Return the kernel with its files on this machine, got from the Debian mirror when they are not there yet.

    ``progress`` is called with what is being got, bytes so far and bytes in all (0: unknown); without it a line
    is kept on stderr. ``renew`` gets the newest package again. LabError: no apt, no network, no space.
    """
    if not isinstance(kernel, Kernel):
        kernel = find(kernel)
    if kernel.cached and not renew:
        return kernel
    if not kernel.package:
        raise UsageError(
            f"{kernel.version} is a file, not a kernel to fetch",
            "name a version of `bpfasm lab kernels`",
            rule="lab-version",
        )
    show = progress or Reporter()
    with cache.locked(f"fetch-{kernel.version}", f"fetching {kernel.version}"):
        cache.sweep()
        tree = tree_in(place(kernel.version))
        if tree is None or renew:
            with cache.workdir() as work:
                apt = debian.prepare(work / "apt", kernel.suites)
                debian.update(apt, show)
                packages = debian.find(apt, kernel.package)
                for file in debian.download(apt, packages, work, show):
                    debian.unpack(file, work / "tree")
                    file.unlink()
                if tree_in(work / "tree") is None:
                    names = ", ".join(package.name for package in packages)
                    raise LabError(
                        f"no kernel image in {names}",
                        "the suite changed its packages: see kernels.toml",
                        rule="lab-fetch",
                    )
                cache.publish(work / "tree", place(kernel.version))
            tree = tree_in(place(kernel.version))
    return kernel.replace(tree=tree)


class Reporter:
    """Show progress on stderr: one line that is rewritten on a terminal, a line at most each 2 s elsewhere."""

    def __init__(self) -> None:
        self.what = ""
        self.shown = 0.0
        self.done = False

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` bytes of ``total`` are here; 100 in all is a percentage."""
        terminal = sys.stderr.isatty()
        finished = done >= total > 0
        now = time.monotonic()
        if what == self.what and (self.done or (not finished and now - self.shown < (0.1 if terminal else 2))):
            return
        self.what, self.shown, self.done = what, now, finished
        amount = f"{done} %" if total == 100 else f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
        if terminal:
            print(f"\r\033[Klab: {what}: {amount}", end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            print(f"lab: {what}: {amount}", file=sys.stderr, flush=True)
