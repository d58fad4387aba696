"""Memory that programs share, as memoryviews."""

from __future__ import annotations

from mmap import PAGESIZE

from bpfasm.syscall.libc import mapped

__all__ = ["PAGESIZE", "Mapped"]


class Mapped:
    """A mapping of a file descriptor: ``view`` is its bytes, and can be written only where that was asked for.

    It keeps what is mapped alive by itself.
    """

    def __init__(self, fd: int, size: int, offset: int = 0, *, write: bool = False) -> None:
        """Map ``size`` bytes from ``offset`` on, both whole pages. Raises OSError."""
        self._memory = mapped(fd, size, writable=write, offset=offset)
        view = memoryview(self._memory).cast("B")
        self.view = view if write else view.toreadonly()

    def close(self) -> None:
        """Unmap it; where somebody still holds a view of a part, that is when the last one is gone."""
        self.view.release()
        del self._memory

    def forget(self) -> None:
        """Let go of it where it is not there any more: in a child, which perf buffers are not given to."""
        self._memory.gone = True  # type: ignore[attr-defined]
        self.close()
