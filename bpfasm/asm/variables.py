"""``Global``: a variable of a program, which user space sets before it is loaded and reads and writes after.

>>> from bpfasm.asm import *
>>> limit = Global("limit", u32, 100)
>>> program = Program("prog", BPF_PROG_TYPE_XDP, [
...     BPF_LD_MAP_VALUE(R1, limit, 0),
...     BPF_LDX_MEM(BPF_W, R0, R1, 0),
...     BPF_EXIT_INSN(),
... ])
>>> sections(assemble(program).globals)
(<map .data>,)
"""

from __future__ import annotations

from bpfasm.asm.maps import ArrayMap, fd_of
from bpfasm.asm.opaque import has_opaque
from bpfasm.asm.symbols import Symbol
from bpfasm.asm.types import size_of_type
from bpfasm.errors import LinkError, MapError
from bpfasm.isa.where import outside
from bpfasm.uapi.bpf import BPF_F_MMAPABLE, BPF_F_RDONLY_PROG
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from bpfasm.asm.linker import Target
    from bpfasm.asm.maps import MapSpec
    from bpfasm.isa.insn import Insn


#: The section of what the kernel's configuration says (bpfasm.asm.kconfig).
KCONFIG = ".kconfig"


class Global(Symbol):
    """A variable: BPF_LD_MAP_VALUE(R1, limit, 0) loads its address, a load or store the rest.

    ``type`` is that of a map's value; ``init`` what it holds when the program is loaded, zeros where it is None. A
    ``const`` one is known to the verifier, which drops what can never run; the others change while the program runs.
    """

    word = "variable"
    told = "globals"
    twice = "global-twice"

    name: str
    type: Any
    init: Any = None
    const: bool = False

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name.isascii()) or not size_of_type(self.type):
            raise MapError(
                f"{self.name!r} cannot be a variable of {size_of_type(self.type)} bytes",
                "a variable has a name as in C, and one byte at least",
                source=outside(),
                rule="global-name",
            )
        if has_opaque(self.type):
            raise MapError(
                f"the variable {self.name} has a lock or a timer, which the kernel lets nobody map into memory",
                "keep it in a map's value: a Record with spin_lock(...) or timer(...) as a field",
                source=outside(),
                rule="global-name",
            )
        self.pack(self.init)

    @property
    def size(self) -> int:
        """Its bytes."""
        return size_of_type(self.type)

    @property
    def section(self) -> str:
        """The map it is in, by the name that compilers give it."""
        return ".rodata" if self.const else ".data"

    def pack(self, value: Any) -> bytes:
        """Return the bytes of a value, zeros for None. Raises RecordError for what does not fit."""
        if value is None:
            return bytes(self.size)
        from bpfasm.asm.codec import codec_of

        return codec_of(self.type, f"the variable {self.name}").pack(value)

    def check(self, insn: Insn) -> None:
        """Check that an offset is within the variable."""
        if not 0 <= insn.imm2 < self.size:
            raise LinkError(
                f"{self.name} has {self.size} bytes, and offset {insn.imm2} is not in it",
                "give the offset of a field, or 0",
                source=insn.source,
                rule="global-offset",
            )

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn:
        """Return the load with the map that holds the variable, and the place in it."""
        try:
            name, offset = (target.globals or {})[self]
        except KeyError:
            raise LinkError(
                f"the target has no variable {self.name}",
                "give its place in Target.globals, or load() the program, which makes one",
                source=insn.source,
                rule="global-unknown",
            ) from None
        return insn.replace(imm=fd_of(name, insn, target), imm2=insn.imm2 + offset)

    def __hash__(self) -> int:
        return hash((self.name, self.const))

    def __repr__(self) -> str:
        return f"<global {self.name}>"


class Section(Value):
    """The variables of a section, each at its offset: the type of its map's one value."""

    name: str
    places: tuple[tuple[Global, int], ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        variable, offset = self.places[-1]
        return offset + variable.size

    @property
    def format(self) -> str:
        """Its bytes, for ``struct``."""
        return f"{self.size}s"

    def pack(self, values: dict[Global, Any]) -> bytes:
        """Return the bytes of the section; what has no value keeps that of its declaration."""
        data = bytearray(self.size)
        for variable, offset in self.places:
            data[offset : offset + variable.size] = variable.pack(values.get(variable, variable.init))
        return bytes(data)

    def unpack(self, data: bytes) -> bytes:
        """Return the bytes."""
        return bytes(data)


def sections(variables: Iterable[Global], values: dict[Global, Any] | None = None) -> tuple[MapSpec, ...]:
    """Return the maps that hold variables, ``.data``, ``.rodata`` for const ones, ``.kconfig``; without any, none.

    ``values`` are what they hold at first, where it is not what they were declared with.
    """
    found: dict[str, list[Global]] = {}
    for variable in variables:
        found.setdefault(variable.section, []).append(variable)
    return tuple(_map(Section(name, laid_out(each)), values or {}) for name, each in found.items())


def laid_out(variables: Iterable[Global]) -> tuple[tuple[Global, int], ...]:
    """Return the offset of each variable in a section that has them all."""
    places: list[tuple[Global, int]] = []
    end = 0
    for variable in variables:
        align = getattr(variable.type, "align", 8)
        places.append((variable, -(-end // align) * align))
        end = places[-1][1] + variable.size
    return tuple(places)


def _map(section: Section, values: dict[Global, Any]) -> MapSpec:
    flags = BPF_F_MMAPABLE | (BPF_F_RDONLY_PROG if section.name in (".rodata", KCONFIG) else 0)
    return ArrayMap(section.name, value=section, max_entries=1, flags=flags, initial={0: values})
