"""``Link``: a program that is attached, until it is closed."""

from __future__ import annotations

from bpfasm.kernel.owned import Unshared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.kernel.programs import LoadedProgram
    from bpfasm.kernel.struct_ops import LoadedStructOps
    from bpfasm.value import Value


class Link(Unshared):
    """A program attached somewhere, or a struct of them registered; closing it detaches the program.

    ``mode`` is the mechanism that was taken. ``target`` is the description it was made from. ``release`` is what to
    do after the file descriptor is closed, for what the kernel does not undo by itself.

    A child made by ``fork()`` does not inherit it: there it is closed from the start, and the parent's stays
    attached until the parent closes it.
    """

    def __init__(
        self,
        fd: int,
        program: LoadedProgram | LoadedStructOps,
        target: Value,
        mode: str,
        release: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(fd)
        self.program = program
        self.target = target
        self.mode = mode
        self._release = [release] if release else []

    def close(self) -> None:
        """Detach the program; a second time does nothing."""
        super().close()
        # Not popped before it is done: interrupted by Ctrl-C, a second close() goes on where the first was.
        while self._release:
            self._release[-1]()
            self._release.clear()

    def _disown(self) -> None:
        # A copy of the fd would keep the program attached after the parent has closed its own, and releasing it
        # would take the parent's tracefs event away.
        self._release.clear()
        super()._disown()

    def __repr__(self) -> str:
        return f"<Link {self.program.name} at {self.target} ({self.mode})>"
