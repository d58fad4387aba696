"""Several guests at a time: how many this machine has room for, and threads that do one job after the other."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import threading
import time
from collections import deque
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab.api import boot
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from bpfasm.lab.guest.session import Guest
    from bpfasm.lab.matrix import Kernel

#: The memory of a guest where nothing else is said, and what QEMU needs beside it, in MiB.
MEMORY_MIB = 1024
_OVERHEAD_MIB = 384


def room(memory_mib: int = MEMORY_MIB) -> int:
    """Return how many guests may run at a time: one for each processor that we may use, as far as memory goes.

    An emulated guest keeps one processor busy, however many it has itself. At least one, and one where no guest runs.
    """
    try:
        return max(1, min(len(os.sched_getaffinity(0)), _free_mib() // (memory_mib + _OVERHEAD_MIB)))
    except (AttributeError, OSError):
        return 1


def _free_mib() -> int:
    """Return the memory that can be had without swapping: MemAvailable of /proc/meminfo."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return next(int(row[1]) >> 10 for row in rows if row[0] == "MemAvailable:")


class Pool:
    """Threads that take jobs in their order, and what the jobs return. A thread owns the guests that it boots.

    The threads end with the process, and the guests with their threads, so that nothing has to be waited for.
    """

    def __init__(self, jobs: Sequence[Callable[[Pool], object]]) -> None:
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._jobs = deque(jobs)
        self._guests: set[Guest] = set()
        self._ended = False

    def add(self, threads: int = 1) -> None:
        """Do so many more jobs at a time."""
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True).start()

    def result(self) -> Any:
        """Wait for the next job to end and return what it returned; raise what it raised."""
        value, problem = self._results.get()
        if problem:
            raise problem
        return value

    @contextlib.contextmanager
    def boot(self, kernel: Kernel, **options: Any) -> Iterator[Guest]:
        """Boot a guest for a job. ``end`` ends it."""
        with boot(kernel, **options) as guest:
            self._guests.add(guest)
            try:
                if self._ended:
                    guest.kill()
                yield guest
            finally:
                self._guests.discard(guest)

    def end(self) -> None:
        """End every guest, and begin no job any more. Jobs that are under way see their guest fail."""
        self._ended = True
        self._jobs.clear()
        for guest in list(self._guests):
            guest.kill()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.popleft()
            except IndexError:
                return
            try:
                self._results.put((job(self), None))
            except BaseException as problem:
                self._results.put((None, problem))


class Outcome(Value):
    """What a command did on a kernel.

    ``status`` is None when it did not end by itself: ``error`` is the lab's, or ``timed_out`` is true.
    ``output`` is all it wrote, in the order it came; ``seconds`` are from the start of the boot.
    """

    kernel: Kernel
    status: int | None
    timed_out: bool
    error: LabError | None
    seconds: float
    output: bytes


def each(
    kernels: Sequence[Kernel],
    argv: Sequence[str | bytes],
    *,
    timeout: float | None = None,
    at_a_time: int | None = None,
    memory_mib: int = MEMORY_MIB,
    **options: Any,
) -> Iterator[Outcome]:
    """Run a command on each kernel, several at a time, and yield what it did there as it ends.

    ``at_a_time`` is ``room()`` when not given; other options as of ``bpfasm.lab.run``. Leaving the loop ends all.
    """

    def job(kernel: Kernel) -> Callable[[Pool], Outcome]:
        return lambda pool: _one(pool, kernel, argv, timeout, memory_mib=memory_mib, **options)

    pool = Pool([job(kernel) for kernel in kernels])
    pool.add(min(len(kernels), at_a_time or room(memory_mib)))
    try:
        for _ in kernels:
            yield pool.result()
    finally:
        pool.end()


def _one(pool: Pool, kernel: Kernel, argv: Sequence[str | bytes], timeout: float | None, **options: Any) -> Outcome:
    out, started = io.BytesIO(), time.monotonic()
    status, over, error = None, False, None
    try:
        with pool.boot(kernel, **options) as guest:
            kernel = guest.kernel
            status = guest.run(argv, timeout=timeout, stdout=out, stderr=out)
            over = guest.over
    except LabError as problem:
        error = problem
    seconds = time.monotonic() - started
    return Outcome(kernel, None if over else status, over, error, seconds, out.getvalue())
