"""Text of a line an instruction to programs: comments, labels, slot numbers, opcodes, columns of bytes.

What disassemblers and the verifier print is read as well as what is written by hand. A slot number that stands before
an instruction has to be its slot; where it is 0 again, the next program begins.
"""

from __future__ import annotations

import gc
import re
from itertools import count, repeat

from bpfasm.asm.program import Program
from bpfasm.asm.symbols import Mark
from bpfasm.asm.syntax import kernel, llvm, ubpf
from bpfasm.asm.syntax.grammar import refuse
from bpfasm.asm.syntax.matching import Names
from bpfasm.asm.syntax.plan import cut, numbers_in
from bpfasm.errors import DecodeError
from bpfasm.isa.insn import Insn, decode, encode
from bpfasm.isa.match import form_of
from bpfasm.uapi import bpf, bpf_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from bpfasm.asm.program import Item
    from bpfasm.asm.syntax.dialect import Dialect
    from bpfasm.asm.syntax.plan import Shape

DIALECTS = {"kernel": kernel.DIALECT, "llvm": llvm.DIALECT, "ubpf": ubpf.DIALECT}

_LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*)\s*:(?!:)\s*")
# Blanks that begin a line are never its end: \s would go over the empty lines below again at each of them.
_LABELS = re.compile(r"^[ \t]*(?:\d+:[ \t]*)?(?:<)?([A-Za-z_.$][\w.$]*)(?:>)?[ \t]*:(?!:)", re.M)
_SLOT = re.compile(r"\s*(\d{1,9}):\s*")
#: ``b7 00 00 00 00 00 00 00`` of objdump, ``b700000000000000`` of --bytes.
_BYTES = re.compile(r"((?:[0-9a-f]{2}\s){8}(?:(?:[0-9a-f]{2}\s){8})?|(?:[0-9a-f]{16}){1,2}(?=\s))\s*(?=\S)")
#: What bpftool prints below an instruction with ``opcodes``.
_OPCODES = re.compile(r"^[ \t]+((?:[0-9a-f]{2} ){7}(?:(?:[0-9a-f]{2} ){8})?[0-9a-f]{2})[ \t]*$", re.M)
_COMMENT = re.compile(r"/\*.*?\*/", re.S)
_QUOTED = re.compile(r'\s*"(.*)"\s*;?\s*(?:\\)?\s*$')
#: What objdump prints around instructions.
_OBJDUMP = re.compile(r"\s*(?:\S+:\s+file format |Disassembly of section |[0-9a-f]{16} <|[0-9a-f]{16}:\s+R_BPF_)")
#: What objdump -l and -S print, behind instructions with their slots.
_LISTED = re.compile(r"^[ \t]*\d+:\s", re.M)
#: The name of the function that begins there: ``0000000000000000 <f>:``.
_FUNCTION = re.compile(r"[0-9a-f]{16} <([A-Za-z_][\w.$]*)>:")
#: Directives of an assembler that put nothing into the text.
_DIRECTIVE = re.compile(r"\s*\.(?:text|section|globl|global|type|size|p2align|align|file|loc|cfi_\w+|addrsig\w*)\b")
#: What the verifier prints between instructions.
_LOG = re.compile(
    r"\s*(?:\d+: )?(?:R\d|R\d+_w=|frame\d|from \d+ to|func#|processed \d+ insns|last_idx|regs=|mark_precise|parent "
    r"|verification time|stack depth|caller:?$|callee:?$|returning from|-- (?:BEGIN|END)|safe$|live regs|max_states"
    r"|propagating|Live|arg#|Func#|Global|Validating|BPF program |libbpf:|old:|cur:)"
)

#: What only a log has, and where; to look for the first takes next to no time.
_LOG_SIGNS = ("processed ", "R", "func#")
_IN_LOG = re.compile(r"^[ \t]*processed \d+ insns|^[ \t]*(?:\d+: )?R\d+[=_]|^func#\d", re.M)

_CALL = bpf_common.BPF_JMP | bpf.BPF_CALL

#: The most lines of a program: the kernel takes a million instructions.
MAX_LINES = 4_000_000

#: So many lines are cut at their numbers together; what they are cut into is still in the processor's cache then.
CHUNK = 256


#: GNU C around inline assembly: ``asm volatile ("``, and what follows its last string.
_INLINE = re.compile(
    r'^[ \t]*(?:__)?asm(?:__)?\s*(?:(?:__)?volatile(?:__)?|goto)?\s*\(|^[ \t]*(?:"[ \t]*)?:.*$|^[ \t]*"?[ \t]*\)\s*;',
    re.M,
)


