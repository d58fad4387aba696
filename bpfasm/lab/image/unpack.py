"""Read cpio archives in the "newc" format, and unpack them as the kernel does with those it starts from.

Both sides run this file, the guest as /lab/unpack.pyc: it stands alone, and imports what Python has loaded anyway.
Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = 110
_END = "TRAILER!!!"


def entries(archive: bytes) -> "Iterator[tuple[str, int, int, bytes]]":
    """Yield (name, mode, device, content) of each entry; device is ``os.makedev()``'s number, 0 for none.

    Archives may stand one after the other, with zeros between. Raise ValueError for what is none.
    """
    at = 0
    while at < len(archive):
        if archive[at : at + 4] == bytes(4):
            at += 4
            continue
        if archive[at : at + 6] != b"070701":
            raise ValueError(f"no cpio entry at byte {at}")
        fields = [int(archive[i : i + 8], 16) for i in range(at + 6, at + _HEADER, 8)]
        start = at + _HEADER
        name = archive[start : start + fields[11] - 1].decode("utf-8", "surrogateescape")
        start = start + fields[11] + 3 & ~3
        content = archive[start : start + fields[6]]
        if len(content) < fields[6]:
            raise ValueError(f"the archive ends within {name}")
        at = start + fields[6] + 3 & ~3
        if name != _END:
            yield name, fields[1], os.makedev(fields[9], fields[10]), content


def unpack(archive: bytes, top: str = "/") -> None:
    """Make what an archive holds below ``top``; what is there already gives way, but for folders."""
    for name, mode, device, content in entries(archive):
        path = os.path.join(top, name)
        if stat.S_ISDIR(mode):
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            os.chmod(path, mode & 0o7777)
            continue
        try:  # noqa: SIM105 - contextlib takes long to import in the guest
            os.unlink(path)
        except FileNotFoundError:
            pass
        if stat.S_ISLNK(mode):
            os.symlink(content, path)
        elif stat.S_ISREG(mode):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fchmod(fd, mode & 0o7777)
            os.close(fd)
        else:
            os.mknod(path, mode, device)
