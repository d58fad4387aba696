"""The memory of a BPF ring buffer: what its consumer reads there, over any memory; no kernel is asked.

The layout (kernel/bpf/ringbuf.c): positions count bytes since the ring was made, and a record is at its position
modulo the ring's size. It starts with 8 bytes: its length and two flags in the first four, an offset that is the
kernel's in the others. The next starts at the next multiple of 8. BPF_RINGBUF_BUSY_BIT is set from reserving to
submitting, BPF_RINGBUF_DISCARD_BIT from discarding on. Data pages are mapped twice in a row, so a record that goes
beyond the end of the ring goes on behind it.
"""

from __future__ import annotations

from struct import pack

from bpfasm.errors import DecodeError
from bpfasm.uapi.bpf import BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT, BPF_RINGBUF_HDR_SZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.asm.shape import Shape

#: Which word of the producer's page says where the oldest record of a ring that overwrites is
#: (struct bpf_ringbuf.overwrite_pos, from kernel 6.19 on).
_OVERWRITE_POS = 2

_LENGTH = BPF_RINGBUF_DISCARD_BIT - 1

#: How many headers are compared at once: enough that the work around it is nothing, few enough that it is little
#: where a record of another size is among them.
_RUN = 256


def step_of(size: int) -> int:
    """Return how many bytes of a ring a record of ``size`` bytes takes."""
    return (size + BPF_RINGBUF_HDR_SZ + 7) & -8


