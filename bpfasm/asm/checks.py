"""Operand checks: each turns what stands in a slot of a macro call into a field, or says what belongs there.

The checks run for every instruction built, so each is one test on the way through; the words are found only when a
test fails, from the frame of the macro that was called.
"""

from __future__ import annotations

from sys import _getframe

from bpfasm.asm.symbols import Label, Symbol
from bpfasm.errors import OperandError
from bpfasm.isa.operands import REGS, AluOp, JmpOp, Reg, Size
from bpfasm.isa.where import source_of
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

S16_MIN, S16_MAX = -(1 << 15), (1 << 15) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
U32_MAX = (1 << 32) - 1
S64_MIN, U64_MAX = -(1 << 63), (1 << 64) - 1

#: More slots than these are refused before the verifier looks (include/linux/bpf.h BPF_COMPLEXITY_LIMIT_INSNS).
MOST_SLOTS = 1_000_000

_KIND_NAMES = {
    Reg: "a register",
    AluOp: "an arithmetic operation",
    JmpOp: "a jump condition",
    Size: "an access size",
    Label: "a label",
    str: "a label",
}

#: The sibling that takes a register where this macro takes an immediate.
_REG_SIBLING = {
    "BPF_MOV64_IMM": "BPF_MOV64_REG",
    "BPF_MOV32_IMM": "BPF_MOV32_REG",
    "BPF_ALU64_IMM": "BPF_ALU64_REG",
    "BPF_ALU32_IMM": "BPF_ALU32_REG",
    "BPF_ALU64_IMM_OFF": "BPF_ALU64_REG_OFF",
    "BPF_ALU32_IMM_OFF": "BPF_ALU32_REG_OFF",
    "BPF_JMP_IMM": "BPF_JMP_REG",
    "BPF_JMP32_IMM": "BPF_JMP32_REG",
}
_REG_SLOTS = ("dst", "src")
_IMM_SIBLING = {reg: imm for imm, reg in _REG_SIBLING.items()}


class Call:
    """The macro call a check was made for, found in the frames; only errors look."""

    def __init__(self) -> None:
        frame = _getframe(1)
        while frame.f_back is not None and not frame.f_code.co_name.lstrip("_").startswith("BPF_"):
            frame = frame.f_back
        code = frame.f_code
        self.macro = code.co_name
        self.arguments = {name: frame.f_locals[name] for name in code.co_varnames[: code.co_argcount]}
        caller = frame.f_back
        self.source = source_of((caller.f_code, caller.f_lasti)) if caller else None

    def slot(self, value: Any, *, register: bool = False) -> str:
        """Return the name of the slot that holds this very value, among those of registers or the others."""
        slots = (name for name, held in self.arguments.items() if held is value and (name in _REG_SLOTS) is register)
        return next(slots, "")

    def written(self, macro: str) -> str:
        """Return the call as it was written, under another macro's name."""
        return f"{macro}({', '.join(map(show, self.arguments.values()))})"

    def refuse(self, what: str, do: str, rule: str) -> NoReturn:
        """Raise what a check found, at the line of the call."""
        raise OperandError(f"{self.macro}: {what}", do, source=self.source, rule=rule)


def show(value: Any) -> str:
    """Return a value as a user writes it."""
    return f'"{value}"' if isinstance(value, str) else repr(value)


def described(value: Any) -> str:
    """Return a value and what it is: ``BPF_JEQ is a jump condition``."""
    kind = _KIND_NAMES.get(type(value))
    if kind is None and isinstance(value, int):
        kind = "a number"
    return f"{show(value)} is {kind or f'of type {type(value).__name__}'}"


class _Registers(dict["Any", int]):
    """Registers and the plain numbers 0 to 10 that C code writes for them, by their number."""

    def __missing__(self, value: object) -> NoReturn:
        call = Call()
        slot = call.slot(value, register=True)
        what = f"{described(value)}, and the {slot} slot takes a register"
        sibling = _IMM_SIBLING.get(call.macro)
        if slot == "src" and sibling and isinstance(value, int):
            call.refuse(what, f"did you mean {call.written(sibling)}?", "not-a-register")
        call.refuse(what, "write R0 to R10 (or BPF_REG_0 to BPF_REG_10)", "not-a-register")


