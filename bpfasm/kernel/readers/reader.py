"""``Reader``: what the readers of ring and perf buffers have in common."""

from __future__ import annotations

from bpfasm.asm.eventface import EventFace
from bpfasm.kernel.readers.waiting import Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Reader(Waiting, EventFace):
    """A reader of events; a context manager.

    Closing it wakes whoever waits for events, in another thread or under the signal handler that closes it. Events
    that were read and not yet handed out are dropped. In a child made by ``fork()`` it is closed: a buffer is read
    by one process. ``fileno()`` is for ``select`` and its kin: readable when there may be events.
    """

    def __init__(self, name: str) -> None:
        EventFace.__init__(self)
        Waiting.__init__(self, name)

    @property
    def lost_by_cpu(self) -> dict[int, int] | None:
        """How many events found no place, by CPU; None where nobody counts."""
        raise NotImplementedError

    @property
    def lost(self) -> int | None:
        """How many events found no place; None where nobody counts."""
        by_cpu = self.lost_by_cpu
        return None if by_cpu is None else sum(by_cpu.values())

    def _take(self, out: list[Any], limit: int) -> None:
        """Add events that are there to ``out``, until it has ``limit``."""
        raise NotImplementedError

    def _ready(self) -> bool:
        """Return whether there are events."""
        raise NotImplementedError

    def _fill(self, out: list[Any], most: int) -> None:
        with self._lock:
            if self._working or self._closing:
                return
            self._working = True
            try:
                self._take(out, len(out) + most)
                # The wake-up was this thread's, and others sleep while there is more.
                if self._sleepers and self._ready():
                    self._wake(1)
            finally:
                self._working = False
                self._leave()

    def _wait(self, deadline: float | None) -> bool:
        return self._sleep(deadline, self._ready)

    def _let_go(self, child: bool = False) -> None:
        del self._decoded[:]
        super()._let_go(child)
