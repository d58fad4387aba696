"""The instruction macros of include/linux/filter.h, by their names and in their argument order.

Each returns one frozen :class:`~bpfasm.isa.insn.Insn`. Registers are ``R0`` to ``R10`` (or ``BPF_REG_0`` ..., or
plain 0 to 10); ``op`` and ``size`` are the kernel's names, checked by kind; ``off`` of a jump is a label or a number
of slots. Where the kernel's copy and the tools/ copy of the header differ, tools/ is followed: it is the one written
for user space.
"""

from __future__ import annotations

from sys import _getframe

from bpfasm.asm.checks import (
    RAW_REG,
    REG,
    Call,
    alu_op,
    described,
    fd_number,
    imm32,
    imm64,
    jmp_op,
    jump16,
    jump32,
    number_in,
    off16,
    one_of,
    simm32,
    size_of,
    symbolic,
)
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Subprog
from bpfasm.asm.symbols import Label
from bpfasm.asm.variables import Global
from bpfasm.isa.filter_h import BPF_ADDR_PERCPU, BPF_NOSPEC
from bpfasm.isa.insn import Insn
from bpfasm.isa.operands import (
    BPF_ADD,
    BPF_AND,
    BPF_B,
    BPF_DIV,
    BPF_DW,
    BPF_END,
    BPF_EXIT,
    BPF_H,
    BPF_JA,
    BPF_K,
    BPF_MOD,
    BPF_MOV,
    BPF_OR,
    BPF_TO_BE,
    BPF_TO_LE,
    BPF_W,
    BPF_X,
    BPF_XOR,
    JmpOp,
)
from bpfasm.uapi import bpf, bpf_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.isa.operands import AluOp, Order, Reg, Size, SrcKind

    #: A register, or its number as C code has it.
    Register = Reg | int
    #: Where a jump goes: a label, or a distance in slots.
    Target = str | Label | int

_ALU, _ALU64 = bpf_common.BPF_ALU, bpf.BPF_ALU64
_JMP, _JMP32 = bpf_common.BPF_JMP, bpf.BPF_JMP32
_ALU_X, _ALU_K, _ALU64_X, _ALU64_K = _ALU | BPF_X, _ALU | BPF_K, _ALU64 | BPF_X, _ALU64 | BPF_K
_MOV_X, _MOV_K, _MOV64_X, _MOV64_K = _ALU_X | BPF_MOV, _ALU_K | BPF_MOV, _ALU64_X | BPF_MOV, _ALU64_K | BPF_MOV
_JMP_X, _JMP_K, _JMP32_X, _JMP32_K = _JMP | BPF_X, _JMP | BPF_K, _JMP32 | BPF_X, _JMP32 | BPF_K
_LD_IMM64 = bpf_common.BPF_LD | bpf_common.BPF_IMM | BPF_DW
_CALL = _JMP | bpf.BPF_CALL
_ENDIAN, _BSWAP = _ALU | BPF_END, _ALU64 | BPF_END
_LDX, _LDX_MEMSX = bpf_common.BPF_LDX | bpf_common.BPF_MEM, bpf_common.BPF_LDX | bpf.BPF_MEMSX
_ST, _STX = bpf_common.BPF_ST | bpf_common.BPF_MEM, bpf_common.BPF_STX | bpf_common.BPF_MEM
_ATOMIC = bpf_common.BPF_STX | bpf.BPF_ATOMIC
_LD_ABS, _LD_IND = bpf_common.BPF_LD | bpf_common.BPF_ABS, bpf_common.BPF_LD | bpf_common.BPF_IND

_BYTE_ORDER_BITS = (16, 32, 64)
_ATOMIC_RMW = (
    *(int(op) for op in (BPF_ADD, BPF_AND, BPF_OR, BPF_XOR)),
    *(op | bpf.BPF_FETCH for op in (BPF_ADD, BPF_AND, BPF_OR, BPF_XOR)),
    bpf.BPF_XCHG,
    bpf.BPF_CMPXCHG,
)
_ATOMIC_OPS = (*_ATOMIC_RMW, bpf.BPF_LOAD_ACQ, bpf.BPF_STORE_REL)

_new = tuple.__new__


# What programs are made of looks at its caller's frame itself: to have ``_insn`` do it would take a third longer.


