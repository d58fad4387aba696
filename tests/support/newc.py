"""A reader of cpio archives in the newc format, written from the format's description."""

from __future__ import annotations


def read(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int], int]]:
    """Return the entries of an archive: name -> mode, content, device, inode. Checks what every entry must have."""
    found = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701", at
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        inode, mode, uid, gid, _links, mtime, size, _, _, major, minor, length, check = fields
        assert uid == gid == mtime == check == 0
        name = data[at + 110 : at + 110 + length - 1].decode("utf-8", "surrogateescape")
        assert data[at + 110 + length - 1] == 0
        start = (at + 110 + length + 3) & ~3
        content = data[start : start + size]
        at = (start + size + 3) & ~3
        if name == "TRAILER!!!":
            assert not data[at:].strip(b"\0")
            return found
        assert name not in found
        found[name] = (mode, content, (major, minor), inode)
