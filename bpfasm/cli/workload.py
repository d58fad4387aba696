"""A known workload: processes that make a call, and the exact number of calls they made."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time

from bpfasm.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

#: Seconds between two calls of a worker that was given no number of calls: about 1000 a second.
PACE_S = 0.001

_STOP, _ERRNO, _COUNTS = 0, 1, 2


class Workload:
    """Worker processes that call a function until told to stop, or ``calls`` times in all, as fast as they can.

    They start when the ``with`` is entered and are gone when it is left. Each counts its calls in memory it shares
    with this process, so a count is never lost in a pipe.
    """

    def __init__(self, call: Callable[[], None], *, workers: int, calls: int | None = None) -> None:
        self._call = call
        self._shares = (
            [None] * workers
            if calls is None
            else [calls // workers + (number < calls % workers) for number in range(workers)]
        )
        self._pids: list[int] = []
        # Word 0 tells the workers to stop, word 1 is the errno of a call that failed, the rest are their counts.
        self._memory = mmap.mmap(-1, 8 * (_COUNTS + workers))
        self._words = memoryview(self._memory).cast("Q")

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            for number, share in enumerate(self._shares, _COUNTS):
                pid = os.fork()
                if pid == 0:
                    self._work(number, share, parent)
                self._pids.append(pid)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._words.release()
        self._memory.close()

    def _work(self, number: int, share: int | None, parent: int) -> None:
        """Be a worker: never returns. Ctrl-C reaches the whole group, and only the parent decides what it means."""
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            words, call, done = self._words, self._call, 0
            # A worker whose parent was killed has nobody to stop it.
            while not words[_STOP] and done != share and os.getppid() == parent:
                call()
                done += 1
                words[number] = done
                if share is None:
                    time.sleep(PACE_S)
            status = 0
        except OSError as error:
            self._words[_ERRNO] = error.errno or 0
        finally:
            os._exit(status)

    @property
    def running(self) -> bool:
        """Whether a worker still works. Raises KernelError where one could not."""
        for pid in [*self._pids]:
            self._leave(pid, os.WNOHANG)
        return bool(self._pids)

    def stop(self) -> int:
        """Let every worker finish the call it is in; return how many calls were made. Raises as ``running`` does."""
        self._words[_STOP] = 1
        for pid in [*self._pids]:
            self._leave(pid, 0)
        return sum(self._words[_COUNTS:])

    def _leave(self, pid: int, options: int) -> None:
        """Take leave of a worker, if it has ended."""
        ended, status = os.waitpid(pid, options)
        if ended:
            self._pids.remove(pid)
        if status:
            errno = self._words[_ERRNO]
            why = f"its call failed: {os.strerror(errno)}" if errno else f"wait status {status:#x}"
            raise KernelError(errno, f"a worker ended early, {why}", "its calls are not known now", rule="worker")

    def _end(self) -> None:
        """Wait for every worker, whatever became of it."""
        self._words[_STOP] = 1
        while self._pids:
            os.waitpid(self._pids.pop(), 0)
