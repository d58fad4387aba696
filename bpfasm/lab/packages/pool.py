"""A package in the pool of an archive: its path there, its size and its checksum; and which are here already."""

from __future__ import annotations

import hashlib
import os

from bpfasm.errors import LabError
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    #: Called as ``progress(what, done, total)`` with bytes; a total of 100 is a percentage.
    Progress = Callable[[str, int, int], None]

#: Debian's name of a processor, by that of ``uname -m``.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Package(Value):
    """A package: its path in the archive, its size in bytes and SHA-256 (hex), and where apt gets it, if apt does.

    A folder that packages are got into has each at its path.
    """

    path: str
    size: int
    sha256: str
    uri: str = ""

    @property
    def file(self) -> str:
        """The name of its file: NAME_VERSION_ARCHITECTURE.deb, without the version's epoch."""
        return self.path.rpartition("/")[2]

    @property
    def name(self) -> str:
        """Its name."""
        return self.file.partition("_")[0]


def missing(packages: Iterable[Package], folder: Path) -> list[Package]:
    """Return the packages that are not whole in the folder; a file that can never be whole is removed."""
    return [package for package in packages if not _whole(package, folder / package.path)]


def _whole(package: Package, file: Path) -> bool:
    if file.is_symlink():
        # apt leaves a link to what is in a folder of this machine, which may not be there any more.
        file.unlink()
    try:
        size = file.stat().st_size
    except FileNotFoundError:
        return False
    if size < package.size:
        return False
    if size == package.size and sha256(file) == package.sha256:
        return True
    file.unlink()
    return False


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def bytes_of(packages: Iterable[Package], folder: Path) -> int:
    """Return how many bytes of the packages are in the folder."""
    total = 0
    for package in packages:
        try:
            total += os.stat(folder / package.path).st_size
        except OSError:
            continue
    return total


def mismatch(file: str, expected: str, got: str) -> LabError:
    """Return the error for a file that is not the one the archive's lists or the pins name."""
    return LabError(
        f"{file} is damaged or another: SHA-256 expected {expected}, got {got}",
        "it was removed: fetch again, and if that does not help, from another mirror (BPFASM_MIRROR)",
        rule="lab-checksum",
    )
