"""Reading ELF: sections, symbols, relocations, segments and notes, each when it is asked for.

Any file of 32 or 64 bits in either byte order: a BPF object, a program, a library. The bytes may come from anybody:
whatever does not hold is a DecodeError, nothing is read twice, and nothing takes more memory than a few times the
file. (System V ABI, Object Files; linux/elf.h)
"""

from __future__ import annotations

from operator import itemgetter

from bpfasm.elf.layout import SHN_XINDEX, fields, layout
from bpfasm.errors import DecodeError
from bpfasm.uapi import elf, elf_em
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from struct import Struct
    from typing import Any

    from bpfasm.isa.insn import ByteOrder

    Fields = tuple[Any, ...]
else:
    Fields = tuple

_MAGIC = b"\x7fELF"

#: No file has its bytes in more parts than this on average.
_MORE = 4

_BITS = {elf.ELFCLASS32: 32, elf.ELFCLASS64: 64}
_ORDERS: dict[int, ByteOrder] = {elf.ELFDATA2LSB: "little", elf.ELFDATA2MSB: "big"}


class Section(Value):
    """A section: its number, its name, its type (SHT_*), its flags (SHF_*), where it is in the file, in bytes.

    ``link`` is the number of a section that belongs to it, ``info`` depends on the type.
    """

    index: int
    name: str
    type: int
    flags: int
    addr: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entsize: int


class Symbol(Fields):
    """A symbol: what is at ``value`` of a section (in a program or library: at that address), ``size`` bytes of it.

    ``bind`` is STB_*, ``type`` STT_*, ``section`` a section's number; SHN_UNDEF where it is somewhere else. A tuple,
    since files have thousands.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        name: str
        value: int
        size: int
        bind: int
        type: int
        section: int
        other: int
    else:
        name, value, size, bind, type, section, other = (property(itemgetter(n)) for n in range(7))


class Relocation(Fields):
    """A place in a section that is to be changed: its offset, a symbol's number, how (R_*), and what to add.

    ``addend`` is None where what is to be added stands at the place itself. A tuple, as a Symbol is.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        offset: int
        symbol: int
        type: int
        addend: int | None
    else:
        offset, symbol, type, addend = (property(itemgetter(n)) for n in range(4))


class Segment(Value):
    """A part of the file as it is in memory: PT_* and PF_*, where it is in the file, and at which address."""

    type: int
    flags: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int
    align: int


class Note(Value):
    """A note: who wrote it, which of theirs it is, and its bytes."""

    name: str
    type: int
    desc: bytes