def _insn(code: int, dst: int, src: int, off: Any, imm: Any) -> Insn:
    """Make an instruction of one slot, written where the macro was called."""
    frame = _getframe(2)
    return _new(Insn, (code, dst, src, off, imm, None, None, (frame.f_code, frame.f_lasti)))


def _wide(dst: int, src: int, off: int, imm: Any, off2: int, imm2: Any) -> Insn:
    """Make a BPF_LD_IMM64, which takes two slots."""
    frame = _getframe(2)
    return _new(Insn, (_LD_IMM64, dst, src, off, imm, off2, imm2, (frame.f_code, frame.f_lasti)))


# Arithmetic


def BPF_ALU64_REG(op: AluOp, dst: Register, src: Register) -> Insn:
    """Compute ``dst = dst op src`` on 64 bits."""
    f = _getframe(1)
    return _new(Insn, (_ALU64_X | alu_op(op), REG[dst], REG[src], 0, 0, None, None, (f.f_code, f.f_lasti)))


def BPF_ALU64_REG_OFF(op: AluOp, dst: Register, src: Register, off: int) -> Insn:
    """Compute ``dst = dst op src`` on 64 bits; ``off`` 1 makes BPF_DIV and BPF_MOD signed (ISA v4)."""
    return _insn(_ALU64_X | alu_op(op), REG[dst], REG[src], _signedness(op, off), 0)


def BPF_ALU32_REG(op: AluOp, dst: Register, src: Register) -> Insn:
    """Compute ``dst = dst op src`` on 32 bits; the upper half of ``dst`` becomes 0."""
    f = _getframe(1)
    return _new(Insn, (_ALU_X | alu_op(op), REG[dst], REG[src], 0, 0, None, None, (f.f_code, f.f_lasti)))


def BPF_ALU32_REG_OFF(op: AluOp, dst: Register, src: Register, off: int) -> Insn:
    """Compute ``dst = dst op src`` on 32 bits; ``off`` 1 makes BPF_DIV and BPF_MOD signed (ISA v4)."""
    return _insn(_ALU_X | alu_op(op), REG[dst], REG[src], _signedness(op, off), 0)


def BPF_ALU64_IMM(op: AluOp, dst: Register, imm: int) -> Insn:
    """Compute ``dst = dst op imm`` on 64 bits; ``imm`` is sign-extended from 32."""
    f = _getframe(1)
    return _new(Insn, (_ALU64_K | alu_op(op), REG[dst], 0, 0, simm32(imm), None, None, (f.f_code, f.f_lasti)))


def BPF_ALU64_IMM_OFF(op: AluOp, dst: Register, imm: int, off: int) -> Insn:
    """Compute ``dst = dst op imm`` on 64 bits; ``off`` 1 makes BPF_DIV and BPF_MOD signed (ISA v4)."""
    return _insn(_ALU64_K | alu_op(op), REG[dst], 0, _signedness(op, off), simm32(imm))


def BPF_ALU32_IMM(op: AluOp, dst: Register, imm: int) -> Insn:
    """Compute ``dst = dst op imm`` on 32 bits; the upper half of ``dst`` becomes 0."""
    f = _getframe(1)
    return _new(Insn, (_ALU_K | alu_op(op), REG[dst], 0, 0, imm32(imm), None, None, (f.f_code, f.f_lasti)))


def BPF_ALU32_IMM_OFF(op: AluOp, dst: Register, imm: int, off: int) -> Insn:
    """Compute ``dst = dst op imm`` on 32 bits; ``off`` 1 makes BPF_DIV and BPF_MOD signed (ISA v4)."""
    return _insn(_ALU_K | alu_op(op), REG[dst], 0, _signedness(op, off), imm32(imm))


def _signedness(op: AluOp, off: int) -> int:
    """Check the offset of an arithmetic operation: 1 means signed, and only division and modulo have it."""
    if op in (BPF_DIV, BPF_MOD):
        return one_of("off", off, (0, 1), "0 is the unsigned operation, 1 the signed one")
    return one_of("off", off, (0,), "only BPF_DIV and BPF_MOD have a signed form")


def BPF_ENDIAN(type: Order, dst: Register, len: int) -> Insn:
    """Convert the low ``len`` bits (16, 32, 64) of ``dst`` to BPF_TO_LE or BPF_TO_BE; the rest becomes 0."""
    order = one_of("type", type, (BPF_TO_LE, BPF_TO_BE), "BPF_TO_LE is little-endian, BPF_TO_BE is network order")
    bits = one_of("len", len, _BYTE_ORDER_BITS, "it is a number of bits")
    return _insn(_ENDIAN | order, REG[dst], 0, 0, bits)


