"""``read_object()``: what a compiler made for BPF to programs and maps, as if they had been written in Python.

Nothing is asked of a kernel here: what differs between kernels (CO-RE records, the configuration, symbols and
functions of the kernel) is an operand or a map whose numbers ``link()`` and ``load()`` find.
"""

from __future__ import annotations

import os

from bpfasm.asm.kconfig import TEXT, Config
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.ksym import ADDRESS, FUNCTION, VARIABLE, Ksym
from bpfasm.asm.maps import NAME_MAX, MapSpec
from bpfasm.asm.program import Program
from bpfasm.asm.struct_ops import StructOps
from bpfasm.asm.variables import KCONFIG
from bpfasm.btf.core_types import essential
from bpfasm.btf.read import Btf
from bpfasm.elf import kconfig, sections
from bpfasm.elf.layout import R_BPF_64_ABS32, R_BPF_64_NODYLD32
from bpfasm.elf.read import Elf
from bpfasm.elf.reading import struct_ops
from bpfasm.elf.reading.btf_ext import read_ext
from bpfasm.elf.reading.code import Code
from bpfasm.elf.reading.image import Image, image_map, is_data, variables
from bpfasm.elf.reading.maps import Declared, declared_by_numbers, declared_by_types, fill
from bpfasm.elf.reading.place_of import place_of
from bpfasm.elf.reading.types import MapTypes, ObjectTypes
from bpfasm.elf.reading.types_to_load import loadable
from bpfasm.errors import DecodeError
from bpfasm.isa.insn import LD_IMM64, SLOT_BYTES, Insn
from bpfasm.uapi import bpf, btf as kinds, elf, elf_em
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bpfasm.elf.read import Section, Symbol
    from bpfasm.elf.reading.code import Function


class Object(Value):
    """What an object file holds: ``load(*obj)`` loads it all.

    ``obj["counts"]`` is a map, a program or a struct of functions by the name it has in C. ``sections`` are the names
    of the programs' sections; those in ``manual`` are not to be loaded unless somebody asks
    (``SEC("?kprobe/vfs_read")``). ``types`` are the object's own, ``version`` is the number in its section
    ``version``.
    """

    name: str
    programs: tuple[Program, ...]
    maps: dict[str, MapSpec]
    sections: dict[str, str]
    structs: dict[str, StructOps]
    manual: tuple[str, ...] = ()
    license: str = ""
    version: int = 0
    types: ObjectTypes | None = None

    def __iter__(self) -> Iterator[Program | MapSpec | StructOps]:
        """Yield the maps, and the programs and structs that are to be loaded: what ``load()`` takes."""
        yield from self.maps.values()
        yield from (each for each in self.programs if each.name not in self.manual)
        yield from (each for each in self.structs.values() if each.name not in self.manual)

    def __getitem__(self, name: str) -> Any:
        program = next((each for each in self.programs if each.name == name), None)
        found = program or self.maps.get(name) or self.structs.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def in_section(self, section: str) -> tuple[Program, ...]:
        """Return the programs of a section, by its name."""
        return tuple(each for each in self.programs if self.sections[each.name] == section)

    def __hash__(self) -> int:
        return hash((self.name, self.programs))

    def __repr__(self) -> str:
        names = *self.maps, *(each.name for each in self.programs), *self.structs
        return f"<Object {self.name}: {', '.join(names)}>"


def read_object(data: bytes, name: str = "") -> Object:
    """Return the programs and maps in the bytes of an object file; ``name`` is its path, for messages and map names.

    Objects of either byte order are read. Raises DecodeError for what is no BPF object, or not a whole one.
    (Documentation/bpf/llvm_reloc.rst, Documentation/bpf/btf.rst)
    """
    return _Reader(Elf(data, name)).read()


