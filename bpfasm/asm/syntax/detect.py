"""What a text is: told by reading it, not by guessing.

Each syntax that may be meant reads the whole text. Where only one can, it is that one; where several can and make the
same instructions of it, there is nothing to ask; where they differ, the first that loses none is taken, and the
difference is said.
"""

from __future__ import annotations

import re

from bpfasm.asm.syntax import tcpdump
from bpfasm.errors import BpfasmError, DecodeError
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bpfasm.asm.classic import SockFilter
    from bpfasm.asm.program import Item, Program
    from bpfasm.errors import Source

#: Every syntax that is read.
READ = ("kernel", "llvm", "ubpf", "macro", "c", "tcpdump")

#: One instruction in each.
_EACH = "the kernel and LLVM write r1 = 5, uBPF mov %r1, 5, C BPF_MOV64_IMM(BPF_REG_1, 5); hex has 16 digits a slot"

# Blanks that begin a line are never its end: \s would go over the empty lines below again at each of them.
_OPCODE = re.compile(r"^[ \t]*(?:\d+:)?[ \t]*\([0-9a-f]{2}\) ", re.M)
_C = re.compile(r"\bstruct\s+(?:bpf_insn|sock_filter)\b|^[ \t]*#[ \t]*(?:include|define)\b|\.insns\s*=", re.M)
_MACRO = re.compile(r"^[ \t]*(?:\d+:[ \t]*)?_{0,2}BPF_\w+\s*\(", re.M)


class Text(Value):
    """A text that was read: its programs, or classic ones; ``note`` is what is to be said about it."""

    syntax: str
    programs: tuple[Program, ...]
    classic: tuple[tuple[str, tuple[SockFilter, ...]], ...] = ()
    note: str = ""


def read(
    text: str, file: str, syntax: str | None = None, name: str = "", objects: Mapping[str, Any] | None = None
) -> Text:
    """Return a text's programs, read in a syntax of READ, or in whichever it is.

    ``name`` is what a program is called that has none of its own. Raises DecodeError, OperandError or LabelError, of
    the syntax that it comes nearest to.
    """
    if syntax is not None:
        return _read(text, file, syntax, name, objects)
    if _C.search(text) and not _OPCODE.search(text):
        return _read(text, file, "c", name, objects)
    if tcpdump.looks_classic(text):
        return _read(text, file, "tcpdump", name, objects)
    if _OPCODE.search(text):
        return _read(text, file, "kernel", name, objects)
    if _MACRO.search(text) and not _OPCODE.search(text):
        return _read(text, file, "macro", name, objects)
    read: list[Text] = []
    failed: list[BpfasmError] = []
    for each in ("kernel", "llvm", "ubpf"):
        try:
            read.append(_read(text, file, each, name, objects))
        except BpfasmError as error:
            failed.append(error)
    if not read:
        # The one that came furthest says what is wrong.
        nearest = max(failed, key=_how_far)
        if all(error.rule == "text-unknown" for error in failed):
            raise _nothing(text, nearest, failed)
        raise nearest
    # What is a comment to one may be instructions to another: the first of those that have most is taken.
    taken = max(read, key=lambda each: sum(len(program.insns) for program in each.programs))
    for other in read:
        difference = _difference(taken, other)
        if difference:
            return taken.replace(note=difference)
    return taken


def _how_far(error: BpfasmError) -> tuple[int, bool, int]:
    """Return how far a reading came: its line, whether it knew how that begins, its column."""
    return error.source[1] if error.source else 0, error.rule != "text-unknown", error.column or 0


def _nothing(text: str, error: BpfasmError, failed: list[BpfasmError]) -> BpfasmError:
    """Return the error for a line that begins no instruction of any syntax, with what comes near it in one."""
    from bpfasm.asm.syntax.grammar import NEAR

    line = error.source[1] if error.source else 1
    begins = text.split("\n")[line - 1].split(maxsplit=1)[0]
    of_this_line = [each.do for each in failed if each.source == error.source]
    return DecodeError(
        f"{begins[:40]!r} begins no instruction, in any syntax",
        next((do for do in of_this_line if do.startswith(NEAR)), _EACH),
        source=error.source,
        column=error.column,
        rule="text-unknown",
    )


def _read(text: str, file: str, syntax: str, name: str, objects: Mapping[str, Any] | None) -> Text:
    if syntax == "c":
        from bpfasm.asm.syntax import c

        found = c.read(text, file, objects)
        programs = tuple(c.programs(found))
        classic = tuple((title, tuple(insns)) for title, insns in found.classic if insns)
        if not programs and not classic:
            raise DecodeError(
                "there is no struct bpf_insn NAME[] = {...} in it",
                "a line of macros alone is --from macro",
                source=(file, 1),
                rule="text-empty",
            )
        return Text(syntax, programs, classic)
    if syntax == "macro":
        from bpfasm.asm.syntax import macro

        return Text(syntax, (macro.read(text, file, name, objects),))
    if syntax == "tcpdump":
        return Text(syntax, (), ((name or "filter", tuple(tcpdump.read(text, file))),))
    from bpfasm.asm.syntax import lines

    return Text(syntax, tuple(lines.read(text, file, syntax, name, objects)))


def _difference(first: Text, other: Text) -> str:
    """Say where two readings of a text differ; empty where they do not."""
    if [program.insns for program in first.programs] == [program.insns for program in other.programs]:
        return ""
    mine, theirs = _by_line(first), _by_line(other)
    for line, (source, one) in mine.items():
        two = theirs[line][1] if line in theirs else []
        if one != two:
            place = f"{source[0]}:{source[1]}: " if source else ""
            return (
                f"{place}read as {first.syntax} text, {_said(one)}; in {other.syntax} it is {_said(two)}. "
                f"--from {first.syntax} or --from {other.syntax} says which"
            )
    return ""


def _by_line(read: Text) -> dict[tuple[int, int], tuple[Source | None, list[Item]]]:
    """Return what each line of a text is, by the number of its program and its own."""
    found: dict[tuple[int, int], tuple[Source | None, list[Item]]] = {}
    for number, program in enumerate(read.programs):
        for item in program.insns:
            line = item.source[1] if item.source else 0
            found.setdefault((number, line), (item.source, []))[1].append(item)
    return found


def _said(items: list[Item]) -> str:
    """Return the items of a line as macros, in words where there are none."""
    from bpfasm.asm.syntax import macro

    return ", ".join(macro.body(items).splitlines()) if items else "no instruction"
