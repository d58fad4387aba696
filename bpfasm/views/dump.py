"""Programs as the kernel holds them, as lines of text: translated, and for this machine."""

from __future__ import annotations

from bpfasm.asm.syntax import xlated
from bpfasm.isa.insn import SLOT_BYTES, slots
from bpfasm.isa.match import form_of, why_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from bpfasm.isa.insn import Insn
    from bpfasm.kernel.programs.dump import Dump
    from bpfasm.kernel.programs.info import LineInfo
    from bpfasm.native import NativeInsn


def xlated_text(insn: Insn, pc: int, names: xlated.Names) -> tuple[str, str]:
    """Return an instruction's text, and what is to be said beside it: a name, or why it is no instruction."""
    form = form_of(insn)
    text, beside = xlated.text(insn, form, pc, names)
    known = form or not text.partition(" ")[2].startswith("BPF_")
    return text, beside or ("" if known else why_none(insn))


def xlated_lines(dump: Dump, *, opcodes: bool = False, linum: bool = False) -> Iterator[str]:
    """Yield the lines of a translated program, as bpftool has them.

    Functions have their names, lines of source stand where they are known, with file and number by ``linum``; the
    bytes stand below by ``opcodes``.
    """
    if dump.names.hidden:
        yield f"; {dump.names.hidden}"
    sources = {line.pc: line for line in dump.info.lines}
    functions = dump.names.functions if len(dump.names.functions) > 1 or dump.info.functions else {}
    for pc, insn in slots(dump.insns):
        if pc in functions:
            yield f"{functions[pc]}:"
        if pc in sources:
            yield _source(sources[pc], linum)
        text, beside = xlated_text(insn, pc, dump.names)
        yield f"{pc:4d}: {text}{f'  ; {beside}' if beside else ''}"
        if opcodes:
            yield f"       {dump.code[SLOT_BYTES * pc : SLOT_BYTES * (pc + insn.width)].hex(' ')}"


def _source(line: LineInfo, linum: bool) -> str:
    place = f" [file:{line.file} line_num:{line.line} line_col:{line.column}]" if linum else ""
    return f"; {line.text}{place}"


class NativeFunction:
    """A function of a program for this machine: its name, where it is, and its instructions.

    Each stands with the slots of the translated instructions that start at it, where that is known.
    """

    def __init__(self, name: str, address: int, insns: list[tuple[NativeInsn, range]]) -> None:
        self.name = name
        self.address = address
        self.insns = insns


def native_functions(
    dump: Dump, code: bytes, disassemble: Callable[[bytes, int], Iterator[NativeInsn]]
) -> Iterator[NativeFunction]:
    """Yield the functions of a program whose native code this is."""
    info, at = dump.info, 0
    end = sum(insn.width for insn in dump.insns)
    starts = sorted(dump.names.functions)
    # Where the code of a line starts, the translated instructions up to the next line stand.
    following = [line.pc for line in info.lines[1:]] + [end]
    spans = {
        address: range(line.pc, after)
        for address, line, after in zip(info.line_addresses, info.lines, following, strict=False)
    }
    whole = [(info.ksyms[0] if info.ksyms else 0, len(code))]
    for number, (address, size) in enumerate(list(zip(info.ksyms, info.func_lens, strict=False)) or whole):
        name = dump.names.functions.get(starts[number], "") if number < len(starts) else ""
        part = disassemble(code[at : at + size], address)
        insns = [(each, spans.get(each.address, range(0))) for each in part]
        yield NativeFunction(name or dump.name or f"function {number}", address, insns)
        at += size


def native_lines(
    dump: Dump,
    functions: Iterator[NativeFunction],
    name_of: Callable[[int], str],
    *,
    opcodes: bool = False,
    linum: bool = False,
) -> Iterator[str]:
    """Yield the lines of native code; between them, the source and the translated instructions they come from."""
    sources = {line.pc: line for line in dump.info.lines}
    translated = dict(slots(dump.insns))
    for function in functions:
        yield f"{function.name}:"
        for insn, span in function.insns:
            for pc in span:
                if pc in sources:
                    yield _source(sources[pc], linum)
                if pc in translated:
                    yield f"; {pc:4d}: {xlated_text(translated[pc], pc, dump.names)[0]}"
            name = _target(function, insn, name_of)
            yield f"{insn.address - function.address:4x}:\t{insn.text}{f'  ; {name}' if name else ''}"
            if opcodes:
                yield f"\t{insn.code.hex(' ')}"


def _target(function: NativeFunction, insn: NativeInsn, name_of: Callable[[int], str]) -> str:
    """Return where an instruction jumps to: an offset in its own function, or a name."""
    last = function.insns[-1][0].address
    if function.address <= insn.target <= last:
        return f"{insn.target - function.address:x}"
    return name_of(insn.target) if insn.target else ""


def native_document(
    dump: Dump, functions: Iterator[NativeFunction], name_of: Callable[[int], str], machine: str
) -> dict[str, Any]:
    """Return native code as ``--json`` prints it."""
    return {
        "schema": "bpfasm/native/1",
        "id": dump.info.id,
        "name": dump.name,
        "machine": machine,
        "functions": [
            {
                "name": function.name,
                "address": f"{function.address:#x}",
                "insns": [
                    {
                        "offset": insn.address - function.address,
                        "bytes": insn.code.hex(),
                        "text": insn.text,
                        "target": _target(function, insn, name_of) or None,
                        "pc": span.start if span else None,
                    }
                    for insn, span in function.insns
                ],
            }
            for function in functions
        ],
    }