class Elf:
    """An ELF file, by its bytes.

    ``bits`` is 32 or 64, ``order`` the byte order, ``type`` ET_*, ``machine`` EM_*, ``entry`` an address.
    """

    def __init__(self, data: bytes, name: str = "") -> None:
        """Take the bytes of a file, which errors call by ``name``. Raises DecodeError where its header is none."""
        self.data, self.name = data, name
        if data[:4] != _MAGIC:
            raise self.broken("it does not begin with 7f 45 4c 46")
        bits, order = (_BITS.get(data[4]), _ORDERS.get(data[5])) if len(data) > 5 else (None, None)
        if bits is None or order is None:
            raise self.broken("its class or byte order is unknown")
        self.bits, self.order = bits, order
        header = self._one("hdr", 0, "its header")
        self.type: int = header["e_type"]
        self.machine: int = header["e_machine"]
        self.flags: int = header["e_flags"]
        self.entry: int = header["e_entry"]
        self._header = header
        self._sections: tuple[Section, ...] | None = None
        self._by_name: dict[str, Section] = {}
        self._symbols: dict[int, tuple[Symbol, ...]] = {}
        self._tables: dict[int, list[Section]] | None = None

    def __repr__(self) -> str:
        return f"<Elf {self.name or f'of {len(self.data)} bytes'}>"

    def broken(self, what: str) -> DecodeError:
        """Return the error for something in the file that does not hold."""
        prefix = f"{self.name}: " if self.name else ""
        return DecodeError(
            f"{prefix}this is no whole ELF file: {what}",
            "give a file as the compiler wrote it; readelf -a FILE shows what is in one",
            rule="elf",
        )

    @property
    def sections(self) -> tuple[Section, ...]:
        """The sections; number 0 is none."""
        if self._sections is None:
            self._sections = self._read_sections()
            for each in reversed(self._sections):
                self._by_name[each.name] = each
        return self._sections

    def section(self, name: str) -> Section | None:
        """Return the first section of a name, None where there is none."""
        return self._by_name.get(name) if self.sections else None

    def contents(self, section: Section) -> bytes:
        """Return the bytes of a section, which are none where it has none in the file (``.bss``)."""
        if section.type in (elf.SHT_NOBITS, elf.SHT_NULL):
            return b""
        return self._cut(section.offset, section.size, f"section {section.index} ({section.name})")

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols, none where the file was stripped; number 0 is none."""
        return self._symbols_of(elf.SHT_SYMTAB)

    @property
    def dynamic_symbols(self) -> tuple[Symbol, ...]:
        """The symbols that other files see at run time, those of a stripped library too."""
        return self._symbols_of(elf.SHT_DYNSYM)

    def relocations(self, section: Section) -> tuple[Relocation, ...]:
        """Return the places in a section that are to be changed, in the order of the file."""
        if self._tables is None:
            self._tables = {}
            for each in self.sections:
                if each.type in (elf.SHT_REL, elf.SHT_RELA):
                    self._tables.setdefault(each.info, []).append(each)
        tables = self._tables.get(section.index, ())
        return tuple(relocation for table in tables for relocation in self._relocations(table))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, none in what a compiler alone has written."""
        count = self._header["e_phnum"]
        if count == 0xFFFF and self.sections:
            count = self.sections[0].info
        rows = self._table("phdr", self._header["e_phoff"], count, self._header["e_phentsize"], "its segments")
        return tuple(
            Segment(
                row["p_type"], row["p_flags"], row["p_offset"], row["p_vaddr"], row["p_paddr"], row["p_filesz"],
                row["p_memsz"], row["p_align"],
            )
            for row in rows
        )  # fmt: skip

    def in_segment(self, segment: Segment) -> bytes:
        """Return the bytes that a segment has in the file."""
        return self._cut(segment.offset, segment.filesz, "a segment")

    @property
    def notes(self) -> tuple[Note, ...]:
        """The notes of all sections of them; of all segments where there are no sections."""
        places = [(self.contents(each), each.align) for each in self.sections if each.type == elf.SHT_NOTE]
        if not self.sections:
            segments = [each for each in self.segments if each.type == elf.PT_NOTE]
            self._fits(sum(each.filesz for each in segments), "its notes")
            places = [(self.in_segment(each), each.align) for each in segments]
        return tuple(note for data, align in places for note in self.notes_in(data, align))

    def notes_in(self, data: bytes, align: int = 4) -> Iterator[Note]:
        """Yield the notes in the bytes of a section or segment. Raises DecodeError."""
        step = 8 if align == 8 else 4
        head, at = layout("note", self.bits, self.order), 0
        while at + head.size <= len(data):
            name_size, size, type = head.unpack_from(data, at)
            start = at + head.size
            inner = _up(start + name_size, step)
            if inner + size > len(data):
                raise self.broken(f"a note of {size} bytes goes beyond its end")
            name = data[start : start + name_size].partition(b"\0")[0]
            yield Note(_text(name), type, data[inner : inner + size])
            at = _up(inner + size, step)

    def _read_sections(self) -> tuple[Section, ...]:
        header = self._header
        start, count, names = header["e_shoff"], header["e_shnum"], header["e_shstrndx"]
        if not start:
            return ()
        if not count or names == SHN_XINDEX:  # there are more than a header can say: the first section says it
            first = self._one("shdr", start, "its sections")
            count = count or first["sh_size"]
            names = first["sh_link"] if names == SHN_XINDEX else names
        rows = self._table("shdr", start, count, header["e_shentsize"], "its sections")
        strings = b""
        if names and names < len(rows) and rows[names]["sh_type"] != elf.SHT_NOBITS:
            strings = self._cut(rows[names]["sh_offset"], rows[names]["sh_size"], "the names of its sections")
        elif names:
            raise self.broken(f"the names of its sections are in section {names}, which is none")
        filled = (row["sh_size"] for row in rows if row["sh_type"] not in (elf.SHT_NULL, elf.SHT_NOBITS))
        self._fits(sum(filled), "its sections")
        name = self._names(strings)
        return tuple(
            Section(
                index, name(row["sh_name"]), row["sh_type"], row["sh_flags"], row["sh_addr"],
                row["sh_offset"], row["sh_size"], row["sh_link"], row["sh_info"], row["sh_addralign"],
                row["sh_entsize"],
            )
            for index, row in enumerate(rows)
        )  # fmt: skip

    def _symbols_of(self, type: int) -> tuple[Symbol, ...]:
        if type not in self._symbols:
            table = self._first(type)
            self._symbols[type] = self._read_symbols(table) if table else ()
        return self._symbols[type]

    def _first(self, type: int) -> Section | None:
        return next((each for each in self.sections if each.type == type), None)

    def symbols_named(self, name: str) -> tuple[Symbol, ...]:
        """Return the symbols of a name, with a version behind it (``@GLIBC_2.2.5``) or without, of both tables.

        A library has thousands of symbols, and a probe is at one: the others are not made. Raises DecodeError.
        """
        wanted = name.encode("utf-8", "surrogateescape")
        found: list[Symbol] = []
        for table in filter(None, map(self._first, (elf.SHT_SYMTAB, elf.SHT_DYNSYM))):
            strings = self.contents(self._linked(table, "symbols"))
            places = {place for end in (b"\0", b"@") for place in _places(strings, wanted + end)}
            found += self._read_symbols(table, places) if places else ()
        return tuple(found)

    def _read_symbols(self, table: Section, places: set[int] | None = None) -> tuple[Symbol, ...]:
        """Return the symbols of a table; with ``places``, those whose names are there."""
        names = self.contents(self._linked(table, "symbols"))
        rows = enumerate(self._rows("sym", table))
        large = next(
            (each for each in self.sections if each.type == _SYMTAB_SHNDX and each.link == table.index), None
        )
        numbers = self.contents(large) if large else b""
        order, string = self.order, self._names(names)
        found = []
        for index, row in rows if places is None else [each for each in rows if each[1][0] in places]:
            if self.bits == 64:
                name, info, other, section, value, size = row
            else:
                name, value, size, info, other, section = row
            if section == SHN_XINDEX and numbers:
                section = int.from_bytes(numbers[4 * index : 4 * index + 4], order)
            found.append(Symbol((string(name), value, size, info >> 4, info & 15, section, other)))
        return tuple(found)

    def _relocations(self, table: Section) -> Iterator[Relocation]:
        with_addend = table.type == elf.SHT_RELA
        shift = 32 if self.bits == 64 else 8
        mask = (1 << shift) - 1
        for offset, info, *addend in self._rows("rela" if with_addend else "rel", table):
            yield Relocation((offset, info >> shift, info & mask, addend[0] if with_addend else None))

    def _rows(self, name: str, table: Section) -> Iterator[tuple[Any, ...]]:
        """Return what unpacks the entries of a section of them."""
        struct: Struct = layout(name, self.bits, self.order)
        if table.entsize != struct.size:
            raise self.broken(f"{table.name} has entries of {table.entsize} bytes, which have {struct.size}")
        data = self.contents(table)
        return struct.iter_unpack(data[: len(data) // struct.size * struct.size])

    def _names(self, strings: bytes) -> Callable[[int], str]:
        """Return what gives the string at an offset, empty beyond the end.

        Of names that end alike only the longest is there. But all of them together are no more than the file: each
        symbol of a broken one may have megabytes.
        """
        known: dict[int, str] = {}
        left = _MORE * len(self.data)

        def name(offset: int) -> str:
            nonlocal left
            if offset not in known:
                end = strings.find(b"\0", offset)
                known[offset] = _text(strings[offset : end if end >= 0 else len(strings)])
                left -= len(known[offset])
                if left < 0:
                    raise self.broken("its names are longer than all of it")
            return known[offset]

        return name

    def _fits(self, size: int, what: str) -> None:
        """Refuse parts that are the same bytes again and again."""
        if size > _MORE * len(self.data):
            raise self.broken(f"{what} take {size} bytes, and there are {len(self.data)}")

    def _linked(self, section: Section, what: str) -> Section:
        if not 0 < section.link < len(self.sections):
            raise self.broken(f"the names of its {what} are in section {section.link}, which is none")
        return self.sections[section.link]

    def _cut(self, offset: int, size: int, what: str) -> bytes:
        """Return a piece of the file. Raises DecodeError where the file ends before it does."""
        if offset + size > len(self.data):
            raise self.broken(f"{what} ends at byte {offset + size}, and there are {len(self.data)}")
        return self.data[offset : offset + size]

    def _one(self, name: str, offset: int, what: str) -> dict[str, Any]:
        struct = layout(name, self.bits, self.order)
        row = struct.unpack(self._cut(offset, struct.size, what))
        return dict(zip(fields(name, self.bits), row, strict=True))

    def _table(self, name: str, start: int, count: int, step: int, what: str) -> list[dict[str, Any]]:
        """Return the rows of a table of the header."""
        struct = layout(name, self.bits, self.order)
        if count and step != struct.size:
            raise self.broken(f"{what} are said to take {step} bytes each, and take {struct.size}")
        names = fields(name, self.bits)
        data = self._cut(start, count * struct.size, what)
        return [dict(zip(names, row, strict=True)) for row in struct.iter_unpack(data)]


#: Where the numbers of sections are that do not fit into a symbol; no header of the kernel's names it.
_SYMTAB_SHNDX = 18


def is_elf(data: bytes) -> bool:
    """Tell whether bytes begin as an ELF file does."""
    return data[:4] == _MAGIC


def is_bpf(data: bytes) -> bool:
    """Tell whether bytes begin as a BPF object does."""
    order = _ORDERS.get(data[5]) if is_elf(data) and len(data) > 19 else None
    return order is not None and int.from_bytes(data[18:20], order) == elf_em.EM_BPF


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _places(data: bytes, wanted: bytes) -> Iterator[int]:
    """Yield where bytes are in others."""
    place = data.find(wanted)
    while place >= 0:
        yield place
        place = data.find(wanted, place + 1)


def _text(data: bytes) -> str:
    """Return the text of a name; what is no UTF-8 in it is escaped."""
    return data.decode("utf-8", "backslashreplace")
