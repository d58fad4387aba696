"""A known workload: processes that make a call, and the exact number of calls they made."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

#: Seconds between two calls of a worker that was given no number of calls: about 1000 a second.
PACE_S = 0.001


class Workload:
    """Worker processes that call a function until told to stop, or ``calls`` times in all, as fast as they can.

    They start when the ``with`` is entered and are gone when it is left. Each counts its calls in memory it shares
    with this process, so a count is never lost in a pipe.
    """

    def __init__(self, call: Callable[[], None], *, workers: int, calls: int | None = None) -> None:
        self._call = call
        self._calls = calls
        self._shares = (
            [None] * workers
            if calls is None
            else [calls // workers + (number < calls % workers) for number in range(workers)]
        )
        self._pids: list[int] = []
        # Word 0 tells the workers to stop; the rest are their counts.
        self._memory = mmap.mmap(-1, 8 * (workers + 1))
        self._words = memoryview(self._memory).cast("Q")

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, share in enumerate(self._shares, 1):
            pid = os.fork()
            if pid == 0:
                self._work(number, share)
            self._pids.append(pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._words.release()
        self._memory.close()

    def _work(self, number: int, share: int | None) -> None:
        """Be a worker: never returns. Ctrl-C reaches the whole group, and only the parent decides what it means."""
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            words, call, done = self._words, self._call, 0
            while not words[0] and done != share:
                call()
                done += 1
                words[number] = done
                if share is None:
                    time.sleep(PACE_S)
            status = 0
        finally:
            os._exit(status)

    @property
    def running(self) -> bool:
        """Whether a worker still works."""
        self._pids = [pid for pid in self._pids if os.waitpid(pid, os.WNOHANG)[0] == 0]
        return bool(self._pids)

    def stop(self) -> int:
        """Let every worker finish the call it is in; return how many calls were made."""
        self._words[0] = 1
        for pid in self._pids:
            os.waitpid(pid, 0)
        self._pids = []
        return sum(self._words[1:])