class RingMemory:
    """A ring as its one consumer sees it.

    ``data`` is the ring's bytes, twice in a row. ``producer`` and ``consumer`` are views of 64-bit words whose first
    is the position; of ``producer`` the third is where the oldest record is in a ring that overwrites
    (``overwrites``). ``order`` keeps the reads and writes of memory before it from those after it, where the
    processor does not.
    """

    def __init__(
        self,
        data: memoryview,
        producer: memoryview,
        consumer: memoryview,
        *,
        name: str = "the ring",
        overwrites: bool = False,
        order: Callable[[], object] | None = None,
    ) -> None:
        self.data = data
        self.words = data.cast("I")
        self.producer = producer
        self.consumer = consumer
        self.name = name
        self.size = len(data) // 2
        self.overwrites = overwrites
        self._order = order or in_order
        self._lent: list[memoryview] = []
        #: How far was read; ahead of the consumer's word while views of records are lent out.
        self._position: int = consumer[0]

    @property
    def producer_position(self) -> int:
        """How many bytes were ever reserved."""
        position: int = self.producer[0]
        return position

    @property
    def consumer_position(self) -> int:
        """How many bytes were ever read, or overwritten before they were."""
        return max(self._position, self._oldest())

    @property
    def available(self) -> int:
        """How many bytes wait to be read, headers and records that are still being written included."""
        # A ring that overwrites may overtake who reads it between the two.
        return max(0, self.producer_position - self.consumer_position)

    def ready(self) -> bool:
        """Return whether there is a record to be read."""
        end: int = self.producer[0]
        self._order()
        position = self.consumer_position
        return position < end and not self.words[(position & self.size - 1) >> 2] & BPF_RINGBUF_BUSY_BIT

    def take(self, shape: Shape, most: int, out: list[Any]) -> None:
        """Add up to ``most`` events to ``out``, the oldest first, and free their place.

        Stops at a record that is still being written; passes over discarded ones. Raises what decoding an event
        raises, when the events before it are in ``out`` and it is passed over itself; DecodeError where the memory
        holds no records.
        """
        self.release()
        end: int = self.producer[0]
        self._order()  # the headers are at least as new as the position
        start: int = self.consumer_position
        if start == end or (self.overwrites and start > end):
            return
        if start > end or end - start > self.size or (start | end) & 7:
            raise self._broken(f"it is read up to {start} and written up to {end}, of {self.size} bytes")
        if self.overwrites:
            data, start, at = self._copy(start, end)
            words = data.cast("I")
        else:
            data, words, at = self.data, self.words, start & self.size - 1
        found, after = self._find(words, at, at + end - start, shape.size, most)
        self._order()  # the records are at least as new as their headers
        events: list[Any] = []
        failed: Exception | None = None
        try:
            for place, size, count in found:
                if count:
                    step = step_of(size)
                    events += shape.many(BPF_RINGBUF_HDR_SZ, step)(data[place : place + count * step])
                else:
                    begin = place + BPF_RINGBUF_HDR_SZ
                    events.append(shape.one(data[begin : begin + size]))
        except Exception as error:
            failed, after = error, place + step_of(size)
        self._order()  # the records were read before their place is free
        # Ctrl-C comes in before these lines or after them, never between: they call nothing. So an event whose place
        # is free is in ``out``, and one that is in ``out`` is not read again.
        self._position = start + after - at
        if shape.borrowed and events:
            self._lent = events
        else:
            self.consumer[0] = self._position
        out += events
        if failed:
            try:
                raise failed
            finally:
                del failed  # it holds this frame, and the frame would hold it

    def release(self) -> None:
        """Free the place of events that were taken as views; the views are closed."""
        if self._lent:
            for view in self._lent:
                close_view(view)
            self._lent = []
            self._order()
            self.consumer[0] = self._position

    def close(self) -> None:
        """Let go of the memory; what was taken as views is not free by that."""
        for view in (*self._lent, self.words, self.data, self.producer, self.consumer):
            close_view(view)

    def _oldest(self) -> int:
        """Return where the oldest record is that was not overwritten."""
        position: int = self.producer[_OVERWRITE_POS] if self.overwrites else 0
        return position

    def _copy(self, start: int, end: int) -> tuple[memoryview, int, int]:
        """Copy what may be overwritten at any moment; return the copy, and where its oldest whole record is."""
        at = start & self.size - 1
        copied = memoryview(bytes(self.data[at : at + end - start]))
        self._order()
        # The kernel moves this on before it writes over a record.
        oldest = min(max(start, self._oldest()), end)
        return copied, oldest, oldest - start

    def _find(
        self, words: memoryview, at: int, stop: int, size: int | None, most: int
    ) -> tuple[list[tuple[int, int, int]], int]:
        """Return what is to be decoded, and where what follows it begins.

        Each is (place, size of a record, how many of that size follow each other); the number is 0 for one that
        stands alone.
        """
        found: list[tuple[int, int, int]] = []
        while at < stop and most > 0:
            if size is not None:
                count = _run(words, at, min(most, (stop - at) // step_of(size)), size)
                if count:
                    found.append((at, size, count))
                    at += count * step_of(size)
                    most -= count
                    continue
            head = words[at >> 2]
            if head & BPF_RINGBUF_BUSY_BIT:
                break
            length = head & _LENGTH
            step = (length + BPF_RINGBUF_HDR_SZ + 7) & -8
            if step > stop - at:
                raise self._broken(f"a record of {length} bytes is said to be in the last {stop - at}")
            if not head & BPF_RINGBUF_DISCARD_BIT:
                found.append((at, length, 0))
                most -= 1
            at += step
        return found, at

    def _broken(self, why: str) -> DecodeError:
        return DecodeError(
            f"{self.name} holds no records: {why}",
            "only one reader may read a ring: look for another one, in this process or in another",
            rule="ring-broken",
        )


class RingSpace:
    """A ring as its one producer in user space sees it (BPF_MAP_TYPE_USER_RINGBUF); programs are its consumers.

    The arguments are those of ``RingMemory``, with the permissions the other way round.
    """

    def __init__(
        self,
        data: memoryview,
        producer: memoryview,
        consumer: memoryview,
        *,
        order: Callable[[], object] | None = None,
    ) -> None:
        self.data = data
        self.words = data.cast("I")
        self.producer = producer
        self.consumer = consumer
        self.size = len(data) // 2
        self._order = order or in_order

    @property
    def available(self) -> int:
        """How many bytes no program has read yet, headers included."""
        waiting: int = self.producer[0] - self.consumer[0]
        return waiting

    def fits(self, size: int) -> bool:
        """Return whether there is room for a message of this size."""
        return step_of(size) <= self.size - self.available

    def put(self, message: bytes) -> bool:
        """Add a message; return False where there is no room. Interrupted, it added all of it or nothing."""
        size = len(message)
        if not self.fits(size):
            return False
        self._order()  # what was there was read before its place is written
        at = self.producer[0] & self.size - 1
        begin = at + BPF_RINGBUF_HDR_SZ
        self.data[begin : begin + size] = message
        self.words[at >> 2] = size
        self.words[(at >> 2) + 1] = 0
        self._order()  # it is written before it is seen
        self.producer[0] += step_of(size)
        return True

    def reserve(self, size: int) -> int | None:
        """Make room for a message, which programs wait for; return its place, None where there is no room."""
        if not self.fits(size):
            return None
        self._order()
        at: int = self.producer[0] & self.size - 1
        self.words[at >> 2] = size | BPF_RINGBUF_BUSY_BIT
        self.words[(at >> 2) + 1] = 0
        self._order()
        self.producer[0] += step_of(size)
        return at

    def commit(self, at: int, discard: bool = False) -> None:
        """Let programs have the message at a place, or pass over it."""
        self._order()
        length = self.words[at >> 2] & _LENGTH
        self.words[at >> 2] = length | BPF_RINGBUF_DISCARD_BIT if discard else length

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self.words, self.data, self.producer, self.consumer):
            close_view(view)


def _run(words: memoryview, at: int, most: int, size: int) -> int:
    """Return how many records of one size follow each other from a place on, up to ``most``."""
    step = step_of(size) >> 2
    same = memoryview(pack("I", size) * _RUN).cast("I")
    first = at >> 2
    done = 0
    while done < most:
        count = min(_RUN, most - done)
        heads = words[first + done * step : first + (done + count) * step : step]
        if heads != same[:count]:
            # One that was busy when it was compared may not be any more.
            return done + next((at for at, head in enumerate(heads.tolist()) if head != size), count)
        done += count
    return done


def close_view(view: memoryview) -> None:
    """Close a view that was handed out, unless somebody made something of it that still looks at its memory."""
    try:
        view.release()
    except BufferError:
        return  # an array of it, say, which shows what comes there next


def in_order() -> None:
    """Do nothing: the processor keeps reads and writes in order by itself."""
