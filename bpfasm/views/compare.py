"""Capstone's text of an instruction beside ours, and whether it says the same: its text is read back and compared."""

from __future__ import annotations

from bpfasm.asm.syntax import ubpf
from bpfasm.asm.syntax.matching import Names
from bpfasm.errors import BpfasmError
from bpfasm.isa.insn import Insn, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: What it makes of an instruction.
SAME, OTHER, NOTHING = "same", "other", "nothing"

#: What marks each in a listing.
MARKS = {SAME: " ", OTHER: "!", NOTHING: "?"}

#: Its mnemonics for which uBPF has others; its 32-bit arithmetic has no suffix, and its 64-bit has one.
_WORDS = {
    "jmp": "ja", "xaddw": "lock add32", "xadddw": "lock add", "ldb": "ldabsb", "ldh": "ldabsh", "ldw": "ldabsw",
    "nop": "ja",
}  # fmt: skip
_ALU = ("add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "mod", "xor", "mov", "arsh", "neg")


def columns(insns: Iterable[Insn]) -> Iterator[tuple[str, str]]:
    """Yield for each instruction capstone's text, and SAME, OTHER or NOTHING. Raises FeatureMissing without it."""
    from bpfasm.native import bpf_texts

    several = list(insns)
    for insn, text in zip(several, bpf_texts(encode([insn], "little") for insn in several), strict=True):
        yield text, verdict(insn, text)


def verdict(insn: Insn, text: str) -> str:
    """Say what a text in capstone's syntax is to an instruction: the same, another one, or nothing at all."""
    if not text:
        return NOTHING
    name, _, operands = text.partition(" ")
    if name in _ALU:
        name += "32"
    elif name.endswith("64") and name[:-2] in _ALU:
        name = name[:-2]
    elif name in ("ldb", "ldh", "ldw") and "r" in operands:
        # [r2+0x5]: by a register and a number
        name, operands = name.replace("ld", "ldind"), operands.strip("[]").replace("+", ", ")
    if name in ("ldb", "ldh", "ldw"):
        operands = operands.strip("[]")
    name = _WORDS.get(name, name)
    try:
        read = ubpf.DIALECT.grammar.read(f"{name} {operands}", ("-", 1), Names(), {})
    except BpfasmError:
        return OTHER
    return SAME if read == insn else OTHER
