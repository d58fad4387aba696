"""The frames between host and guest: a kind (1 byte), a length (4 bytes, little-endian), and so many bytes.

From the host:   H hello: the time (ns since 1970, 8 bytes) and 32 random bytes, the guest answers R ·
                 P a piece of a cpio archive to unpack, none: end ·
                 J job: cwd, its terminal's rows and columns (none: pipes), number of shared folders, number of words,
                 words, NAME=VALUE..., each after a NUL · I bytes for stdin, none: end · W rows and columns, now ·
                 S a signal's number · D number and path of a folder that the next job shares · Q power off
From the guest:  R ready: release and machine, the answer to H · O stdout · E stderr · A the last I was taken, send
                 more · D how many bytes the folder may hold · N it cannot, for this reason · Z the command is
                 over, its folders follow · X status
Both ways:       F, B, U what is in a shared folder: bpfasm/lab/guest/folder.py
One port carries them all, so a status never overtakes the output before it.
"""

from __future__ import annotations

import os

from bpfasm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEADER = 5
_PIECE = 1 << 18

#: No honest guest sends a longer frame, and a host does not hold whatever a guest sends.
LONGEST = 1 << 20


def frame(kind: bytes, data: bytes = b"") -> bytes:
    """Return one frame."""
    return kind + len(data).to_bytes(4, "little") + data


def hello(time_ns: int, seed: bytes) -> bytes:
    """Return the frame that sets the guest's clock and stirs its random numbers, and asks whether it is there.

    A guest that goes on from a snapshot has the time and the random numbers of when that was taken.
    """
    return frame(b"H", time_ns.to_bytes(8, "little") + seed)


def archive(data: bytes) -> Iterator[bytes]:
    """Yield the frames that give the guest the files of a cpio archive; none for b""."""
    if data:
        for start in range(0, len(data), _PIECE):
            yield frame(b"P", data[start : start + _PIECE])
        yield frame(b"P")


def job(
    argv: Sequence[str | bytes],
    cwd: str | bytes,
    env: Mapping[str, str],
    terminal: tuple[int, int] | None = None,
    folders: int = 0,
) -> bytes:
    """Return the frame that starts a command. Words keep their bytes, whatever their encoding."""
    given = words(argv)
    size = b"%d %d" % terminal if terminal else b""
    fields = [os.fsencode(cwd), size, b"%d" % folders, b"%d" % len(given), *given]
    fields += [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]
    _refuse_nul(fields)
    return frame(b"J", b"\0".join(fields))


def words(argv: Sequence[str | bytes]) -> list[bytes]:
    """Return the words of a command as bytes; raise UsageError for what cannot be run."""
    found = [os.fsencode(word) for word in argv]
    if not found:
        raise UsageError(
            "no command to run in the guest",
            "write it after --: lab run -- python3 -c 'print(1)'",
            rule="lab-command",
        )
    _refuse_nul(found)
    return found


def _refuse_nul(fields: list[bytes]) -> None:
    if any(b"\0" in field for field in fields):
        raise UsageError(
            "a word of the command holds a NUL byte", "no program can be given one: leave it out", rule="lab-command"
        )


class Frames:
    """Cut a stream of bytes into frames; raise ValueError for one that is too long to be one."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Add bytes and yield the frames that are whole now, as (kind, bytes)."""
        self._held += data
        start = 0
        while len(self._held) - start >= _HEADER:
            size = int.from_bytes(self._held[start + 1 : start + _HEADER], "little")
            if size > LONGEST:
                raise ValueError(f"a frame of {size} bytes")
            end = start + _HEADER + size
            if len(self._held) < end:
                break
            yield bytes(self._held[start : start + 1]), bytes(self._held[start + _HEADER : end])
            start = end
        del self._held[:start]