def BPF_BSWAP(dst: Register, len: int) -> Insn:
    """Reverse the bytes of the low ``len`` bits (16, 32, 64) of ``dst``; the rest becomes 0 (ISA v4)."""
    return _insn(_BSWAP, REG[dst], 0, 0, one_of("len", len, _BYTE_ORDER_BITS, "it is a number of bits"))


# Moves


def BPF_MOV64_REG(dst: Register, src: Register) -> Insn:
    """Copy 64 bits: ``dst = src``."""
    f = _getframe(1)
    return _new(Insn, (_MOV64_X, REG[dst], REG[src], 0, 0, None, None, (f.f_code, f.f_lasti)))


def BPF_MOV32_REG(dst: Register, src: Register) -> Insn:
    """Copy the low 32 bits: the upper half of ``dst`` becomes 0."""
    f = _getframe(1)
    return _new(Insn, (_MOV_X, REG[dst], REG[src], 0, 0, None, None, (f.f_code, f.f_lasti)))


def BPF_MOV64_IMM(dst: Register, imm: int) -> Insn:
    """Set ``dst`` to ``imm``, sign-extended from 32 bits."""
    f = _getframe(1)
    return _new(Insn, (_MOV64_K, REG[dst], 0, 0, simm32(imm), None, None, (f.f_code, f.f_lasti)))


def BPF_MOV32_IMM(dst: Register, imm: int) -> Insn:
    """Set the low half of ``dst`` to ``imm`` and the upper half to 0."""
    f = _getframe(1)
    return _new(Insn, (_MOV_K, REG[dst], 0, 0, imm32(imm), None, None, (f.f_code, f.f_lasti)))


def BPF_MOVSX64_REG(dst: Register, src: Register, off: int) -> Insn:
    """Copy the low ``off`` bits (8, 16, 32) of ``src`` and extend their sign to 64 bits (ISA v4)."""
    return _insn(_MOV64_X, REG[dst], REG[src], one_of("off", off, (8, 16, 32), "it is a number of bits"), 0)


def BPF_MOVSX32_REG(dst: Register, src: Register, off: int) -> Insn:
    """Copy the low ``off`` bits (8, 16) of ``src`` and extend their sign to 32 bits (ISA v4)."""
    return _insn(_MOV_X, REG[dst], REG[src], one_of("off", off, (8, 16), "it is a number of bits"), 0)


def BPF_MOV64_RAW(type: SrcKind, dst: Register, src: Register, imm: int) -> Insn:
    """Make a 64-bit move of either kind: ``type`` BPF_X copies ``src``, BPF_K sets ``imm``."""
    source = one_of("type", type, (BPF_K, BPF_X), "BPF_K takes the immediate, BPF_X the register")
    return _insn(_MOV64_K | source, REG[dst], REG[src], 0, simm32(imm))


def BPF_MOV32_RAW(type: SrcKind, dst: Register, src: Register, imm: int) -> Insn:
    """Make a 32-bit move of either kind: ``type`` BPF_X copies ``src``, BPF_K sets ``imm``."""
    source = one_of("type", type, (BPF_K, BPF_X), "BPF_K takes the immediate, BPF_X the register")
    return _insn(_MOV_K | source, REG[dst], REG[src], 0, imm32(imm))


def BPF_ZEXT_REG(dst: Register) -> Insn:
    """Mark a zero extension of ``dst``; the verifier inserts it, and no program loads with it."""
    return _insn(_MOV_X, REG[dst], REG[dst], 0, 1)


def BPF_MOV64_PERCPU_REG(dst: Register, src: Register) -> Insn:
    """Add this CPU's offset: ``dst = src + offset``; the kernel inserts it, and no program loads with it."""
    return _insn(_MOV64_X, REG[dst], REG[src], BPF_ADDR_PERCPU, 0)


# Loads of 64-bit immediates: one instruction, two slots


def BPF_LD_IMM64(dst: Register, imm: int) -> Insn:
    """Set ``dst`` to a 64-bit number; takes two slots."""
    low, high = imm64(imm)
    return _wide(REG[dst], 0, 0, low, 0, high)


