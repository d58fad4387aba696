"""The records of tracepoints, as the ``format`` files of tracefs describe them, and their fields as operands."""

from __future__ import annotations

from bpfasm.asm.symbols import Symbol
from bpfasm.errors import DecodeError, LinkError
from bpfasm.isa.insn import LD_IMM64
from bpfasm.uapi import bpf, bpf_common
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.tracepoint import Tracepoint
    from bpfasm.asm.linker import Target
    from bpfasm.isa.insn import Insn

_LDX = (bpf_common.BPF_LDX | bpf_common.BPF_MEM, bpf_common.BPF_LDX | bpf.BPF_MEMSX)
_BYTES = {bpf_common.BPF_B: 1, bpf_common.BPF_H: 2, bpf_common.BPF_W: 4, bpf.BPF_DW: 8}

#: A program may read a record from here on: before it is what helpers tell, and there the kernel keeps the registers.
_READABLE = 8


class FormatField(Value):
    """A field of a tracepoint's record: its C ``type``, where it is and its size in bytes, and whether it is signed.

    Of a type that begins with ``__data_loc`` the 4 bytes are where in the record the data is (the low 16 bits), and
    how many bytes it has (the high ones).
    """

    name: str
    type: str
    offset: int
    size: int
    signed: bool


class Format(Value):
    """What a tracepoint's record is: its ``name``, its number, and its fields by name."""

    name: str
    id: int
    fields: dict[str, FormatField]


def parse_format(text: str) -> Format:
    """Return what a ``format`` file says.

    Raises DecodeError. (kernel/trace/trace_events.c f_show())
    """
    name, id, fields = "", -1, {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(":")
        if word == "name":
            name = rest.strip()
        elif word == "ID":
            id = _number(rest, line)
        elif word == "field":
            field = _field(line.strip())
            fields[field.name] = field
    if not name or id < 0:
        raise DecodeError(
            "this is no format file of a tracepoint", "one is events/GROUP/NAME/format in tracefs", rule="format"
        )
    return Format(name, id, fields)


def _field(line: str) -> FormatField:
    """Read ``field:char comm[16];	offset:8;	size:16;	signed:0;``."""
    told = {}
    for part in line.split(";"):
        word, _, value = part.strip().partition(":")
        told[word] = value.strip()
    declared = told.get("field", "")
    # char comm[16] is declared as in C; of __data_loc char[] name the brackets are of the type.
    front, bracket, behind = declared.rpartition("[") if declared.endswith("]") else (declared, "", "")
    type, _, name = front.strip().rpartition(" ")
    plain = name.lstrip("*")
    if not plain:
        raise DecodeError(
            f"no field is declared by {line[:80]!r}", "the file is not as the kernel writes it", rule="format"
        )
    return FormatField(
        plain,
        f"{type} {'*' * (len(name) - len(plain))}".strip() + bracket + behind,
        _number(told.get("offset", ""), line),
        _number(told.get("size", ""), line),
        told.get("signed") == "1",
    )


def _number(text: str, line: str) -> int:
    if text.strip().isdecimal() and text.isascii() and len(text) < 12:
        return int(text)
    raise DecodeError(
        f"{text.strip()[:20]!r} is no number, in {line.strip()[:80]!r}", "the file is cut short", rule="format"
    )


class TracepointField(Symbol):
    """Where a field is in the record of a tracepoint, or (``aspect`` size) how many bytes it has."""

    told = "tracepoints"
    slots = ("off", "imm")
    numeric = True
    word = "field"

    place: Tracepoint
    name: str
    aspect: str = ""

    @property
    def size(self) -> TracepointField:
        """How many bytes the field has."""
        return self.replace(aspect="size")

    @property
    def title(self) -> str:
        """Its name after that of the tracepoint."""
        return f"{self.place.name}.{self.name}"

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn:
        """Return the instruction with the number. Raises LinkError."""
        formats = target.tracepoints or {}
        known = formats.get((self.place.group, self.place.name))
        field = known.fields.get(self.name) if known else None
        if known is None or field is None:
            raise self._missing(insn, known)
        number = field.size if self.aspect else field.offset
        if slot == "off":
            self._check_load(insn, field)
        if insn.code == LD_IMM64:
            return insn.replace(imm=number, imm2=0)
        return insn.replace(**{slot: number})

    def _missing(self, insn: Insn, known: Format | None) -> LinkError:
        if known is None:
            what, do = f"the target has no {self.place}", "its formats are in Target.tracepoints; load() reads them"
        else:
            from difflib import get_close_matches

            own = [name for name in known.fields if not name.startswith("common_")]
            close = get_close_matches(self.name, own, n=1)
            what = f"the record of {self.place} has no field {self.name}"
            do = f"did you mean {close[0]}?" if close else f"its fields are {', '.join(own)}"
        return LinkError(what, do, source=insn.source, rule="tracepoint-field")

    def _check_load(self, insn: Insn, field: FormatField) -> None:
        """Check what is loaded at a field."""
        what = do = ""
        loaded = _BYTES[insn.code & 0x18]
        if field.offset < _READABLE:
            what = f"{self.title} is none of the fields that a program may read"
            do = "helpers tell it: bpf_get_current_pid_tgid() and its kin"
        elif (insn.code & ~0x18) in _LDX and loaded != field.size and "[" not in field.type:
            sizes = {1: "BPF_B", 2: "BPF_H", 4: "BPF_W", 8: "BPF_DW"}
            what = f"{self.title} ({field.type}) has {field.size} bytes here, and {loaded} are loaded"
            do = f"load it with {sizes.get(field.size, 'bpf_probe_read_kernel()')}"
        if what:
            raise LinkError(what, do, source=insn.source, rule="tracepoint-field")

    def __str__(self) -> str:
        said = f"tracepoint({self.place.group}:{self.title})"
        return f"{self.aspect}({said})" if self.aspect else said

    def __repr__(self) -> str:
        of = f'tracepoint("{self.place.group}", "{self.place.name}").field("{self.name}")'
        return f"{of}.{self.aspect}" if self.aspect else of
