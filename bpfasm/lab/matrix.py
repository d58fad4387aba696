"""Say which kernels there are: the matrix of ``kernels.toml``, what of it is on this machine, and files by path."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from bpfasm.errors import UsageError
from bpfasm.lab import cache
from bpfasm.lab.kernel import bootimage
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Tree(Value):
    """A kernel on disk: its release (``uname -r``), its image, the folder of its modules (None: it has none).

    ``busybox`` is a static busybox for the kernel's processor, or None where there is none yet.
    """

    release: str
    vmlinuz: Path
    modules: Path | None
    busybox: Path | None = None


class Kernel(Value):
    """A kernel the lab can boot. ``tree`` is None as long as it has not been fetched.

    ``version`` is what it is asked for by: an entry of the matrix, or the path of an image. ``arch`` is as in
    ``uname -m``: x86_64 or aarch64. ``releases`` is a pattern of the releases it follows, looked for in ``suites``;
    both are empty for an image. ``in_all`` says that it is one of those that ``all`` means. ``lacks`` are the names
    in ``options()`` that its configuration does not have, without ``CONFIG_``; nothing is known of an image's.
    """

    version: str
    tree: Tree | None = None
    arch: str = "x86_64"
    suites: tuple[str, ...] = ()
    releases: str = ""
    cmdline: str = ""
    in_all: bool = True
    lacks: tuple[str, ...] = ()

    @property
    def cached(self) -> bool:
        """Whether it is on this machine."""
        return self.tree is not None

    @property
    def release(self) -> str | None:
        """Its ``uname -r``, once it is on this machine."""
        return self.tree.release if self.tree else None


class Userland(Value):
    """A Python of Debian's for guests that cannot have this machine's: packages of these suites."""

    suites: tuple[str, ...]
    packages: tuple[str, ...]


def kernels() -> list[Kernel]:
    """Return the kernels that ``all`` means, in the matrix's order."""
    return [kernel for kernel in everything() if kernel.in_all]


def everything() -> list[Kernel]:
    """Return every kernel of the matrix, in its order."""
    return [
        Kernel(
            version=entry["version"],
            tree=_fetched(entry["version"]),
            arch=entry.get("arch", "x86_64"),
            suites=tuple(entry["suites"]),
            releases=entry["releases"],
            cmdline=entry.get("cmdline", ""),
            in_all=entry.get("all", True),
            lacks=tuple(entry["lacks"]),
        )
        for entry in _matrix()["kernel"]
    ]


def options() -> dict[str, str]:
    """Return what each option of a kernel's configuration, of those that matter here, gives to BPF."""
    return dict(_matrix()["options"])


def along() -> tuple[str, ...]:
    """Return the packages that come along with each kernel."""
    return tuple(_matrix()["along"])


def userland() -> Userland:
    """Return where the Python of another processor comes from."""
    entry = _matrix()["userland"]
    return Userland(tuple(entry["suites"]), tuple(entry["packages"]))


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
    known = everything()
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
    """Return the kernel unpacked below ``folder`` as Debian packs it, or None when there is none."""
    if not os.path.isdir(folder):  # or it is one that this user may not see
        return None
    for image in (*folder.glob("boot/vmlinuz-*"), *folder.glob("usr/lib/modules/*/vmlinuz*")):
        release = image.name.removeprefix("vmlinuz-") if image.parent.name == "boot" else image.parent.name
        busybox = [path for path in (folder / "bin/busybox", folder / "usr/bin/busybox") if path.is_file()]
        return Tree(release, image, _modules_of(release, image), busybox[0] if busybox else None)
    return None


def _fetched(version: str) -> Tree | None:
    """Return a kernel of the matrix in the cache; None for one that an older bpfasm fetched, without a busybox."""
    tree = tree_in(place(version))
    return tree if tree and tree.busybox else None


def _by_path(image: Path) -> Kernel:
    found = bootimage.read(image)
    image = Path(os.path.abspath(image))
    # It comes without one; any kernel's for its processor will do.
    busyboxes = (kernel.tree.busybox for kernel in everything() if kernel.tree and kernel.arch == found.arch)
    tree = Tree(found.release, image, _modules_of(found.release, image), next(busyboxes, None))
    return Kernel(version=str(image), tree=tree, arch=found.arch)


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
