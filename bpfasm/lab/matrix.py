"""Say which kernels there are: the matrix of ``kernels.toml``, what of it is on this machine, and files by path."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from bpfasm.errors import LabError, UsageError
from bpfasm.lab import cache
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tree(Value):
    """A kernel on disk: its release (``uname -r``), its image, and the folder of its modules (None: it has none).

    ``busybox`` is the one that was fetched with it, for the guest's commands.
    """

    release: str
    vmlinuz: Path
    modules: Path | None
    busybox: Path | None = None


class Kernel(Value):
    """A kernel the lab can boot. ``tree`` is None as long as it has not been fetched.

    ``version`` is what it is asked for by: an entry of the matrix, or the path of an image.
    """

    version: str
    tree: Tree | None = None
    arch: str = "x86_64"
    suites: tuple[str, ...] = ()
    package: str = ""
    cmdline: str = ""

    @property
    def cached(self) -> bool:
        """Whether it is on this machine."""
        return self.tree is not None

    @property
    def release(self) -> str | None:
        """Its ``uname -r``, once it is on this machine."""
        return self.tree.release if self.tree else None


def kernels() -> list[Kernel]:
    """Return the matrix, in its order."""
    return [
        Kernel(
            version=entry["version"],
            tree=tree_in(place(entry["version"])),
            arch=entry.get("arch", "x86_64"),
            suites=tuple(entry["suites"]),
            package=entry["package"],
            cmdline=entry.get("cmdline", ""),
        )
        for entry in _matrix()["kernel"]
    ]


def default() -> str:
    """Return the version that is booted when none is asked for."""
    return str(_matrix()["default"])


def find(version: str | None) -> Kernel:
    """Return the kernel asked for: a version of the matrix, or the path of an image (anything with a "/").

    Raise UsageError for a version that is not in the matrix, LabError for a file that is not a kernel.
    """
    if version is None:
        version = default()
    if "/" in version:
        return _by_path(Path(version))
    known = kernels()
    for kernel in known:
        if kernel.version == version:
            return kernel
    names = ", ".join(kernel.version for kernel in known)
    raise UsageError(
        f"no kernel {version!r} in the lab",
        f"it has {names}; an image of yours is named by its path",
        rule="lab-version",
    )


def place(version: str) -> Path:
    """Return the folder in the cache where a kernel of the matrix is kept."""
    return cache.root() / "kernels" / version


def tree_in(folder: Path) -> Tree | None:
    """Return the kernel unpacked below ``folder``, or None when there is none."""
    images = [*folder.glob("boot/vmlinuz-*"), *folder.glob("usr/lib/modules/*/vmlinuz")]
    if not images:
        return None
    release = release_of(images[0])
    return Tree(release, images[0], _modules_of(release, images[0]))


def release_of(image: Path) -> str:
    """Return the release that a bzImage states in its header (Documentation/arch/x86/boot.rst, kernel_version)."""
    try:
        with image.open("rb") as file:
            head = file.read(0x10000)
    except OSError as error:
        raise LabError(
            f"cannot read the kernel {image}: {error.strerror}", "name a vmlinuz that you may read", rule="lab-kernel"
        ) from None
    if head[0x202:0x206] != b"HdrS":
        raise LabError(
            f"{image} is not a bootable x86 kernel image (bzImage)", "name a vmlinuz, as in /boot", rule="lab-kernel"
        )
    start = int.from_bytes(head[0x20E:0x210], "little") + 0x200
    words = head[start : start + 256].split(b"\0")[0].split()
    return words[0].decode(errors="replace") if words else "unknown"


def _by_path(image: Path) -> Kernel:
    release = release_of(image)
    image = Path(os.path.abspath(image))
    return Kernel(version=str(image), tree=Tree(release, image, _modules_of(release, image)))


def _modules_of(release: str, image: Path) -> Path | None:
    """Find the modules of ``release``: beside its image, in the tree that the image is part of, or this machine's."""
    top = image.parent.parent
    for folder in (
        image.parent,
        top / "lib/modules" / release,
        top / "usr/lib/modules" / release,
        Path("/lib/modules", release),
    ):
        if (folder / "kernel").is_dir():
            return folder
    return None


def _matrix() -> dict[str, Any]:
    with Path(__file__).with_name("kernels.toml").open("rb") as file:
        return tomllib.load(file)
