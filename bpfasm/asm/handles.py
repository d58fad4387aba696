"""Numbers that stand for something open: written as a file descriptor, read as an id."""

from __future__ import annotations

from bpfasm.asm.types import Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Handle(Type[int]):
    """A file descriptor, or whatever has one: a LoadedMap, a LoadedProgram, a socket, a file."""

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a file descriptor."""
        fileno = getattr(value, "fileno", None)
        return super().pack(fileno() if fileno else value)

    @property
    def takes(self) -> str:
        return "a file descriptor, or an open object that has one"


fd32 = Handle("fd", 4, 4, "I")
fd64 = Handle("fd", 8, 8, "Q")
