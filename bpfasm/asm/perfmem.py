"""The memory of a perf buffer: what its consumer reads there, over any memory; no kernel is asked.

The layout (include/uapi/linux/perf_event.h, kernel/events/ring_buffer.c): a page of ``struct perf_event_mmap_page``,
then data, a power of two of pages. ``data_head`` counts the bytes that the kernel wrote, ``data_tail`` those that we
read. A record is a ``struct perf_event_header`` and what its type says, in all a multiple of 8 bytes. One that goes
beyond the end goes on at the beginning. PERF_RECORD_SAMPLE holds what a program gave to bpf_perf_event_output():
its length in 4 bytes, and the bytes, to which the kernel adds 0 to 7.
"""

from __future__ import annotations

from struct import error as struct_error, pack, unpack_from

from bpfasm.asm.ringmem import close_view, in_order
from bpfasm.errors import DecodeError
from bpfasm.uapi.perf_event import PERF_RECORD_LOST, PERF_RECORD_SAMPLE
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.asm.shape import Shape

#: struct perf_event_header: u32 type, u16 misc, u16 size; in front of a sample's bytes a time, and their length.
_HEADER, _TIME, _LENGTH = 8, 8, 4

#: The longest record that its 16 bits can tell.
_LONGEST = 0xFFFF

#: How many headers are compared at once.
_RUN = 256


class Lost(Value):
    """Events that found no place in a buffer, where they would have been: how many, and of which CPU."""

    cpu: int
    count: int


