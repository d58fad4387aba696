"""``load()``: the one way from descriptions to objects in the kernel."""

from __future__ import annotations

from bpfasm.asm.gather import Gathered, refers
from bpfasm.asm.linker import Target
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program
from bpfasm.asm.struct_ops import StructOps
from bpfasm.asm.variables import KCONFIG, Global, Section
from bpfasm.errors import AssemblyError, KernelError
from bpfasm.isa.where import outside
from bpfasm.kernel.attach import attach
from bpfasm.kernel.btf.opened import OpenTypes
from bpfasm.kernel.maps.map import LoadedMap
from bpfasm.kernel.programs.program import LoadedProgram, load_program
from bpfasm.uapi.bpf import BPF_F_RDONLY_PROG, BPF_MAP_TYPE_PERF_EVENT_ARRAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self, overload

    from bpfasm.btf.read import Btf
    from bpfasm.kernel.base.owned import Owned
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.links.struct_ops import LoadedStructOps
    from bpfasm.kernel.maps.globals import Globals
    from bpfasm.kernel.readers.reader import Reader


def load(
    *items: Program | MapSpec | StructOps | LoadedMap,
    log_level: int = 0,
    lines: bool = False,
    values: dict[Any, Any] | None = None,
    btf: Btf | list[Btf] | tuple[Btf, ...] = (),
    relax: bool = False,
) -> Loaded:
    """Load programs, and the maps that their instructions refer to, into the kernel: all or none.

    Each map is created once and filled with its ``initial`` values; two different maps of one name are a LinkError.
    A ``MapSpec`` among the items is created whether a program refers to it or not, and a ``LoadedMap`` serves where
    its declaration is meant; it stays the caller's. Programs and maps that are in the ``initial`` of a ProgArray or a
    map of maps are loaded, too, and so are the programs of a ``StructOps``. ``values`` are what variables hold at
    first, by ``Global`` or name. With a ``log_level`` (1 totals, 2 all states, 4 time, added up) each LoadedProgram
    has the verifier's ``log``; of a refusal it is always kept, with the lines of the source. With ``lines`` the
    kernel is told them from the start: the log of what it takes, and dumps, show them too. ``btf`` are the types that
    say where fields are, for a kernel that shows none or others: its own, and after them those of modules. What the
    kernel looks up itself, functions, variables, places to attach to, is still found in the types that it shows. With
    ``relax``, jumps that 16 bits do not reach go by islands, as every kernel takes them.

    Raises VerifierError for a program the verifier refuses, FeatureMissing for what this kernel, machine or privilege
    does not allow, KernelError for what else it refuses.
    """
    if log_level & ~_LOG_LEVELS:
        raise AssemblyError(
            f"the verifier has no log_level {log_level}",
            "it is 1 for totals, 2 for all states, 4 for the time, or the sum of some",
            source=outside(),
            rule="program-field",
        )
    lent = [item for item in items if isinstance(item, LoadedMap)]
    gathered = Gathered([item.spec if isinstance(item, LoadedMap) else item for item in items], values, relax=relax)
    loaded = Loaded(lent)
    opened = OpenTypes()
    try:
        for spec in gathered.specs.values():
            if not any(each.spec.name == spec.name for each in lent):
                first = _first(spec, gathered.given)
                loaded.maps += (LoadedMap(spec, fill=first is None and not refers(spec), opened=opened),)
                if first is not None and not loaded.maps[-1].reused:
                    loaded.maps[-1].begin(first)
        for each in loaded.maps:
            if isinstance(each.spec.value, Section) and each.spec.flags & BPF_F_RDONLY_PROG:
                each.freeze()  # from now on the verifier knows what is in it
        types = (*btf,) if isinstance(btf, list | tuple) else (btf,)
        target = Target(
            map_fds={each.spec.name: each.fd for each in [*lent, *loaded.maps]},
            globals=gathered.places,
            btf=next(iter(types), None),
            modules=types[1:],
        )
        for laid_out in gathered.assembled:
            named = laid_out.program.attach_prog
            loaded.programs += (
                load_program(
                    laid_out,
                    target,
                    named if isinstance(named, int) else loaded[named].fd,
                    opened=opened,
                    log_level=log_level,
                    lines=lines,
                    types=any(other.program.attach_prog is laid_out.program for other in gathered.assembled),
                ),
            )
        for each in loaded.maps:
            if not each.reused and refers(each.spec):
                each.begin(loaded._objects_in(each.spec.initial))
                if each.reused:
                    raise _pinned_meanwhile(each.spec)
        for ops in gathered.struct_ops:
            from bpfasm.kernel.links.struct_ops import LoadedStructOps

            loaded.struct_ops += (LoadedStructOps(ops, loaded.__getitem__),)
        if gathered.variables:
            loaded.globals  # noqa: B018  from now on their last values can be read, also when all is closed
    except BaseException:
        _unpin(loaded.maps)
        loaded.close()
        raise
    finally:
        opened.close()
    return loaded


#: What may be asked for; the next bit has the log keep its beginning, which reading all of it makes moot.
_LOG_LEVELS = 1 | 2 | 4


