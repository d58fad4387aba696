"""The lab's files under ``$XDG_CACHE_HOME/bpfasm``: where they are, one writer at a time, and no half-made file.

A thing is made in a work directory that carries its owner in its name, and renamed into place when it is whole.
What a killed process left behind is known by that name and removed at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import sys
import threading
from collections import defaultdict
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.syscall.owner import owner_of, this_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from bpfasm.syscall.owner import Owner

#: The locks of this cache among the threads of this process.
_within: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def root() -> Path:
    """Return the cache directory; it may not exist yet. Raise LabError for a user who has no home."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    # The XDG specification says that a relative path is to be ignored.
    place = base if base.startswith("/") else os.path.expanduser("~/.cache")
    if not place.startswith("/"):
        raise LabError(
            "this user has no home folder for the lab's files", "name a place in XDG_CACHE_HOME", rule="lab-cache"
        )
    return Path(place) / "bpfasm"


def directory(name: str) -> Path:
    """Make a directory below the cache and return it; raise LabError where that is not possible."""
    path = root() / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a LabError that says how to make room or another place."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> LabError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return no_space(path)
    return LabError(
        f"cannot write in {path}: {error.strerror or error}",
        f"make it writable, or {_elsewhere(path)}",
        rule="lab-cache",
    )


def no_space(path: Path) -> LabError:
    """Return the error for a disk that is full."""
    return LabError(f"no space left for the lab in {path}", f"make room, or {_elsewhere(path)}", rule="lab-cache")


def _elsewhere(path: Path) -> str:
    return "name another place in XDG_CACHE_HOME" if path.is_relative_to(root()) else "name another folder"


@contextlib.contextmanager
def locked(name: str, doing: str = "") -> Iterator[None]:
    """Hold the lock ``name`` of this cache for the block; say ``doing`` on stderr when another process has it.

    The kernel drops the lock with its holder, however that ends. Threads of this process wait without a word.
    """
    path = directory("locks") / f"{name}.lock"
    with _within[name]:
        with writing(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if doing:
                    print(f"lab: waiting: another bpfasm is {doing}", file=sys.stderr, flush=True)
                fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


@contextlib.contextmanager
def workdir() -> Iterator[Path]:
    """Give a fresh directory in the cache's file system, gone after the block."""
    base = directory("tmp")
    path = base / this_process().tag()
    with writing(base):
        path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def publish(made: Path, place: Path) -> None:
    """Rename ``made``, a file or directory in a work directory, to ``place``, taking the place of what was there."""
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        if made.is_dir() and place.exists():
            place.rename(made.parent / f"{place.name}.old")
        os.replace(made, place)


def built(kind: str, suffix: str, marks: list[object], write: Callable[[BinaryIO], None], *, keep: int = 8) -> Path:
    """Return the file of this kind that ``marks`` stand for, written by ``write`` when it is not here.

    The marks are all that its content depends on. ``keep`` files of a kind stay, those used last.
    """

    def make(place: Path) -> None:
        with place.open("wb") as file:
            write(file)

    return made(kind, suffix, marks, make, keep=keep)


def made(
    kind: str,
    suffix: str,
    marks: list[object],
    make: Callable[[Path], None],
    *,
    keep: int = 8,
    of: str = "",
    renew: bool = False,
) -> Path:
    """Do what ``built`` does with a ``make`` that is given the path of the file or folder it is to make.

    Those with different ``of`` may be made at the same time; ``renew`` makes it again.
    """
    key = hashlib.sha256(repr((kind, marks)).encode(errors="surrogateescape")).hexdigest()[:24]
    folder = root() / "image"
    place = folder / f"{kind}-{key}{suffix}"
    before = _stamp(place)
    if before and not renew:
        with contextlib.suppress(OSError):  # a cache that cannot be written is read all the same
            os.utime(place)
        return place
    with locked(f"image-{kind}{of}", f"building the guest image ({kind})"):
        if _stamp(place) != before:
            return place  # somebody else has made it meanwhile
        with workdir() as work, writing(place):
            make(work / "made")
            publish(work / "made", place)
        others = sorted(folder.glob(f"{kind}-*"), key=_used)
        for old in others[:-keep]:
            remove(old)
    return place


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # gone meanwhile


def _stamp(path: Path) -> int:
    """Return what tells a file or folder from the one that was there before; 0 when there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def remove(path: Path) -> None:
    """Remove a file or folder; one that is gone already is fine."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def size(folder: Path) -> int:
    """Return how many bytes the files below a folder take on the disk; 0 when there is none."""
    return sum(
        os.lstat(os.path.join(place, name)).st_blocks * 512 for place, _, names in os.walk(folder) for name in names
    )


def stale() -> list[tuple[Path, Owner]]:
    """Return the work directories whose process is gone, with what is known of it."""
    found = []
    with contextlib.suppress(OSError):
        for entry in sorted((root() / "tmp").iterdir()):
            owner = owner_of(entry.name)
            if owner and owner.alive() is False:
                found.append((entry, owner))
    return found


def sweep() -> list[Path]:
    """Remove the work directories whose process is gone, and return them."""
    gone = [path for path, _ in stale()]
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone
