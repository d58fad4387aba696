"""A row of the table of features."""

from __future__ import annotations

from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.syscall.probe.answer import Answer


class Feature(Value):
    """Something a kernel has or lacks, and how to find out.

    ``since`` is the release it came with, ``commit`` the one that brought it, both for the reader: ``probe`` tries.
    ``config`` are the options (without ``CONFIG_``) that a kernel must be built with to have it; one that begins
    with ``!`` must be off. ``also`` are older series that were given it later.
    """

    group: str
    name: str
    what: str
    since: str
    probe: Callable[[], Answer]
    commit: str = ""
    config: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """``GROUP/NAME``, by which it is asked for."""
        return f"{self.group}/{self.name}"

    def __hash__(self) -> int:
        return hash(self.id)


def label(enumerator: str, prefix: str) -> str:
    """Return ``ringbuf`` for ``BPF_MAP_TYPE_RINGBUF``."""
    return enumerator.removeprefix(prefix).lower()
