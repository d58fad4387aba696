"""The commands on many elements of a map at once: a system call for thousands of them."""

from __future__ import annotations

from errno import EAGAIN, EINTR, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP

from bpfasm.syscall.layout import get, put
from bpfasm.syscall.libc import ENOTSUPP, NR, addressof, buffer, errno, failure, syscall
from bpfasm.uapi import bpf as uapi, names
from bpfasm.uapi.bpf import (
    BPF_MAP_DELETE_BATCH,
    BPF_MAP_LOOKUP_AND_DELETE_BATCH,
    BPF_MAP_LOOKUP_BATCH,
    BPF_MAP_UPDATE_BATCH,
    sizeof_union_bpf_attr,
    union_bpf_attr,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from bpfasm.syscall.libc import Buffer

_NR_BPF = NR["__NR_bpf"]
_SIZE = sum(union_bpf_attr["batch.flags"][:2])

#: What a kernel says to a command that it does not have, or not for maps of this type.
UNSUPPORTED = (EINVAL, ENOTSUPP, EOPNOTSUPP)

#: Elements in the first batch of a reading, so that who wants one does not wait for thousands; each next one has
#: GROWTH times more, up to MOST, and as many as fit MOST_BYTES.
FIRST, GROWTH, MOST, MOST_BYTES = 256, 8, 1 << 16, 4 << 20

#: A hash map's place in a batch is the number of a bucket, another map's a key.
_PLACE = 8


class _Reading:
    """Where a reading is, and memory for its next batch."""

    def __init__(self, map_fd: int, key_size: int, value_size: int, command: int) -> None:
        self._sizes, self._command = (key_size, value_size), command
        self._attr = buffer(sizeof_union_bpf_attr)
        self._here, self._next = buffer(max(key_size, _PLACE)), buffer(max(key_size, _PLACE))
        self._put("map_fd", map_fd)
        self._put("out_batch", addressof(self._next))
        self._room = 0
        self.more()

    def _put(self, field: str, value: int) -> None:
        put(self._attr, "union bpf_attr", union_bpf_attr, f"batch.{field}", value)

    def more(self) -> None:
        """Make room for more elements, where there may be more."""
        most = max(1, min(MOST, MOST_BYTES // sum(self._sizes)))
        room = min(self._room * GROWTH or FIRST, most)
        if room > self._room:
            self.resize(room)

    def resize(self, room: int) -> None:
        """Make room for a number of elements."""
        key_size, value_size = self._sizes
        self._room = room
        self._memory = buffer(room * key_size), buffer(room * value_size)
        self.keys, self.values = (memoryview(each).cast("B") for each in self._memory)
        self._put("keys", addressof(self._memory[0]))
        self._put("values", addressof(self._memory[1]))

    def call(self) -> int:
        """Read a batch; return 0 or the errno. ``count`` is how many elements came."""
        self._put("count", self._room)
        failed = syscall(_NR_BPF, self._command, self._attr, _SIZE)
        self.count = get(self._attr, union_bpf_attr, "batch.count")
        return errno() if failed else 0

    def forward(self) -> None:
        """Go on behind this batch."""
        self._here.raw = self._next.raw
        self._put("in_batch", addressof(self._here))
        self.more()

    def restart(self) -> None:
        """Go back to the beginning."""
        self._put("in_batch", 0)

    def widen(self) -> None:
        """Make room for a bucket that has more elements than a batch."""
        self.resize(self._room * GROWTH)


class Batches:
    """Batches of one map's elements; ``refusal`` is that of ``Elements``."""

    def __init__(
        self, map_fd: int, key_size: int, value_size: int, *, refusal: Callable[[int, str], Exception] = failure
    ) -> None:
        self._sizes = (map_fd, key_size, value_size)
        self._refusal = refusal
        self._lacking: set[int] = set()
        self._closed: Callable[[], Any] | None = None

    def close(self, closed: Callable[[], Any]) -> None:
        """Have a reading that goes on call ``closed``, which raises: the fd's number may be another file's now."""
        self._closed = closed

    def read(self, take: bool) -> Iterator[tuple[memoryview, memoryview, int]] | None:
        """Return chunks of (keys, values, count), the elements deleted if ``take``; None where there are no batches.

        The memory is used again for the next chunk. The first one is read at once.
        """
        command = BPF_MAP_LOOKUP_AND_DELETE_BATCH if take else BPF_MAP_LOOKUP_BATCH
        if command in self._lacking:
            return None
        reading = _Reading(*self._sizes, command)
        number = reading.call()
        if number in UNSUPPORTED:
            self._lacking.add(command)
            return None
        return self._chunks(reading, number, command)

    def _chunks(self, reading: _Reading, number: int, command: int) -> Iterator[tuple[memoryview, memoryview, int]]:
        while True:
            if number == ENOSPC:
                reading.widen()
            elif number == EAGAIN:  # the key to go on at is gone (RHASH)
                reading.restart()
            elif number not in (0, ENOENT, EINTR):
                raise self._refusal(number, names(uapi, "bpf_cmd")[command])
            elif reading.count:
                yield reading.keys, reading.values, reading.count
            if number == ENOENT:
                return
            if number == 0 or (number == EINTR and reading.count):
                reading.forward()
            if self._closed:
                self._closed()
            number = reading.call()

    def update(self, keys: bytes, values: bytes, count: int, flags: int) -> tuple[int, int] | None:
        """Set values, in order; return how many were, and 0 or the errno of the next. None where it cannot."""
        return self._write(BPF_MAP_UPDATE_BATCH, buffer(keys), buffer(values), count, flags)

    def delete(self, keys: bytes, count: int) -> tuple[int, int] | None:
        """Delete keys, in order; return how many were, and 0 or the errno of the next. None where it cannot."""
        return self._write(BPF_MAP_DELETE_BATCH, buffer(keys), None, count, 0)

    def _write(
        self, command: int, keys: Buffer, values: Buffer | None, count: int, flags: int
    ) -> tuple[int, int] | None:
        if command in self._lacking:
            return None
        attr = buffer(sizeof_union_bpf_attr)
        fields = {
            "map_fd": self._sizes[0],
            "keys": addressof(keys),
            "values": addressof(values) if values is not None else 0,
            "count": count,
            "elem_flags": flags,
        }
        for name, value in fields.items():
            put(attr, "union bpf_attr", union_bpf_attr, f"batch.{name}", value)
        failed = syscall(_NR_BPF, command, attr, _SIZE)
        number = errno() if failed else 0
        done = get(attr, union_bpf_attr, "batch.count")
        if number and done == count:
            done = 0  # refused before the kernel came to the elements, and to setting the count
        if number in UNSUPPORTED and not done:
            # The command is not there, or the first element was refused; one by one it will be seen which.
            if number != EINVAL:
                self._lacking.add(command)
            return None
        return done, number