def BPF_LD_IMM64_RAW(dst: Register, src: int, imm: int) -> Insn:
    """Load a 64-bit number under a pseudo source (BPF_PSEUDO_MAP_FD ...); takes two slots."""
    low, high = imm64(imm)
    return _wide(REG[dst], RAW_REG[src], 0, low, 0, high)


def BPF_LD_IMM64_RAW_FULL(dst: Register, src: int, off1: int, off2: int, imm1: Any, imm2: int) -> Insn:
    """Load under a pseudo source with every field of both slots given; takes two slots.

    ``imm1`` may be a subprogram or its label when ``src`` is BPF_PSEUDO_FUNC.
    """
    first = imm1 if isinstance(imm1, Subprog | Label | str) and src == bpf.BPF_PSEUDO_FUNC else imm32(imm1)
    return _wide(RAW_REG[dst], RAW_REG[src], off16(off1), first, off16(off2), imm32(imm2))


def BPF_LD_MAP_FD(dst: Register, map_fd: MapSpec | int) -> Insn:
    """Load a map: ``map_fd`` is a declared map (``link()`` finds its fd) or a file descriptor; two slots."""
    return _wide(REG[dst], bpf.BPF_PSEUDO_MAP_FD, 0, _map(map_fd), 0, 0)


def BPF_LD_MAP_VALUE(dst: Register, map_fd: MapSpec | Global | int, value_off: int) -> Insn:
    """Load the address of byte ``value_off`` in the one value of an array map, or in a variable; takes two slots."""
    field = map_fd if isinstance(map_fd, Global) else _map(map_fd)
    return _wide(REG[dst], bpf.BPF_PSEUDO_MAP_VALUE, 0, field, 0, imm32(value_off))


def _map(operand: MapSpec | int) -> MapSpec | int:
    return operand if isinstance(operand, MapSpec) else fd_number(operand)


# Memory


def BPF_LD_ABS(size: Size, imm: int) -> Insn:
    """Load from a packet at ``imm`` into R0, converted to host order; R6 is the skb, R1 to R5 are lost."""
    return _insn(_LD_ABS | _up_to_word(size), 0, 0, 0, imm32(imm))


def BPF_LD_IND(size: Size, src: Register, imm: int) -> Insn:
    """Load from a packet at ``src + imm`` into R0, converted to host order; R6 is the skb, R1 to R5 are lost."""
    return _insn(_LD_IND | _up_to_word(size), 0, REG[src], 0, imm32(imm))


def BPF_LDX_MEM(size: Size, dst: Register, src: Register, off: int) -> Insn:
    """Load ``dst = *(size *)(src + off)``; what is above ``size`` becomes 0."""
    f = _getframe(1)
    return _new(Insn, (_LDX | size_of(size), REG[dst], REG[src], off16(off), 0, None, None, (f.f_code, f.f_lasti)))


def BPF_LDX_MEMSX(size: Size, dst: Register, src: Register, off: int) -> Insn:
    """Load ``dst = *(signed size *)(src + off)`` and extend the sign to 64 bits (ISA v4)."""
    return _insn(_LDX_MEMSX | _up_to_word(size), REG[dst], REG[src], off16(off), 0)


def BPF_STX_MEM(size: Size, dst: Register, src: Register, off: int) -> Insn:
    """Store a register: ``*(size *)(dst + off) = src``."""
    f = _getframe(1)
    return _new(Insn, (_STX | size_of(size), REG[dst], REG[src], off16(off), 0, None, None, (f.f_code, f.f_lasti)))


def BPF_ST_MEM(size: Size, dst: Register, off: int, imm: int) -> Insn:
    """Store a number: ``*(size *)(dst + off) = imm``; at BPF_DW it is sign-extended."""
    field = simm32 if size is BPF_DW else imm32
    f = _getframe(1)
    return _new(Insn, (_ST | size_of(size), REG[dst], 0, off16(off), field(imm), None, None, (f.f_code, f.f_lasti)))


def _up_to_word(size: Size) -> int:
    """Check a size of at most 4 bytes."""
    if size is BPF_DW:
        Call().refuse("BPF_DW is 8 bytes, and this instruction reads at most 4", "pass BPF_B, BPF_H or BPF_W", "size")
    return size_of(size)


