"""The commands on a map's elements, prepared once a map: about 0.5 us over the system call itself."""

from __future__ import annotations

from errno import ENOENT
from struct import pack_into

from bpfasm.syscall.libc import NR, addressof, buffer, errno, failure, quick_syscall, syscall
from bpfasm.uapi import bpf as uapi, names
from bpfasm.uapi.bpf import (
    BPF_MAP_DELETE_ELEM,
    BPF_MAP_GET_NEXT_KEY,
    BPF_MAP_LOOKUP_AND_DELETE_ELEM,
    BPF_MAP_LOOKUP_ELEM,
    BPF_MAP_UPDATE_ELEM,
    union_bpf_attr,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.syscall.libc import Buffer

_NR_BPF = NR["__NR_bpf"]
_FD, _KEY, _VALUE, _FLAGS = (union_bpf_attr[name][0] for name in ("map_fd", "key", "value", "flags"))
_SIZE = sum(union_bpf_attr["flags"][:2])


class Slot:
    """Memory for a key, a value and a next key, and the attrs that point at it.

    The kernel insists on zero in every field a command does not use, hence one attr for each set of fields.
    """

    __slots__ = ("elem", "first", "flags", "key", "key_only", "memory", "next", "next_key", "value")

    def __init__(self, map_fd: int, key_size: int, value_size: int) -> None:
        key, value, after = buffer(max(key_size, 1)), buffer(max(value_size, 1)), buffer(max(key_size, 1))
        self.memory = (key, value, after)
        # Where there are no keys (a queue), the kernel insists on NULL.
        at_key = addressof(key) if key_size else 0
        self.elem = _attr(map_fd, at_key, addressof(value))
        self.key_only = _attr(map_fd, at_key, 0)
        self.next_key = _attr(map_fd, at_key, addressof(after))
        self.first = _attr(map_fd, 0, addressof(after))
        self.key = memoryview(key).cast("B")[:key_size]
        self.value = memoryview(value).cast("B")[:value_size]
        self.next = memoryview(after).cast("B")[:key_size]
        self.flags = memoryview(self.elem).cast("B")[_FLAGS:].cast("Q")


def _attr(map_fd: int, key: int, value: int) -> Buffer:
    attr = buffer(_SIZE)
    pack_into("I", attr, _FD, map_fd)
    pack_into("Q", attr, _KEY, key)
    pack_into("Q", attr, _VALUE, value)
    return attr


class Elements:
    """The elements of one map, in bytes.

    Safe to use from several threads and from signal handlers: each call takes a ``Slot`` for itself. ``slow`` lets
    other threads run during a call; it is for maps whose updates wait for the rest of the kernel (maps in maps).
    ``refusal`` makes the exception for an errno and the name of a command.
    """

    def __init__(
        self,
        map_fd: int,
        key_size: int,
        value_size: int,
        *,
        slow: bool = False,
        refusal: Callable[[int, str], Exception] = failure,
    ) -> None:
        self._refusal = refusal
        self._sizes = (map_fd, key_size, value_size)
        self._call = syscall if slow else quick_syscall
        self._free = [Slot(*self._sizes)]

    def lookup(self, key: bytes, flags: int = 0) -> bytes | None:
        """Return the value at a key, None where there is none."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = Slot(*self._sizes)
        slot.key[:] = key
        slot.flags[0] = flags
        if self._call(_NR_BPF, BPF_MAP_LOOKUP_ELEM, slot.elem, _SIZE):
            self._missing(slot, BPF_MAP_LOOKUP_ELEM)
            return None
        value = slot.value.tobytes()
        self._free.append(slot)
        return value

    def take(self, key: bytes) -> bytes | None:
        """Delete a key and return the value it had, None where there is none; of a queue or stack the next value."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = Slot(*self._sizes)
        slot.key[:] = key
        slot.flags[0] = 0
        if self._call(_NR_BPF, BPF_MAP_LOOKUP_AND_DELETE_ELEM, slot.elem, _SIZE):
            self._missing(slot, BPF_MAP_LOOKUP_AND_DELETE_ELEM)
            return None
        value = slot.value.tobytes()
        self._free.append(slot)
        return value

    def holds(self, value: bytes) -> bool:
        """Tell whether a value may have been added to a bloom filter."""
        slot = Slot(*self._sizes)
        slot.value[:] = value
        if self._call(_NR_BPF, BPF_MAP_LOOKUP_ELEM, slot.elem, _SIZE):
            self._missing(slot, BPF_MAP_LOOKUP_ELEM)
            return False
        return True

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """Set the value at a key; under BPF_F_CPU the value is shorter than under others."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = Slot(*self._sizes)
        slot.key[:] = key
        if flags:
            slot.value[: len(value)] = value
        else:
            slot.value[:] = value
        slot.flags[0] = flags
        failed = self._call(_NR_BPF, BPF_MAP_UPDATE_ELEM, slot.elem, _SIZE)
        self._free.append(slot)
        if failed:
            raise self._refusal(errno(), "BPF_MAP_UPDATE_ELEM")

    def delete(self, key: bytes) -> bool:
        """Delete a key; return whether it was there."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = Slot(*self._sizes)
        slot.key[:] = key
        if self._call(_NR_BPF, BPF_MAP_DELETE_ELEM, slot.key_only, _SIZE):
            self._missing(slot, BPF_MAP_DELETE_ELEM)
            return False
        self._free.append(slot)
        return True

    def next_key(self, key: bytes | None) -> bytes | None:
        """Return the key after ``key`` (None: the first; so too where ``key`` is not there), None after the last."""
        try:
            slot = self._free.pop()
        except IndexError:
            slot = Slot(*self._sizes)
        if key is None:
            attr = slot.first
        else:
            attr = slot.next_key
            slot.key[:] = key
        if self._call(_NR_BPF, BPF_MAP_GET_NEXT_KEY, attr, _SIZE):
            self._missing(slot, BPF_MAP_GET_NEXT_KEY)
            return None
        following = slot.next.tobytes()
        self._free.append(slot)
        return following

    def reader(
        self, key_format: str, pack_key: Callable[[Any], bytes], value_format: str, unpack: Callable[[bytes], Any]
    ) -> Callable[[Any], Any]:
        """Return what looks a key up and returns the value, None where there is none.

        A number goes into the kernel's memory and out of it by a typed view, which takes a third of what packing and
        copying bytes takes; ``format`` is its ``struct`` format, "" of what is no number.
        """
        spare, new = self._typed(key_format, value_format)
        pop, push, call, missing = spare.pop, spare.append, self._call, self._not_there

        def read(key: Any) -> Any:
            try:
                slot = keys, values, attr, plain = pop()
                if key_format:
                    keys[0] = key
                else:
                    plain.key[:] = pack_key(key)
            except (IndexError, TypeError, ValueError):
                # All are in use; or it stands for a number, or is none, which packing says in words.
                slot = keys, values, attr, plain = new()
                plain.key[:] = pack_key(key)
            if call(_NR_BPF, BPF_MAP_LOOKUP_ELEM, attr, _SIZE):
                number = errno()
                push(slot)
                return missing(number, BPF_MAP_LOOKUP_ELEM)
            value = values[0] if value_format else unpack(values.tobytes())
            push(slot)
            return value

        return read

    def writer(
        self, key_format: str, pack_key: Callable[[Any], bytes], value_format: str, pack: Callable[[Any], bytes]
    ) -> Callable[[Any, Any], None]:
        """Return what sets the value at a key, as ``reader`` does it."""
        spare, new = self._typed(key_format, value_format)
        pop, push, call = spare.pop, spare.append, self._call

        def write(key: Any, value: Any) -> None:
            try:
                slot = keys, values, attr, plain = pop()
                if key_format:
                    keys[0] = key
                else:
                    plain.key[:] = pack_key(key)
                if value_format:
                    values[0] = value
                else:
                    plain.value[:] = pack(value)
            except (IndexError, TypeError, ValueError):
                slot = keys, values, attr, plain = new()
                plain.key[:], plain.value[:] = pack_key(key), pack(value)
            if call(_NR_BPF, BPF_MAP_UPDATE_ELEM, attr, _SIZE):
                number = errno()
                push(slot)
                raise self._refusal(number, "BPF_MAP_UPDATE_ELEM")
            push(slot)

        return write

    def _typed(self, key_format: str, value_format: str) -> tuple[list[Any], Callable[[], Any]]:
        """Return a list for spare slots with views of their types, and what makes one."""

        def new() -> tuple[memoryview, memoryview, Buffer, Slot]:
            slot = Slot(*self._sizes)
            key: Any = key_format or "B"
            value: Any = value_format or "B"
            return slot.key.cast(key), slot.value.cast(value), slot.elem, slot

        return [new()], new

    def _missing(self, slot: Slot, command: int) -> None:
        """Raise what the kernel said, unless it is that there is no such key."""
        number = errno()
        self._free.append(slot)
        self._not_there(number, command)

    def _not_there(self, number: int, command: int) -> None:
        if number != ENOENT:
            raise self._refusal(number, names(uapi, "bpf_cmd")[command])
