"""``load()``: the one way from descriptions to objects in the kernel."""

from __future__ import annotations

from bpfasm.asm.linker import Target, assemble, link
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program
from bpfasm.errors import AssemblyError, LinkError
from bpfasm.kernel.attach import attach
from bpfasm.kernel.maps import LoadedMap
from bpfasm.kernel.programs import LoadedProgram
from bpfasm.uapi.bpf import BPF_MAP_TYPE_PERF_EVENT_ARRAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self, overload

    from bpfasm.kernel.kprobe import Mode
    from bpfasm.kernel.link import Link
    from bpfasm.kernel.owned import Owned
    from bpfasm.kernel.reader import Reader


def load(*items: Program | MapSpec, log_level: int = 0) -> Loaded:
    """Load programs, and the maps that their instructions refer to, into the kernel: all or none.

    Each map is created once and filled with its ``initial`` values; two different maps of one name are a LinkError.
    A ``MapSpec`` among the items is created whether a program refers to it or not. With a ``log_level`` (1 path, 2
    all states, 4 statistics, added up) each LoadedProgram has the verifier's ``log``; of a refusal it is always kept.
    Raises VerifierError for a program the verifier refuses, FeatureMissing for what this kernel, machine or
    privilege does not allow, KernelError for what else it refuses.
    """
    programs = {id(item): item for item in items if isinstance(item, Program)}
    assembled = [assemble(program) for program in programs.values()]
    specs: dict[str, MapSpec] = {}
    for spec in [item for item in items if isinstance(item, MapSpec)] + [m for each in assembled for m in each.maps]:
        if specs.setdefault(spec.name, spec) != spec:
            raise LinkError(
                f"two different maps are called {spec.name}",
                "declare the map once and use that, or give one of them another name",
                rule="map-twice",
            )
    loaded = Loaded()
    try:
        for spec in specs.values():
            loaded.maps += (LoadedMap(spec),)
        target = Target(map_fds={each.spec.name: each.fd for each in loaded.maps})
        for each in assembled:
            loaded.programs += (LoadedProgram(link(each, target), log_level),)
    except BaseException:
        loaded.close()
        raise
    return loaded


class Loaded:
    """What ``load()`` made: ``obj[counts]`` is the LoadedMap, ``obj[chowncount]`` the LoadedProgram.

    A context manager. Closing closes readers and detaches first, then closes programs, then maps.
    """

    def __init__(self) -> None:
        self.maps: tuple[LoadedMap, ...] = ()
        self.programs: tuple[LoadedProgram, ...] = ()
        self.links: tuple[Link, ...] = ()
        self.readers: tuple[Reader, ...] = ()

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, item: MapSpec) -> LoadedMap: ...
        @overload
        def __getitem__(self, item: Program) -> LoadedProgram: ...
        def __getitem__(self, item: Any) -> Any: ...

    else:

        def __getitem__(self, item):
            if isinstance(item, MapSpec):
                found = [each for each in self.maps if each.spec is item or each.spec == item]
            else:
                found = [each for each in self.programs if each.program is item]
                found = found or [each for each in self.programs if each.program == item]
            if not found:
                raise KeyError(item)
            return found[0]

    def attach(self, mode: Mode = "auto") -> tuple[Link, ...]:
        """Attach every program that says where, and is not attached yet: all or none. Return the new links.

        They are kept, and closed with the rest. ``mode`` is that of ``bpfasm.kernel.attach.attach()``.
        """
        attached = {id(each.program) for each in self.links if not each.closed}
        todo = [each for each in self.programs if each.program.attach and id(each) not in attached]
        if not todo and not attached:
            raise AssemblyError(
                "none of these programs says where it is to be attached",
                'declare one with attach=kprobe("vfs_read"), or attach it with bpfasm.kernel.attach.attach()',
                rule="attach-target",
            )
        before = self.links
        links: list[Link] = []
        try:
            for each in todo:
                links.append(attach(each, mode=mode))
                self.links = before + tuple(links)
        except BaseException:
            _close(links)
            self.links = before
            raise
        return tuple(links)

    def reader(self, *buffers: MapSpec, lost: MapSpec | None = None, **options: Any) -> Reader:
        """Return a reader of the events in ring buffers, or in a perf event array.

        The options are those of ``RingReader`` (``lost`` is a declaration here), or of ``PerfReader``. It is kept,
        and closed before the rest.
        """
        if any(buffer.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY for buffer in buffers):
            from bpfasm.kernel.perfbuf import PerfReader

            make: Callable[..., Reader] = PerfReader
        else:
            from bpfasm.kernel.ringbuf import RingReader

            make = RingReader
        if lost is not None:
            options["lost"] = self[lost]
        reader = make(*(self[buffer] for buffer in buffers), **options)
        self.readers += (reader,)
        return reader

    def close(self) -> None:
        """Stop reading, detach, and close everything; a second time does nothing."""
        _close([*self.maps, *self.programs, *self.links, *self.readers])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Loaded {[*self.maps, *self.programs, *self.links]}>"


def _close(objects: Iterable[Owned]) -> None:
    """Close objects, the last first; all of them, whatever happens in between."""
    left = list(objects)
    try:
        while left:
            left[-1].close()
            left.pop()
    except KeyboardInterrupt:
        _close(left)  # goes on with the one it came in the middle of
        raise
    except Exception:
        _close(left[:-1])
        raise
