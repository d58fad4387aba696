"""Operand kinds: what tells a register from a number and an ALU operation from a jump condition.

In C all of these are ints, and ``BPF_ALU64_IMM(BPF_JEQ, ...)`` compiles. Here each kind is a type of its own, so
that a macro can say which one it wanted. All but registers are still ints: ``BPF_JMP | BPF_CALL`` works as in C.
"""

from __future__ import annotations

from bpfasm.errors import OperandError
from bpfasm.isa.where import here, source_of
from bpfasm.uapi import bpf, bpf_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class Reg:
    """A register, R0 to R11. Not an int: arithmetic on it is refused with the instruction that does it."""

    __slots__ = ("number",)
    number: int

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"R{self.number}"

    def _refuse(self, other: object) -> NoReturn:
        raise OperandError(
            f"{self!r} is a register: Python cannot add to it or subtract from it",
            f"write the instruction, BPF_ALU64_IMM(BPF_ADD, {self!r}, ...), or put the offset in the off slot",
            source=source_of(here()),
            rule="reg-arithmetic",
        )

    __add__ = __radd__ = __sub__ = __rsub__ = _refuse


class Named(int):
    """An int that knows the kernel's name for it."""

    name: str

    def __new__(cls, name: str, value: int) -> Named:
        self = super().__new__(cls, value)
        self.name = name
        return self

    def __repr__(self) -> str:
        return self.name


class Size(Named):
    """The width of a memory access: BPF_B, BPF_H, BPF_W, BPF_DW (1, 2, 4, 8 bytes)."""


class AluOp(Named):
    """An arithmetic operation: BPF_ADD ... BPF_ARSH."""


class JmpOp(Named):
    """A jump condition: BPF_JEQ ... BPF_JSLE."""


class SrcKind(Named):
    """Where the second operand is: BPF_K (the immediate) or BPF_X (a register)."""


class Order(Named):
    """The byte order that BPF_ENDIAN converts to: BPF_TO_LE or BPF_TO_BE."""


#: R0 to R10 as the verifier prints them, and R11, through which kernels from 7.x on pass arguments on the stack.
REGS = tuple(Reg(number) for number in range(bpf.MAX_BPF_REG + 1))
R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = REGS[: bpf.MAX_BPF_REG]
FP = R10

BPF_REG_0, BPF_REG_1, BPF_REG_2, BPF_REG_3, BPF_REG_4, BPF_REG_5 = R0, R1, R2, R3, R4, R5
BPF_REG_6, BPF_REG_7, BPF_REG_8, BPF_REG_9, BPF_REG_10 = R6, R7, R8, R9, R10
BPF_REG_ARG1, BPF_REG_ARG2, BPF_REG_ARG3, BPF_REG_ARG4, BPF_REG_ARG5 = R1, R2, R3, R4, R5
BPF_REG_CTX, BPF_REG_FP = R6, R10
BPF_REG_PARAMS = REGS[bpf.MAX_BPF_REG]

SIZES = (
    BPF_B := Size("BPF_B", bpf_common.BPF_B),
    BPF_H := Size("BPF_H", bpf_common.BPF_H),
    BPF_W := Size("BPF_W", bpf_common.BPF_W),
    BPF_DW := Size("BPF_DW", bpf.BPF_DW),
)


ALU_OPS = (
    BPF_ADD := AluOp("BPF_ADD", bpf_common.BPF_ADD),
    BPF_SUB := AluOp("BPF_SUB", bpf_common.BPF_SUB),
    BPF_MUL := AluOp("BPF_MUL", bpf_common.BPF_MUL),
    BPF_DIV := AluOp("BPF_DIV", bpf_common.BPF_DIV),
    BPF_OR := AluOp("BPF_OR", bpf_common.BPF_OR),
    BPF_AND := AluOp("BPF_AND", bpf_common.BPF_AND),
    BPF_LSH := AluOp("BPF_LSH", bpf_common.BPF_LSH),
    BPF_RSH := AluOp("BPF_RSH", bpf_common.BPF_RSH),
    BPF_NEG := AluOp("BPF_NEG", bpf_common.BPF_NEG),
    BPF_MOD := AluOp("BPF_MOD", bpf_common.BPF_MOD),
    BPF_XOR := AluOp("BPF_XOR", bpf_common.BPF_XOR),
    BPF_MOV := AluOp("BPF_MOV", bpf.BPF_MOV),
    BPF_ARSH := AluOp("BPF_ARSH", bpf.BPF_ARSH),
    BPF_END := AluOp("BPF_END", bpf.BPF_END),
)

