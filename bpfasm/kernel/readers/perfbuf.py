"""``PerfReader`` and ``FlightRecorder``: what programs give to bpf_perf_event_output(), by a buffer for each CPU."""

from __future__ import annotations

from _operator import itemgetter
from _thread import RLock
from sys import maxsize
from time import monotonic_ns

from bpfasm.asm.shape import shape_of
from bpfasm.kernel.base.owned import Unshared
from bpfasm.kernel.readers.perfevents import PerfEvents
from bpfasm.kernel.readers.reader import Reader
from bpfasm.kernel.readers.waiting import memory_barriers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from bpfasm.asm.shape import Shape
    from bpfasm.kernel.maps.map import LoadedMap


class PerfReader(Reader):
    """Read the events that programs put into a perf event array with bpf_perf_event_output().

    Each CPU that is online has a buffer of ``pages``, a power of two; ``cpus`` are those CPUs. One that comes online
    later has none: there the program's call fails with ENOENT. ``make`` is what to make of an event, as in
    ``RingReader``; bytes have 0 to 7 more at their end, since the kernel rounds the length up.

    A sleeping reader is woken by every ``wakeup_events``th event of a CPU (0: when its buffer is half full), or with
    ``wakeup_watermark`` when that many bytes are there; a wake-up costs more than many events. What is there is
    handed out when a timeout ends, too.

    Events are in the order of each CPU. With ``ordered`` they are in the order of their times across all CPUs: those
    from after the moment at which the buffers were last looked at are held back until they are looked at again, since
    an older one of another CPU may still come.

    What found no place is counted; with ``show_lost`` a ``Lost`` is among the events as well, where they would have
    been. The kernel writes that when the next event of the CPU finds a place.

    Raises KernelError, FeatureMissing; RecordError for a ``make`` that is none.
    """

    def __init__(
        self,
        map: LoadedMap,
        make: Any = None,
        *,
        pages: int = 16,
        wakeup_events: int | None = None,
        wakeup_watermark: int = 0,
        ordered: bool = False,
        show_lost: bool = False,
        cpus: Iterable[int] | None = None,
    ) -> None:
        self._shape = _owned_shape(make, map) if ordered else shape_of(make, map.spec.record)
        if wakeup_watermark and wakeup_events is not None:
            from bpfasm.kernel.readers.refused import two_wakeups

            raise two_wakeups()
        wakeup = {"wakeup_events": 1 if wakeup_events is None else wakeup_events}
        if wakeup_watermark:
            wakeup = {"watermark": 1, "wakeup_watermark": wakeup_watermark}
        super().__init__(map.spec.name)
        self._ordered = ordered
        self._show_lost = show_lost
        self._first = 0
        #: In their order; and read, but maybe not in their order yet, with their times.
        self._sorted: list[Any] = []
        self._events: list[Any] = []
        self._times: list[int] = []
        self._perf = PerfEvents(map, self._held, self._acquire)
        try:
            self._perf.open(pages, cpus, timed=ordered, fields=wakeup)
            self._watch(self._perf.fds.values())
        except BaseException:
            self.close()
            raise

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that have a buffer."""
        return tuple(self._perf.fds)

    @property
    def lost_by_cpu(self) -> dict[int, int]:
        """How many events found no place, by CPU.

        From kernel 6.0 on as the kernel counts it (PERF_FORMAT_LOST); before, as its records of type PERF_RECORD_LOST
        tell it, which come before the next event that finds a place.
        """
        self._check()
        return {cpu: count for cpu, count in self._perf.lost().items() if count}

    @property
    def lost(self) -> int:
        """How many events found no place."""
        return sum(self.lost_by_cpu.values())

    def pause(self) -> None:
        """Let no event into the buffers, until ``resume()``: the program's call fails, and they count as lost."""
        self._check()
        self._perf.pause(True)

    def resume(self) -> None:
        """Let events in again."""
        self._check()
        self._perf.pause(False)

    def _take(self, out: list[Any], limit: int) -> None:
        if self._ordered:
            self._take_ordered(out, limit)
            return
        buffers = self._perf.buffers
        for number in range(self._first, self._first + len(buffers)):
            buffers[number % len(buffers)].take(self._shape, limit - len(out), out, lost=self._show_lost)
            if len(out) >= limit:
                # The next one begins where this one stopped, so that a busy CPU does not keep the others waiting.
                self._first = (number + 1) % len(buffers)
                return

    def _take_ordered(self, out: list[Any], limit: int) -> None:
        if not self._sorted:
            self._sort()
        room = limit - len(out)
        now, later = self._sorted[:room], self._sorted[room:]
        # No call, so no Ctrl-C, between these two.
        self._sorted = later
        out += now

    def _sort(self) -> None:
        """Read all that is there, and put in order what is older than this moment."""
        start = monotonic_ns()
        for buffer in self._perf.buffers:
            buffer.take(self._shape, maxsize, self._events, times=self._times, lost=self._show_lost)
        pairs = sorted(zip(self._times, self._events, strict=True), key=itemgetter(0))
        times = [time for time, _ in pairs]
        cut = len(times)
        while cut and times[cut - 1] >= start:
            cut -= 1
        older, newer = [event for _, event in pairs[:cut]], [event for _, event in pairs[cut:]]
        self._sorted, self._events, self._times = older, newer, times[cut:]

    def _ready(self) -> bool:
        return bool(self._sorted or self._times) or any(buffer.ready() for buffer in self._perf.buffers)

    def _withdraw(self) -> None:
        for buffer in self._perf.buffers:
            buffer.release()
        self._perf.withdraw()

    def _unmap(self, child: bool) -> None:
        self._perf.unmap(child)


