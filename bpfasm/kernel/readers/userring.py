"""``UserRing``: messages to programs, through a user ring buffer (BPF_MAP_TYPE_USER_RINGBUF, from kernel 6.1 on)."""

from __future__ import annotations

from errno import ENOSPC
from select import EPOLLOUT
from time import monotonic

from bpfasm.asm.codec import codec_of
from bpfasm.asm.record import Record
from bpfasm.asm.ringmem import RingSpace, close_view, step_of
from bpfasm.errors import KernelError
from bpfasm.kernel.readers.claims import claim, release
from bpfasm.kernel.readers.waiting import Waiting
from bpfasm.syscall.memory import PAGESIZE, Mapped
from bpfasm.uapi.bpf import BPF_MAP_TYPE_USER_RINGBUF, BPF_RINGBUF_HDR_SZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.kernel.maps.map import LoadedMap
    from bpfasm.kernel.readers.claims import Claim


class UserRing(Waiting):
    """Send messages to programs, which take them with bpf_user_ringbuf_drain().

    Messages are bytes, or what the ring was declared with (``record=``). Several threads may send. A context
    manager. Raises KernelError, FeatureMissing.
    """

    def __init__(self, map: LoadedMap) -> None:
        if map.spec.type != BPF_MAP_TYPE_USER_RINGBUF:
            from bpfasm.kernel.readers.refused import no_reader

            raise no_reader(map.spec, "UserRing")
        super().__init__(map.spec.name)
        self._record = map.spec.record
        self._mapped: list[Mapped] = []
        self._claims: list[Claim] = []
        try:
            self._claims.append(claim(map))  # one sender: its lock is what keeps messages apart
            self._space = self._map(map)
            self._watch([map.fd], EPOLLOUT)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """The bytes of the ring."""
        return self._space.size

    @property
    def available(self) -> int:
        """How many bytes no program has taken yet, headers included."""
        self._check()
        return self._space.available

    def send(self, message: Any, timeout: float | None = 0) -> bool:
        """Send a message; return False where the ring is full, for ``timeout`` seconds (None: for ever)."""
        data = self._pack(message)
        self._fit(len(data))
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            with self._lock:
                self._check()
                if self._space.put(data):
                    return True
            if not self._sleep(deadline, lambda: self._space.fits(len(data))):
                return False

    def reserve(self, size: int, timeout: float | None = 0) -> Reservation:
        """Make room for a message of ``size`` bytes, to be written in its place.

        ``with ring.reserve(16) as memory:`` gives its memory; leaving sends it, leaving by an exception discards it.
        Until then programs take none that was sent after it. Raises KernelError, ENOSPC, where the ring is full.
        """
        self._fit(size)
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            with self._lock:
                self._check()
                at = self._space.reserve(size)
                if at is not None:
                    return Reservation(self, self._space, at, size)
            if not self._sleep(deadline, lambda: self._space.fits(size)):
                raise KernelError(
                    ENOSPC,
                    f"{self.name} is full: {self.available} of its {self.size} bytes are not read yet",
                    "wait for the program to take some (timeout=...), or declare it with a larger max_entries",
                    rule="ring-full",
                )

    def _pack(self, message: Any) -> bytes:
        if isinstance(message, Record):
            return message.to_bytes()
        if self._record is not None and not isinstance(message, bytes):
            return codec_of(self._record, f"a message for {self.name}").pack(message)
        try:
            return bytes(memoryview(message))
        except TypeError:
            from bpfasm.kernel.readers.refused import no_message

            raise no_message(self.name, message) from None

    def _fit(self, size: int) -> None:
        if size < 0 or step_of(size) > self.size:
            from bpfasm.kernel.readers.refused import message_too_large

            raise message_too_large(self.name, size, self.size)

    def _map(self, map: LoadedMap) -> RingSpace:
        try:
            # The kernel lets nobody else write how far programs have read.
            consumer = Mapped(map.fd, PAGESIZE)
            self._mapped.append(consumer)
            rest = Mapped(map.fd, PAGESIZE + 2 * map.spec.max_entries, PAGESIZE, write=True)
            self._mapped.append(rest)
        except OSError as error:
            from bpfasm.kernel.readers.refused import not_mapped

            raise not_mapped(map.spec, error.errno or 0, map.fd) from None
        return RingSpace(
            rest.view[PAGESIZE:],
            rest.view[:PAGESIZE].cast("Q"),
            consumer.view.cast("Q"),
            order=self._acquire,
        )

    def _unmap(self, child: bool) -> None:
        release(self._claims)
        if len(self._mapped) == 2:
            self._space.close()
        for mapped in self._mapped:
            mapped.close()


class Reservation:
    """Room for a message: ``with`` gives its memory."""

    def __init__(self, ring: UserRing, space: RingSpace, at: int, size: int) -> None:
        self._ring = ring
        self._space = space
        self._at: int | None = at
        begin = at + BPF_RINGBUF_HDR_SZ
        self._memory = space.data[begin : begin + size]

    def __enter__(self) -> memoryview:
        return self._memory

    def __exit__(self, kind: object, *_: object) -> None:
        self._ring._check()
        self._commit(discard=kind is not None)

    def __del__(self) -> None:
        # What was never entered would keep programs waiting.
        if not self._ring.closed:
            self._commit(discard=True)

    def _commit(self, discard: bool) -> None:
        at, self._at = self._at, None
        if at is not None:
            close_view(self._memory)
            self._space.commit(at, discard)
