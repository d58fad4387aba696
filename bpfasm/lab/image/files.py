"""Copy files into a guest's archive at the paths they have in their tree, with the links that lead to them.

A tree is this machine's ("/") or a folder of unpacked packages, in which "/usr" is a folder of that folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab.kernel.objects import without_debug

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.lab.image.cpio import CpioWriter

#: The tree of this machine.
HERE = Path("/")

#: Where a tree that has no such folder keeps its files: packages leave these links to another package.
_MERGED = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}

_MOST_LINKS = 40


class Files:
    """The files of one tree on their way into one archive. All paths are the guest's but what ``on_disk`` returns."""

    def __init__(self, cpio: CpioWriter, top: Path = HERE) -> None:
        self.cpio = cpio
        self.top = top

    def on_disk(self, path: Path) -> Path:
        """Return where the file that ``path`` leads to is on this machine."""
        return _on_disk(self.top, real(self.top, path))

    def read(self, path: Path) -> bytes:
        """Return what is in the file that ``path`` leads to."""
        return self.on_disk(path).read_bytes()

    def reach(self, path: Path) -> Path:
        """Add the folders and links above ``path``, and return where it is when those are followed."""
        folder = self.follow(path.parent)
        self.cpio.directory(str(folder))
        return folder / path.name

    def follow(self, path: Path) -> Path:
        """Add the links on the way to ``path`` and from it on, and return where they lead."""
        links: dict[Path, str] = {}
        end = real(self.top, path, links)
        for link, target in links.items():
            self.cpio.symlink(str(link), target)
        return end

    def copy(self, path: Path) -> None:
        """Add the file at ``path``, through any links on the way to it."""
        place = self.follow(path)
        self.file(place, self.read(place))

    def file(self, path: Path, data: bytes) -> None:
        """Add a file with these bytes, in the folder and with the mode that it has on this machine."""
        place = self.reach(path)
        self.cpio.file(str(place), data, 0o755 if self.on_disk(path).stat().st_mode & stat.S_IXUSR else 0o644)

    def add_code(self, path: Path, code: bytes, tag: str) -> None:
        """Add the code of the source at ``path``, where a Python with this cache tag looks for it."""
        place = self.reach(path)
        self.cpio.file(f"{place.parent}/__pycache__/{place.stem}.{tag}.pyc", code)

    def binary(self, path: Path) -> None:
        """Add a program or library without its debug data, through any links on the way to it."""
        place = self.follow(path)
        self.cpio.file(str(place), without_debug(self.read(place)), 0o755)


def real(top: Path, path: Path, links: dict[Path, str] | None = None) -> Path:
    """Return where ``path`` is in a tree when all links are followed; ``links`` takes those that were."""
    done, left, hops = Path("/"), list(path.parts[1:]), 0
    while left:
        place = done / left.pop(0)
        target = _target(top, place)
        if not target:
            done = place
            continue
        hops += 1
        if hops > _MOST_LINKS:
            raise LabError(f"{path} is a link that leads in a circle", "remove it", rule="lab-copy")
        if links is not None:
            links[place] = target
        left[:0] = Path(os.path.normpath(done / target)).parts[1:]
        done = Path("/")
    return done


def walk(top: Path) -> Iterator[Path]:
    """Yield the files and links at or below ``top`` in a fixed order, without caches and hidden folders."""
    if not top.is_dir():
        if top.is_file():
            yield top
        return
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.endswith(".pyc") and path.is_file():
                yield path


def _on_disk(top: Path, path: Path) -> Path:
    return top / path.relative_to("/")


def _target(top: Path, path: Path) -> str:
    """Return what a link of the tree holds; "" when ``path`` is none."""
    disk = _on_disk(top, path)
    if disk.is_symlink():
        return os.readlink(disk)
    return "" if disk.exists() else _MERGED.get(str(path), "")