def _first(spec: MapSpec, given: dict[str, Any]) -> Any:
    """Return what a section of variables holds at first, where its declaration does not say it all; else None."""
    if isinstance(spec.value, Section) and spec.value.name == KCONFIG:
        from bpfasm.kernel.kconfig import values

        return {0: values(spec.value)}
    return given.get(spec.name)


def _pinned_meanwhile(spec: MapSpec) -> KernelError:
    """Return the error for a map that another process pinned after the programs here were given a new one."""
    from errno import EEXIST

    return KernelError(
        EEXIST,
        f"{spec.name} was pinned by another process while this was loaded",
        "load again: then the programs are given the one that is pinned",
        rule="pin",
    )


def _unpin(maps: Iterable[LoadedMap]) -> None:
    """Take away the pins of maps that were just made, as far as it goes."""
    for map in maps:
        try:
            map.unpin()
        except OSError:
            continue


class Loaded:
    """What ``load()`` made: ``obj[counts]`` is the LoadedMap, ``obj[chowncount]`` the LoadedProgram.

    ``obj[limit]`` is the value of a ``Global``, and may be set; ``obj.globals`` has them all, by name. A context
    manager. Closing closes readers and detaches first, then closes programs, then maps.
    """

    def __init__(self, lent: Iterable[LoadedMap] = ()) -> None:
        self._lent = tuple(lent)
        self.maps: tuple[LoadedMap, ...] = ()
        self.programs: tuple[LoadedProgram, ...] = ()
        self.struct_ops: tuple[LoadedStructOps, ...] = ()
        self.links: tuple[Link, ...] = ()
        self.readers: tuple[Reader, ...] = ()
        self._globals: Globals | None = None

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, item: MapSpec) -> LoadedMap: ...
        @overload
        def __getitem__(self, item: Program) -> LoadedProgram: ...
        @overload
        def __getitem__(self, item: StructOps) -> LoadedStructOps: ...
        @overload
        def __getitem__(self, item: Global) -> Any: ...
        def __getitem__(self, item: Any) -> Any: ...

    else:

        def __getitem__(self, item):
            if isinstance(item, Global):
                return self.globals[item]
            if isinstance(item, MapSpec):
                found = [each for each in (*self.maps, *self._lent) if each.spec is item or each.spec == item]
            elif isinstance(item, StructOps):
                found = [each for each in self.struct_ops if each.spec is item or each.spec == item]
            else:
                found = [each for each in self.programs if each.program is item]
                found = found or [each for each in self.programs if each.program == item]
            if not found:
                raise KeyError(item)
            return found[0]

    def __setitem__(self, variable: Global, value: Any) -> None:
        """Set a variable that is not const, while programs run."""
        self.globals[variable] = value

    @property
    def globals(self) -> Globals:
        """The variables of the programs."""
        if self._globals is None:
            from bpfasm.kernel.maps.globals import Globals

            self._globals = Globals(self.maps)
        return self._globals

    def _objects_in(self, initial: Any) -> Any:
        """Return what a map is to hold, with the objects in the place of their declarations."""
        if not isinstance(initial, dict):
            return [self[each] if isinstance(each, Program | MapSpec) else each for each in initial]
        return {key: self[each] if isinstance(each, Program | MapSpec) else each for key, each in initial.items()}

    def attach(self, mode: str = "auto") -> tuple[Link, ...]:
        """Attach every program that says where, and is not attached yet: all or none. Return the new links.

        A ``StructOps`` is registered.

        They are kept, and closed with the rest. ``mode`` is that of ``bpfasm.kernel.attach.attach()``.
        """
        attached = {id(each.program) for each in self.links if not each.closed}
        having: list[LoadedStructOps | LoadedProgram] = [*self.struct_ops]
        having += [each for each in self.programs if each.program.attach]
        todo = [each for each in having if id(each) not in attached]
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
                links.append(self._attach(each, mode) if isinstance(each, LoadedProgram) else each.register())
                self.links = before + tuple(links)
        except BaseException:
            _close(links)
            self.links = before
            raise
        return tuple(links)

    def _attach(self, program: LoadedProgram, mode: str) -> Link:
        """Attach a program where it says; a map that it says is the one of these objects."""
        place = program.program.attach
        return attach(program, place.among(self) if place and place.maps() else None, mode)

    def reader(self, *buffers: MapSpec, lost: MapSpec | None = None, **options: Any) -> Reader:
        """Return a reader of the events in ring buffers, or in a perf event array.

        The options are those of ``RingReader`` (``lost`` is a declaration here), or of ``PerfReader``. It is kept,
        and closed before the rest.
        """
        if any(buffer.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY for buffer in buffers):
            from bpfasm.kernel.readers.perfbuf import PerfReader

            make: Callable[..., Reader] = PerfReader
        else:
            from bpfasm.kernel.readers.ringbuf import RingReader

            make = RingReader
        if lost is not None:
            options["lost"] = self[lost]
        reader = make(*(self[buffer] for buffer in buffers), **options)
        self.readers = (*(each for each in self.readers if not each.closed), reader)
        return reader

    def close(self) -> None:
        """Stop reading, detach, and close everything; a second time does nothing."""
        _close([*self.maps, *self.programs, *self.struct_ops, *self.links, *self.readers])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Loaded {[*self.maps, *self.programs, *self.struct_ops, *self.links]}>"


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
