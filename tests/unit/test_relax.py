"""Far jumps of several: the same way through the program, and no jump farther than allowed."""

import functools
import random

import pytest

from bpfasm.asm import *
from bpfasm.asm import relax as module
from bpfasm.asm.relax import REACH, Inserted, relax
from bpfasm.errors import LabelError
from bpfasm.isa import meaning
from bpfasm.isa.insn import slots
from bpfasm.isa.match import form_of
from bpfasm.views.listing import listing

MAY_GOTO = BPF_RAW_INSN(BPF_JMP | BPF_JCOND, 0, BPF_MAY_GOTO, "out", 0)


def program(*insns, name="prog"):
    return Program(name, BPF_PROG_TYPE_XDP, insns)


def far(*jumps, filler=40_000):
    return program(*jumps, *[BPF_ALU64_IMM(BPF_ADD, R0, 1)] * filler, label("out"), BPF_EXIT_INSN())


def start(linked, count):
    return [(insn, isinstance(insn, Inserted)) for insn in linked.insns[:count]]


def test_nothing_is_put_in_unless_it_is_asked_for():
    with pytest.raises(LabelError) as caught:
        link(far(BPF_JMP_A("out")))
    assert caught.value.rule == "jump-range"
    near = far(BPF_JMP_A("out"), filler=100)
    assert link(near, relax=True).insns == link(near).insns


def test_by_gotol():
    target = Target(gotol=True)
    linked = link(far(BPF_JMP_A("out")), target, relax=True)
    assert start(linked, 1) == [(BPF_JMP32_A(40_000), True)]
    linked = link(far(BPF_JMP_IMM(BPF_JSGT, R2, 5, "out")), target, relax=True)
    assert start(linked, 2) == [(BPF_JMP_IMM(BPF_JSLE, R2, 5, 1), False), (BPF_JMP32_A(40_000), True)]


@pytest.mark.parametrize("jump", [BPF_JMP_REG(BPF_JSET, R1, R2, "out"), MAY_GOTO], ids=["jset", "may_goto"])
def test_what_has_no_opposite_jumps_to_a_gotol(jump):
    linked = link(far(jump), Target(gotol=True), relax=True)
    expected = [(jump.replace(off=1), False), (BPF_JMP_A(1), True), (BPF_JMP32_A(40_000), True)]
    assert start(linked, 3) == expected


def test_by_islands():
    linked = link(far(BPF_JMP_IMM(BPF_JEQ, R2, 0, "out"), filler=70_000), relax=True)
    put_in = [(pc, insn.off) for pc, insn in slots(linked.insns) if isinstance(insn, Inserted)]
    assert len(put_in) == 4
    assert [off for _, off in put_in][::2] == [1, 1]
    pc, off = put_in[3]
    assert pc + 1 + off == 70_001 + 4


def test_an_island_has_the_line_of_its_jump_and_is_marked():
    prog = far(BPF_JMP_A("out"), filler=31_000)
    assembled = assemble(relax(prog, gotol=False))
    lines = [line for line in listing(assembled) if "far jump" in line]
    assert len(lines) == 2
    assert all(insn.source == prog.insns[0].source for insn in assembled.insns if isinstance(insn, Inserted))


def test_functions_are_relaxed_too():
    sub = Subprog("sub", far(BPF_JMP_A("out")).insns)
    prog = program(BPF_CALL_REL(sub), BPF_CALL_REL(sub), BPF_EXIT_INSN())
    linked = link(prog, Target(gotol=True), relax=True)
    assert linked.insns[3] == BPF_JMP32_A(40_000)
    assert len(linked.functions) == 2


# Random programs, with a short reach


@functools.cache
def compiled(text):
    return compile(text, "meaning", "eval")


def run(insns, limit=600):
    """Run arithmetic and jumps; return R0 to R3, or None where it does not end."""
    registers, pc = [0, 3, 5, 7], 0
    at = dict(slots(insns))
    for _ in range(limit):
        insn = at[pc]
        form = form_of(insn)
        names = {"d": registers[insn.dst_reg], "s": registers[insn.src_reg], "i": meaning.u64(insn.imm)}
        pc += insn.width
        if form.kind == "exit":
            return registers
        if form.kind == "goto":
            pc += insn.imm if form.name == "gotol" else insn.off
        elif form.kind == "jump":
            pc += insn.off if eval(compiled(form.meaning), vars(meaning), names) else 0
        else:
            registers[insn.dst_reg] = eval(compiled(form.meaning), vars(meaning), names)
    return None


def scramble(source, size):
    """Return a program with jumps by labels, to some places, and by numbers."""
    body, places = [], [source.randrange(size) for _ in range(3)]
    for number in range(size):
        body.append(label(f"l{number}"))
        dst, src = source.randrange(4), source.randrange(4)
        there = f"l{source.choice(places)}"
        kind = source.randrange(5) if source.random() < 0.3 else 4
        if kind == 0:
            op = source.choice((BPF_JEQ, BPF_JNE, BPF_JSET, BPF_JSGT, BPF_JLE))
            body.append(BPF_JMP_IMM(op, dst, source.randrange(8), there))
        elif kind == 1 and number > size // 2:
            body.append(BPF_JMP_A(there))
        elif kind == 2 and number + 6 < size:
            body.append(BPF_JMP_REG(BPF_JGT, dst, src, 4))
        elif kind == 3:
            body.append(BPF_ALU64_REG(BPF_ADD, dst, src))
        else:
            body.append(BPF_ALU64_IMM(BPF_ADD, dst, source.randrange(-3, 4)))
    return program(*body, BPF_EXIT_INSN())


@pytest.mark.parametrize("gotol", [True, False])
def test_random_programs_go_the_same_way(monkeypatch, gotol):
    monkeypatch.setattr(module, "REACH", 40)
    monkeypatch.setattr(module, "_SLACK", 10)
    source, far_ones, ended = random.Random(11), 0, 0
    for _ in range(120):
        prog = scramble(source, source.randrange(10, 200))
        before = link(prog).insns
        after = link(prog, Target(gotol=gotol), relax=True).insns
        result = run(before)
        if result is not None:
            ended += 1
            assert run(after, limit=6000) == result
        jumps = [insn.off for insn in after if form_of(insn).kind in ("jump", "goto")]
        assert max(map(abs, jumps), default=0) <= 40
        far_ones += len(after) > len(before)
    assert far_ones > 60
    assert ended > 20


def test_the_reach_leaves_room_for_what_the_kernel_puts_in():
    assert REACH == 30_000
