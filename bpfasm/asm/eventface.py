"""``EventFace``: what every reader of events looks like from Python, over two operations.

Whoever holds a buffer of events, a kernel or the simulator, derives from it and supplies ``_fill`` and ``_wait``.
"""

from __future__ import annotations

from sys import maxsize
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: How many events an iteration decodes ahead: enough that the work around it is little for each.
_AHEAD = 512


class EventFace:
    """Events as they come: an iterator, or lists.

    Every event is handed out once, in the order of its buffer. A ``timeout`` is in seconds; None is for ever, 0 does
    not wait. When the time is up, and when the reader is closed meanwhile, an iteration ends, a list is empty and a
    single event is None. Several threads may read, and each event goes to one of them. What was closed before raises
    ValueError.
    """

    def __init__(self) -> None:
        # What was decoded, and from which place on it was not handed out yet: what an iteration was left with, and
        # what came before an error. Where both change, nothing is called, since Ctrl-C and other threads come in
        # behind a call: so no event is lost, and none is handed out twice.
        self._decoded: list[Any] = []
        self._next = 0

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        raise NotImplementedError

    def _fill(self, out: list[Any], most: int) -> None:
        """Add up to ``most`` events that are there to ``out``; none where this is closed."""
        raise NotImplementedError

    def _wait(self, deadline: float | None) -> bool:
        """Sleep until there may be events; return False when the time is up and when this is closed."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Any]:
        return self.events()

    def events(self, timeout: float | None = None) -> Iterator[Any]:
        """Iterate over events until the time is up, or until the reader is closed."""
        deadline = _deadline(timeout)
        decoded = self._decoded
        over = False
        self._check()
        while True:
            at = self._next
            try:
                event = decoded[at]
            except IndexError:
                if over or not self._refill(deadline):
                    return
                over = deadline is not None and monotonic() >= deadline
            else:
                decoded[at] = None
                self._next = at + 1
                yield event

    def batch(self, most: int | None = None, timeout: float | None = None) -> list[Any]:
        """Return the events that are there, up to ``most``; wait until there is one."""
        deadline = _deadline(timeout)
        self._check()
        if most is not None and most < 1:
            raise ValueError(f"most is {most}, and a batch has at least one event")
        events: list[Any] = []
        try:
            self._collect(events, most or maxsize, deadline)
        except BaseException:
            # Their place is free: neither what went wrong nor Ctrl-C loses them.
            self._decoded[self._next : self._next] = events
            raise
        return events

    def drain(self) -> list[Any]:
        """Return the events that are there; do not wait."""
        return self.batch(timeout=0)

    def read(self, timeout: float | None = None) -> Any:
        """Return the next event; wait for it."""
        events = self.batch(1, timeout)
        return events[0] if events else None

    def _refill(self, deadline: float | None) -> bool:
        """Decode events ahead; wait until there is one, return False if there is none."""
        del self._decoded[: self._next]
        self._next = 0
        return bool(self._decoded) or self._collect(self._decoded, _AHEAD, deadline)

    def _collect(self, out: list[Any], most: int, deadline: float | None) -> bool:
        """Add events to ``out``; wait until there is one, return False if there is none."""
        decoded = self._decoded
        more = True
        while True:
            while out is not decoded and len(out) < most and self._next < len(decoded):
                at = self._next
                out += decoded[at : at + 1]
                decoded[at] = None
                self._next = at + 1
            if len(out) < most:
                self._fill(out, most - len(out))
            if out:
                return True
            if not more:
                return False
            # What came without waking anybody is there when the time is up: once more.
            more = self._wait(deadline)

    def _check(self) -> None:
        if self.closed:
            raise ValueError(f"{self!r} is closed")


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else monotonic() + timeout