def _inline(text: str) -> str:
    """Return the text of inline assembly, a line a line: the names of its operands are those of helpers and maps."""
    text = re.sub(r"%\[(\w+)\]", r"\1", _INLINE.sub("", text)).replace("%=", "")
    return re.sub(r'\\$|^[ \t]*"|"[ \t]*$', "", re.sub(r"\\[nt]", " ", text), flags=re.M)


class _Reader:
    """The state of reading one text."""

    def __init__(self, text: str, file: str, dialect: Dialect, objects: Mapping[str, Any] | None) -> None:
        self.file, self.dialect, self.grammar = file, dialect, dialect.grammar
        if dialect.name == "llvm" and "asm" in text and re.search(r"^[ \t]*(?:__)?asm(?:__)?\b", text, re.M):
            text = _inline(text)
        if dialect.name == "llvm" and "/*" in text:
            text = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)
        self.lines = text.split("\n")
        self.listed = dialect.name == "llvm" and bool(_LISTED.search(text))
        self.opcodes = dialect.name == "kernel" and bool(_OPCODES.search(text))
        self.log = any(sign in text for sign in _LOG_SIGNS) and bool(_IN_LOG.search(text))
        self.names = Names(frozenset(_LABELS.findall(text) if ":" in text else ()), objects)
        self.local: dict[str, Shape] = {}
        #: What may stand on a line beside an instruction, as far as it is anywhere in the text.
        self.marks = tuple(mark for mark in (";", "//", "#", ":", '"', "\\") if mark in text)
        self.programs: list[tuple[str, list[Item]]] = [("", [])]
        self.items = self.programs[0][1]
        #: The slot behind the first ``counted`` items.
        self.slot = self.counted = 0
        self.title = ""
        #: In a verifier's log: the instruction at each slot.
        self.visited: dict[int, Insn] = {}

    def run(self) -> None:
        shapes, local, file, lines = self.grammar.shapes, self.local, self.file, self.lines
        for start in range(0, len(lines), CHUNK):
            found, numbers = cut("\n".join(lines[start : start + CHUNK]))
            at, add = 0, self.items.append
            for where, shape in zip(zip(repeat(file), count(start + 1)), found, strict=False):
                # The usual line: an instruction and nothing else, of a shape that has been there.
                known = shapes.get(shape) or local.get(shape)
                if known is not None:
                    given = numbers[at : at + known.count]
                    at += known.count
                    make = known.makes.get(known.words(given) if known.words else None)
                    if make is not None and (insn := make(given, where)) is not None:
                        add(insn)
                        continue
                elif shape:
                    at += numbers_in(shape)
                self._line(where)
                add = self.items.append

    def _line(self, where: tuple[str, int]) -> None:
        """Read a line of which nothing is known."""
        number = where[1]
        line = self.lines[number - 1]
        if not line or line.isspace():
            return
        if self.opcodes and (match := _OPCODES.match(line)):
            self._beside(bytes.fromhex(match[1]), line, where)
            return
        if any(mark in line for mark in self.marks):
            self._odd(line, number)
            return
        try:
            found = self.grammar.read(line, where, self.names, self.local)
        except DecodeError:
            self._odd(line, number)
        else:
            self.items += found if isinstance(found, list) else [found]

    def _beside(self, given: bytes, line: str, where: tuple[str, int]) -> None:
        """Hold the bytes of a line of their own against the instruction above; a call's are those of an address."""
        above = self.items[-1] if self.items else None
        said = decode(given)
        if not isinstance(above, Insn) or len(said) != 1:
            refuse(line, where, 0, "these are the bytes of no instruction above", "leave this line out", "text-bytes")
        numbers = isinstance(above.imm, int) and isinstance(above.off, int)
        same = said[0].code == above.code
        if same and above.code != _CALL and numbers:
            same = kernel.words(said[0], form_of(said[0])) == kernel.words(above, form_of(above))
        if not same:
            _differ(line, where, given, above if numbers else None)

    def _uncommented(self, line: str) -> str:
        """Return a line without its comment; what is nothing else may name the next program."""
        if self.listed and line.lstrip().startswith(";"):
            return ""  # objdump's line of source
        for mark in ("//",) if self.dialect.name == "llvm" else ("//", ";"):
            if mark in line:
                line, _, rest = line.partition(mark)
                if not line.strip():
                    self._comment(rest)
        if self.dialect.name != "kernel" and "#" in line:
            return _uncommented(line)
        return line

    def _comment(self, text: str) -> None:
        """Keep what may be the name of the next program: ``; chowncount`` before slot 0."""
        word = text.strip()
        self.title = word if word.isidentifier() else ""

    def _odd(self, line: str, number: int) -> None:
        """Read a line that has more than an instruction."""
        where = (self.file, number)
        line = self._uncommented(line)
        quoted = _QUOTED.match(line)
        if quoted and "BPF_" not in line:
            line = quoted[1].replace("\\n", "").replace("\\t", " ")
        line = line.rstrip().removesuffix("\\")
        if match := _FUNCTION.match(line):
            self.title = match[1]
            if not self.items:
                self.programs[-1] = (self.title, self.items)
        if not line.strip() or match or _OBJDUMP.match(line):
            return
        if self.dialect.name == "kernel" and line.endswith("):") and line[0].isalpha():
            return  # bpftool, before a function: int f(struct xdp_md * ctx):
        statements = line.split(";") if self.dialect.name == "llvm" else [line]
        column = 0
        for statement in statements:
            if statement.strip():
                self._statement(line, " " * column + statement, where)
            column += len(statement) + 1

    def _statement(self, line: str, text: str, where: tuple[str, int]) -> None:
        slot: int | None = None
        match = _SLOT.match(text)
        if match:
            slot = int(match[1])
            text = " " * match.end() + text[match.end() :]
        if self.log and slot is None:
            return  # what the verifier and libbpf say between instructions
        while (label := _LABEL.match(text)) and not (slot is not None and _LOG.match(line)):
            self.items.append(Mark(label[1], where))
            text = " " * label.end() + text[label.end() :]
        if not text.strip() or _DIRECTIVE.match(text):
            return
        given = b""
        if slot is not None and (match := _BYTES.match(text.lower().lstrip())):
            given = bytes.fromhex(match[1])
            lead = len(text) - len(text.lstrip()) + match.end()
            text = " " * lead + text[lead:]
        lead = len(text) - len(text.lstrip())
        try:
            found = self.grammar.read(text[lead:], where, self.names, self.local)
        except DecodeError as error:
            error.column = (error.column or 1) + lead
            if self.log or (slot is not None and _LOG.match(line)) or (_LOG.match(line) and not self.items):
                return
            raise
        insns = found if isinstance(found, list) else [found]
        if given and isinstance(insns[0].imm, int) and isinstance(insns[0].off, int) and encode(insns) != given:
            (said,) = decode(given) if len(decode(given)) == 1 else [None]
            if (
                said
                and said.code == _CALL
                and said.replace(src_reg=0) == insns[0].replace(src_reg=0, where=said.where)
            ):
                insns = [said.replace(where=where)]  # whose function it is, LLVM's text does not say
            elif said is None or self.dialect.text(said, None) != self.dialect.text(insns[0], None):
                _differ(line, where, given, *insns)
        if slot is not None:
            self._at(slot, insns, where)
        else:
            self.items += insns

    @property
    def pc(self) -> int:
        """The slot that comes next."""
        new = self.items[self.counted :]
        self.counted += len(new)
        self.slot += sum(item.width for item in new if isinstance(item, Insn))
        return self.slot

    def _at(self, slot: int, insns: list[Insn], where: tuple[str, int]) -> None:
        """Add instructions that say which slot they are."""
        pc = self.pc
        if slot == pc and not self.visited:
            self.items += insns
            return
        if self.log:
            if not self.visited:
                self.visited = dict(_placed(self.items))
            self.visited[slot] = insns[0]
            return
        if slot == 0 and pc:
            # Labels that stand before the first slot belong to the next program.
            marks: list[Item] = []
            while isinstance(self.items[-1], Mark):
                marks.insert(0, self.items.pop())
            self.items = marks
            self.programs.append((self.title, self.items))
            self.slot = self.counted = 0
            self.items += insns
            return
        refuse(
            "", where, 0, f"this says that it is slot {slot}, and it is slot {pc}",
            "lines are missing before it, or leave the slot numbers out: labels need none", "text-slot",
        )  # fmt: skip

    def check_labels(self, items: list[Item]) -> None:
        """Refuse a label that is not there, where it is asked for."""
        if not self.local:
            return
        there = {item.label for item in items if isinstance(item, Mark)}
        for item in items:
            if isinstance(item, Mark):
                continue
            for operand in (item.off, item.imm):
                if isinstance(operand, str) and operand not in there:
                    place = item.source or (self.file, 1)
                    line = self.lines[place[1] - 1]
                    refuse(
                        line, place, max(0, line.rfind(operand)), f"there is no label {operand}",
                        _nearest(operand, sorted(map(str, there))), "text-label",
                    )  # fmt: skip

    def unroll(self) -> None:
        """Put what the verifier visited in the order of its slots."""
        if not self.visited:
            return
        at = 0
        items: list[Item] = []
        for slot in sorted(self.visited):
            if slot != at:
                place = self.visited[slot].source or (self.file, 1)
                refuse(
                    "", place, 0, f"the log goes to slot {slot}, and slots {at} to {slot - 1} are not in it",
                    "take the program from where it is whole: bpftool prog dump xlated, or its source", "text-slot",
                )  # fmt: skip
            items.append(self.visited[slot])
            at += self.visited[slot].width
        self.programs[0] = (self.programs[0][0], items)


