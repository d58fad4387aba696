"""A snippet for programs at marks (USDT): what the program passes there."""

from __future__ import annotations

from bpfasm.asm.macros import (
    BPF_ALU64_IMM,
    BPF_ALU64_REG,
    BPF_EMIT_CALL,
    BPF_LD_IMM64,
    BPF_LDX_MEM,
    BPF_MOV64_IMM,
    BPF_MOV64_REG,
    BPF_ST_MEM,
)
from bpfasm.asm.snippets.expand import a_register, expanded, on_stack, refused
from bpfasm.isa.operands import BPF_ADD, BPF_ARSH, BPF_DW, BPF_LSH, BPF_RSH, FP, R1, R2, R3
from bpfasm.uapi.bpf import BPF_FUNC_probe_read_user
from bpfasm.uapi.ptrace import bpf_user_pt_regs_t

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.program import Item
    from bpfasm.elf.usdt import UsdtArg
    from bpfasm.isa.insn import Insn
    from bpfasm.isa.operands import Reg


def usdt_arg(arg: UsdtArg, to: Reg | int, *, at: int, ctx: Reg | int = R1) -> list[Item]:
    """Put an argument of a mark into a register: one of ``bpfasm.kernel.user.marks(file)[n].args``.

    It is extended to 64 bits, by its sign where it has one. ``ctx`` is the register that holds what R1 held when the
    program began, no other than R1 or R6 to R9; ``at`` is where 8 bytes of the stack are free. 0 where memory cannot
    be read. Changes R0 to R5 and ``to``. Stack: 8 bytes.

    >>> from bpfasm.asm import R7
    >>> from bpfasm.asm.syntax.macro import body
    >>> from bpfasm.elf.usdt import parse_args
    >>> in_register, in_memory = parse_args("-4@%edi 8@16(%rsp)")
    >>> print(body(usdt_arg(in_register, R7, at=-8)))
    BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, 112)
    BPF_ALU64_IMM(BPF_LSH, BPF_REG_7, 32)
    BPF_ALU64_IMM(BPF_ARSH, BPF_REG_7, 32)
    >>> print(body(usdt_arg(in_memory, R7, at=-8)))
    BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, 152)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, 16)
    BPF_ST_MEM(BPF_DW, BPF_REG_10, -8, 0)
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -8)
    BPF_MOV64_IMM(BPF_REG_2, 8)
    BPF_EMIT_CALL(BPF_FUNC_probe_read_user)
    BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_10, -8)
    """
    goal, base, place = a_register("usdt_arg", to), a_register("usdt_arg", ctx), on_stack("usdt_arg", at, 8)
    if not arg.known:
        raise refused(
            f"usdt_arg: {arg.text!r} is no place that is known", "probe the function, and take its arguments"
        )
    if not arg.register:
        small = -(1 << 31) <= arg.value < 1 << 31
        return expanded(BPF_MOV64_IMM(goal, arg.value) if small else BPF_LD_IMM64(goal, arg.value))
    if not arg.memory:
        return expanded(BPF_LDX_MEM(BPF_DW, goal, base, _offset(arg.register)), *_widened(arg, goal))
    index: list[Insn] = []
    if arg.index:
        index = [
            BPF_LDX_MEM(BPF_DW, R2, base, _offset(arg.index)),
            BPF_ALU64_IMM(BPF_LSH, R2, arg.scale.bit_length() - 1),
            BPF_ALU64_REG(BPF_ADD, R3, R2),
        ]
    return expanded(
        BPF_LDX_MEM(BPF_DW, R3, base, _offset(arg.register)),
        *index,
        BPF_ALU64_IMM(BPF_ADD, R3, arg.value),
        BPF_ST_MEM(BPF_DW, FP, place, 0),
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, place),
        BPF_MOV64_IMM(R2, arg.size),
        BPF_EMIT_CALL(BPF_FUNC_probe_read_user),
        BPF_LDX_MEM(BPF_DW, goal, FP, place),
        *_widened(arg, goal),
    )


def _offset(register: str) -> int:
    """Return where a register is in the context; its name says of which processor it is."""
    name, _, index = register.partition("[")
    layout = next(each for each in bpf_user_pt_regs_t.values() if name in each)
    return layout[name][0] + 8 * int(index.rstrip("]") or 0)


def _widened(arg: UsdtArg, register: Reg) -> list[Insn]:
    """Return what drops the bytes above an argument, and extends its sign."""
    bits = 64 - 8 * arg.size
    if not bits:
        return []
    return [
        BPF_ALU64_IMM(BPF_LSH, register, bits),
        BPF_ALU64_IMM(BPF_ARSH if arg.signed else BPF_RSH, register, bits),
    ]
