"""Packages of any Debian suite for the tools and tests: unpacked, never installed, got by the lab's own apt."""

from __future__ import annotations

import sys
from pathlib import Path

# The tools are run as files, from a checkout that need not be installed.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from bpfasm.errors import LabError as FetchError
from bpfasm.lab import cache
from bpfasm.lab.packages import deb, debian, sources

__all__ = ["KERNEL_SUITES", "FetchError", "fetch"]

KERNEL_SUITES = ("sid", "trixie-backports", "trixie")  # one of them has the newest kernel of Debian


def fetch(package: str, suites: tuple[str, ...], version: str = "") -> Path:
    """Return the directory in the cache with the package unpacked, ``PACKAGE_VERSION``, fetched when it is not there.

    The version is the newest of the suites unless one is given; then what is cached needs no network. Raises
    FetchError: no apt, no Debian mirror, no network, no such version.
    """
    if version and place(package, version).exists():
        return place(package, version)
    with cache.locked("apt-tools", "apt"):
        apt = debian.prepare(cache.root() / "apt" / "+".join(suites), sources.mirror(), suites)
        debian.update(apt, _quiet)
        version = version or debian.newest(apt, package)
        if not place(package, version).exists():
            with cache.workdir() as work:
                (found,) = debian.find(apt, "", [f"{package}={version}"])
                debian.download(apt, [found], work, package, _quiet)
                deb.unpack(work / found.path, work / "root")
                cache.publish(work / "root", place(package, version))
    return place(package, version)


def place(package: str, version: str) -> Path:
    """Return where a package is kept."""
    return cache.root() / f"{package}_{version}"


def _quiet(what: str, done: int, total: int) -> None:
    """Show nothing of the progress."""
