"""``PlacedLink``: a program that is attached without a link of the kernel's, and taken away by a call."""

from __future__ import annotations

import os
from fcntl import F_DUPFD_CLOEXEC, fcntl

from bpfasm.kernel.links.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.attach import Place
    from bpfasm.kernel.programs.program import KernelProgram, LoadedProgram

    Undo = Callable[[int], None]
    Exchange = Callable[[int, int], None]
    Sign = Callable[[KernelProgram], object]


def another(fd: int) -> int:
    """Return another descriptor of what is open as ``fd``."""
    return fcntl(fd, F_DUPFD_CLOEXEC, 3)


class PlacedLink(Link):
    """A program that stays where it is until somebody takes it away, whether its process lives or not.

    Its first descriptor is one of the program, so that ``undo`` can take away this program and no other. It and
    ``exchange``, from the old program to a new one, are called with descriptors of programs. ``signed`` is what was
    called to give the program its owner's name, where it outlives its process.
    """

    def __init__(
        self,
        program: LoadedProgram,
        target: Place,
        mode: str,
        undo: Undo,
        *,
        exchange: Exchange | None = None,
        signed: Sign | None = None,
        holds: tuple[int, ...] = (),
    ) -> None:
        super().__init__((another(program.fd), *holds), program, target, mode)
        self._undo = [undo]
        self._exchange = exchange
        self._sign = signed

    def update(self, program: KernelProgram, *, expected: KernelProgram | None = None) -> None:
        """Put another program in the place of this one, where that or ``expected`` is still there."""
        if self._exchange is None:
            return super().update(program, expected=expected)
        if self._sign is not None:
            self._sign(program)
        self._exchange(program.fd, (expected or self).fd)
        old, self._held[0] = self._held[0], another(program.fd)
        os.close(old)
        self.program = program
        return None

    def close(self) -> None:
        """Take the program away; a second time does nothing."""
        while self._undo and self._held:
            self._undo[-1](self.fd)
            self._undo.clear()
        super().close()

    def _disown(self) -> None:
        self._undo.clear()
        super()._disown()