REG = _Registers({reg: reg.number for reg in REGS} | {n: n for n in range(bpf.MAX_BPF_REG)})

#: For BPF_RAW_INSN: whatever fits the 4 bits, since it exists to write what no other macro does.
RAW_REG = _Registers(dict(REG) | {n: n for n in range(16)})


def alu_op(op: AluOp) -> int:
    """Check an arithmetic operation."""
    if op.__class__ is AluOp:
        return op
    call = Call()
    do = "pass BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR, BPF_AND, BPF_LSH, BPF_RSH, BPF_MOD, BPF_XOR, BPF_ARSH"
    if isinstance(op, JmpOp):
        jump = call.macro.replace("ALU64", "JMP").replace("ALU32", "JMP32").replace("_OFF", "")
        do = f"{jump}({op!r}, ...) is the jump; arithmetic is {do.removeprefix('pass ')}"
    call.refuse(f"{described(op)}, and the op slot takes an arithmetic operation", do, "not-an-alu-op")


def jmp_op(op: JmpOp) -> int:
    """Check a jump condition."""
    if op.__class__ is JmpOp:
        return op
    call = Call()
    do = "pass BPF_JEQ, BPF_JNE, BPF_JGT, BPF_JGE, BPF_JLT, BPF_JLE, BPF_JSET, BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE"
    if isinstance(op, AluOp):
        alu = call.macro.replace("JMP32", "ALU32").replace("JMP", "ALU64")
        do = f"{alu}({op!r}, ...) is the arithmetic; conditions are {do.removeprefix('pass ')}"
    call.refuse(f"{described(op)}, and the op slot takes a jump condition", do, "not-a-jmp-op")


def size_of(size: Size) -> int:
    """Check an access size."""
    if size.__class__ is Size:
        return size
    Call().refuse(
        f"{described(size)}, and the size slot takes an access size",
        "pass BPF_B, BPF_H, BPF_W or BPF_DW: 1, 2, 4 or 8 bytes",
        "not-a-size",
    )


def one_of(slot: str, value: int, allowed: tuple[int, ...], why: str) -> int:
    """Check a number that has a few values only; ``why`` says what they are."""
    if isinstance(value, int) and value in allowed:
        return int(value)
    shown = ", ".join(map(repr, allowed))
    Call().refuse(f"{described(value)}, and the {slot} slot takes {shown}", why, "not-allowed-here")


def symbolic(value: Any) -> bool:
    """Tell an operand that becomes a number when the program is linked: an offset of a field, a value of an enum."""
    return isinstance(value, Symbol) and value.numeric


def imm32(imm: Any) -> Any:
    """Check the immediate of an operation on 32 bits: 0x80000000 to 0xffffffff mean the bits they show."""
    if (imm.__class__ is int and S32_MIN <= imm <= S32_MAX) or symbolic(imm):
        return imm
    number = number_in(imm, "imm")
    if S32_MIN <= number <= U32_MAX:
        return number if number <= S32_MAX else number - (1 << 32)
    Call().refuse(f"{number:#x} does not fit 32 bits", "load it with BPF_LD_IMM64", "imm-range")


def simm32(imm: Any) -> Any:
    """Check the immediate of an operation on 64 bits, which extends its sign."""
    if (imm.__class__ is int and S32_MIN <= imm <= S32_MAX) or symbolic(imm):
        return imm
    number = number_in(imm, "imm")
    if S32_MIN <= number <= S32_MAX:
        return number
    call = Call()
    if number <= U32_MAX and number > 0:
        extended = number - (1 << 32)
        call.refuse(
            f"{number:#x} would become {extended & U64_MAX:#x}: the 32-bit immediate of a 64-bit operation "
            "is sign-extended",
            f"write {extended} if you mean that, use the 32-bit macro, or load {number:#x} with BPF_LD_IMM64",
            "imm-sign",
        )
    call.refuse(f"{number:#x} does not fit the 32-bit immediate", "load it with BPF_LD_IMM64", "imm-range")


