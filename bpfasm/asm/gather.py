"""What belongs together: the programs, maps and variables that some programs and maps refer to."""

from __future__ import annotations

from bpfasm.asm.linker import assemble
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program
from bpfasm.asm.struct_ops import StructOps
from bpfasm.asm.variables import Global, Section, sections
from bpfasm.errors import AssemblyError, LinkError
from bpfasm.isa.where import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from bpfasm.asm.linker import Assembled


class Gathered:
    """Programs laid out, in the order they were named or referred to, with the maps and variables that they use."""

    def __init__(
        self,
        items: Iterable[Program | MapSpec | StructOps],
        values: dict[Any, Any] | None = None,
        *,
        relax: bool = False,
    ) -> None:
        """Follow the items; with ``relax``, far jumps get islands. Raises LinkError for two things of one name."""
        self.relax = relax
        self.assembled: list[Assembled] = []
        self.specs: dict[str, MapSpec] = {}
        self.struct_ops: list[StructOps] = []
        self._programs: set[int] = set()
        for item in items:
            self._add(item)
        variables: dict[str, Global] = {}
        for variable in (each for program in self.assembled for each in program.globals):
            if variables.setdefault(variable.name, variable) != variable:
                raise LinkError(
                    f"two different variables are called {variable.name}",
                    "declare the variable once and use that, or give one of them another name",
                    rule="global-twice",
                )
        images = self._of_images()
        known = images | variables
        given = _by_variable(known, values or {})
        #: What the variables of sections hold at first that came laid out, by their maps' names.
        self.given = {
            spec.name: {0: held}
            for spec in self.specs.values()
            if isinstance(spec.value, Section)
            and (held := {each: given[each] for each, _ in spec.value.places if each in given})
        }
        self.variables = tuple(variables.values())
        own = set(self.variables)
        for spec in sections(self.variables, {each: value for each, value in given.items() if each in own}):
            self._add(spec)

    def _add(self, item: Any) -> None:
        if isinstance(item, StructOps):
            self.struct_ops.append(item)
            for program in item.programs:
                self._add(program)
            return
        if isinstance(item, Program):
            if id(item) not in self._programs:
                self._programs.add(id(item))
                if isinstance(item.attach_prog, Program):
                    self._add(item.attach_prog)  # what it is attached to is loaded before it
                self.assembled.append(self._assembled(item))
                for spec in (*self.assembled[-1].maps, *(item.attach.maps() if item.attach else ())):
                    self._add(spec)
            return
        if not isinstance(item, MapSpec):
            several = isinstance(item, list | tuple)
            raise AssemblyError(
                f"{item!r:.60} is no program and no map, but {'several' if several else 'a ' + type(item).__name__}",
                "write a star before it: load(*programs)" if several else "give Programs, MapSpecs, StructOps",
                source=outside(),
                rule="program-field",
            )
        if self.specs.setdefault(item.name, item) != item:
            raise LinkError(
                f"two different maps are called {item.name}",
                "declare the map once and use that, or give one of them another name",
                rule="map-twice",
            )
        if self.specs[item.name] is item:
            for other in _contents(item):
                self._add(other)

    def _assembled(self, program: Program) -> Assembled:
        """Lay a program out; by the one that was given it stays known."""
        if not self.relax:
            return assemble(program)
        from bpfasm.asm.relax import relax

        return assemble(relax(program, gotol=False)).replace(program=program)

    def _of_images(self) -> dict[str, Global]:
        """Return the variables of sections that came laid out, from object files."""
        found: dict[str, Global] = {}
        for spec in self.specs.values():
            if isinstance(spec.value, Section):
                for variable, _ in spec.value.places:
                    found.setdefault(variable.name, variable)
        return found

    @property
    def places(self) -> dict[Global, tuple[str, int]]:
        """Where each variable is: its map's name, and its offset."""
        return {
            variable: (spec.name, offset)
            for spec in self.specs.values()
            if isinstance(spec.value, Section)
            for variable, offset in spec.value.places
        }


def refers(spec: MapSpec) -> bool:
    """Tell whether what a map holds at first are programs or maps, which have to be loaded before."""
    return next(_contents(spec), None) is not None


def _contents(spec: MapSpec) -> Iterator[Program | MapSpec]:
    initial = spec.initial
    for value in initial.values() if isinstance(initial, dict) else initial:
        if isinstance(value, Program | MapSpec):
            yield value


def _by_variable(variables: dict[str, Global], values: dict[Any, Any]) -> dict[Global, Any]:
    """Return the values that variables are to have; they are given by variable or by name."""
    found = {}
    for key, value in values.items():
        variable = variables.get(key.name if isinstance(key, Global) else key)
        if variable is None or (isinstance(key, Global) and key != variable):
            raise LinkError(
                f"the programs have no variable {key.name if isinstance(key, Global) else key}",
                f"they have {', '.join(variables) or 'none'}: declare it with Global, and use it in BPF_LD_MAP_VALUE",
                rule="global-unknown",
            )
        found[variable] = value
    return found