JMP_OPS = (
    BPF_JA := JmpOp("BPF_JA", bpf_common.BPF_JA),
    BPF_JEQ := JmpOp("BPF_JEQ", bpf_common.BPF_JEQ),
    BPF_JGT := JmpOp("BPF_JGT", bpf_common.BPF_JGT),
    BPF_JGE := JmpOp("BPF_JGE", bpf_common.BPF_JGE),
    BPF_JSET := JmpOp("BPF_JSET", bpf_common.BPF_JSET),
    BPF_JNE := JmpOp("BPF_JNE", bpf.BPF_JNE),
    BPF_JSGT := JmpOp("BPF_JSGT", bpf.BPF_JSGT),
    BPF_JSGE := JmpOp("BPF_JSGE", bpf.BPF_JSGE),
    BPF_CALL := JmpOp("BPF_CALL", bpf.BPF_CALL),
    BPF_EXIT := JmpOp("BPF_EXIT", bpf.BPF_EXIT),
    BPF_JLT := JmpOp("BPF_JLT", bpf.BPF_JLT),
    BPF_JLE := JmpOp("BPF_JLE", bpf.BPF_JLE),
    BPF_JSLT := JmpOp("BPF_JSLT", bpf.BPF_JSLT),
    BPF_JSLE := JmpOp("BPF_JSLE", bpf.BPF_JSLE),
    BPF_JCOND := JmpOp("BPF_JCOND", bpf.BPF_JCOND),
)

BPF_K = SrcKind("BPF_K", bpf_common.BPF_K)
BPF_X = SrcKind("BPF_X", bpf_common.BPF_X)
BPF_TO_LE = Order("BPF_TO_LE", bpf.BPF_TO_LE)
BPF_TO_BE = Order("BPF_TO_BE", bpf.BPF_TO_BE)

#: What a file of programs writes; the kinds themselves stay here.
__all__ = [
    "R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "FP", "BPF_REG_0", "BPF_REG_1",
    "BPF_REG_2", "BPF_REG_3", "BPF_REG_4", "BPF_REG_5", "BPF_REG_6", "BPF_REG_7", "BPF_REG_8", "BPF_REG_9",
    "BPF_REG_10", "BPF_REG_ARG1", "BPF_REG_ARG2", "BPF_REG_ARG3", "BPF_REG_ARG4", "BPF_REG_ARG5", "BPF_REG_CTX",
    "BPF_REG_FP", "BPF_REG_PARAMS", "BPF_B", "BPF_H", "BPF_W", "BPF_DW", "BPF_ADD", "BPF_SUB", "BPF_MUL",
    "BPF_DIV", "BPF_OR", "BPF_AND", "BPF_LSH", "BPF_RSH", "BPF_NEG", "BPF_MOD", "BPF_XOR", "BPF_MOV",
    "BPF_ARSH", "BPF_END", "BPF_JA", "BPF_JEQ", "BPF_JGT", "BPF_JGE", "BPF_JSET", "BPF_JNE", "BPF_JSGT",
    "BPF_JSGE", "BPF_CALL", "BPF_EXIT", "BPF_JLT", "BPF_JLE", "BPF_JSLT", "BPF_JSLE", "BPF_JCOND", "BPF_K",
    "BPF_X", "BPF_TO_LE", "BPF_TO_BE",
]  # fmt: skip
