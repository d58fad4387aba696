"""``Link``: a program that is attached, until it is closed; ``KernelLink``: one that anybody may have made."""

from __future__ import annotations

from bpfasm.kernel.base.owned import Owned, Unshared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bpfasm.kernel.links.info import LinkInfo
    from bpfasm.kernel.links.struct_ops import LoadedStructOps
    from bpfasm.kernel.programs.program import KernelProgram, LoadedProgram
    from bpfasm.value import Value

#: The mechanisms that make a link of the kernel's own (``struct bpf_link``): it has an id, can be asked and pinned.
#: Of the others the file descriptor is something else, or there is none.
KERNEL_LINKS = ("link", "multi")


class KernelLink(Owned):
    """A link in the kernel, by an fd of it. Closing the last fd detaches, where no pin holds the link."""

    @classmethod
    def from_id(cls, id: int) -> KernelLink:
        """Open a link by its id. Raises InputError, FeatureMissing."""
        from bpfasm.errors import InputError
        from bpfasm.kernel.objects.ids import open_id

        fd = open_id("link", id)
        if fd is None:
            do = "`bpfasm link list` shows those there are"
            raise InputError(f"there is no link {id}", do, rule="object-unknown")
        return KernelLink(fd)

    @classmethod
    def from_pin(cls, path: str) -> KernelLink:
        """Open a link that is pinned at a path. Raises InputError, FeatureMissing."""
        from bpfasm.kernel.objects.ids import open_path

        return KernelLink(open_path("link", path))

    def info(self) -> LinkInfo:
        """Return what the kernel tells of it: its id, its kind, its program, where it is. Raises KernelError."""
        from bpfasm.kernel.links.info import link_info

        return link_info(self.fd)

    def update(self, program: KernelProgram, *, expected: KernelProgram | None = None) -> None:
        """Put another program in the place of this one, with no event in between that meets none.

        With ``expected`` only where that is the one attached. Links of cgroups, XDP, tcx, netkit, iterators, network
        namespaces and sockmaps can. Raises FeatureMissing for others, KernelError.
        """
        from bpfasm.kernel.links.change import update

        update(self, program, expected)

    def detach(self) -> None:
        """Detach the program at once, whoever else holds the link or has pinned it; the link stays, and is empty.

        Links of cgroups, XDP, tcx, netkit, netfilter, network namespaces and structs of functions can. Raises
        FeatureMissing for the others, which closing detaches; KernelError.
        """
        from bpfasm.kernel.links.change import detach

        detach(self)

    def pin(self, path: str) -> str:
        """Pin it: the program stays attached when all is closed, until the file is removed. Return the path.

        Raises KernelError, FeatureMissing.
        """
        from bpfasm.kernel.objects.pins import pin

        return pin(self.fd, "the link", path)

    def missed(self) -> int | None:
        """Return how often the program was not run although its place was reached; None where nobody counts.

        A kprobe misses what happens inside another one, and a kretprobe calls beyond its maxactive. (6.7; tracefs
        counts everywhere)
        """
        from bpfasm.kernel.links.change import missed

        return missed(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Link(KernelLink, Unshared):
    """A program attached somewhere, or a struct of them registered; closing it detaches the program.

    ``mode`` is the mechanism that was taken. ``target`` is the description it was made from. ``release`` is what to
    do after the file descriptors are closed, for what the kernel does not undo by itself; ``misses`` tells what was
    missed where the link does not. There are several file descriptors where a place is several to the kernel, as a
    sample on each CPU is; the first stands for them.

    A child made by ``fork()`` does not inherit it: there it is closed from the start, and the parent's stays
    attached until the parent closes it.
    """

    def __init__(
        self,
        fd: int | Iterable[int],
        program: LoadedProgram | LoadedStructOps,
        target: Value,
        mode: str,
        release: Callable[[], None] | None = None,
        misses: Callable[[], int | None] | None = None,
    ) -> None:
        super().__init__(*([fd] if isinstance(fd, int) else fd))
        self.program: KernelProgram | LoadedStructOps = program
        self.target = target
        self.mode = mode
        self._release = [release] if release else []
        self._misses = misses

    @property
    def fds(self) -> tuple[int, ...]:
        """All its file descriptors."""
        return tuple(self._held)

    def info(self) -> LinkInfo:
        """Return what the kernel tells of it, or of the first where it is several.

        Raises FeatureMissing for a mechanism of which it tells nothing.
        """
        self._must_be_kernels("tells nothing of what is attached so")
        return super().info()

    def update(self, program: KernelProgram, *, expected: KernelProgram | None = None) -> None:
        """Put another program in the place of this one, as :meth:`KernelLink.update` does."""
        self._must_be_kernels("does not exchange the program of what is attached so")
        super().update(program, expected=expected)
        self.program = program

    def detach(self) -> None:
        """Detach the program at once, as :meth:`KernelLink.detach` does."""
        self._must_be_kernels("has no link to detach of what is attached so; close() detaches it")
        super().detach()

    def pin(self, path: str) -> str:
        """Pin it, as :meth:`KernelLink.pin` does."""
        self._must_be_kernels("has nothing to pin of what is attached so")
        if len(self._held) > 1:
            from bpfasm.kernel.links.refused import several

            raise several(self)
        return super().pin(path)

    def missed(self) -> int | None:
        """Return how often the program was passed over, as :meth:`KernelLink.missed` does."""
        if self._misses:
            return self._misses()
        return super().missed() if self.mode in KERNEL_LINKS else None

    def _must_be_kernels(self, lack: str) -> None:
        if self.mode not in KERNEL_LINKS:
            from bpfasm.kernel.links.refused import no_kernel_link

            raise no_kernel_link(self, lack)

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
