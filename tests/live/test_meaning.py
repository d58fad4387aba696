"""What the table says an instruction means, against what the running kernel computes.

A program works through the cases of one form: it loads the operands from a map, so that the verifier does not know
them, runs the form, and stores what came of it. PROG_TEST_RUN runs it, and Python evaluates the form's ``meaning``
with the same operands.
"""

import random
import struct
import sys
from functools import cache

import pytest
from support import zygote
from support.bpf2 import SCHED_CLS, Map, Prog, Refused, is_in
from support.forms import each_form

from bpfasm.asm import *
from bpfasm.isa.insn import encode
from bpfasm.isa.meaning import VOCABULARY
from bpfasm.isa.table import FORMS

pytestmark = pytest.mark.lab

#: Of each form; an emulated guest takes as long for one as this machine for twenty.
CASES = 6 if zygote.IN_GUEST else 48
#: Of each case: d, s, r0 and m come in; the destination, the source, r0 and m go out.
CELL = struct.Struct("=8Q")
D, S, R, M, D_OUT, S_OUT, R_OUT, M_OUT = range(0, 64, 8)

ORDER = sys.byteorder
EDGES = (
    0,
    1,
    2,
    5,
    2**7,
    2**8 - 1,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
SHIFTS = ("lsh", "rsh", "arsh")
PACKET = bytes(range(0x81, 0x81 + 64))


def computed(form):
    return bool(form.meaning) and form.dialect == "source" and form.kind != "packet"


# The operands


def number(choose):
    """Return 64 bits: an edge, one of the small numbers around 0, or any."""
    return choose.choice([choose.choice(EDGES), choose.randrange(-9, 9) % 2**64, choose.getrandbits(64)])


def immediate(form, choose):
    """Return what an immediate may be: the verifier refuses a division by 0 and shifts that are too far."""
    if form.name.startswith(SHIFTS):
        return choose.randrange(64 if form.name.endswith("64_imm") else 32)
    imm = choose.choice([0, 1, -1, 7, 2**31 - 1, -(2**31), choose.randrange(-(2**31), 2**31)])
    return imm or 3 if "div" in form.name or "mod" in form.name else imm


def case_of(form, choose):
    """Return the instruction of one case, its operands, and the operands that it works with."""
    d, s, r0, m = (number(choose) for _ in range(4))
    if form.name.endswith("cmpxchg") or choose.random() < 0.2:
        r0 = choose.choice([m, m ^ 1 << 32, r0])
    if choose.random() < 0.2:
        s = d
    fields = {name: value for name, value in form.fixed.items() if isinstance(value, int)}
    free = {"dst_reg", "src_reg", "off", "imm", "off2", "imm2"} - form.fixed.keys()
    base = "src_reg" if form.kind == "load" else "dst_reg"
    if "dst_reg" in free:
        fields["dst_reg"] = 1
    if "src_reg" in free:
        fields["src_reg"] = 2
    if form.size:
        fields[base] = 8  # R8 is the cell
        fields["off"] = M
    if "imm" in free:
        fields["imm"] = immediate(form, choose)
    if "imm2" in free:
        fields["imm2"] = immediate(form, choose)
    if form.kind == "jump":
        fields["off"] = 1
    if form.kind == "alu" and "src_reg" in free and choose.random() < 0.1:
        fields["src_reg"], s = 1, d  # the same register twice
    return Insn(form.code, **fields), (d, s, r0, m)


@cache
def compiled(meaning):
    return compile(meaning, "<meaning>", "eval")


def expected(form, insn, d, s, r0, m):
    """Return what the form's row says: the destination, the source, R0 and the memory afterwards."""
    cell = m.to_bytes(8, ORDER)
    old = int.from_bytes(cell[: form.size], ORDER)
    imm = insn.imm % 2**64 if insn.imm2 is None else insn.imm2 % 2**32 << 32 | insn.imm % 2**32
    value = eval(compiled(form.meaning), {**VOCABULARY, "d": d, "s": s, "i": imm, "r0": r0, "m": old})
    if form.kind in ("alu", "ld_imm64", "load"):
        d = value
    elif form.kind == "jump":
        d = int(value)
    else:
        m = int.from_bytes(value.to_bytes(form.size, ORDER) + cell[form.size :], ORDER)
    if form.kind == "atomic":
        s = old if "src" in form.writes else s
        r0 = old if "r0" in form.writes else r0
    return d, s, r0, m


# The program


def body(form, insn, number):
    """Return the instructions of one case; R9 is the map's value."""
    run = [insn]
    if form.kind == "jump":
        run = [BPF_MOV64_IMM(R3, 1), insn, BPF_MOV64_IMM(R3, 0), BPF_MOV64_REG(R1, R3)]
    return [
        BPF_MOV64_REG(R8, R9),
        BPF_ALU64_IMM(BPF_ADD, R8, number * CELL.size),
        BPF_LDX_MEM(BPF_DW, R1, R8, D),
        BPF_LDX_MEM(BPF_DW, R2, R8, S),
        BPF_LDX_MEM(BPF_DW, R0, R8, R),
        *run,
        BPF_STX_MEM(BPF_DW, R8, R1, D_OUT),
        BPF_STX_MEM(BPF_DW, R8, R2, S_OUT),
        BPF_STX_MEM(BPF_DW, R8, R0, R_OUT),
        BPF_LDX_MEM(BPF_DW, R1, R8, M),
        BPF_STX_MEM(BPF_DW, R8, R1, M_OUT),
    ]


def run(form, cells):
    """Run a program over all cases; return the four results of each. Raises Refused."""
    with Map(value_size=CELL.size * len(cells)) as cells_map:
        cells_map.fill(b"".join(CELL.pack(*operands, 0, 0, 0, 0) for _, operands in cells))
        cases = [insn for number, (case, _) in enumerate(cells) for insn in body(form, case, number)]
        program = [BPF_LD_MAP_VALUE(R9, cells_map.number, 0), *cases, BPF_MOV64_IMM(R0, 7), BPF_EXIT_INSN()]
        with Prog(encode(program)) as loaded:
            assert loaded.run() == 7
        return [cell[4:] for cell in CELL.iter_unpack(cells_map.content())]


def loaded_or_too_new(form, load):
    """Return what ``load`` gives; skip where the kernel has shown that it is older than the form."""
    try:
        return load()
    except Refused as refused:
        if is_in(form):
            raise
        pytest.skip(f"{form.name} came with Linux {form.since}: {refused}")


@each_form([form for form in FORMS if computed(form)])
def test_the_kernel_computes_what_the_row_says(form):
    choose = random.Random(form.name)
    cells = [case_of(form, choose) for _ in range(CASES)]
    found = loaded_or_too_new(form, lambda: run(form, cells))
    differ = []
    for (insn, operands), result in zip(cells, found, strict=True):
        if result != expected(form, insn, *operands):
            differ.append((insn, operands, result, expected(form, insn, *operands)))
    assert differ == []


@each_form([form for form in FORMS if form.kind == "packet"])
def test_a_packet_is_read_in_network_order(form):
    indirect = "src" in form.reads
    for base, at in ((0, 0), (5, -1), (20, 9)) if indirect else ((0, 0), (0, 13), (0, 40)):
        insn = Insn(form.code, imm=at, src_reg=2 if indirect else 0)
        program = [BPF_MOV64_REG(R6, R1), BPF_MOV64_IMM(R2, base), insn, BPF_EXIT_INSN()]
        with Prog(encode(program), type=SCHED_CLS) as loaded:
            assert loaded.run(PACKET) == int.from_bytes(PACKET[base + at :][: form.size], "big")


#: Bodies that leave 1 in R0 when the form goes where it says. R2 is not 0, and the verifier does not know it.
GOES = {
    "ja": [BPF_JMP_IMM(BPF_JEQ, R2, 0, 1), BPF_JMP_A(1), BPF_MOV64_IMM(R0, 2)],
    "gotol": [BPF_JMP_IMM(BPF_JEQ, R2, 0, 1), BPF_JMP32_A(1), BPF_MOV64_IMM(R0, 2)],
    "may_goto": [BPF_RAW_INSN(BPF_JMP | BPF_JCOND, 0, BPF_MAY_GOTO, 1, 0), BPF_JMP_A(1), BPF_MOV64_IMM(R0, 2)],
}


@each_form([form for form in FORMS if form.name in GOES])
def test_a_jump_goes_where_it_says(form):
    start = [BPF_LDX_MEM(BPF_W, R2, R1, 0), BPF_MOV64_IMM(R0, 1)]
    program = encode([*start, *GOES[form.name], BPF_EXIT_INSN()])
    with loaded_or_too_new(form, lambda: Prog(program, type=SCHED_CLS)) as loaded:
        assert loaded.run() == 1


def test_what_is_not_computed_is_known():
    """A form without a meaning goes somewhere, calls, loads what the kernel resolves, or casts it."""
    rest = {form.name for form in FORMS if form.dialect == "source" and not form.meaning} - GOES.keys()
    loads = {"ld_map_fd", "ld_map_value", "ld_btf_id", "ld_func", "ld_map_idx", "ld_map_idx_value"}
    calls = {"call_helper", "call_rel", "call_kfunc", "callx", "exit"}
    assert rest == loads | calls | {"gotox", "addr_space_cast"}
