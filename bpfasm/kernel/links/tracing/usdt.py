"""Attaching at the marks of programs and libraries (USDT): a uprobe at each site, with the mark's semaphore."""

from __future__ import annotations

from bpfasm.asm.attach.uprobe import Uprobe
from bpfasm.elf.probes import marks
from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.tracing.uprobe import open_at
from bpfasm.kernel.user import code_of, find_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.uprobe import Usdt
    from bpfasm.elf.probes import Mark
    from bpfasm.errors import InputError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "perf", "tracefs")


class SitesLink(Link):
    """A link to each site of a mark; all are closed together, and the first stands for them."""

    def __init__(self, links: list[Link], program: LoadedProgram, where: Usdt) -> None:
        self.links = tuple(links)
        super().__init__((), program, where, links[0].mode)

    @property
    def fd(self) -> int:
        """The file descriptor of the first. Raises ValueError when it was closed."""
        return self.links[0].fd

    @property
    def fds(self) -> tuple[int, ...]:
        """The file descriptors of all."""
        return tuple(fd for link in self.links for fd in link.fds)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return all(link.closed for link in self.links)

    def close(self) -> None:
        """Detach the program from each site; a second time does nothing."""
        for link in self.links:
            link.close()
        super().close()


def open_link(program: LoadedProgram, where: Usdt, mode: str = "auto") -> Link:
    """Attach a program of type KPROBE at the sites of a mark; ``mode`` is that of uprobes.

    Raises FeatureMissing, KernelError, InputError, DecodeError.
    """
    path = find_file(where.path, pid=where.pid, inside=where.inside)
    there = marks(code_of(path))
    sites = {each.offset: each for each in there if (each.provider, each.name) == (where.provider, where.name)}
    if not sites:
        raise _no_mark(path, where, there)
    links: list[Link] = []
    try:
        for site in sites.values():
            at = Uprobe(
                where.path,
                offset=site.offset,
                pid=where.pid,
                inside=where.inside,
                cookie=where.cookie,
                semaphore=site.semaphore,
            )
            links.append(open_at(program, at, path, site.offset, mode))
        if len(links) == 1:
            links[0].target = where
            return links[0]
        return SitesLink(links, program, where)
    except BaseException:
        for link in links:
            link.close()
        raise


def _no_mark(path: str, where: Usdt, there: tuple[Mark, ...]) -> InputError:
    from difflib import get_close_matches

    from bpfasm.errors import InputError

    names = list(dict.fromkeys(f"{each.provider}:{each.name}" for each in there))
    if not names:
        do = "its author left none, or it was built without them (--enable-systemtap, --with-dtrace)"
    else:
        close = get_close_matches(f"{where.provider}:{where.name}", names, n=3)
        do = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(names[:8])}"
    return InputError(f"{path} has no mark {where.provider}:{where.name}", do, rule="no-usdt")