def BPF_ATOMIC_OP(size: Size, op: int, dst: Register, src: Register, off: int) -> Insn:
    """Change memory at ``dst + off`` atomically with ``src``.

    ``op`` is BPF_ADD, BPF_AND, BPF_OR or BPF_XOR, each also with ``| BPF_FETCH`` (``src`` gets the old value);
    BPF_XCHG; BPF_CMPXCHG (compares with R0, R0 gets the old value): on BPF_W and BPF_DW. BPF_LOAD_ACQ
    (``dst`` gets what is at ``src + off``) and BPF_STORE_REL take every size.
    """
    return _insn(_ATOMIC | _atomic_size(size, op), REG[dst], REG[src], off16(off), _atomic_op(op))


def BPF_STX_XADD(size: Size, dst: Register, src: Register, off: int) -> Insn:
    """Add ``src`` to memory atomically: the older name of BPF_ATOMIC_OP with BPF_ADD."""
    return _insn(_ATOMIC | _atomic_size(size, BPF_ADD), REG[dst], REG[src], off16(off), int(BPF_ADD))


def _atomic_op(op: int) -> int:
    if isinstance(op, int) and not isinstance(op, JmpOp) and op in _ATOMIC_OPS:
        return int(op)
    Call().refuse(
        f"{described(op)}, and the op slot takes an atomic operation",
        "pass BPF_ADD, BPF_AND, BPF_OR, BPF_XOR (also with | BPF_FETCH), BPF_XCHG, BPF_CMPXCHG, BPF_LOAD_ACQ, "
        "BPF_STORE_REL",
        "not-an-atomic-op",
    )


def _atomic_size(size: Size, op: int) -> int:
    if size in (BPF_B, BPF_H) and op in _ATOMIC_RMW and size_of(size) == size:
        Call().refuse(
            f"{size!r} is too small: this operation exists for 4 and 8 bytes", "pass BPF_W or BPF_DW", "size"
        )
    return size_of(size)


# Jumps


def BPF_JMP_REG(op: JmpOp, dst: Register, src: Register, off: Target) -> Insn:
    """Jump if ``dst op src`` on 64 bits; ``off`` is a label, or slots from the next instruction."""
    f = _getframe(1)
    return _new(Insn, (_JMP_X | jmp_op(op), REG[dst], REG[src], jump16(off), 0, None, None, (f.f_code, f.f_lasti)))


def BPF_JMP_IMM(op: JmpOp, dst: Register, imm: int, off: Target) -> Insn:
    """Jump if ``dst op imm`` on 64 bits; ``imm`` is sign-extended, ``off`` is a label or a number of slots."""
    f = _getframe(1)
    return _new(Insn, (_JMP_K | jmp_op(op), REG[dst], 0, jump16(off), simm32(imm), None, None, (f.f_code, f.f_lasti)))


def BPF_JMP32_REG(op: JmpOp, dst: Register, src: Register, off: Target) -> Insn:
    """Jump if ``dst op src`` on the low 32 bits."""
    f = _getframe(1)
    return _new(Insn, (_JMP32_X | jmp_op(op), REG[dst], REG[src], jump16(off), 0, None, None, (f.f_code, f.f_lasti)))


def BPF_JMP32_IMM(op: JmpOp, dst: Register, imm: int, off: Target) -> Insn:
    """Jump if ``dst op imm`` on the low 32 bits."""
    f = _getframe(1)
    return _new(
        Insn, (_JMP32_K | jmp_op(op), REG[dst], 0, jump16(off), imm32(imm), None, None, (f.f_code, f.f_lasti))
    )


def BPF_JMP_A(off: Target) -> Insn:
    """Jump always."""
    return _insn(_JMP | BPF_JA, 0, 0, jump16(off), 0)


def BPF_JMP32_A(imm: Target) -> Insn:
    """Jump always, up to 2^31 slots: ``gotol`` (ISA v4)."""
    return _insn(_JMP32 | BPF_JA, 0, 0, 0, jump32(imm))


# Calls


def BPF_CALL_REL(tgt: Subprog | Target) -> Insn:
    """Call a subprogram: a ``Subprog``, a label of this body, or a distance in slots."""
    return _insn(_CALL, 0, bpf.BPF_PSEUDO_CALL, 0, tgt if isinstance(tgt, Subprog) else jump32(tgt))


def BPF_EMIT_CALL(func: int) -> Insn:
    """Call a helper by its id: BPF_FUNC_map_lookup_elem and its kin."""
    return _insn(_CALL, 0, 0, 0, imm32(func))


