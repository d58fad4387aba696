"""``Owned``: the base of everything that owns a file descriptor."""

from __future__ import annotations

import os
from _warnings import warn
from _weakref import ref

from bpfasm.isa.where import caller_of, source_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class Owned:
    """An object that lives as long as its file descriptors are open, mostly one; a context manager.

    In a child made by ``fork()`` it is the child's own copy: closing that leaves the parent's alone.
    """

    def __init__(self, *fds: int) -> None:
        # A list, because popping from it is atomic: of two threads that close, one does.
        self._held = [*fds]
        self._pid = os.getpid()
        self._where = caller_of("bpfasm.kernel")

    @property
    def fd(self) -> int:
        """The file descriptor. Raises ValueError when it was closed."""
        try:
            return self._held[0]
        except IndexError:
            raise ValueError(f"{self!r} is closed") from None

    def fileno(self) -> int:
        """Return the file descriptor, for ``select`` and its kin."""
        return self.fd

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._held

    def close(self) -> None:
        """Close it; a second time does nothing."""
        while True:
            try:
                fd = self._held.pop()
            except IndexError:
                return
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self.__dict__.get("_held"):
            return
        if self._pid == os.getpid():
            file, line = source_of(self._where) or ("?", 0)
            warn(f"{self!r} was never closed; it was made at {file}:{line}", ResourceWarning, source=self)
        self.close()


class Unshared(Owned):
    """An owned object that stays its process's alone.

    A child made by ``fork()`` does not inherit it: there it is closed from the start, and the parent's is as it was.
    """

    def __init__(self, *fds: int) -> None:
        super().__init__(*fds)
        _open[id(self)] = ref(self)

    def close(self) -> None:
        """Close it; a second time does nothing."""
        _open.pop(id(self), None)
        super().close()

    def _disown(self) -> None:
        """Let go of the parent's object in a child."""
        super().close()


#: What is open and unshared, for the child of a fork.
_open: dict[int, ref[Unshared]] = {}


def _in_child() -> None:
    for found in list(_open.values()):
        owned = found()
        if owned is not None:
            owned._disown()
    _open.clear()


os.register_at_fork(after_in_child=_in_child)
