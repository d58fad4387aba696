"""Snippets for maps."""

from __future__ import annotations

from bpfasm.asm.macros import (
    BPF_ALU64_IMM,
    BPF_ATOMIC_OP,
    BPF_EMIT_CALL,
    BPF_JMP_IMM,
    BPF_LD_MAP_FD,
    BPF_MOV64_IMM,
    BPF_MOV64_REG,
    BPF_ST_MEM,
)
from bpfasm.asm.snippets.expand import a_map, expanded, on_stack
from bpfasm.asm.symbols import Label, label
from bpfasm.isa.operands import BPF_ADD, BPF_DW, BPF_JEQ, BPF_W, FP, R0, R1, R2
from bpfasm.uapi.bpf import BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_FUNC_map_lookup_elem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.maps import MapSpec
    from bpfasm.asm.program import Item


def count(counts: MapSpec, *, key: int, element: int = 0) -> list[Item]:
    """Add 1 to an element of an array of u64, per CPU or not.

    ``key`` is where 4 bytes of the stack are free, ``element`` the index. Atomic, because programs interrupt each
    other, on one CPU too. Changes R0 to R5. Stack: 4 bytes, at ``key``.

    >>> from bpfasm.asm import PerCpuArrayMap, u64
    >>> from bpfasm.asm.syntax.macro import body
    >>> hits = PerCpuArrayMap("hits", value=u64, max_entries=1)
    >>> print(body(count(hits, key=-4)))
    BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0)
    BPF_MOV64_REG(BPF_REG_2, BPF_REG_10)
    BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4)
    BPF_LD_MAP_FD(BPF_REG_1, hits)
    BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem)
    BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, "counted")
    BPF_MOV64_IMM(BPF_REG_1, 1)
    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, 0)
    label("counted")
    """
    a_map("count", counts, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY)
    on_stack("count", key, 4)
    counted = Label("counted")
    return expanded(
        BPF_ST_MEM(BPF_W, FP, key, element),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, key),
        BPF_LD_MAP_FD(R1, counts),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, counted),  # an index beyond the array
        BPF_MOV64_IMM(R1, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
        label(counted),
    )
