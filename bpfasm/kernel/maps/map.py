"""``LoadedMap``: a map in the kernel."""

from __future__ import annotations

import os
from errno import EEXIST, EINVAL

from bpfasm.asm.mapface import MapFace
from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.owned import Owned
from bpfasm.kernel.maps.create import create, entries_of
from bpfasm.syscall import bpf, system
from bpfasm.syscall.batch import Batches
from bpfasm.syscall.elem import Elements
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from bpfasm.asm.codec import Bytes
    from bpfasm.asm.mapface import Chunk
    from bpfasm.asm.maps import MapSpec
    from bpfasm.kernel.btf.opened import OpenTypes
    from bpfasm.kernel.maps.memory import MapMemory


class LoadedMap(Owned, MapFace):
    """A map in the kernel, to be read and written like a ``dict``.

    Raises KernelError for what the kernel refuses: a full map, an index beyond an array, a key that is to be new and
    is not. Threads may share it. After ``close()`` every access raises ValueError.

    ``pins`` are the paths where this object has pinned it, ``reused`` tells whether it was there before.
    """

    def __init__(
        self, spec: MapSpec, *, fd: int | None = None, fill: bool = True, opened: OpenTypes | None = None
    ) -> None:
        """Create the map in the kernel and fill it with ``spec.initial``, or take the one behind ``fd``.

        With ``fill`` False it is neither filled nor pinned before ``begin()``.
        A ``pinned`` one that is there already is used, and not filled. ``opened`` has the types of object files that
        the kernel has already. Raises KernelError, FeatureMissing.
        """
        self.pins: list[str] = []
        self.reused = fd is not None
        if fd is None and spec.pinned:
            from bpfasm.kernel.objects.pins import reuse

            fd = reuse(spec)
            self.reused = fd is not None
        Owned.__init__(self, create(spec, opened) if fd is None else fd)
        self._memory: MapMemory | None = None
        try:
            cpus = system.possible_cpus() if spec.per_cpu else 0
            elements = self._bind(spec, (spec.value_size + 7) // 8 * 8 * cpus if spec.per_cpu else spec.value_size)
            MapFace.__init__(self, spec, cpus, entries_of(spec))
            key, value = self._key, self._value
            if "lookup" in spec.row.ops:
                self.__dict__["_read"] = elements.reader(key.format, self._pack_key, value.format, value.unpack)
            if "update" in spec.row.ops:
                self.__dict__["_write"] = elements.writer(key.format, self._pack_key, value.format, value.pack)
            if fill and not self.reused:
                self.begin(spec.initial)
        except BaseException:
            self.close()
            raise

    def begin(self, initial: Any) -> None:
        """Fill a new map, and pin it where its declaration says so.

        In this order: whoever finds it there, after this process was killed, too, finds all that is to be in it.
        """
        if initial:
            self.fill(initial)
        if self.spec.pinned:
            self._pin_or_reuse(self.spec)

    def _pin_or_reuse(self, spec: MapSpec) -> None:
        """Pin a map that is new, or become the one that somebody else has pinned there meanwhile."""
        from bpfasm.kernel.objects.pins import path_of, reuse

        try:
            self.pin(path_of(spec))
        except KernelError as error:
            theirs = reuse(spec) if error.errno == EEXIST else None
            if theirs is None:
                raise
            os.dup2(theirs, self.fd, inheritable=False)
            os.close(theirs)
            self.reused = True

    def _bind(self, spec: MapSpec, value_size: int) -> Elements:
        """Set the operations of the face.

        Bound here, and not methods, since they are the path of every access. None refers back to this object: it is
        to be closed as soon as nobody holds it.
        """
        refusal = _refusal(spec, self.fd)
        slow = bool(spec.row.handle) or spec.type == uapi.BPF_MAP_TYPE_CPUMAP
        elements = Elements(self.fd, spec.key_size, value_size, slow=slow, refusal=refusal)
        self._lookup, self._update = elements.lookup, elements.update
        self._delete, self._next_key = _delete_of(spec.type, elements), elements.next_key
        self._take, self._holds = elements.take, elements.holds
        self._batches: Batches | None = Batches(self.fd, spec.key_size, value_size, refusal=refusal)
        return elements

    @classmethod
    def from_fd(cls, fd: int, spec: MapSpec | None = None) -> Self:
        """Take over a file descriptor of a map, which is this object's from now on, also where that fails.

        Without a ``spec`` keys and values are bytes, or what maps of that type have. Raises MapError where the map is
        not as the spec says.
        """
        from bpfasm.kernel.maps.info import spec_of

        try:
            spec = spec_of(fd, spec)
        except BaseException:
            if _is_open(fd):
                os.close(fd)
            raise
        return cls(spec, fd=fd)

    @classmethod
    def from_id(cls, id: int, spec: MapSpec | None = None) -> Self:
        """Open a map by its id: what ``info()["id"]`` says, and reading a map of maps gives."""
        from bpfasm.kernel.maps.info import open_id

        return cls.from_fd(open_id(id), spec)

    @classmethod
    def from_pin(cls, path: str, spec: MapSpec | None = None, *, flags: int = 0) -> Self:
        """Open a pinned map; with BPF_F_RDONLY or BPF_F_WRONLY for one direction only."""
        from bpfasm.kernel.objects.pins import open_pin

        return cls.from_fd(open_pin(path, flags), spec)

    def close(self) -> None:
        """Close it; the kernel frees it when no program uses it either, and it is pinned nowhere."""
        # The number of the fd may be another file's soon.
        if not self.closed and hasattr(self, "spec"):
            closed = _closed(repr(self))
            self._lookup = self._update = self._delete = self._next_key = self._take = self._holds = closed
            self.__dict__.update(_read=closed, _write=closed)
            if self._batches:
                self._batches.close(closed)
            self._batches = self._memory = None
        super().close()

    def info(self) -> dict[str, int | bytes]:
        """Return ``struct bpf_map_info``, by its fields' names."""
        from bpfasm.kernel.objects import ids

        return ids.info("map", self.fd)

    def freeze(self) -> None:
        """Make it read-only for user space, for good; programs may write on, unless BPF_F_RDONLY_PROG forbids them.

        Raises KernelError where it is memory that this or another process may write, or frozen already.
        """
        try:
            bpf.map_freeze(self.fd)
        except OSError as error:
            number = error.errno or 0
        else:
            return
        from bpfasm.kernel.maps.refused import not_frozen

        raise not_frozen(self, number)

    def memory(self, *, writable: bool | None = None) -> MapMemory:
        """Return the elements of an ArrayMap with BPF_F_MMAPABLE as memory, or an Arena's bytes: one object for all.

        ``writable`` is so unless the map is read-only for programs or frozen. Raises MapError, KernelError.
        """
        fd = self.fd
        if self._memory is None or writable not in (None, self._memory.writable):
            from bpfasm.kernel.maps.info import frozen
            from bpfasm.kernel.maps.memory import MapMemory

            if writable is None:
                writable = not self.spec.flags & uapi.BPF_F_RDONLY_PROG and not frozen(fd)
            self._memory = MapMemory(fd, self.spec, self.max_entries, writable=writable)
        return self._memory

    def pin(self, path: str | None = None) -> str:
        """Give it a name in a bpf file system, where it outlives this process; return the path.

        Without one that is ``/sys/fs/bpf/bpfasm/NAME``; a directory that is not there is made. Raises KernelError.
        """
        from bpfasm.kernel.objects.pins import pin

        self.pins.append(pin(self.fd, self.spec.name, path))
        return self.pins[-1]

    def unpin(self, path: str | None = None) -> None:
        """Take away a pin of this map, by default each that this object has made."""
        from bpfasm.kernel.objects.pins import unpin

        for each in [path] if path else self.pins[:]:
            unpin(each)
            if each in self.pins:
                self.pins.remove(each)

    def put(self, key: Any, value: Any, flags: int = 0, *, cpu: int | None = None) -> None:
        """Set the value at a key, as MapFace.put() says. Raises KernelError, FeatureMissing."""
        try:
            super().put(key, value, flags, cpu=cpu)
        except KernelError as error:
            if cpu is None or error.errno != EINVAL or not self.spec.per_cpu:
                raise
            from bpfasm.kernel.maps.refused import no_single_cpu

            raise no_single_cpu(self.spec) from None

    # What MapFace does one by one, in batches.

    def _read_batches(self, take: bool) -> Iterator[Chunk] | None:
        if ("take_batch" if take else "lookup_batch") not in self.spec.row.ops:
            return None
        return self._open_batches().read(take)

    def _update_many(self, keys: bytes, values: bytes, count: int, flags: int) -> None:
        key_size, value_size = self._key.size, self._value.size
        done = 0
        while done < count and "update_batch" in self.spec.row.ops and not flags & ~uapi.BPF_F_LOCK:
            rest = keys[done * key_size :], values[done * value_size :]
            result = self._open_batches().update(*rest, count - done, flags)
            if result is None:
                break
            done += result[0]
            if result[1]:
                # The one that failed says by itself why; if it does not fail again, the rest goes on.
                at = slice(done * key_size, (done + 1) * key_size), slice(done * value_size, (done + 1) * value_size)
                self._update(keys[at[0]], values[at[1]], flags)
                done += 1
        super()._update_many(keys[done * key_size :], values[done * value_size :], count - done, flags)

    def _delete_many(self, keys: Bytes, count: int) -> int:
        size, done, deleted = self._key.size, 0, 0
        while done < count and "delete_batch" in self.spec.row.ops:
            result = self._open_batches().delete(bytes(keys[done * size : count * size]), count - done)
            if result is None:
                break
            done, deleted = done + result[0], deleted + result[0]
            if result[1]:
                deleted += self._delete(bytes(keys[done * size : (done + 1) * size]))
                done += 1
        return deleted + super()._delete_many(keys[done * size : count * size], count - done)

    def _open_batches(self) -> Batches:
        if self._batches is None:
            raise ValueError(f"{self!r} is closed")
        return self._batches

    def _take_key(self, key: bytes) -> bytes | None:
        if self._takes:
            try:
                return self._take(key)
            except KernelError as error:
                if error.errno not in (EINVAL, ENOTSUPP):
                    raise
            except FeatureMissing:
                pass
            self._takes = False  # a kernel before 5.14
        return super()._take_key(key)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _refusal(spec: MapSpec, fd: int) -> Callable[[int, str], Exception]:
    """Return what makes the exception for an errno and the name of a command."""

    def refusal(number: int, call: str) -> Exception:
        from bpfasm.kernel.maps.refused import element_refused

        return element_refused(spec, number, call, fd)

    return refusal


def _delete_of(type: int, elements: Elements) -> Callable[[bytes], bool]:
    """Return the operation that deletes a key; it tells whether there was one where the kernel says no ENOENT."""
    if type == uapi.BPF_MAP_TYPE_SOCKMAP:  # EINVAL (sock_map_delete_elem())

        def delete(key: bytes) -> bool:
            try:
                return elements.delete(key)
            except KernelError as error:
                if error.errno != EINVAL:
                    raise
                return False

        return delete
    if type in (uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_CPUMAP):  # nothing at all
        return lambda key: elements.lookup(key) is not None and elements.delete(key)
    return elements.delete


def _closed(name: str) -> Callable[..., Any]:
    """Return an operation of a closed map."""

    def closed(*_: object) -> None:
        raise ValueError(f"{name} is closed")

    return closed
