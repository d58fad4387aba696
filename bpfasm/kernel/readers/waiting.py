"""``Waiting``: what is shared with the kernel and waited for. Sleeping, waking, threads, closing, forks."""

from __future__ import annotations

import os
from _thread import RLock
from select import EPOLLET, EPOLLIN, epoll
from time import monotonic

from bpfasm.kernel.base.owned import Unshared
from bpfasm.syscall.barrier import barriers
from bpfasm.syscall.files import check_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpfasm.syscall.barrier import Barrier

#: The longest single sleep. A signal that comes between Python's last look for signals and the system call does not
#: interrupt the call, and its handler would wait for as long as the call does.
_LONGEST_S = 1.0

#: What makes the eventfd wake every sleeper for good: nobody takes that many.
_FOR_GOOD = 1 << 32


class Waiting(Unshared):
    """Memory that is shared with programs, and that threads wait for.

    Closing it wakes whoever waits, in another thread or under the signal handler that closes it; it lets go of its
    memory when the last of them has left. In a child made by ``fork()`` it is closed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._acquire, self._settle = memory_barriers()
        # Taken by ``with`` alone, which Ctrl-C cannot come in the middle of, and never held in one's sleep. A signal
        # handler that comes in while its own thread works on the memory finds ``_working`` set.
        self._lock = RLock()
        self._working = False
        self._closing = False
        self._sleepers: set[object] = set()
        try:
            self._epoll = epoll()
            # Counts down by one for each sleeper that it wakes.
            self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK | os.EFD_SEMAPHORE)
        except OSError as error:
            check_files(error.errno, f"{self!r} was not made")
            raise
        super().__init__(self._wakeup)
        self._epoll.register(self._wakeup, EPOLLIN)

    @property
    def fd(self) -> int:
        """A file descriptor that is readable when there may be something to do. Raises ValueError when closed."""
        self._check()
        return self._epoll.fileno()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closing

    def _check(self) -> None:
        if self._closing:
            raise ValueError(f"{self!r} is closed")

    def _withdraw(self) -> None:
        """Undo what the kernel was told; not called in a child."""

    def _unmap(self, child: bool) -> None:
        """Let go of the memory; perf buffers are not there in a child."""
        raise NotImplementedError

    def _watch(self, fds: Iterable[int], events: int = EPOLLIN) -> None:
        """Wake up for these file descriptors.

        At each wake-up (EPOLLET) and not for as long as one is readable: a ring is, from the moment that a record is
        reserved, and waiting for its end would be busy waiting.
        """
        for fd in fds:
            self._epoll.register(fd, events | EPOLLET)

    def _sleep(self, deadline: float | None, ready: Callable[[], bool]) -> bool:
        """Sleep until something may be ready; return False when the time is up and when this is closed."""
        sleeper = object()
        try:
            left = _LONGEST_S if deadline is None else min(deadline - monotonic(), _LONGEST_S)
            if left <= 0:
                return False
            with self._lock:
                if self._closing:
                    return False
                self._sleepers.add(sleeper)
            # A program wakes a reader that was seen to have read all before its record. Either it sees that, or this
            # sees the record: the position was written before the barrier, and the record is looked for behind it.
            self._settle()
            if not ready():
                for fd, _ in self._epoll.poll(left):
                    if fd == self._wakeup:
                        self._take_wakeup()
            return not self._closing and (deadline is None or monotonic() < deadline)
        except BaseException:
            self._wake(1)  # it may have been a wake-up of others that was cut off here
            raise
        finally:
            with self._lock:
                self._sleepers.discard(sleeper)
                self._leave()

    def _wake(self, sleepers: int) -> None:
        if self._held:
            os.eventfd_write(self._wakeup, sleepers)

    def _take_wakeup(self) -> None:
        try:
            os.eventfd_read(self._wakeup)
        except BlockingIOError:
            return  # another sleeper was faster

    def close(self) -> None:
        """Close it, and wake who waits; a second time does nothing."""
        self._closing = True
        self._wake(_FOR_GOOD)
        with self._lock:
            self._leave()

    def _leave(self) -> None:
        """Let go of everything if this was closed and nobody uses it any more."""
        if self._closing and not self._working and not self._sleepers:
            self._let_go()

    def _let_go(self, child: bool = False) -> None:
        if not self._held:
            return
        try:
            if not child:
                self._withdraw()
        finally:
            self._unmap(child)
            self._epoll.close()
            Unshared.close(self)

    def _disown(self) -> None:
        self._closing = True
        self._lock = RLock()  # another thread may have held it, and that is not here
        self._let_go(child=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


def memory_barriers() -> tuple[Barrier | None, Barrier]:
    """Return what acquires and releases, and what is a full barrier. Raises FeatureMissing."""
    try:
        return barriers()
    except OSError as error:
        number = error.errno or 0
    from bpfasm.kernel.readers.refused import no_barrier

    raise no_barrier(number)
