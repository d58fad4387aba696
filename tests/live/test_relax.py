"""Far jumps in a kernel: by gotol where it has that, by islands everywhere; the results are those of near jumps."""

import pytest
from support import bpf2

from bpfasm.asm import *
from bpfasm.asm.relax import Inserted
from bpfasm.errors import LabelError
from bpfasm.kernel import load

XDP = BPF_PROG_TYPE_XDP


def program(filler):
    """Return a program that adds 1 a hundred times, or jumps over that, as the first byte of the packet wants.

    Behind that are ``filler`` slots that change nothing, two an instruction: half the work for who lays it out.
    """
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
        BPF_JMP_IMM(BPF_JEQ, R2, 3, "out"),
        BPF_JMP_IMM(BPF_JSET, R2, 4, "out"),
        *[BPF_ALU64_IMM(BPF_ADD, R0, 1)] * 100,
        *[BPF_LD_IMM64(R5, 0)] * (filler // 2),
        BPF_JMP_IMM(BPF_JGE, R2, 200, "back"),
        label("out"),
        BPF_ALU64_IMM(BPF_ADD, R0, 1000),
        BPF_JMP_A("back"),
    ])  # fmt: skip


def gotol():
    """Tell whether this kernel takes a gotol: from 6.6 on it has to, and Debian's 6.1 does."""
    code = link(Program("far", XDP, [BPF_MOV64_IMM(R0, 0), BPF_JMP32_A(0), BPF_EXIT_INSN()])).code
    try:
        with bpf2.Prog(code, XDP):
            return True
    except bpf2.Refused:
        assert tuple(map(int, bpf2.running_series().split("."))) < (6, 6)
        return False


@pytest.mark.lab(on="ends")
@pytest.mark.parametrize("way", ["islands", "gotol"])
def test_far_jumps_go_the_same_way(way):
    if way == "gotol" and not gotol():
        pytest.skip("gotol came with Linux 6.6")
    target = Target(gotol=way == "gotol")
    near, far = (link(program(filler), target, relax=True) for filler in (0, 30_400))
    assert not any(isinstance(insn, Inserted) for insn in near.insns)
    assert any(isinstance(insn, Inserted) for insn in far.insns)
    with bpf2.Prog(near.code, XDP) as one, bpf2.Prog(far.code, XDP) as other:
        results = {byte: (one.run(packet(byte)), other.run(packet(byte))) for byte in (0, 3, 4, 200)}
    assert results == {0: (1107, 1107), 3: (1007, 1007), 4: (1007, 1007), 200: (107, 107)}


def packet(byte):
    return bytes([byte]) + bytes(63)


def test_a_far_program_is_loaded_by_islands():
    """The bytes are those that each kernel has run above."""
    far = program(33_000)
    with pytest.raises(LabelError) as caught:
        load(far)
    assert caught.value.rule == "jump-range"
    with load(far, relax=True) as obj:
        loaded = obj[far]
        assert loaded.program is far
        assert loaded.test_run(packet(0)).retval == 1107
