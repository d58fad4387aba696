"""Unpack a Debian package without dpkg: an ``ar`` archive (deb(5)) with a tar of files in it.

The package may come from anywhere: no member is written outside the folder, or through a link.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import tarfile

from bpfasm.errors import LabError
from bpfasm.lab import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO, Any, BinaryIO, Literal

_MAGIC = b"!<arch>\n"
_HEAD = 60
_CHUNK = 1 << 20

#: How a tar is read as a stream, by how it is packed.
_READ: dict[str, Literal["r|", "r|gz", "r|xz"]] = {"": "r|", ".gz": "r|gz", ".xz": "r|xz"}

#: What a damaged file makes the readers below raise.
_DAMAGE = (EOFError, ValueError, lzma.LZMAError, tarfile.TarError)


def unpack(package: Path, into: Path) -> None:
    """Unpack the files of a ``.deb`` below the folder ``into``, without its scripts, as this user.

    Modes lose what only root gives a meaning; a link keeps leading to the same file of the tree, and one to an
    absolute path is made relative. Raise LabError for a file that is no package or is damaged, and for a member
    that would be outside the tree, or is neither file, folder nor link.
    """
    try:
        with cache.writing(into), package.open("rb") as file:
            into.mkdir(parents=True, exist_ok=True)
            data, packing = _data(file, package.name)
            with tarfile.open(fileobj=data, mode=_READ[packing], bufsize=_CHUNK) as tar:
                tree = _Tree(package.name, os.fspath(into))
                for member in tar:
                    tree.add(tar, member)
    except _DAMAGE as error:
        raise LabError(
            f"the package {package.name} is damaged: {error}",
            "remove it and fetch again; does the disk have room?",
            rule="lab-package",
        ) from None


def _data(file: BinaryIO, name: str) -> tuple[IO[bytes], str]:
    """Return the tar of the package's files, and how it is packed."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise _refused(name, "it is no Debian package")
    while head := file.read(_HEAD):
        if len(head) < _HEAD or head[58:] != b"`\n":
            raise EOFError("its list of parts is cut short")
        member, size = head[:16].rstrip(b" /").decode("ascii", "replace"), int(head[48:58])
        if member.startswith("data.tar"):
            packing = member.removeprefix("data.tar")
            if packing in _READ:
                return io.BufferedReader(_Part(file, size), _CHUNK), packing
            raise _refused(name, f"its files are packed as {member}, which Python's library cannot read")
        file.seek(size + size % 2, os.SEEK_CUR)
    raise EOFError("it has no files")


class _Part(io.RawIOBase):
    """The next ``size`` bytes of a file, as a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(min(len(buffer), self.left))
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _Tree:
    """A folder that members are written into, and never around."""

    def __init__(self, name: str, root: str) -> None:
        self.name = name
        self.root = root
        # Folders known to be real ones: nothing is written through a link.
        self.real = {""}

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Write one member."""
        path = self._inside(member.name, member.name)
        if member.isdir():
            self._folder(path, member.name)
            return
        if not path:
            raise self._outside(member.name)
        self._folder(path.rpartition("/")[0], member.name)
        place = os.path.join(self.root, path)
        if os.path.isdir(place) and not os.path.islink(place):
            raise _refused(self.name, f"{member.name} is a folder too")
        if os.path.lexists(place):
            os.unlink(place)
        if member.isreg():
            self._file(tar, member, place)
        elif member.issym():
            target = member.linkname
            inside = self._inside(
                target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}", member.name, climbs=True
            )
            os.symlink(os.path.relpath(inside or ".", path.rpartition("/")[0] or "."), place)
        elif member.islnk():
            source = os.path.join(self.root, self._inside(member.linkname, member.name))
            if os.path.islink(source) or not os.path.isfile(source):
                raise _refused(self.name, f"{member.name} is a link to no file of it")
            os.link(source, place)
        else:
            raise _refused(self.name, f"{member.name} is neither a file, a folder nor a link")

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> None:
        data = tar.extractfile(member)
        assert data is not None
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644 | member.mode & 0o111)
        with open(fd, "wb") as out:
            left = member.size
            while left and (chunk := data.read(min(left, _CHUNK))):
                out.write(chunk)
                left -= len(chunk)
        if left:
            raise EOFError(f"{member.name} is cut short")
        os.utime(place, (member.mtime, member.mtime))

    def _folder(self, path: str, member: str) -> None:
        """Make a folder and those above it, all of them real."""
        if path in self.real:
            return
        self._folder(path.rpartition("/")[0], member)
        place = os.path.join(self.root, path)
        try:
            os.mkdir(place)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(place).st_mode):
                raise self._outside(member) from None
        self.real.add(path)

    def _inside(self, path: str, member: str, *, climbs: bool = False) -> str:
        """Return a path of the tree without ``.``; with ``climbs``, ``..`` is resolved and "/" is the tree's root."""
        parts: list[str] = []
        if path.startswith("/") and not climbs:
            raise self._outside(member)
        for part in path.split("/"):
            if part == "..":
                if not climbs or not parts:
                    raise self._outside(member)
                parts.pop()
            elif part not in {"", "."}:
                parts.append(part)
        return "/".join(parts)

    def _outside(self, member: str) -> LabError:
        return _refused(self.name, f"{member} would lead out of its tree")


def _refused(name: str, why: str) -> LabError:
    return LabError(
        f"the package {name} is refused: {why}",
        "it is not as Debian makes them: remove it, and fetch again from another mirror",
        rule="lab-package",
    )
