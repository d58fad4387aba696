"""Packages known by their checksums: for machines without apt, and for suites that have left the mirrors.

``pins.toml`` is written by ``tools/pin_kernels.py``, from lists whose signatures apt has checked.
"""

from __future__ import annotations

import tomllib
import urllib.parse
from pathlib import Path

from bpfasm.lab.packages.pool import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.lab.packages.sources import Mirror

#: Debian's public archives and those of its snapshots, by the name of the archive.
PUBLIC = "http://deb.debian.org/{archive}/"
SNAPSHOT = "http://snapshot.debian.org/archive/{archive}/{time}/"


def find(name: str) -> list[Package]:
    """Return the pinned packages of a bundle; [] when there are none."""
    rows = _pins()["bundles"].get(name, [])
    return [Package(row["path"], row["size"], row["sha256"]) for row in rows]


def urls(where: Mirror | None) -> Callable[[Package], list[str]]:
    """Return what tells where a package may be: the mirror in use, then Debian's archive, then its snapshots."""
    time = _pins()["snapshot"]

    def of(package: Package) -> list[str]:
        security = package.path.startswith("pool/updates/")
        public = "debian-security" if security else "debian"
        archive = where and (where.security if security and where.security else where.main)
        near = [archive.uri + "/"] if archive and archive.uri.startswith(("http:", "https:", "file:")) else []
        bases = [*near, PUBLIC.format(archive=public), SNAPSHOT.format(archive=public, time=time)]
        return [base + urllib.parse.quote(package.path) for base in bases]

    return of


def _pins() -> dict[str, Any]:
    with Path(__file__).with_name("pins.toml").open("rb") as file:
        return tomllib.load(file)
