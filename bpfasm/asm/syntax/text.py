"""Many instructions to text at once: bytes in, a line an instruction out.

>>> from bpfasm.asm.syntax.text import disassemble
>>> disassemble(bytes.fromhex("b7000000070000009500000000000000"))
['(b7) r0 = 7', '(95) exit']
>>> disassemble(bytes.fromhex("b7000000070000009500000000000000"), "llvm")
['r0 = 7', 'exit']
"""

from __future__ import annotations

from struct import Struct

from bpfasm.asm.syntax import c, kernel, llvm, macro, ubpf
from bpfasm.isa.insn import LD_IMM64, SLOT_BYTES, Insn, cut_slot, decode
from bpfasm.isa.match import form_of
from bpfasm.isa.table import FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import ByteOrder

PRINT: dict[str, Callable[[Insn, Form | None], str]] = {
    "kernel": kernel.text, "llvm": llvm.text, "ubpf": ubpf.text, "macro": macro.text, "c": c.text,
}  # fmt: skip

#: What the text of an opcode with its registers leaves open: nothing, or these fields in this order; the rest is 0.
_PLAIN, _IMM, _OFF, _OFF_IMM, _IMM_OFF, _SLOW = range(6)
_SLOT = Struct("<BBhi")


def disassemble(code: bytes, syntax: str = "kernel", byteorder: ByteOrder = "little") -> list[str]:
    """Return the text of each instruction in ``code``. Raises DecodeError where its last slot is not whole."""
    if byteorder == "little" and syntax == "kernel":
        return _kernel(code)
    text = PRINT[syntax]
    return [text(insn, form_of(insn)) for insn in decode(code, byteorder)]


def _kernel(code: bytes) -> list[str]:
    """Print in the kernel's words, by what is known of an opcode with its registers: most texts are one ``%``."""
    if len(code) % SLOT_BYTES:
        raise cut_slot(code)
    out: list[str] = []
    add, known = out.append, _known.get
    first: tuple[int, int, int, int, int] | None = None
    for opcode, registers, off, imm in _SLOT.iter_unpack(code):
        if first is not None:
            both = opcode == 0 and registers == 0
            add(_slow(Insn(*first, off, imm) if both else Insn(*first)))
            first = None
            if both:
                continue
        format, left = known(opcode << 8 | registers) or _learn(opcode, registers)
        if left == _IMM and not off:
            add(format % imm)
        elif left == _OFF and not imm:
            add(format % off)
        elif left == _PLAIN and not off and not imm:
            add(format)
        elif left == _OFF_IMM:
            add(format % (off, imm))
        elif left == _IMM_OFF:
            add(format % (imm & 0xFFFF_FFFF, off))
        elif opcode == LD_IMM64:
            first = opcode, registers & 15, registers >> 4, off, imm
        else:
            add(_slow(Insn(opcode, registers & 15, registers >> 4, off, imm)))
    if first is not None:
        add(_slow(Insn(*first)))
    return out


def _slow(insn: Insn) -> str:
    return kernel.text(insn, form_of(insn))


_known: dict[int, tuple[str, int]] = {}
_FIELDS = {"off": "off", "jump": "off", "imm": "imm", "cmp": "imm", "jump32": "imm"}
_ORDERS = {(): _PLAIN, ("imm",): _IMM, ("off",): _OFF, ("off", "imm"): _OFF_IMM}


def _learn(opcode: int, registers: int) -> tuple[str, int]:
    """Return the text of an opcode with its registers, and what it leaves open; remember it."""
    found = _known[opcode << 8 | registers] = _text_of(opcode, {"dst": registers & 15, "src": registers >> 4})
    return found


def _text_of(opcode: int, registers: dict[str, int]) -> tuple[str, int]:
    """Return what ``_learn`` does, of the one form of an opcode whose other fields may be 0."""
    fitting = [
        form
        for form in FORMS
        if form.code == opcode
        and form.width == 1
        and all(form.fixed.get(f"{name}_reg", number) == number for name, number in registers.items())
        and not form.fixed.get("off")
        and not form.fixed.get("imm")
    ]
    if len(fitting) != 1 or max(registers.values()) > 10 or "BUG_" in fitting[0].kernel:
        return "", _SLOW
    (form,) = fitting
    text = (kernel.DIALECT.prefix(form) + form.kernel).replace("%", "%%")
    left = []
    for role in [piece.split("}")[0] for piece in form.kernel.split("{")[1:]]:
        if role in registers:
            text = text.replace(f"{{{role}}}", str(registers[role]), 1)
        elif role in _FIELDS:
            text = text.replace(f"{{{role}}}", kernel.ROLES[role][0], 1)
            left.append(_FIELDS[role])
        else:
            return "", _SLOW
    insn = Insn(opcode, registers["dst"], registers["src"])
    if "cmp" in form.operands:
        order = _IMM_OFF if left == ["imm", "off"] else _SLOW
    else:
        order = _ORDERS.get(tuple(left), _SLOW)
    said = {_PLAIN: (), _IMM: (0,), _OFF: (0,), _OFF_IMM: (0, 0), _IMM_OFF: (0, 0)}.get(order)
    if said is None or text % said != kernel.text(insn, form_of(insn)):
        return "", _SLOW
    return (text % () if order == _PLAIN else text), order
