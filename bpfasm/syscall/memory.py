"""Memory that the kernel shares: maps and rings by ``mmap(2)``, as memoryviews."""

from __future__ import annotations

from mmap import MAP_SHARED, PAGESIZE, PROT_READ, PROT_WRITE, mmap

__all__ = ["PAGESIZE", "Mapped"]


class Mapped:
    """A mapping of a file descriptor: ``view`` is its bytes. It keeps what is mapped alive by itself."""

    def __init__(self, fd: int, size: int, offset: int = 0, *, write: bool = False) -> None:
        """Map ``size`` bytes from ``offset`` on, both whole pages. Raises OSError."""
        self._memory = mmap(fd, size, MAP_SHARED, PROT_READ | PROT_WRITE if write else PROT_READ, offset=offset)
        self.view = memoryview(self._memory)

    def close(self) -> None:
        """Unmap it; where somebody still holds a view of it, that is when the last one is gone."""
        self.view.release()
        try:
            self._memory.close()
        except BufferError:
            del self._memory