class FlightRecorder(Unshared):
    """Keep the last events of each CPU, and read them when something has happened.

    Its buffers, each of ``pages``, are overwritten in a circle without anybody reading: no wake-ups, nothing lost but
    the oldest. ``make`` is as in ``PerfReader``, but for memoryview. A context manager; in a child made by ``fork()``
    it is closed. Raises KernelError, FeatureMissing; RecordError for a ``make`` that is none.
    """

    def __init__(
        self, map: LoadedMap, make: Any = None, *, pages: int = 16, cpus: Iterable[int] | None = None
    ) -> None:
        self._shape = _owned_shape(make, map)
        self.name = map.spec.name
        acquire, _ = memory_barriers()
        super().__init__()
        self._lock = RLock()
        self._perf = PerfEvents(map, self._held, acquire)
        try:
            self._perf.open(pages, cpus, timed=True, fields={"write_backward": 1})
        except BaseException:
            self.close()
            raise

    @property
    def cpus(self) -> tuple[int, ...]:
        """The CPUs that have a buffer."""
        return tuple(self._perf.fds)

    def snapshot(self) -> list[Any]:
        """Return the events that are kept, of all CPUs, by their times; the oldest first.

        Meanwhile, for some 10 ms, nothing is recorded: the kernel lets no new event in, and those that are being
        written are waited for, since they overwrite the oldest. The events are kept: the next snapshot has them
        again, but for those overwritten.
        """
        with self._lock:
            if self.closed:
                raise ValueError(f"{self!r} is closed")
            self._perf.pause(True)
            try:
                self._perf.settle()
                pairs = [pair for buffer in self._perf.buffers for pair in buffer.newest(self._shape)]
            finally:
                self._perf.pause(False)
        return [event for _, event in sorted(pairs, key=itemgetter(0))]

    def close(self) -> None:
        """Stop recording; a second time does nothing."""
        with self._lock:
            if not self.closed:
                self._perf.withdraw()
                self._perf.unmap()
            super().close()

    def _disown(self) -> None:
        self._perf.unmap(child=True)
        super()._disown()

    def __repr__(self) -> str:
        return f"<FlightRecorder {self.name}>"


def _owned_shape(make: Any, map: LoadedMap) -> Shape:
    """Return a shape whose events are no views of a buffer."""
    shape = shape_of(make, map.spec.record)
    if shape.borrowed:
        from bpfasm.kernel.readers.refused import no_views

        raise no_views()
    return shape