class _Taken:
    """What was read of a buffer, and how far."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.events: list[Any] = []
        self.times: list[int] = []
        self.lost = 0


class PerfMemory:
    """A CPU's perf buffer as its one consumer sees it.

    ``data`` are the bytes behind the first page; ``head`` and ``tail`` are views of 64-bit words whose first is the
    position. ``timed`` says that each record has its time (PERF_SAMPLE_TIME, sample_id_all). ``order`` keeps the
    reads and writes of memory before it from those after it, where the processor does not. ``lost`` is how many
    events the records tell to be lost.
    """

    def __init__(
        self,
        data: memoryview,
        head: memoryview,
        tail: memoryview,
        *,
        cpu: int = 0,
        name: str = "the perf buffer",
        timed: bool = False,
        order: Callable[[], object] | None = None,
    ) -> None:
        self.data = data
        self.words = data.cast("I")
        self.halves = data.cast("H")
        self.quads = data.cast("Q")
        self.head = head
        self.tail = tail
        self.cpu = cpu
        self.name = name
        self.size = len(data)
        self.lost = 0
        self.timed = timed
        self._order = order or in_order
        #: How far was read; ahead of the kernel's word while views of records are lent out.
        self._position: int = tail[0]
        self._lent: list[memoryview] = []

    @property
    def available(self) -> int:
        """How many bytes wait to be read, headers included."""
        waiting: int = self.head[0] - self._position
        return waiting

    def ready(self) -> bool:
        """Return whether there is a record to be read."""
        return self.available > 0

    def take(
        self, shape: Shape, most: int, out: list[Any], *, times: list[int] | None = None, lost: bool = False
    ) -> None:
        """Add up to ``most`` events to ``out``, the oldest first, and free their place.

        With ``lost``, what the kernel tells to be lost is a ``Lost`` among them. ``times``, in a buffer that is
        ``timed``, gets the time of each. Records of other types are passed over. Raises what decoding an event
        raises, when the events before it are in ``out`` and it is passed over itself; DecodeError where the memory
        holds no records.
        """
        self.release()
        end: int = self.head[0]
        if end == self._position:
            return
        self._order()  # the records are at least as new as the position
        taken = _Taken(self._position)
        failed: Exception | None = None
        try:
            self._gather(taken, end, shape, most, lost)
        except Exception as error:
            failed = error
        self._order()  # the records were read before their place is free
        # Ctrl-C comes in before these lines or after them, never between: they call nothing. So an event whose place
        # is free is in ``out``, and one that is in ``out`` is not read again.
        self._position = taken.position
        if shape.borrowed and taken.events:
            self._lent = taken.events
        else:
            self.tail[0] = taken.position
        self.lost += taken.lost
        out += taken.events
        if times is not None:
            times += taken.times
        if failed:
            try:
                raise failed
            finally:
                del failed  # it holds this frame, and the frame would hold it

    def _gather(self, taken: _Taken, end: int, shape: Shape, most: int, lost: bool) -> None:
        """Decode what is there, up to a position and a number of events."""
        position = taken.position
        if not 0 < end - position <= self.size or (position | end) & 7:
            raise self.broken(f"it is read up to {position} and written up to {end}, of {self.size} bytes")
        while taken.position < end and len(taken.events) < most:
            at = taken.position & self.size - 1
            left = end - taken.position
            count = self._run(shape, at, min(left, self.size - at), most - len(taken.events))
            if count:
                step = self._step(shape)
                taken.events += shape.many(self._before, step)(self.data[at : at + count * step])
                if self.timed:
                    first = at + _HEADER >> 3
                    taken.times += self.quads[first : first + count * (step >> 3) : step >> 3].tolist()
                taken.position += count * step
                continue
            record = self.record(at, left)
            kind = self.words[at >> 2]
            taken.position += len(record)
            if kind == PERF_RECORD_SAMPLE:
                event, time_at = self.sample(record, shape), _HEADER
            elif kind == PERF_RECORD_LOST:
                number = self._number(record, _HEADER + 8)  # behind the id of the perf event
                taken.lost += number
                event, time_at = Lost(self.cpu, number), len(record) - _TIME
                if not lost:
                    continue
            else:
                continue
            time = self._number(record, time_at) if self.timed else 0
            taken.events.append(event)
            taken.times.append(time)

    def newest(self, shape: Shape) -> list[tuple[int, Any]]:
        """Return the events, with their times, of a buffer that is written backwards and overwritten.

        The oldest come first. ``data_head`` counts down from 0, so what begins there is the newest; the oldest may
        have lost its end.
        """
        head: int = self.head[0]
        self._order()
        if head & 7:
            raise self.broken(f"it is written down to {head}")
        left = min(-head % (1 << 64), self.size)
        events: list[tuple[int, Any]] = []
        while left >= _HEADER:
            at = head & self.size - 1
            length = self.halves[at + 6 >> 1]
            if length > left:
                break
            record = self.record(at, left)
            if self.words[at >> 2] == PERF_RECORD_SAMPLE:
                time = self._number(record, _HEADER) if self.timed else 0
                events.append((time, self.sample(record, shape)))
            head += length
            left -= length
        events.reverse()
        return events

    def record(self, at: int, most: int) -> memoryview:
        """Return the record at a place, whole, where it goes beyond the end too."""
        length = self.halves[at + 6 >> 1]
        if length < _HEADER or length & 7 or length > most:
            raise self.broken(f"a record of {length} bytes is said to be in the last {most}")
        behind = at + length - self.size
        if behind <= 0:
            return self.data[at : at + length]
        return memoryview(bytes(self.data[at:]) + bytes(self.data[:behind]))

    def sample(self, record: memoryview, shape: Shape) -> Any:
        """Return the event that a sample holds."""
        begin = self._before
        length = self._number(record, begin - _LENGTH, "I")
        if length > len(record) - begin:
            raise self.broken(f"a sample of {len(record)} bytes is said to hold {length}")
        if shape.size is not None and 0 <= length - shape.size < 8:
            length = shape.size  # the rest is what the kernel added
        return shape.one(record[begin : begin + length])

    def release(self) -> None:
        """Free the place of events that were taken as views; the views are closed."""
        if self._lent:
            self._close_views()
            self._order()
            self.tail[0] = self._position

    def close(self) -> None:
        """Let go of the memory; what was taken as views is not free by that."""
        self._close_views()
        for view in (self.words, self.halves, self.quads, self.data, self.head, self.tail):
            view.release()

    def _close_views(self) -> None:
        for view in self._lent:
            if isinstance(view, memoryview):
                close_view(view)
        self._lent = []

    @property
    def _before(self) -> int:
        """What is in front of a sample's bytes."""
        return _HEADER + (_TIME if self.timed else 0) + _LENGTH

    def _step(self, shape: Shape) -> int:
        """Return the bytes of a sample that holds an event of fixed size."""
        assert shape.size is not None
        return (self._before + shape.size + 7) & -8

    def _run(self, shape: Shape, at: int, room: int, most: int) -> int:
        """Return how many samples of a shape's size follow each other from a place on."""
        if shape.size is None:
            return 0
        step = self._step(shape)
        most = min(most, room // step)
        kinds = memoryview(pack("I", PERF_RECORD_SAMPLE) * _RUN).cast("I")
        lengths = memoryview(pack("H", min(step, _LONGEST)) * _RUN).cast("H")
        done = 0
        while done < most:
            count = min(_RUN, most - done)
            begin, end = at + done * step, at + (done + count) * step
            kind = self.words[begin >> 2 : end >> 2 : step >> 2]
            length = self.halves[begin + 6 >> 1 : end >> 1 : step >> 1]
            if kind != kinds[:count] or length != lengths[:count]:
                pairs = enumerate(zip(kind.tolist(), length.tolist(), strict=True))
                return done + next(at for at, pair in pairs if pair != (PERF_RECORD_SAMPLE, step))
            done += count
        return done

    def _number(self, record: memoryview, at: int, format: str = "Q") -> int:
        """Return a number that a record holds."""
        try:
            number: int = unpack_from(format, record, at)[0]
        except struct_error:
            raise self.broken(f"a record of {len(record)} bytes is too short for what it is") from None
        return number

    def broken(self, why: str) -> DecodeError:
        """Return the error for memory that holds no records."""
        return DecodeError(
            f"{self.name} of CPU {self.cpu} holds no records: {why}",
            "only one reader may read a buffer: look for another one, in this process or in another",
            rule="ring-broken",
        )
