"""Far jumps in a kernel: by gotol where it has that, by islands everywhere; the results are those of near jumps."""

import pytest
from support import bpf2

from bpfasm.asm import *
from bpfasm.asm.relax import Inserted

pytestmark = pytest.mark.lab

XDP = BPF_PROG_TYPE_XDP


def program(jump, filler):
    """Return a program that adds 1 ``filler`` times, or jumps over that, as the first byte of the packet wants."""
    return Program("far", XDP, [
        BPF_MOV64_IMM(R0, 7),
        BPF_LDX_MEM(BPF_W, R2, R1, 0),
        BPF_LDX_MEM(BPF_W, R3, R1, 4),
        BPF_MOV64_REG(R4, R2),
        BPF_ALU64_IMM(BPF_ADD, R4, 1),
        BPF_JMP_REG(BPF_JGT, R4, R3, "back"),
        BPF_LDX_MEM(BPF_B, R2, R2, 0),
        BPF_JMP_A("main"),
        label("back"),
        BPF_EXIT_INSN(),
        label("main"),
        jump,
        *[BPF_ALU64_IMM(BPF_ADD, R0, 1)] * filler,
        BPF_JMP_IMM(BPF_JGE, R2, 200, "back"),
        label("out"),
        BPF_ALU64_IMM(BPF_ADD, R0, 1000),
        BPF_JMP_A("back"),
    ])  # fmt: skip


def gotol():
    return tuple(map(int, bpf2.running_series().split("."))) >= (6, 6)


@pytest.mark.parametrize("jump", [
    BPF_JMP_IMM(BPF_JEQ, R2, 3, "out"),
    BPF_JMP_IMM(BPF_JSET, R2, 3, "out"),
], ids=["jeq", "jset"])  # fmt: skip
@pytest.mark.parametrize("way", ["islands", "gotol"])
def test_far_jumps_go_the_same_way(jump, way):
    if way == "gotol" and not gotol():
        with pytest.raises(bpf2.Refused):
            bpf2.Prog(link(program(jump, 30_500), Target(gotol=True), relax=True).code, XDP)
        return
    target = Target(gotol=way == "gotol")
    near = link(program(jump, 100), target, relax=True)
    assert not any(isinstance(insn, Inserted) for insn in near.insns)
    far = link(program(jump, 30_500), target, relax=True)
    assert any(isinstance(insn, Inserted) for insn in far.insns)
    with bpf2.Prog(near.code, XDP) as one, bpf2.Prog(far.code, XDP) as other:
        for byte in (0, 3, 4, 200):
            packet = bytes([byte]) + bytes(63)
            added = one.run(packet), other.run(packet)
            # Where it is not jumped over, the far program adds 30,400 more.
            assert added[1] - added[0] in (0, 30_400)
            assert (added[1] == added[0]) == (added[0] < 1100 and added[0] != 107)
