"""Read from a busybox which commands it has, without running it: it may be for another processor."""

from __future__ import annotations

import re

_NAME = re.compile(rb"\[\[?|[a-z0-9][a-z0-9_.-]*")
#: The first name has no NUL before it, but whatever comes before the table.
_ENDS_IN_NAME = re.compile(rb"(?:\[\[?|[a-z0-9][a-z0-9_.-]*)\Z")


def applets(binary: bytes) -> list[str]:
    """Return the names that this busybox goes by, itself left out; [] when the file is none.

    They stand in alphabetical order, each with a NUL after it (libbb/appletlib.c, applet_names). Every busybox has
    ``cat``: the table is the ordered run of names around it.
    """
    longest: list[bytes] = []
    at = binary.find(b"\0cat\0")
    while at >= 0:
        longest = max(longest, [*_before(binary, at), *_from(binary, at + 1)], key=len)
        at = binary.find(b"\0cat\0", at + 1)
    return [name.decode() for name in longest if name != b"busybox"]


def _before(binary: bytes, end: int) -> list[bytes]:
    """Return the names, in order, that end at the NUL at ``end``."""
    names: list[bytes] = []
    follower = b"cat"
    while end > 0:
        start = binary.rfind(b"\0", 0, end) + 1
        found = _ENDS_IN_NAME.search(binary[start:end])
        if not found or found[0] >= follower:
            break
        names.append(found[0])
        follower, end = found[0], start - 1
    return names[::-1]


def _from(binary: bytes, start: int) -> list[bytes]:
    """Return the names, in order, that begin at ``start``."""
    names: list[bytes] = []
    while True:
        end = binary.find(b"\0", start)
        name = binary[start:end]
        if end < 0 or not _NAME.fullmatch(name) or names[-1:] >= [name]:
            return names
        names.append(name)
        start = end + 1
