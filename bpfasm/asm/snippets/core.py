"""Snippets that read the kernel's structs through pointers, by the names of their fields.

A program that may follow a pointer itself (fentry, tp_btf) loads with ``BPF_LDX_MEM(BPF_DW, R1, R1, field(...))``.
Others ask ``bpf_probe_read_kernel`` for a copy on the stack, which these write out.
"""

from __future__ import annotations

from bpfasm.asm.fields import Core, FirstOf
from bpfasm.asm.macros import BPF_ALU64_IMM, BPF_EMIT_CALL, BPF_LDX_MEM, BPF_MOV64_IMM, BPF_MOV64_REG, BPF_ST_MEM
from bpfasm.asm.snippets.expand import a_register, expanded, on_stack, refused
from bpfasm.isa.operands import BPF_ADD, BPF_ARSH, BPF_DW, BPF_LSH, BPF_RSH, FP, R0, R1, R2, R3
from bpfasm.uapi.bpf import BPF_CORE_FIELD_BYTE_OFFSET, BPF_FUNC_probe_read_kernel, BPF_FUNC_probe_read_kernel_str

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.program import Item
    from bpfasm.isa.operands import Reg

    Offset = Core | FirstOf | int


def core_read(to: int, base: Reg | int, *fields: Offset, size: Any = 8) -> list[Item]:
    """Copy what is at the end of a chain of pointers to the stack at ``to``, ``size`` bytes of it.

    ``base`` is the register that points at the first struct; each field but the last is a pointer to the next one:
    ``core_read(-8, R0, field("task_struct", "real_parent"), field("task_struct", "tgid"), size=4)``. A pointer that
    leads nowhere gives zeros, and R0 is not 0 then. Changes R0 to R5. Stack: ``size`` bytes at ``to``, 8 with more
    than one field.

    >>> from bpfasm.asm import R0, field
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(core_read(-8, R0, field("task_struct", "real_parent"), field("task_struct", "tgid"), size=4)))
    BPF_MOV64_REG(BPF_REG_3, BPF_REG_0)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, field("task_struct", "real_parent"))
    BPF_MOV64_IMM(BPF_REG_2, 8)
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -8)
    BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel)
    BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_10, -8)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, field("task_struct", "tgid"))
    BPF_MOV64_IMM(BPF_REG_2, 4)
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -8)
    BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel)
    """
    return expanded(*_chain("core_read", to, base, fields, _size(size), BPF_FUNC_probe_read_kernel))


def core_read_str(to: int, base: Reg | int, *fields: Offset, size: Any) -> list[Item]:
    """Copy the text at the end of a chain of pointers to the stack at ``to``, up to ``size`` bytes with its zero.

    The last field is an array of char. Where it is a pointer to text, follow it with 0, the offset of the text there:
    ``core_read_str(-64, R6, field("dentry", "d_name.name"), 0, size=64)``. R0 is the length with the zero, negative
    where there is none. Changes R0 to R5. Stack: ``size`` bytes at ``to``, 8 at least with more than one field.

    >>> from bpfasm.asm import R0, field
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(core_read_str(-16, R0, field("task_struct", "comm"), size=16)))
    BPF_MOV64_REG(BPF_REG_3, BPF_REG_0)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, field("task_struct", "comm"))
    BPF_MOV64_IMM(BPF_REG_2, 16)
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -16)
    BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel_str)
    """
    return expanded(*_chain("core_read_str", to, base, fields, _size(size), BPF_FUNC_probe_read_kernel_str))


def core_read_bits(base: Reg | int, bits: Core, *, to: int, signed: bool = False) -> list[Item]:
    """Leave in R0 a bit field of the struct that a register points at; on a little-endian machine.

    What holds it is read as the target has it, 1 to 8 bytes, and shifted: the field may be wider there, elsewhere, or
    no bit field at all. Changes R0 to R5. Stack: 8 bytes at ``to``.

    >>> from bpfasm.asm import R6, field
    >>> from bpfasm.asm.syntax.macro import body
    >>> print(body(core_read_bits(R6, field("sk_buff", "ip_summed"), to=-8)))
    BPF_ST_MEM(BPF_DW, BPF_REG_10, -8, 0)
    BPF_MOV64_REG(BPF_REG_3, BPF_REG_6)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, field("sk_buff", "ip_summed"))
    BPF_MOV64_IMM(BPF_REG_2, field("sk_buff", "ip_summed").size)
    BPF_MOV64_REG(BPF_REG_1, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, -8)
    BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel)
    BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_10, -8)
    BPF_ALU64_IMM(BPF_LSH, BPF_REG_0, field("sk_buff", "ip_summed").lshift)
    BPF_ALU64_IMM(BPF_RSH, BPF_REG_0, field("sk_buff", "ip_summed").rshift)
    """
    if not isinstance(bits, Core | FirstOf):
        raise refused(f"core_read_bits: {bits!r} is no field", 'write field("sk_buff", "ip_summed")')
    on_stack("core_read_bits", to, 8)
    return expanded(
        BPF_ST_MEM(BPF_DW, FP, to, 0),
        *_chain("core_read_bits", to, base, (bits,), bits.size, BPF_FUNC_probe_read_kernel),
        BPF_LDX_MEM(BPF_DW, R0, FP, to),
        BPF_ALU64_IMM(BPF_LSH, R0, bits.lshift),
        BPF_ALU64_IMM(BPF_ARSH if signed else BPF_RSH, R0, bits.rshift),
    )


def _chain(snippet: str, to: int, base: Reg | int, fields: tuple[Offset, ...], size: Any, helper: int) -> list[Item]:
    """Return the copies of a chain: of each pointer, and of what is at its end."""
    if not fields or not all(map(_is_offset, fields)):
        raise refused(
            f"{snippet}: {', '.join(map(repr, fields)) or 'nothing'} is no chain of fields",
            f'write {snippet}(..., field("task_struct", "real_parent"), field("task_struct", "tgid"))',
        )
    room = size if isinstance(size, int) else 8
    on_stack(snippet, to, max(room, 8) if len(fields) > 1 else room)
    body: list[Item] = [BPF_MOV64_REG(R3, a_register(snippet, base))]
    for number, each in enumerate(fields, 1):
        last = number == len(fields)
        if each != 0:
            body.append(BPF_ALU64_IMM(BPF_ADD, R3, each))  # type: ignore[arg-type]
        body += [
            BPF_MOV64_IMM(R2, size if last else 8),
            BPF_MOV64_REG(R1, FP),
            BPF_ALU64_IMM(BPF_ADD, R1, to),
            BPF_EMIT_CALL(helper if last else BPF_FUNC_probe_read_kernel),
        ]
        if not last:
            body.append(BPF_LDX_MEM(BPF_DW, R3, FP, to))
    return body


def _is_offset(operand: Any) -> bool:
    if isinstance(operand, FirstOf):
        return all(map(_is_offset, operand.choices))
    return isinstance(operand, int) or (isinstance(operand, Core) and operand.kind == BPF_CORE_FIELD_BYTE_OFFSET)


def _size(size: Any) -> int:
    from bpfasm.asm.types import size_of_type

    return size_of_type(size)
