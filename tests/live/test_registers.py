"""Which registers the table says an instruction reads and writes, against what the running kernel's verifier says.

A register that was never set must not be read, and what a call or a packet access has overwritten is as good as
never set. So a program in which one register is missing is refused exactly if the form reads it.
"""

import pytest
from samples import build
from support.bpf2 import SCHED_CLS, Prog, Refused, is_in
from support.forms import each_form

from bpfasm.asm import *
from bpfasm.isa.insn import encode
from bpfasm.isa.table import FORMS

pytestmark = pytest.mark.lab(on="ends")

DST, SRC = 7, 8
#: Operands that are valid for all: a small immediate, 8 aligned bytes of the stack.
PLAIN = {"dst_reg": DST, "src_reg": SRC, "off": -8, "off2": 0, "imm": 3, "imm2": 0}
KINDS = {"alu", "jump", "load", "store", "atomic", "packet"}
CASTS = {"addr_space_cast"}  # of arenas only

ACCESSES = [form for form in FORMS if form.dialect == "source" and form.kind in KINDS and form.name not in CASTS]
CALLS = [form for form in FORMS if form.name in {"call_helper", "call_rel"}]


def body(form, missing=None, after=()):
    """Return a program that sets each register but one, runs the form, and goes on with ``after``."""
    # A jump goes to the next instruction, so that what follows is reached in any case; may_goto has to go further.
    distance = 1 if form.name == "may_goto" else 0
    insn = build(form, lambda role, field: distance if role == "jump" else PLAIN[field])
    base = {"load": SRC, "store": DST, "atomic": DST}.get(form.kind)
    start = [BPF_MOV64_REG(R6, R1), BPF_ST_MEM(BPF_DW, FP, -8, 0)]
    for number in (*range(6), DST, SRC, 9):
        start.append(BPF_MOV64_REG(number, FP) if number == base else BPF_MOV64_IMM(number, 1))
    names = {"dst": DST, "src": SRC, "r0": 0, "r6": 6}
    if missing:
        start = [one for one in start if one.dst_reg != names[missing]]
    return [*start, insn, *after, BPF_MOV64_IMM(R0, 0), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]


def refused(insns):
    """Return whether the verifier refuses a program."""
    try:
        with Prog(encode(insns), type=SCHED_CLS):
            return False
    except Refused as error:
        assert "!read_ok" in error.log, error.log
        return True


def skip_what_is_newer(form):
    if not is_in(form):
        pytest.skip(f"{form.name} came with Linux {form.since}")


@each_form(ACCESSES)
def test_what_it_reads_must_have_been_set(form):
    skip_what_is_newer(form)
    assert not refused(body(form))
    registers = [*form.operands, "r0", *(["r6"] if form.kind == "packet" else [])]
    asked = {name for name in registers if name in ("dst", "src", "r0", "r6")}
    assert {name for name in asked if refused(body(form, missing=name))} == asked & set(form.reads)


@each_form([*ACCESSES, *CALLS])
def test_what_it_overwrites_is_gone_and_what_it_writes_is_there(form):
    """After calls and packet accesses R1 to R5 are gone; all else keeps its value or has a new one."""
    skip_what_is_newer(form)
    make = called if form in CALLS else body
    gone = {int(name[1:]) for name in form.writes if name in {"r1", "r2", "r3", "r4", "r5"}}
    assert not refused(make(form, after=[BPF_MOV64_REG(R0, number) for number in {*range(10)} - gone]))
    assert {number for number in gone if refused(make(form, after=[BPF_MOV64_REG(R0, number)]))} == gone
    if "dst" in form.writes and "dst" not in form.reads:
        assert not refused(body(form, missing="dst", after=[BPF_MOV64_REG(R0, DST)]))


def called(form, after):
    """Return a program that makes a call after setting each register; a function that returns 0 ends it."""
    leave = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
    if form.name == "call_helper":
        call, function = build(form, lambda role, field: BPF_FUNC_ktime_get_ns), []
    else:
        call, function = build(form, lambda role, field: len(after) + len(leave)), leave
    return [*(BPF_MOV64_IMM(number, 1) for number in range(10)), call, *after, *leave, *function]


def test_exit_reads_r0():
    assert refused([BPF_EXIT_INSN()])
