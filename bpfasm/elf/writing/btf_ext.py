"""``.BTF.ext``: which function, which line of source, and which CO-RE record belongs to which instruction.

Three tables, each by sections: ``func_info`` (offset, type), ``line_info`` (offset, file, text, line and column) and
the records of CO-RE (offset, type, access string, kind). Offsets are bytes within the section. (tools/lib/bpf/btf.h
struct btf_ext_header, Documentation/bpf/btf.rst)
"""

from __future__ import annotations

from struct import Struct

from bpfasm.uapi.btf import BTF_MAGIC, BTF_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.isa.insn import ByteOrder

#: The words of a record: of a function, of a line, of CO-RE.
FUNCTIONS, LINES, RECORDS = 2, 4, 4

_HEADER = "HBBI6I"


class Table:
    """Records of so many words, by the section they are of."""

    def __init__(self, words: int) -> None:
        self.words = words
        self.sections: dict[int, list[tuple[int, ...]]] = {}

    def add(self, section: int, *record: int) -> None:
        """Add a record; ``section`` is where the section's name is among the strings of .BTF."""
        self.sections.setdefault(section, []).append(record)

    def to_bytes(self, order: str) -> bytes:
        """Return the table; without a record, nothing."""
        if not self.sections:
            return b""
        out = [Struct(f"{order}I").pack(4 * self.words)]
        row = Struct(f"{order}{self.words}I")
        for name, records in self.sections.items():
            out.append(Struct(f"{order}2I").pack(name, len(records)))
            out += [row.pack(*record) for record in sorted(records)]
        return b"".join(out)


def to_bytes(functions: Table, lines: Table, records: Table, byteorder: ByteOrder) -> bytes:
    """Return the section."""
    order = "<" if byteorder == "little" else ">"
    header, parts = Struct(order + _HEADER), [table.to_bytes(order) for table in (functions, lines, records)]
    places, at = [], 0
    for part in parts:
        places += [at, len(part)]
        at += len(part)
    return header.pack(BTF_MAGIC, BTF_VERSION, 0, header.size, *places) + b"".join(parts)