def imm64(imm: Any) -> tuple[Any, int]:
    """Check a 64-bit immediate; return its two halves as the signed numbers the slots hold."""
    if symbolic(imm) or (isinstance(imm, Symbol) and imm.wide):
        return imm, 0
    number = number_in(imm, "imm")
    if not S64_MIN <= number <= U64_MAX:
        Call().refuse(f"{number:#x} does not fit 64 bits", "split it, or keep it in a map", "imm-range")
    low, high = number & U32_MAX, number >> 32 & U32_MAX
    return low - ((low & 1 << 31) << 1), high - ((high & 1 << 31) << 1)


def off16(off: Any) -> Any:
    """Check a byte offset to a base register."""
    if (off.__class__ is int and S16_MIN <= off <= S16_MAX) or symbolic(off):
        return off
    if isinstance(off, str | Label):
        Call().refuse(
            f"{described(off)}, and the off slot of a memory access takes a number of bytes",
            "labels belong to jumps: BPF_JMP_IMM, BPF_JMP_REG, BPF_JMP_A",
            "label-in-offset",
        )
    number = number_in(off, "off")
    if S16_MIN <= number <= S16_MAX:
        return number
    Call().refuse(
        f"an offset of {number} bytes does not fit 16 bits (-32768 to 32767)",
        "add it to the base register first, with BPF_ALU64_IMM(BPF_ADD, ...)",
        "off-range",
    )


def jump16(off: Any) -> Any:
    """Check a jump's target: a label, or a distance in slots from the next instruction."""
    if off.__class__ is str or (off.__class__ is int and S16_MIN <= off <= S16_MAX):
        return off
    if isinstance(off, str | Label):
        return off
    number = number_in(off, "off")
    if S16_MIN <= number <= S16_MAX:
        return number
    Call().refuse(
        f"a jump of {number} slots does not fit 16 bits (-32768 to 32767)",
        "BPF_JMP32_A(...) jumps up to 2^31 slots, from kernel 6.6 on",
        "jump-range",
    )


def jump32(imm: Any) -> Any:
    """Check the target of a 32-bit jump: a label, or a distance in slots."""
    if isinstance(imm, str | Label):
        return imm
    number = number_in(imm, "imm")
    if S32_MIN <= number <= S32_MAX:
        return number
    Call().refuse(
        f"a distance of {number} slots does not fit 32 bits",
        f"the kernel takes programs of up to {MOST_SLOTS} slots",
        "jump-range",
    )


def fd_number(fd: Any) -> int:
    """Check a file descriptor."""
    if fd.__class__ is int and 0 <= fd <= S32_MAX:
        return int(fd)
    call = Call()
    call.refuse(
        f"{described(fd)}, and the {call.slot(fd)} slot takes a map: a map declared with HashMap(...) or its kin, "
        "or a file descriptor",
        'declare one: counts = HashMap("counts", key=u32, value=u64, max_entries=1)',
        "not-a-map",
    )


def number_in(value: Any, slot: str) -> int:
    """Check a number, which may be of a named kind (``BPF_JMP | BPF_CALL``); return it as a plain int."""
    if isinstance(value, int):
        return int(value)
    call = Call()
    slot = call.slot(value) or slot
    if isinstance(value, Reg):
        sibling = _REG_SIBLING.get(call.macro)
        if call.macro == "BPF_ST_MEM":
            size, dst, off, _ = call.arguments.values()
            do = f"did you mean BPF_STX_MEM({size!r}, {dst!r}, {value!r}, {show(off)})?"
        elif sibling:
            do = f"did you mean {call.written(sibling)}?"
        else:
            do = f"a number belongs there; {value!r} is known only when the program runs"
        call.refuse(f"{described(value)}, and the {slot} slot takes a number", do, "register-in-imm")
    if isinstance(value, str | Label):
        call.refuse(
            f"{described(value)}, and the {slot} slot takes a number",
            "a label goes into the offset slot of a jump, or into BPF_JMP32_A and BPF_CALL_REL",
            "label-in-imm",
        )
    call.refuse(f"{described(value)}, and the {slot} slot takes a number", "pass an int", "not-a-number")
