"""The folders that a command in a guest shares with this machine: how they go, and what is said of their return."""

from __future__ import annotations

import os

from bpfasm.errors import LabError, UsageError
from bpfasm.lab.guest import wire
from bpfasm.lab.guest.folder import Folder
from bpfasm.lab.guest.terminal import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

#: What a guest has of its own under these names is not another's.
_OF_THE_GUEST = ("/proc", "/sys", "/dev", "/lab")

#: As many paths are named where there may be many.
_NAMED = 5

_MB = 1_000_000


class Shares:
    """The folders of ``--rw``, none of them within another. Leaving the block closes them."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self.places = outermost(paths)
        self._folders: list[Folder] = []
        self._away = self._some_came = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            folder.close()

    def offers(self) -> Iterator[tuple[bytes, Folder]]:
        """Yield for each folder the frame that offers it, and the folder."""
        for number, place in enumerate(self.places):
            path = os.fsencode(place)
            try:
                self._folders.append(Folder(number, path))
            except OSError as error:
                raise UsageError(
                    f"--rw {place}: {error.strerror}", "name a folder that you may read and write", rule="lab-rw"
                ) from None
            yield wire.frame(b"D", bytes([number]) + path), self._folders[-1]

    def contents(self, folder: Folder, room: int, memory_mib: int) -> Iterator[bytes]:
        """Yield the frames of what is in a folder; raise LabError when that is more than ``room`` bytes."""
        name, size = os.fsdecode(folder.path), folder.size()
        if size > room:
            # Half of a guest's memory is for files.
            needed = memory_mib + 2 * (size - room) // (1 << 20)
            raise LabError(
                f"{name} holds {size / _MB:.0f} MB, and a guest of {memory_mib} MiB has room for {room / _MB:.0f}",
                f"give it more memory (--memory {(needed // 256 + 1) * 256}), or name a smaller folder",
                rule="lab-rw",
            )
        folder.lost.clear()
        for kind, data in folder.changes():
            yield wire.frame(kind, data)
        _list(folder, folder.left, "is neither file, folder nor link: the guest does not have it")
        for path, reason in folder.lost[:_NAMED]:
            say(f"{_name(folder, path)} cannot be read: the guest does not have it ({reason})")
        folder.left.clear()
        folder.lost.clear()

    def gone(self) -> None:
        """Take note that the command has them now."""
        self._away = bool(self.places)

    def take(self, kind: bytes, data: bytes) -> None:
        """Take what comes back; raise ValueError for what no honest guest sends."""
        self._some_came = True
        if not data or data[0] >= len(self._folders):
            raise ValueError("a folder that is not shared")
        self._folders[data[0]].take(kind, data[1:])

    def done(self) -> None:
        """Finish what came back and say what did not come as it was; raise LabError when something could not."""
        lost = []
        for folder in self._folders:
            folder.done()
            for path, name in folder.aside[:_NAMED]:
                say(f"{_name(folder, path)} has changed here too, and stays: the guest's is {_printable(name)}")
            _list(folder, folder.kept, "is gone in the guest, but has changed here, and stays")
            _list(folder, folder.left, "is neither file, folder nor link, and stays in the guest")
            lost += [f"{_name(folder, path)}: {reason}" for path, reason in folder.lost]
        self._away = False
        if lost:
            more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
            raise LabError(
                f"this has changed in the guest and could not be written here: {lost[0]}{more}",
                "the command's other files have come back; make room or permit it, and run it again",
                rule="lab-rw",
            )

    def abandon(self) -> None:
        """Say that what has not come back by now is gone with the guest."""
        if self._away:
            names = ", ".join(map(_printable, map(os.fsencode, self.places)))
            say(f"{'not all' if self._some_came else 'nothing'} of what the command did in {names} has come back")

    def late(self, seconds: float) -> LabError:
        """Return the error for folders that did not come back in time."""
        return LabError(
            f"what the command did in {', '.join(self.places)} did not come back within {seconds:g} s",
            "each file that came is whole; let the command leave less, or give it a longer --timeout",
            rule="lab-rw",
        )

    def refused(self, reason: str, memory_mib: int) -> LabError:
        """Return the error for folders that the guest could not take."""
        return LabError(
            f"a folder of --rw cannot be made in the guest: {reason}",
            f"give it more memory (--memory {2 * memory_mib}), or name a smaller folder",
            rule="lab-rw",
        )


def outermost(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the absolute paths of these folders, without those that are within others."""
    found: list[str] = []
    for path in sorted(set(map(_absolute, paths))):
        if not os.path.isdir(path):
            raise UsageError(f"--rw {path}: there is no such folder", "name a folder that exists", rule="lab-rw")
        if any(_within(own, path) or _within(path, own) for own in _OF_THE_GUEST):
            raise UsageError(
                f"--rw {path}: a guest has its own {' '.join(_OF_THE_GUEST)}", "name another folder", rule="lab-rw"
            )
        if not any(_within(path, other) for other in found):
            found.append(path)
    if len(found) > 256:
        raise UsageError("more than 256 folders with --rw", "name one that they are all in", rule="lab-rw")
    return found


def _absolute(path: str | os.PathLike[str]) -> str:
    try:
        return "/" + os.path.abspath(path).lstrip("/")  # POSIX lets a path keep two
    except FileNotFoundError:
        raise UsageError(
            f"--rw {os.fspath(path)}: the folder this was started in is gone",
            "name the folder by its whole path",
            rule="lab-rw",
        ) from None


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _list(folder: Folder, paths: list[bytes], what: str) -> None:
    for path in paths[:_NAMED]:
        say(f"{_name(folder, path)} {what}")
    if len(paths) > _NAMED:
        say(f"so it is with {len(paths) - _NAMED} more of {os.fsdecode(folder.path)}")


def _name(folder: Folder, path: bytes) -> str:
    return _printable(folder.path + b"/" + path)


def _printable(path: bytes) -> str:
    """Return a path for a message: a guest may send one that would write to the terminal in its own way."""
    text = os.fsdecode(path)
    return text if text.isprintable() else ascii(text)
