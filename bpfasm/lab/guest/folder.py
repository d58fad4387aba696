"""A folder that host and guest both have: what of it travels, in which frames, and how these are taken in.

Both sides run this file, the guest as /lab/folder.pyc: it stands alone, and imports what Python has loaded anyway.
The frames are the same in both directions; each begins with the folder's number in one byte:

F entry: mode, time, size, path, target of a link, each after a NUL · B bytes of the file that the last F named,
after the place (8 bytes, little-endian) where they belong; what no B names is a hole · U a path that is gone

The other side is not to be trusted: a path is followed from the folder's own descriptor, name by name, and through no
link. A file replaces another when it is whole, and only if that is still what the other side was given.
"""

import binascii
import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    #: What tells a state of a path apart from others: its mode, and for a file or a link what is in it.
    Mark = tuple[int, *tuple[Any, ...]]

PIECE = 1 << 16
_PAGE = 4096
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """One folder on one side: what of it the other side knows, and what became of what that one sent.

    ``aside``  (path, name): came, but the path has changed here too, so that it has this name now
    ``kept``   paths that are gone on the other side, but have changed here
    ``left``   paths of what cannot travel: neither file, folder nor link
    ``lost``   (path, reason): could not be read here, or could not be written
    """

    def __init__(self, number: int, path: bytes) -> None:
        self.number = number
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.aside: list[tuple[bytes, bytes]] = []
        self.kept: list[bytes] = []
        self.left: list[bytes] = []
        self.lost: list[tuple[bytes, str]] = []
        self._known: dict[bytes, Mark] = {}
        self._modes: list[tuple[bytes, int]] = []
        self._file: _Incoming | None = None

    def close(self) -> None:
        """Let go of it; a file that has not come whole is dropped."""
        if self._file:
            self._file.drop()
            self._file = None
        if self.fd >= 0:
            self._set_modes()
            os.close(self.fd)
            self.fd = -1

    def size(self) -> int:
        """Return about how many bytes it takes, in whole pages, without holes."""
        total = 0
        for _, _, _, state in self._walk():
            held = min(state.st_size, state.st_blocks * 512) if stat.S_ISREG(state.st_mode) else 0
            total += -(-held // _PAGE) * _PAGE
        return total

    def clear(self) -> None:
        """Remove all that is in it; what cannot be (a place where something is mounted) stays."""
        for path, _, _, state in reversed(list(self._walk())):
            fd, name = self._reach(path)
            try:
                (os.rmdir if stat.S_ISDIR(state.st_mode) else os.unlink)(name, dir_fd=fd)
            except OSError:
                continue
            finally:
                os.close(fd)

    def remember(self) -> None:
        """Take all that is here for what the other side has too."""
        self._known = {path: self._mark(fd, name, state) for path, fd, name, state in self._walk()}

    def changes(self) -> "Iterator[tuple[bytes, bytes]]":
        """Yield the frames, kind and bytes, that make the other side's folder equal to this one."""
        seen = set()
        for path, fd, name, state in self._walk():
            mode = state.st_mode
            seen.add(path)
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                self.left.append(path)
                if path not in self._known:
                    yield b"F", self._entry(path, state)
                continue
            try:
                mark = self._mark(fd, name, state)
                known = self._known.get(path)
                if mark == known:
                    continue
                if known and stat.S_IFMT(known[0]) != stat.S_IFMT(mode):
                    below = path + b"/"
                    yield from self._gone(each for each in self._known if each == path or each.startswith(below))
                yield from self._entry_and_bytes(fd, name, path, state)
            except OSError as error:
                self.lost.append((path, _reason(error)))
                continue
            self._known[path] = mark
        yield from self._gone(self._known.keys() - seen)

    def take(self, kind: bytes, data: bytes) -> None:
        """Do what a frame from the other side says; raise ValueError for one that no honest side sends.

        What this system refuses (no space, no permission) is noted in ``lost``, and the next frame can be taken.
        """
        if kind == b"B":
            if self._file:
                self._write(int.from_bytes(data[:8], "little"), data[8:])
            return
        self._finish()
        path = data
        try:
            if kind == b"U":
                self._remove(path)
            else:
                mode, time, size, path, target = data.split(b"\0")
                self._make(path, int(mode, 8), int(time), int(size), target)
        except (OSError, OverflowError) as error:
            self.lost.append((path, _reason(error)))

    def done(self) -> None:
        """Finish what came: the last file, and the folders' modes, which may forbid to write in them."""
        self._finish()
        self._set_modes()

    def _set_modes(self) -> None:
        for path, mode in reversed(self._modes):
            try:
                fd, name = self._reach(path)
                try:
                    _permit(fd, name, mode)
                finally:
                    os.close(fd)
            except OSError as error:
                self.lost.append((path, _reason(error)))
        self._modes.clear()

    # What goes out

    def _walk(self) -> "Iterator[tuple[bytes, int, bytes, os.stat_result]]":
        """Yield (path, folder's descriptor, name, state) of all below, a folder before what is in it."""
        folders = [b""]
        while folders:
            above = folders.pop()
            try:
                fd = self._open(above)
            except OSError as error:
                self.lost.append((above, _reason(error)))
                continue
            try:
                for name in sorted(map(os.fsencode, os.listdir(fd))):
                    try:
                        state = os.stat(name, dir_fd=fd, follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # gone since it was listed
                    path = above + b"/" + name if above else name
                    if stat.S_ISDIR(state.st_mode):
                        folders.append(path)
                    yield path, fd, name, state
            finally:
                os.close(fd)

    def _mark(self, fd: int, name: bytes, state: os.stat_result) -> "Mark":
        """Return what tells this state of a path apart from others.

        The content is in it, as a checksum: in a tmpfs, a page that was read can be written through a mapping, and
        the times of the file stay.
        """
        if stat.S_ISREG(state.st_mode):
            total = 0
            for place, data in _pieces(fd, name):
                total = binascii.crc32(data, binascii.crc32(b"%d" % place, total))
            return state.st_mode, state.st_size, state.st_mtime_ns, total
        if stat.S_ISLNK(state.st_mode):
            return state.st_mode, os.readlink(name, dir_fd=fd)
        return (state.st_mode,)

    def _entry(self, path: bytes, state: os.stat_result, target: bytes = b"") -> bytes:
        fields = b"%o" % state.st_mode, b"%d" % state.st_mtime_ns, b"%d" % state.st_size, path, target
        return bytes([self.number]) + b"\0".join(fields)

    def _entry_and_bytes(
        self, fd: int, name: bytes, path: bytes, state: os.stat_result
    ) -> "Iterator[tuple[bytes, bytes]]":
        target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(state.st_mode) else b""
        yield b"F", self._entry(path, state, target)
        if stat.S_ISREG(state.st_mode):
            for place, data in _pieces(fd, name):
                yield b"B", bytes([self.number]) + place.to_bytes(8, "little") + data

    def _gone(self, paths: "Iterable[bytes]") -> "Iterator[tuple[bytes, bytes]]":
        for path in sorted(paths, reverse=True):  # what is in a folder before the folder
            del self._known[path]
            yield b"U", bytes([self.number]) + path

    # What comes in

    def _open(self, path: bytes) -> int:
        """Return a descriptor of the folder ``path``."""
        fd, name = self._reach(path) if path else (os.dup(self.fd), b".")
        try:
            return os.open(name, _FOLDER, dir_fd=fd)
        finally:
            os.close(fd)

    def _reach(self, path: bytes, make: bool = False) -> tuple[int, bytes]:
        """Return a descriptor of the folder that ``path`` is in, and its name there; no link is followed."""
        *above, name = path.split(b"/")
        if not {b"", b".", b".."}.isdisjoint((*above, name)):
            raise ValueError(f"a path that leads elsewhere: {os.fsdecode(path)!r}")
        fd = os.dup(self.fd)
        for part in above:
            try:
                if make:
                    try:  # noqa: SIM105 - contextlib takes long to import in the guest
                        os.mkdir(part, dir_fd=fd)
                    except FileExistsError:
                        pass
                inner = os.open(part, _FOLDER | os.O_PATH, dir_fd=fd)
            finally:
                os.close(fd)
            fd = inner
        return fd, name

    def _make(self, path: bytes, mode: int, time: int, size: int, target: bytes) -> None:
        """Make what an entry says, or begin to when it is a file."""
        fd, name = self._reach(path, make=True)
        try:
            there = _state(fd, name)
            if stat.S_ISDIR(mode):
                if there is None or not stat.S_ISDIR(there.st_mode):
                    os.mkdir(name, 0o700, dir_fd=fd)
                else:
                    _permit(fd, name, there.st_mode | 0o700)  # until all has come
                self._modes.append((path, mode))
                return
            if there is not None and self._mark(fd, name, there) != self._known.get(path):
                name = _beside(fd, name)
                self.aside.append((path, name))
            if stat.S_ISLNK(mode):
                temporary = _temporary(self.number)
                os.symlink(target, temporary, dir_fd=fd)
                try:
                    os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
                except OSError:
                    os.unlink(temporary, dir_fd=fd)
                    raise
            elif stat.S_ISREG(mode):
                self._file = _Incoming(path, fd, name, mode, time, size, _temporary(self.number))
            else:
                self.left.append(path)
        finally:
            os.close(fd)

    def _write(self, place: int, data: bytes) -> None:
        assert self._file
        if place + len(data) > self._file.size:
            raise ValueError("bytes beyond the end of their file")
        try:
            self._file.write(place, data)
        except (OSError, OverflowError) as error:
            self._give_up(error)

    def _finish(self) -> None:
        if not self._file:
            return
        try:
            self._file.publish()
        except (OSError, OverflowError) as error:
            self._give_up(error)
        else:
            self._file.drop()
        self._file = None

    def _give_up(self, error: Exception) -> None:
        assert self._file
        self.lost.append((self._file.path, _reason(error)))
        self._file.drop()
        self._file = None

    def _remove(self, path: bytes) -> None:
        """Remove what the other side has removed, if it is still what that one was given."""
        known = self._known.get(path)
        try:
            fd, name = self._reach(path)
        except FileNotFoundError:
            return
        try:
            there = _state(fd, name)
            if there is None or known is None:
                return
            if self._mark(fd, name, there) != known:
                self.kept.append(path)
                return
            try:
                (os.rmdir if stat.S_ISDIR(there.st_mode) else os.unlink)(name, dir_fd=fd)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
                self.kept.append(path)
        finally:
            os.close(fd)


class _Incoming:
    """A file that is coming: without a name until it is whole, so that nothing is left of it when it never is."""

    def __init__(
        self, path: bytes, folder: int, name: bytes, mode: int, time: int, size: int, temporary: bytes
    ) -> None:
        self.path, self.name, self.mode, self.time, self.size = path, name, mode, time, size
        self.temporary = temporary
        self.named = False
        self.folder = os.dup(folder)
        try:
            try:
                self.fd = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=folder)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
                    raise
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                self.fd = os.open(temporary, flags, 0o600, dir_fd=folder)
                self.named = True
        except BaseException:
            os.close(self.folder)
            raise

    def write(self, place: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self.fd, rest, place)
            place, rest = place + done, rest[done:]

    def publish(self) -> None:
        """Give it its size, mode, time and name. Who may do what is taken, but not the bits that change the user."""
        os.ftruncate(self.fd, self.size)
        os.fchmod(self.fd, self.mode & 0o777)
        os.utime(self.fd, ns=(self.time, self.time))
        if not self.named:
            os.link(b"/proc/self/fd/%d" % self.fd, self.temporary, dst_dir_fd=self.folder)
            self.named = True
        os.rename(self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        self.named = False

    def drop(self) -> None:
        if self.named:
            os.unlink(self.temporary, dir_fd=self.folder)
        os.close(self.fd)
        os.close(self.folder)


def _pieces(folder: int, name: bytes) -> "Iterator[tuple[int, bytes]]":
    """Yield (place, bytes) of what a file holds; its holes are left out."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    try:
        end = 0
        while True:
            try:
                place = os.lseek(fd, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            end = os.lseek(fd, place, os.SEEK_HOLE)
            while place < end:
                data = os.pread(fd, min(PIECE, end - place), place)
                if not data:
                    break
                yield place, data
                place += len(data)
    finally:
        os.close(fd)


def _state(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _permit(above: int, name: bytes, mode: int) -> None:
    """Set who may do what in a folder; the bits that change the user or the group stay as they are."""
    fd = os.open(name, _FOLDER, dir_fd=above)
    try:
        os.fchmod(fd, mode & 0o777 | os.fstat(fd).st_mode & 0o7000)
    finally:
        os.close(fd)


def _beside(folder: int, name: bytes) -> bytes:
    """Return a name beside ``name`` that is free."""
    number = 1
    while _state(folder, found := name + b".guest" + (b"%d" % number if number > 1 else b"")) is not None:
        number += 1
    return found


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _temporary(number: int) -> bytes:
    return b".bpfasm-%d-%d" % (os.getpid(), number)
