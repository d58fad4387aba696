"""Snippets for programs on probes: what the function was called with, and what it returned, on any processor."""

from __future__ import annotations

from bpfasm.asm.macros import (
    BPF_ALU64_IMM,
    BPF_EMIT_CALL,
    BPF_LDX_MEM,
    BPF_MOV64_IMM,
    BPF_MOV64_REG,
)
from bpfasm.asm.registers import register
from bpfasm.asm.snippets.expand import a_register, expanded, on_stack
from bpfasm.isa.operands import BPF_ADD, BPF_DW, FP, R1, R2, R3
from bpfasm.uapi.bpf import BPF_FUNC_probe_read_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.program import Item
    from bpfasm.isa.operands import Reg


def func_arg(n: int, to: Reg | int, *, ctx: Reg | int = R1) -> list[Item]:
    """Put argument ``n`` (from 0) of the function that a kprobe or uprobe is at into a register.

    ``ctx`` is the register that holds what R1 held when the program began. At the function's entry it is what the
    caller gave; later the register may hold something else. Changes Rn, which is ``to``. No stack.

    >>> from bpfasm.asm import R2, Program, Target, link, BPF_PROG_TYPE_KPROBE
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(func_arg(1, R2)))
    BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_1, register("args", 1))
    >>> program = Program("second", BPF_PROG_TYPE_KPROBE, func_arg(1, R2))
    >>> [link(program, Target(arch=machine)).insns[0].off for machine in ("x86_64", "aarch64")]
    [104, 8]
    """
    return expanded(BPF_LDX_MEM(BPF_DW, a_register("func_arg", to), a_register("func_arg", ctx), register("args", n)))


def ret_value(to: Reg | int, *, ctx: Reg | int = R1) -> list[Item]:
    """Put what a function returned into a register, in a program on a kretprobe or uretprobe.

    ``ctx`` is that of :func:`func_arg`. Changes Rn, which is ``to``. No stack.

    >>> from bpfasm.asm import R6
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(ret_value(R6)))
    BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_1, register("ret"))
    """
    return expanded(BPF_LDX_MEM(BPF_DW, a_register("ret_value", to), a_register("ret_value", ctx), register("ret")))


def syscall_arg(n: int, to: Reg | int, *, at: int, ctx: Reg | int = R1) -> list[Item]:
    """Put argument ``n`` (from 0) of a system call into a register, in a program on ``kprobe(syscall=...)``.

    The kernel's function for a system call takes one argument, the registers that it was called with (from 4.17 on
    x86_64, 4.19 on arm64), and this reads them. ``ctx`` is that of :func:`func_arg`; ``at`` is where 8 bytes of the
    stack are free. 0 where the registers cannot be read. Changes R0 to R5 and ``to``. Stack: 8 bytes.

    >>> from bpfasm.asm import R7
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(syscall_arg(1, R7, at=-8)))
    BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, register("args", 0))
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, register("syscall_args", 1))
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -8)
    BPF_MOV64_IMM(BPF_REG_2, 8)
    BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel)
    BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_10, -8)
    """
    place = on_stack("syscall_arg", at, 8)
    return expanded(
        BPF_LDX_MEM(BPF_DW, R3, a_register("syscall_arg", ctx), register("args", 0)),
        BPF_ALU64_IMM(BPF_ADD, R3, register("syscall_args", n)),
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, place),
        BPF_MOV64_IMM(R2, 8),
        BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel),
        BPF_LDX_MEM(BPF_DW, a_register("syscall_arg", to), FP, place),
    )
