"""Write cpio archives in the "newc" format, the one the kernel unpacks as its first file system.

The kernel takes several archives one after the other, which is why a guest image is made of parts. Format:
Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import io
import os
import stat

from bpfasm.lab.image.unpack import entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Sink(Protocol):
        """Where an archive goes: anything with a ``write`` for bytes."""

        def write(self, data: bytes, /) -> Any:
            """Take some bytes."""


#: The kernel unpacks each archive at an offset that is a multiple of 4; a round size keeps the parts aligned.
BLOCK = 512


class CpioWriter:
    """Write entries to ``out``, each name once, parents first. Times and owners are 0, so equal input is equal bytes.

    Paths are absolute or relative, and name the same file either way; directories above a path are made, with
    mode 0755, when nothing made them before.
    """

    def __init__(self, out: Sink) -> None:
        self.out = out
        self.size = 0
        self.count = 0
        self.names: set[str] = set()

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory."""
        self.entry(path, stat.S_IFDIR | mode, b"")

    def symlink(self, path: str, target: str) -> None:
        """Add a symbolic link that holds ``target``."""
        self.entry(path, stat.S_IFLNK | 0o777, target.encode("utf-8", "surrogateescape"))

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self.entry(path, stat.S_IFREG | mode, data)

    def device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device."""
        self.entry(path, stat.S_IFCHR | mode, b"", major, minor)

    def close(self) -> None:
        """Write the trailer, and zeros up to a whole block. ``out`` stays open."""
        self._write("TRAILER!!!", 0, b"", 0, 0, 0)
        self.out.write(bytes(-self.size % BLOCK))
        self.size += -self.size % BLOCK

    def entry(self, path: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        """Add what ``mode`` says: a link's data is its target, a device's are its numbers."""
        name = path.strip("/")
        if not name or name in self.names:
            return
        parent = name.rpartition("/")[0]
        if parent not in self.names:
            self.directory(parent)
        self.names.add(name)
        self.count += 1
        self._write(name, mode, data, self.count, major, minor)

    def _write(self, name: str, mode: int, data: bytes, inode: int, major: int, minor: int) -> None:
        raw = name.encode("utf-8", "surrogateescape") + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, major, minor, len(raw), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + raw
        head += bytes(-len(head) % 4)
        tail = bytes(-len(data) % 4)
        self.out.write(head)
        self.out.write(data)
        self.out.write(tail)
        self.size += len(head) + len(data) + len(tail)


def difference(old: bytes, new: bytes) -> bytes | None:
    """Return the archive that makes of a guest with ``old`` what one with ``new`` is; b"" where they are the same.

    None where something would have to go: an archive can only add and replace.
    """
    before = {entry[0]: entry for entry in entries(old)}
    after = {entry[0]: entry for entry in entries(new)}
    if before.keys() - after.keys():
        return None
    out = io.BytesIO()
    cpio = CpioWriter(out)
    for name, mode, device, content in after.values():
        if before.get(name) != after[name]:
            cpio.entry(name, mode, content, os.major(device), os.minor(device))
    if cpio.count:
        cpio.close()
    return out.getvalue()