class _Reader:
    """One object while it is read."""

    def __init__(self, file: Elf) -> None:
        self.file = file
        self.prefix = os.path.basename(file.name).partition(".")[0]
        if file.machine != elf_em.EM_BPF or file.type != elf.ET_REL:
            raise DecodeError(
                f"{file.name}: this ELF file is for machine {file.machine}, and no BPF object",
                "build it with clang -target bpf -c",
                rule="object",
            )
        self.btf, self.types = self._types()
        self.images: dict[int, MapSpec] = {}
        self.declared: list[Declared] = []
        self.kconfig: MapSpec | None = None
        self.kconfig_places: dict[str, int] = {}
        self.ksyms: dict[str, tuple[int, int]] = {}  # kind and type in BTF
        ext = file.section(".BTF.ext")
        infos = read_ext(file.contents(ext), self.btf) if ext and self.btf else {}
        self.code = Code(file, infos, self.types, self.btf, self._place, self._extern)
        self.broken = self.code.broken

    def read(self) -> Object:
        """Read all of it."""
        file = self.file
        self._images()
        if self.btf and self.types:
            self.declared = declared_by_types(file, self.btf, self.types)
            self._externs()
        self.declared += declared_by_numbers(file)
        self._at = {(each.section, each.offset): each.spec for each in self.declared}
        maps = self._named()
        license = self._text("license")
        structs = struct_ops.declared(file, self.btf, self._addresses, self.broken) if self.btf else []
        members = {where: member for each in structs for where, member in each.members().items()}
        unasked = members.keys() - {where for each in structs if not each.manual for where in each.members()}
        programs, names, manual = {}, {}, [each.name for each in structs if each.manual]
        for function in self.code.functions:
            section = self.code.section_of(function)
            if section == ".text" or not function.count:
                continue
            where = function.section, function.start
            program = self._program(function, section.removeprefix("?"), license, members.get(where, 0))
            names[program.name] = section.removeprefix("?")
            if section.startswith("?") or where in unasked:
                manual.append(program.name)
            programs[where] = program
        self._fill(programs)
        return Object(
            self.prefix,
            tuple(programs.values()),
            maps,
            names,
            {each.name: each.spec(programs, self.broken) for each in structs},
            tuple(manual),
            license,
            self._version(),
            self.types,
        )

    # Types

    def _types(self) -> tuple[Btf | None, ObjectTypes | None]:
        """Return the object's types as they are read, and as a kernel takes them."""
        section = self.file.section(".BTF")
        if section is None:
            return None, None
        data = bytearray(self.file.contents(section))
        symbols = self.file.symbols
        for reloc in self.file.relocations(section):
            if reloc.type not in (R_BPF_64_ABS32, R_BPF_64_NODYLD32):
                continue
            if reloc.symbol >= len(symbols) or reloc.offset + 4 > len(data):
                raise DecodeError("a relocation of .BTF is not within it", "build the object again", rule="object")
            here = data[reloc.offset : reloc.offset + 4]
            value = (int.from_bytes(here, self.file.order) + symbols[reloc.symbol].value) & 0xFFFFFFFF
            data[reloc.offset : reloc.offset + 4] = value.to_bytes(4, self.file.order)
        btf = Btf(bytes(data))
        sizes = {each.name: each.size for each in self.file.sections}
        native = loadable(btf, sizes)
        return btf, ObjectTypes(native, Btf(native))

    # Data

    def _images(self) -> None:
        """Make the maps of the sections of variables."""
        for section in self.file.sections:
            if not section.flags & elf.SHF_ALLOC or not is_data(section.name) or not section.size:
                continue
            const = section.name.startswith(".rodata")
            rows, types = self._rows(section)
            content = self.file.contents(section)
            places = variables(self.btf, rows, section.size, const=const) if self.btf else ()
            image = Image(section.name, places, content, section.size)
            self.images[section.index] = image_map(self.prefix, image, const=const, types=types)

    def _rows(self, section: Section) -> tuple[list[tuple[str, int, int]], MapTypes | None]:
        """Return the variables of a section, and its types, as BTF has them."""
        ids = self.btf.find(section.name, kinds.BTF_KIND_DATASEC) if self.btf else []
        if not ids or self.btf is None or self.types is None:
            return [], None
        members = [(each, self.btf.type(each.type)) for each in self.btf.type(ids[0]).members]
        rows = [(var.name, var.type, each.offset) for each, var in members if var.kind == kinds.BTF_KIND_VAR]
        return rows, MapTypes(self.types, 0, ids[0])

    def _externs(self) -> None:
        """Learn what the object leaves to the kernel: its configuration, its symbols, its functions."""
        assert self.btf and self.types
        weak = {each.name: each.bind == elf.STB_WEAK for each in self.file.symbols if each.section == elf.SHN_UNDEF}
        for id in self.btf.find(".ksyms", kinds.BTF_KIND_DATASEC):
            for row in self.btf.type(id).members:
                entry = self.btf.type(row.type)
                self.ksyms[entry.name] = entry.kind, entry.type
        found = []
        ids = self.btf.find(KCONFIG, kinds.BTF_KIND_DATASEC)
        for row in self.btf.type(ids[0]).members if ids else ():
            entry = self.btf.type(row.type)
            kind = kconfig.kind_of(self.btf, entry.type)
            if kind is None:
                raise self.broken(
                    f"{entry.name} is of a type that no option has", "bool, enum libbpf_tristate, a number, or char[]"
                )
            size = self.btf.size_of(entry.type)
            align = self.btf.size_of(self.btf.resolve(entry.type).type) if kind == TEXT else size
            found.append((-align, size, entry.name, entry.type, kind))
        if not found:
            return
        rows, known, end = [], {}, 0
        for minus, size, name, type, kind in sorted(found):
            end = -(-end // -minus) * -minus
            rows.append((name, type, end))
            # By the place: of two with one name, which only a broken object has, one is given another.
            known[end] = kind, weak.get(name, False)
            self.kconfig_places[name] = end
            end += size
        places = variables(self.btf, rows, end, const=True)
        options = tuple((Config(each.name, each.type, None, True, *known[at]), at) for each, at in places)
        image = Image(KCONFIG, options, b"", end)
        self.kconfig = image_map(self.prefix, image, const=True, types=None)

    def _named(self) -> dict[str, MapSpec]:
        """Return the maps by their names in C; two that are alike to the kernel are told apart by a number."""
        maps = {each.name: each.spec for each in self.declared}
        for spec in (*self.images.values(), *([self.kconfig] if self.kconfig else [])):
            maps[spec.value.name] = spec
        taken: dict[str, int] = {}
        for spec in maps.values():
            number = taken[spec.name] = taken.get(spec.name, 0) + 1
            if number > 1:
                more = f"_{number}"
                spec._set(name=spec.name[: NAME_MAX - len(more)] + more)
        return maps

    # Code

    def _place(self, insn: Insn, section: Section, offset: int) -> Insn | None:
        """Return a load of the address of what is in a section: a map, or a byte of a section of variables."""
        spec = self._at.get((section.index, offset))
        if spec is not None:
            return insn.replace(src_reg=bpf.BPF_PSEUDO_MAP_FD, imm=spec, imm2=0)
        spec = self.images.get(section.index)
        if spec is None or not 0 <= offset < 1 << 31:
            return None
        return insn.replace(src_reg=bpf.BPF_PSEUDO_MAP_VALUE, imm=spec, imm2=offset)

    def _extern(self, insn: Insn, symbol: Symbol) -> Insn | None:
        """Return an instruction with what an undefined symbol stands for."""
        weak = symbol.bind == elf.STB_WEAK
        if symbol.name in self.kconfig_places and insn.code == LD_IMM64:
            offset = self.kconfig_places[symbol.name] + insn.imm
            return insn.replace(src_reg=bpf.BPF_PSEUDO_MAP_VALUE, imm=self.kconfig, imm2=offset)
        if symbol.name not in self.ksyms or self.btf is None:
            return None
        kind, type = self.ksyms[symbol.name]
        name = essential(symbol.name)
        if insn.code != LD_IMM64:
            return insn.replace(src_reg=bpf.BPF_PSEUDO_KFUNC_CALL, off=0, imm=Kfunc(name, weak=weak))
        if kind == kinds.BTF_KIND_FUNC:
            what = FUNCTION
        else:
            what = VARIABLE if self.btf.resolve(type).kind else ADDRESS
        return insn.replace(imm=Ksym(name, what, weak), imm2=0)

    def _program(self, function: Function, section: str, license: str, member: str | int) -> Program:
        """Return the program that a function is; ``member`` is that of a struct which it stands in, or 0."""
        found = sections.find(section)
        row, target = found or (None, "")
        fields: dict[str, Any] = {}
        if row is not None:
            fields = {"expected_attach_type": row.attach_type, "flags": row.flags, "attach": place_of(row, target)}
            if row.type == bpf.BPF_PROG_TYPE_STRUCT_OPS:
                fields["attach_btf"] = member
            elif row.target == sections.BTF:
                fields["attach_btf"] = _in_btf(target)
        return Program(
            function.name,
            row.type if row else bpf.BPF_PROG_TYPE_UNSPEC,
            self.code.body(function),
            license=license,
            types=self.code.type_of(function),
            **fields,
        )

    def _addresses(self, section: Section) -> list[tuple[int, Symbol, int]]:
        """Return the places in a section that hold an address: the offset, a symbol, what is added to it."""
        data, symbols = self.file.contents(section), self.file.symbols
        found = []
        for reloc in self.file.relocations(section):
            if reloc.symbol >= len(symbols):
                raise self.broken(f"a relocation of {section.name} is about symbol {reloc.symbol}, which is none")
            addend = int.from_bytes(data[reloc.offset : reloc.offset + 8], self.file.order)
            found.append((reloc.offset, symbols[reloc.symbol], addend))
        return found

    def _fill(self, programs: dict[tuple[int, int], Program]) -> None:
        """Find what maps of maps and of programs hold at first."""
        section = self.file.section(".maps")
        if section is None:
            return
        places: list[tuple[int, int, Any]] = []
        for offset, symbol, addend in self._addresses(section):
            at = symbol.value + addend
            value = self._at.get((symbol.section, at)) or programs.get((symbol.section, at // SLOT_BYTES))
            if value is None:
                raise self.broken(f"byte {offset} of .maps refers to {symbol.name}, which is no map and no program")
            places.append((section.index, offset, value))
        fill(self.declared, places, 8, self.broken)

    # The rest

    def _text(self, name: str) -> str:
        section = self.file.section(name)
        data = self.file.contents(section).partition(b"\0")[0] if section else b""
        return data[:128].decode("ascii", "backslashreplace")

    def _version(self) -> int:
        section = self.file.section("version")
        return int.from_bytes(self.file.contents(section)[:4], self.file.order) if section else 0


def _in_btf(target: str) -> str | int:
    """Return what a program is loaded for, in the kernel's types; a module stands before a colon."""
    return target or 0
