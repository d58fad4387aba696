"""Structs of functions in an object that is read: variables of .struct_ops, with programs in the place of functions.

The struct that an object has need not be the kernel's: members go by their names to their places there, and what is 0
may be missing. A StructOps is registered by a link wherever the kernel has such links, whichever section it is from.
(libbpf: bpf_map__init_kern_struct_ops())
"""

from __future__ import annotations

from bpfasm.asm.struct_ops import StructOps
from bpfasm.btf.core_types import essential
from bpfasm.elf.sections import STRUCTS
from bpfasm.isa.insn import SLOT_BYTES
from bpfasm.uapi import btf as kinds, elf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from bpfasm.asm.program import Program
    from bpfasm.btf.read import Btf, BtfType
    from bpfasm.elf.read import Elf, Section, Symbol
    from bpfasm.errors import DecodeError

    Broken = Callable[[str], DecodeError]
    #: The places in a section that hold an address: the offset, a symbol, what is added to it.
    Addresses = Callable[[Section], list[tuple[int, Symbol, int]]]

_NUMBERS = (kinds.BTF_KIND_INT, kinds.BTF_KIND_ENUM, kinds.BTF_KIND_ENUM64, kinds.BTF_KIND_PTR)


class Declared(Value):
    """A variable that is a struct of functions.

    ``functions`` are the members that are programs, by the section and the slot where those begin, ``values`` the
    other ones that are not 0. One that is ``manual`` (``SEC("?.struct_ops")``) is made when it is named.
    """

    name: str
    struct: str
    functions: dict[str, tuple[int, int]]
    values: dict[str, int | bytes]
    manual: bool

    def members(self) -> dict[tuple[int, int], str]:
        """Return what each of its programs is loaded for, by where it begins: ``tcp_congestion_ops.ssthresh``."""
        return {where: f"{self.struct}.{name}" for name, where in self.functions.items()}

    def spec(self, programs: Mapping[tuple[int, int], Program], broken: Broken) -> StructOps:
        """Return it with its programs, which are given by where they begin. Raises what ``broken`` returns."""
        held: dict[str, Program | int | bytes] = {**self.values}
        for name, where in self.functions.items():
            program, member = programs.get(where), f"{self.struct}.{name}"
            if program is None:
                raise broken(f'{member} of {self.name} is no program: a function of SEC("struct_ops")')
            if program.attach_btf != member:
                raise broken(f"{program.name} is {program.attach_btf} and {member}, and is loaded for one of them")
            held[name] = program
        return StructOps(self.name, self.struct, held)


def declared(file: Elf, btf: Btf, addresses: Addresses, broken: Broken) -> list[Declared]:
    """Return the structs of functions in an object. Raises what ``broken`` returns."""
    found = []
    for section in file.sections:
        name = section.name.removeprefix("?")
        if name not in STRUCTS or not section.size or section.type == elf.SHT_NOBITS:
            continue
        data, places = file.contents(section), {at: (symbol, more) for at, symbol, more in addresses(section)}
        for id in btf.find(section.name, kinds.BTF_KIND_DATASEC):
            for row in btf.type(id).members:
                variable = btf.type(row.type)
                struct = btf.resolve(variable.type)
                if struct.kind != kinds.BTF_KIND_STRUCT or row.offset + struct.size > len(data):
                    raise broken(f"{variable.name} of {section.name} is no struct in it")
                functions, values = _members(btf, struct, row.offset, data, places, file.order, broken)
                manual = section.name.startswith("?")
                found.append(Declared(variable.name, essential(struct.name), functions, values, manual))
    return found


def _members(
    btf: Btf,
    struct: BtfType,
    start: int,
    data: bytes,
    places: dict[int, tuple[Symbol, int]],
    order: Literal["little", "big"],
    broken: Broken,
) -> tuple[dict[str, tuple[int, int]], dict[str, int | bytes]]:
    """Return the members of a struct at an offset: those that are functions, and the others that are not 0."""
    functions: dict[str, tuple[int, int]] = {}
    values: dict[str, int | bytes] = {}
    for member in struct.members:
        name, at = essential(member.name), start + member.offset // 8
        if member.bits:
            end = 8 * start + member.offset + member.bits
            shift = member.offset % 8 if order == "little" else -end % 8
            if int.from_bytes(data[at : -(-end // 8)], order) >> shift & ((1 << member.bits) - 1):
                raise broken(f"{struct.name}.{name} is a bit field, which no loader fills")
            continue
        content = data[at : at + btf.size_of(member.type)]
        if at in places:
            symbol, more = places[at]
            functions[name] = symbol.section, (symbol.value + more) // SLOT_BYTES
        elif any(content):
            number = btf.resolve(member.type).kind in _NUMBERS
            values[name] = int.from_bytes(content, order) if number else content
    return functions, values
