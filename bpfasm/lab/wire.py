"""The frames between host and guest: a kind (1 byte), a length (4 bytes, little-endian), and so many bytes.

From the host:   H hello: the time (ns since 1970, 8 bytes) and 32 random bytes, the guest answers R ·
                 J job: cwd, number of words, words, NAME=VALUE..., each after a NUL · I bytes for stdin, none: end ·
                 S a signal's number · Q power off
From the guest:  R ready: release and machine, the answer to H · O stdout · E stderr · A the last I was taken, send more · X status
One port carries them all, so a status never overtakes the output before it.
"""

from __future__ import annotations

import os

from bpfasm.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HEADER = 5


def frame(kind: bytes, data: bytes = b"") -> bytes:
    """Return one frame."""
    return kind + len(data).to_bytes(4, "little") + data


def hello(time_ns: int, seed: bytes) -> bytes:
    """Return the frame that sets the guest's clock and stirs its random numbers, and asks whether it is there.

    A guest that goes on from a snapshot has the time and the random numbers of when that was taken.
    """
    return frame(b"H", time_ns.to_bytes(8, "little") + seed)


def job(argv: Sequence[str | bytes], cwd: str | bytes, env: Mapping[str, str]) -> bytes:
    """Return the frame that starts a command. Words keep their bytes, whatever their encoding."""
    words = [os.fsencode(word) for word in argv]
    fields = [os.fsencode(cwd), b"%d" % len(words), *words]
    fields += [os.fsencode(name) + b"=" + os.fsencode(value) for name, value in env.items()]
    if not words:
        raise UsageError(
            "no command to run in the guest",
            "write it after --: lab run -- python3 -c 'print(1)'",
            rule="lab-command",
        )
    if any(b"\0" in field for field in fields):
        raise UsageError(
            "a word of the command holds a NUL byte", "no program can be given one: leave it out", rule="lab-command"
        )
    return frame(b"J", b"\0".join(fields))


class Frames:
    """Cut a stream of bytes into frames."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Add bytes and yield the frames that are whole now, as (kind, bytes)."""
        self._held += data
        start = 0
        while len(self._held) - start >= _HEADER:
            size = int.from_bytes(self._held[start + 1 : start + _HEADER], "little")
            end = start + _HEADER + size
            if len(self._held) < end:
                break
            yield bytes(self._held[start : start + 1]), bytes(self._held[start + _HEADER : end])
            start = end
        del self._held[:start]