def _differ(line: str, where: tuple[str, int], given: bytes, *said: Insn | None) -> NoReturn:
    """Refuse bytes that are not those of an instruction's text."""
    insns = [insn for insn in said if insn]
    text = f"the text is {encode(insns).hex()}; " if insns else ""
    what = f"the bytes {given.hex()} are not those of the text beside them"
    refuse(line, where, 0, what, f"{text}leave one of the two out", "text-bytes")


def _nearest(name: str, labels: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, labels, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"the labels are {', '.join(labels[:8])}" if labels else f"write {name}: in front of the line it goes to"


def _placed(items: list[Item]) -> list[tuple[int, Insn]]:
    at, found = 0, []
    for item in items:
        if isinstance(item, Insn):
            found.append((at, item))
            at += item.width
    return found


def _uncommented(line: str) -> str:
    """Cut a comment after ``#`` off; not within a word, as in ``kernel-function#f``."""
    at = line.find("#")
    while at > 0 and not line[at - 1].isspace():
        at = line.find("#", at + 1)
    return line if at < 0 else line[:at]


def _clean(text: str) -> str:
    """Return a text without what stands for numbers in its shapes."""
    return text.replace("\r", "").replace("\0", "\ufffd").replace("\1", "\ufffd")


def read(
    text: str, file: str, syntax: str, name: str = "", objects: Mapping[str, Any] | None = None
) -> list[Program]:
    """Return the programs of a text in a syntax: ``kernel``, ``llvm`` or ``ubpf``.

    ``objects`` are maps and variables by name, where the caller has them; a name that is not there stands for itself,
    as something that load() cannot make. Raises DecodeError with the line and column, LabelError.
    """
    reader = _Reader(_clean(text), file, DIALECTS[syntax], objects)
    if len(reader.lines) > MAX_LINES:
        raise DecodeError(
            f"{len(reader.lines)} lines are more than a program has",
            "the kernel takes a million instructions",
            source=(file, MAX_LINES),
            rule="text-size",
        )
    # What reading makes stays; going through it again and again for garbage would take a third of the time.
    collects = gc.isenabled()
    gc.disable()
    try:
        reader.run()
    finally:
        if collects:
            gc.enable()
    reader.unroll()
    for _, items in reader.programs:
        if syntax == "ubpf":
            _exit_label(items)
        reader.check_labels(items)
    found = [
        Program(title or name or "text", bpf.BPF_PROG_TYPE_UNSPEC, items)
        for title, items in reader.programs
        if any(isinstance(item, Insn) for item in items)
    ]
    if not found:
        raise DecodeError(
            f"there is no instruction in it, read as {syntax} text",
            "--from says what it is: kernel, llvm, ubpf, macro, c, hex, raw",
            source=(file, 1),
            rule="text-empty",
        )
    return found


def _exit_label(items: list[Item]) -> None:
    """Label the first ``exit``, as bpf_conformance does, where a jump goes there and nobody has."""
    if any(isinstance(item, Mark) and item.label == "exit" for item in items):
        return
    insns = [item for item in items if isinstance(item, Insn)]
    if not any("exit" in (insn.off, insn.imm) for insn in insns):
        return
    for at, item in enumerate(items):
        if isinstance(item, Insn) and item.code == 0x95:
            items.insert(at, Mark("exit", item.where))
            return
