"""Writing ELF: sections, symbols and relocations of an object, laid out into bytes.

>>> from bpfasm.uapi.elf import SHF_ALLOC, SHF_EXECINSTR, STT_FUNC
>>> elf = Layout("little")
>>> code = elf.add_section("xdp", bytes(16), flags=SHF_ALLOC | SHF_EXECINSTR, align=8)
>>> elf.add_symbol("pass_all", code, 0, 16, STT_FUNC)
>>> elf.to_bytes()[:4], len(elf.to_bytes())
(b'\\x7fELF', 440)
"""

from __future__ import annotations

from bpfasm.elf.layout import layout
from bpfasm.uapi.elf import (
    EI_NIDENT,
    ELFCLASS64,
    ELFDATA2LSB,
    ELFDATA2MSB,
    ELFMAG0,
    ELFMAG1,
    ELFMAG2,
    ELFMAG3,
    ET_REL,
    EV_CURRENT,
    SHF_ALLOC,
    SHF_INFO_LINK,
    SHT_NULL,
    SHT_PROGBITS,
    SHT_REL,
    SHT_STRTAB,
    SHT_SYMTAB,
    STB_GLOBAL,
    STB_LOCAL,
    STT_NOTYPE,
    STT_SECTION,
)
from bpfasm.uapi.elf_em import EM_BPF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from struct import Struct

    from bpfasm.isa.insn import ByteOrder

_WORD = 8
_MAGIC = bytes((ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3))


class _Section:
    """A section: its header's fields, its bytes, and what refers to symbols in it."""

    def __init__(self, name: str, type: int, data: bytes, flags: int, align: int, entry: int = 0) -> None:
        self.name, self.type, self.flags, self.align, self.entry = name, type, flags, align, entry
        self.data = bytearray(data)
        self.size = len(data)
        self.link = 0
        self.info = 0
        #: (offset, symbol or section, how)
        self.relocations: list[tuple[int, str | int, int]] = []


class Layout:
    """Sections are added in the order they are to have, symbols in any: local ones come first, as ELF wants them."""

    def __init__(self, byteorder: ByteOrder) -> None:
        self._byteorder = byteorder
        self._sections: list[_Section] = []
        #: name: (section, value, size, type, binding)
        self._symbols: dict[str, tuple[int, int, int, int, int]] = {}

    def add_section(
        self, name: str, data: bytes = b"", *, type: int = SHT_PROGBITS, flags: int = 0, align: int = 1, size: int = 0
    ) -> int:
        """Add a section; return its number. One of SHT_NOBITS has a ``size`` and no bytes."""
        section = _Section(name, type, data, flags, align)
        section.size = size or len(data)
        self._sections.append(section)
        return len(self._sections)

    def append(self, number: int, data: bytes) -> int:
        """Append to a section; return the offset at which the bytes are."""
        section = self._sections[number - 1]
        at = section.size
        section.data += data
        section.size += len(data)
        return at

    def fill(self, number: int, data: bytes) -> None:
        """Set the bytes of a section."""
        section = self._sections[number - 1]
        section.data, section.size = bytearray(data), len(data)

    def add_symbol(
        self, name: str, section: int, value: int = 0, size: int = 0, type: int = STT_NOTYPE, bind: int = STB_GLOBAL
    ) -> None:
        """Name a place of a section; of SHN_UNDEF it is one that the loader knows."""
        self._symbols[name] = (section, value, size, type, bind)

    def relocate(self, section: int, offset: int, symbol: str | int, how: int) -> None:
        """Have the loader put an address at an offset of a section: a symbol's, or that of a section by its number.

        ``how`` is R_BPF_*.
        """
        self._sections[section - 1].relocations.append((offset, symbol, how))

    def to_bytes(self) -> bytes:
        """Return the file."""
        sections, strings = self._with_tables()
        header = self._struct("hdr")
        out = bytearray(header.size)
        headers = [(0, SHT_NULL, 0, 0, 0, 0, 0, 0, 0, 0)]
        for section in sections:
            out += bytes(-len(out) % section.align)
            at = len(out)
            out += section.data
            place = (strings.add(section.name), section.type, section.flags, 0, at, section.size)
            headers.append((*place, section.link, section.info, section.align, section.entry))
        out += bytes(-len(out) % _WORD)
        table, row = len(out), self._struct("shdr")
        for fields in headers:
            out += row.pack(*fields)
        data = ELFDATA2LSB if self._byteorder == "little" else ELFDATA2MSB
        ident = (_MAGIC + bytes((ELFCLASS64, data, EV_CURRENT))).ljust(EI_NIDENT, b"\0")
        kind = (ET_REL, EM_BPF, EV_CURRENT, 0, 0, table, 0, header.size, 0, 0)
        out[: header.size] = header.pack(ident, *kind, row.size, len(headers), len(sections))
        return bytes(out)

    def _struct(self, name: str) -> Struct:
        return layout(name, 64, self._byteorder)

    def _with_tables(self) -> tuple[list[_Section], _Strings]:
        """Return all sections, those of relocations, symbols and strings behind the others, and the strings."""
        sections = [*self._sections]
        referring = [(number, each) for number, each in enumerate(sections, 1) if each.relocations]
        numbers, symbols, strings = self._symbol_table()
        symbols_at = len(sections) + len(referring) + 1
        entry = self._struct("rel")
        for number, section in referring:
            data = b"".join(entry.pack(at, numbers[name] << 32 | how) for at, name, how in section.relocations)
            table = _Section(f".rel{section.name}", SHT_REL, data, SHF_INFO_LINK, _WORD, entry.size)
            table.link, table.info = symbols_at, number
            sections.append(table)
        symbols.link = symbols_at + 1
        sections.append(symbols)
        # The names of the sections are among the strings before these become bytes.
        for section in sections:
            strings.add(section.name)
        strings.add(".strtab")
        sections.append(_Section(".strtab", SHT_STRTAB, bytes(strings.data), 0, 1))
        return sections, strings

    def _symbol_table(self) -> tuple[dict[str | int, int], _Section, _Strings]:
        """Return the number of each symbol, the table of them, and the strings it names."""
        strings, row = _Strings(), self._struct("sym")
        out = bytearray(row.size)
        numbers: dict[str | int, int] = {}
        for number, section in enumerate(self._sections, 1):
            if section.flags & SHF_ALLOC:
                numbers[number] = len(out) // row.size
                out += row.pack(0, STB_LOCAL << 4 | STT_SECTION, 0, number, 0, 0)
        order = sorted(self._symbols, key=lambda name: self._symbols[name][4] != STB_LOCAL)
        first_global = None
        for name in order:
            section_number, value, size, type, bind = self._symbols[name]
            number = len(out) // row.size
            if bind != STB_LOCAL and first_global is None:
                first_global = number
            numbers[name] = number
            out += row.pack(strings.add(name), bind << 4 | type, 0, section_number, value, size)
        table = _Section(".symtab", SHT_SYMTAB, bytes(out), 0, _WORD, row.size)
        table.info = len(out) // row.size if first_global is None else first_global
        return numbers, table, strings


class _Strings:
    """The names of a file, each once."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._offsets = {"": 0}

    def add(self, text: str) -> int:
        """Return where a name is."""
        if text not in self._offsets:
            self._offsets[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._offsets[text]