def BPF_CALL_KFUNC(off: int, imm: Kfunc | int) -> Insn:
    """Call a kernel function: ``BPF_CALL_KFUNC(0, kfunc("bpf_rcu_read_lock"))``, or by its BTF id.

    ``off`` is 0 for vmlinux, else an index into the fd array; of a function by its name, ``link()`` sets it.
    """
    field = imm if isinstance(imm, Kfunc) else imm32(imm)
    return _insn(_CALL, 0, bpf.BPF_PSEUDO_KFUNC_CALL, off16(off), field)


def BPF_EXIT_INSN() -> Insn:
    """Return R0 to the caller."""
    return _insn(_JMP | BPF_EXIT, 0, 0, 0, 0)


# What no other macro says


def BPF_RAW_INSN(code: int, dst: Register, src: Register, off: Any, imm: Any) -> Insn:
    """Make an instruction field by field; nothing but the fields' ranges is checked.

    ``off`` may be a label, ``imm`` also a subprogram, a kernel function, or a map; a field of a struct may be either.
    """
    number = number_in(code, "code")
    if not 0 <= number <= 0xFF:
        Call().refuse(
            f"code {number:#x} does not fit 8 bits", "pass the class, the operation and the mode", "imm-range"
        )
    field = imm if isinstance(imm, str | Label | Subprog | Kfunc | MapSpec) else imm32(imm)
    return _insn(number, RAW_REG[dst], RAW_REG[src], off if symbolic(off) else jump16(off), field)


def BPF_ST_NOSPEC() -> Insn:
    """Make a speculation barrier; the verifier inserts it, and no program loads with it."""
    return _insn(bpf_common.BPF_ST | BPF_NOSPEC, 0, 0, 0, 0)


# What an opcode is made of


def BPF_CLASS(code: int) -> int:
    """Return the class bits of a code."""
    return code & 0x07


def BPF_SIZE(code: int) -> int:
    """Return the size bits of a load's or store's code."""
    return code & 0x18


def BPF_MODE(code: int) -> int:
    """Return the mode bits of a load's or store's code."""
    return code & 0xE0


def BPF_OP(code: int) -> int:
    """Return the operation bits of an arithmetic or jump code."""
    return code & 0xF0


def BPF_SRC(code: int) -> int:
    """Return the source bit of an arithmetic or jump code: BPF_K or BPF_X."""
    return code & 0x08


def BPF_LDST_BYTES(insn: Insn) -> int:
    """Return how many bytes a load or store moves."""
    return {BPF_W: 4, BPF_H: 2, BPF_B: 1, BPF_DW: 8}[BPF_SIZE(insn.code)]  # type: ignore[index]


__all__ = [
    "BPF_ALU64_REG", "BPF_ALU64_REG_OFF", "BPF_ALU32_REG", "BPF_ALU32_REG_OFF", "BPF_ALU64_IMM",
    "BPF_ALU64_IMM_OFF", "BPF_ALU32_IMM", "BPF_ALU32_IMM_OFF", "BPF_ENDIAN", "BPF_BSWAP", "BPF_MOV64_REG",
    "BPF_MOV32_REG", "BPF_MOV64_IMM", "BPF_MOV32_IMM", "BPF_MOVSX64_REG", "BPF_MOVSX32_REG", "BPF_MOV64_RAW",
    "BPF_MOV32_RAW", "BPF_ZEXT_REG", "BPF_MOV64_PERCPU_REG", "BPF_LD_IMM64", "BPF_LD_IMM64_RAW",
    "BPF_LD_IMM64_RAW_FULL", "BPF_LD_MAP_FD", "BPF_LD_MAP_VALUE", "BPF_LD_ABS", "BPF_LD_IND", "BPF_LDX_MEM",
    "BPF_LDX_MEMSX", "BPF_STX_MEM", "BPF_ST_MEM", "BPF_ATOMIC_OP", "BPF_STX_XADD", "BPF_JMP_REG", "BPF_JMP_IMM",
    "BPF_JMP32_REG", "BPF_JMP32_IMM", "BPF_JMP_A", "BPF_JMP32_A", "BPF_CALL_REL", "BPF_EMIT_CALL",
    "BPF_CALL_KFUNC", "BPF_EXIT_INSN", "BPF_RAW_INSN", "BPF_ST_NOSPEC", "BPF_CLASS", "BPF_SIZE", "BPF_MODE",
    "BPF_OP", "BPF_SRC", "BPF_LDST_BYTES",
]  # fmt: skip
