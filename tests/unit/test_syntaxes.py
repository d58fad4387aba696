"""Every syntax both ways: what is printed is read as the same instructions; what is wrong is said at its place."""

import itertools
import os
import random
import re

import pytest
from samples import samples
from support.made_kernel import ASKED, kernel as made_kernel

from bpfasm.asm import *
from bpfasm.asm.ksym import ADDRESS, FUNCTION, Ksym
from bpfasm.asm.syntax import c, detect, kernel, lines, llvm, macro, ubpf
from bpfasm.asm.syntax.c import tokens
from bpfasm.asm.syntax.labels import labelled
from bpfasm.elf.object import read_object
from bpfasm.elf.object_write import write_object
from bpfasm.errors import BpfasmError
from bpfasm.isa.insn import Insn, decode, encode
from bpfasm.isa.table import FORMS
from bpfasm.views.listing import PRINTERS, listing

SYNTAXES = ("kernel", "llvm", "ubpf", "macro", "c")
PRINT = {"kernel": kernel.text, "llvm": llvm.text, "ubpf": ubpf.text, "macro": macro.text, "c": c.text}


def read(text, syntax):
    """Return the instructions of a text."""
    (program,) = detect.read(text, "f", syntax).programs
    return list(assemble(program).insns)


def text_of(insns, syntax, **options):
    """Return a listing of instructions."""
    program = Program("p", BPF_PROG_TYPE_UNSPEC, insns)
    return "\n".join(listing(assemble(program), syntax, **options))


# What a syntax says, it says of one instruction only


def test_the_syntaxes_are_those_that_are_printed():
    assert tuple(PRINTERS) == SYNTAXES


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("options", [{}, {"show_bytes": True}], ids=["plain", "bytes"])
def test_a_listing_is_read_as_the_same_bytes(syntax, options):
    count = int(os.environ.get("BPFASM_SAMPLES", "12"))
    every = [insn for _, insn in samples(count, seed=21, registers=13)]
    for start in range(0, len(every), 100_000):
        insns = every[start : start + 100_000]
        assert encode(read(text_of(insns, syntax, **options), syntax)) == encode(insns)


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf", "macro"])
def test_a_labelled_listing_is_read_as_the_same_bytes(syntax):
    """Registers are any of 4 bits: of one that a syntax has no word for, nothing can be said by name."""
    count = int(os.environ.get("BPFASM_SAMPLES", "30"))
    every = [insn for _, insn in samples(count, seed=31, registers=16)]
    for start in range(0, len(every), 100_000):
        insns = every[start : start + 100_000]
        assert encode(read(text_of(insns, syntax, labels=True), syntax)) == encode(insns)


def test_a_macro_far_down_is_read_as_quickly(monkeypatch):
    """The lines above it are not gone through again for its place."""
    lengths = []
    lex = tokens.lex
    monkeypatch.setattr(
        tokens, "lex", lambda text, *rest, **more: lengths.append(len(text)) or lex(text, *rest, **more)
    )
    found = lines.read("r0 = 1\n" * 5000 + "BPF_RAW_INSN(0x95, 0, 0, 0, 0)\n", "f", "kernel")[0].insns
    assert (found[-1].code, found[-1].source, max(lengths)) == (0x95, ("f", 5001), 30)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_text_alone_is_read_as_the_same_instruction(syntax):
    wrong = []
    for form, insn in samples(4, seed=22):
        text = PRINT[syntax](insn, form)
        back = read(f"struct bpf_insn p[] = {{ {text} }};" if syntax == "c" else text, syntax)
        if encode(back) != encode([insn]):
            wrong.append((text, insn, back))
    assert wrong == []


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_any_slots_come_back(syntax):
    """No form, reserved fields that are set, registers that there are none of: as raw words."""
    choose = random.Random(23)
    data = b"".join(
        bytes([choose.choice([choose.randrange(256), *(form.code for form in FORMS[::40])])]) + choose.randbytes(7)
        for _ in range(2000)
    )
    insns = decode(data)
    assert encode(read(text_of(insns, syntax), syntax)) == data


#: What a syntax has no words for: the number of forms that are raw words whatever their operands.
UNSAID = {"kernel": 23, "llvm": 57, "ubpf": 67, "macro": 0, "c": 0}


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_is_said_as_a_raw_word_is_what_has_no_words(syntax):
    raw = {
        form.name
        for form, rows in itertools.groupby(samples(120, seed=24), key=lambda pair: pair[0])
        if all(PRINT[syntax](insn, form).startswith((".8byte", f"({form.code:02x}) BPF_RAW")) for _, insn in rows)
    }
    loadable = {form.name for form in FORMS if form.name in raw and form.dialect == "source"}
    newer = {f"{name}{bits}" for name in ("load_acquire", "store_release") for bits in (8, 16, 32, 64)}
    assert (
        loadable
        == {
            "kernel": set(),
            "llvm": {"call_rel", "call_kfunc"},
            "ubpf": {"may_goto", "gotox", "call_kfunc", "addr_space_cast", *newer},
            "macro": set(),
            "c": set(),
        }[syntax]
    )
    assert len(raw) == UNSAID[syntax]


# Labels and names

COUNTS = HashMap("counts", key=u32, value=u64, max_entries=1)
LIMIT = Global("limit", u64, 5)
HELP = Subprog("help", [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])
NAMED = Program(
    "named",
    BPF_PROG_TYPE_XDP,
    [
        BPF_LD_MAP_FD(R1, COUNTS),
        BPF_LD_MAP_VALUE(R2, COUNTS, 8),
        BPF_LD_MAP_VALUE(R3, LIMIT, 4),
        BPF_LD_IMM64_RAW_FULL(R4, BPF_PSEUDO_FUNC, 0, 0, HELP, 0),
        BPF_CALL_REL(HELP),
        label("again"),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_JMP32_REG(BPF_JSGT, R0, R1, "again"),
        BPF_JMP32_A("out"),
        BPF_JMP_A(-1),
        label("out"),
        BPF_EXIT_INSN(),
    ],
)


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf", "macro"])
@pytest.mark.parametrize("labels", [False, True])
def test_names_are_read_back(syntax, labels):
    text = "\n".join(listing(assemble(NAMED), syntax, labels=labels))
    objects = {"counts": COUNTS, "limit": LIMIT}
    (back,) = detect.read(text, "f", syntax, objects=objects).programs
    assert assemble(back).insns == assemble(NAMED).insns
    assert "counts" in text and ("again" in text) is labels


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf", "macro"])
def test_names_that_nobody_declared_stand_for_themselves(syntax):
    text = "\n".join(listing(assemble(NAMED), syntax, labels=True))
    (back,) = detect.read(text, "f", syntax).programs
    assert link(back).code == link(NAMED).code
    assert [(slot, operand.name) for slot, operand, _ in link(back).unresolved] == [
        (0, "counts"), (2, "counts"), (4, "limit")
    ]  # fmt: skip


TGID = field("task_struct", "tgid")
SWITCH = tracepoint("sched", "sched_switch")
REFERS = [
    BPF_LDX_MEM(BPF_W, R0, R1, TGID),
    BPF_LDX_MEM(BPF_W, R0, R1, field("struct task_struct", "comm[3]")),
    BPF_ST_MEM(BPF_W, R1, TGID, 5),
    BPF_ST_MEM(BPF_W, R1, -4, TGID.size),
    BPF_STX_MEM(BPF_DW, R1, R2, field("a", "b[1].c[2]")),
    BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, TGID),
    BPF_MOV64_IMM(R2, TGID.exists),
    BPF_ALU64_IMM(BPF_LSH, R2, TGID.lshift),
    BPF_ALU32_IMM(BPF_RSH, R2, TGID.rshift),
    BPF_MOV32_IMM(R2, TGID.signed),
    BPF_MOV64_IMM(R2, type_size("enum pid_type")),
    BPF_MOV64_IMM(R2, type_exists("task_struct")),
    BPF_MOV64_IMM(R2, enum_value("bpf_cgroup_iter_order", "BPF_CGROUP_ITER_SELF_ONLY")),
    BPF_JMP_IMM(BPF_JEQ, R1, enum_exists("enum pid_type", "PIDTYPE_TGID"), 0),
    BPF_LD_IMM64(R3, type_id("task_struct")),
    BPF_LD_IMM64(R3, TGID),
    BPF_MOV64_IMM(R2, first_of(field("task_struct", "__state"), field("task_struct", "state"), -4).size),
    BPF_LD_IMM64(R2, first_of(field("task_struct", "__state"), field("task_struct", "state"))),
    BPF_LDX_MEM(BPF_DW, R2, R1, register("args", 1)),
    BPF_ALU64_IMM(BPF_ADD, R3, register("ret")),
    BPF_LDX_MEM(BPF_W, R2, R1, SWITCH.field("prev_pid")),
    BPF_MOV64_IMM(R2, SWITCH.field("prev_comm").size),
    BPF_CALL_KFUNC(0, kfunc("bpf_rcu_read_lock")),
    *(
        BPF_LD_IMM64(R1, 0).replace(imm=each)
        for each in (Ksym("jiffies"), Ksym("f", FUNCTION), Ksym("g", ADDRESS, True))
    ),
    BPF_EXIT_INSN(),
]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_a_target_tells_is_read_back_by_name(syntax):
    assert read(text_of(REFERS, syntax), syntax) == REFERS


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_what_an_object_asks_for_is_read_back_by_name(syntax):
    data = write_object(Program("asks", BPF_PROG_TYPE_XDP, [*ASKED, BPF_EXIT_INSN()]), types=made_kernel())
    text = "\n".join(listing(assemble(read_object(data, "o").programs[0]), syntax))
    assert [(repr(insn.off), repr(insn.imm)) for insn in read(text, syntax)[:-1]] == [
        (repr(insn.off), repr(insn.imm)) for insn in ASKED
    ]


def test_what_is_no_reference_is_said():
    for text, said in (
        ("r1 = size(task_struct)", "'' is no name of a field"),
        ("r1 = enum_value(pid_type)", "'' is no name of an enumerator"),
        ("r1 = ksym(some f) ll", "ksym(some f): that is no symbol of the kernel"),
        ("r1 = register(nothing)", "register(): a register holds no 'nothing'"),
    ):
        with pytest.raises(BpfasmError) as caught:
            detect.read(text, "f", "llvm")
        assert (caught.value.what, caught.value.column) == (said, 6)
    for text in ('BPF_MOV64_IMM(BPF_REG_1, field("a"))', 'BPF_MOV64_IMM(BPF_REG_1, field("a", "b).size'):
        with pytest.raises(BpfasmError):
            detect.read(text, "f", "macro")


def test_a_symbol_of_llvm_is_a_place_in_a_map_or_a_function():
    insns = [
        BPF_LD_MAP_VALUE(R2, LIMIT, 4),
        BPF_LD_MAP_VALUE(R2, COUNTS, -4),
        BPF_CALL_KFUNC(0, kfunc("bpf_rcu_read_lock")),
    ]
    text = ["r2 = limit+4 ll", "r2 = counts-4 ll", "call bpf_rcu_read_lock"]
    assert text_of(insns, "llvm").splitlines() == text
    older = "r2 = var[limit]+4 ll\nr2 = map[counts][0]+-4 ll\ncall kernel-function#bpf_rcu_read_lock"
    for each in ("\n".join(text), older):
        (back,) = detect.read(each, "f", "llvm", objects={"limit": LIMIT, "counts": COUNTS}).programs
        assert list(back.insns) == insns
    # What is nearly a helper's name is more likely a slip.
    assert (
        text_of([BPF_CALL_KFUNC(0, kfunc("bpf_map_lookup_elm"))], "llvm") == "call kernel-function#bpf_map_lookup_elm"
    )
    with pytest.raises(BpfasmError, match="did you mean bpf_map_lookup_elem"):
        detect.read("call bpf_map_lookup_elm", "f", "llvm")


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf", "macro"])
def test_what_has_no_words_keeps_its_number_beside_labels(syntax):
    jumps = [
        BPF_RAW_INSN(BPF_JMP | BPF_JCOND, 0, 0, 0, 0),
        BPF_JMP32_A(0),
        BPF_JMP_A(0),
        BPF_LD_IMM64_RAW_FULL(R1, BPF_PSEUDO_FUNC, 0, 0, 1, 0),
        BPF_CALL_REL(0),
        BPF_EXIT_INSN(),
    ]
    assert read(text_of(jumps, syntax, labels=True), syntax) != []
    assert encode(list(link(Program("p", 0, read(text_of(jumps, syntax, labels=True), syntax))).insns)) == encode(
        jumps
    )


@pytest.mark.parametrize("syntax", ["macro", "c"])
def test_a_map_has_a_name_as_c_can_have_it(syntax):
    rodata = MapSpec.as_is(name="prog.rodata", type=BPF_MAP_TYPE_ARRAY, key=4, value=8, max_entries=1)
    text = text_of([BPF_LD_MAP_VALUE(R1, rodata, 4)], syntax)
    assert "BPF_LD_MAP_VALUE(BPF_REG_1, prog_rodata, 4)" in text
    assert read(text, syntax)[0].imm.name == "prog_rodata"


def test_labels_of_slots_are_made_where_there_are_none():
    insns = [BPF_JMP_IMM(BPF_JEQ, R0, 0, 1), BPF_MOV64_IMM(R0, 0), BPF_JMP_A(-3), BPF_JMP_A(7), BPF_JMP_A(0)]
    assert text_of(insns, "ubpf", labels=True).splitlines() == [
        "L0:", "\tjeq %r0, 0, L2", "\tmov %r0, 0", "L2:", "\tja L0", "\tja +7", "\tja L5", "L5:",
    ]  # fmt: skip
    placed, places = labelled(assemble(Program("p", 0, insns)), True, {})
    assert places == {0: ["L0"], 2: ["L2"], 5: ["L5"]}
    assert [insn.off for _, insn in placed] == ["L2", 0, "L0", 7, "L5"]


# Ways to write the same

SAME = {
    "kernel": [
        ("r1 = 5", BPF_MOV64_IMM(R1, 5)),
        ("(b7) r1 = 0x5", BPF_MOV64_IMM(R1, 5)),
        ("r1 = 0x5", BPF_LD_IMM64(R1, 5)),
        ("(18) r1 = 5", BPF_LD_IMM64(R1, 5)),
        ("  12: (07) r2 += -4   ; R2_w=fp-4", None),
        ("0: b701000005000000  (b7) r1 = 5", BPF_MOV64_IMM(R1, 5)),
        ("*(u32*)(r10-4)=0", BPF_ST_MEM(BPF_W, R10, -4, 0)),
        ("call bpf_map_lookup_elem", BPF_EMIT_CALL(1)),
        ("call bpf_map_lookup_elem#1", BPF_EMIT_CALL(1)),
        ("if r1 != 0xffffffff goto +3", BPF_JMP_IMM(BPF_JNE, R1, -1, 3)),
        ("r1 = map[fd:-5]", Insn(0x18, 1, 1, 0, -5, 0, 0)),
    ],
    "llvm": [
        ("r1 = 0x5", BPF_MOV64_IMM(R1, 5)),
        ("r1 = -0x4", BPF_MOV64_IMM(R1, -4)),
        ("r1 = 4294967295", BPF_MOV64_IMM(R1, -1)),
        ("r1 = 0x5 ll", BPF_LD_IMM64(R1, 5)),
        ("r5 = *(u32 *)(r1 + 0x4)", BPF_LDX_MEM(BPF_W, R5, R1, 4)),
        ("w5 = *(u32 *)(r1 + 4)", BPF_LDX_MEM(BPF_W, R5, R1, 4)),
        ("lock *(u32 *)(r1 + 8) += r2", BPF_ATOMIC_OP(BPF_W, BPF_ADD, R1, R2, 8)),
        ("r2 = xchg32_32(r1 + 8, r2)", BPF_ATOMIC_OP(BPF_W, BPF_XCHG, R1, R2, 8)),
        ("       0:\tb7 01 00 00 05 00 00 00\tr1 = 5", BPF_MOV64_IMM(R1, 5)),
        ("if r1 == 0 goto +0x3 <LBB0_2>", BPF_JMP_IMM(BPF_JEQ, R1, 0, 3)),
        ('"r1 = 5;\\n"', BPF_MOV64_IMM(R1, 5)),
        ("call bpf_map_lookup_elem", BPF_EMIT_CALL(1)),
    ],
    "ubpf": [
        ("mov r1, 5", BPF_MOV64_IMM(R1, 5)),
        ("mov64 r1, 0x5", BPF_MOV64_IMM(R1, 5)),
        ("ldxw %r1, [%r2]", BPF_LDX_MEM(BPF_W, R1, R2, 0)),
        ("ldxw r1, [r2 + 0x4]", BPF_LDX_MEM(BPF_W, R1, R2, 4)),
        ("swap16 %r1", BPF_BSWAP(R1, 16)),
        ("jeq %r1, 0x80000000, +1", BPF_JMP_IMM(BPF_JEQ, R1, -(2**31), 1)),
        ("call %r2", Insn(0x8D, 2)),
        ("lock fetch add32 [%r1-4], %r2", BPF_ATOMIC_OP(BPF_W, BPF_ADD | BPF_FETCH, R1, R2, -4)),
        ("lddw %r1, 18446744073709551615", BPF_LD_IMM64(R1, -1)),
    ],
    "macro": [
        ("BPF_MOV64_IMM(R1, 5)", BPF_MOV64_IMM(R1, 5)),
        ("BPF_MOV64_IMM(BPF_REG_1, 5),  # five", BPF_MOV64_IMM(R1, 5)),
        ("BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem)", BPF_EMIT_CALL(1)),
        ("BPF_ALU64_IMM(BPF_ADD, FP, -(4 + 4))", BPF_ALU64_IMM(BPF_ADD, R10, -8)),
    ],
}


@pytest.mark.parametrize(
    ("syntax", "text", "insn"), [(s, *pair) for s, pairs in SAME.items() for pair in pairs if pair[1] is not None]
)
def test_another_way_to_write_it(syntax, text, insn):
    assert read(text, syntax) == [insn]


def test_a_log_of_the_verifier_is_read():
    text = """func#0 @0
0: R1=ctx() R10=fp0
0: (b7) r0 = 0                        ; R0_w=0
; if (x)
1: (15) if r1 == 0x0 goto pc+1        ; R1=ctx()
2: (b7) r0 = 1                        ; R0_w=1
3: (95) exit
from 1 to 3: R0=0 R1=ctx() R10=fp0
3: (95) exit
processed 5 insns (limit 1000000) max_states_per_insn 0
"""
    assert read(text, "kernel") == [
        BPF_MOV64_IMM(R0, 0), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1), BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN(),
    ]  # fmt: skip


def test_what_libbpf_prints_around_a_log_is_passed_over():
    text = """libbpf: prog 'x': BPF program load failed: Permission denied
libbpf: prog 'x': -- BEGIN PROG LOAD LOG --
0: R1=ctx(off=0,imm=0) R10=fp0
; int x(void *ctx)
0: (18) r1 = 0xffff888103b4d000       ; R1_w=map_ptr(off=0,ks=4,vs=8,imm=0)
2: (79) r0 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
-- END PROG LOAD LOG --
"""
    assert read(text, "kernel") == [BPF_LD_IMM64(R1, 0xFFFF888103B4D000), BPF_LDX_MEM(BPF_DW, R0, R0, 0)]


def test_inline_assembly_is_read():
    text = """	asm volatile ("					\\
	r1 = 0;						\\
	*(u64*)(r10 - 8) = r1;				\\
	if r1 == 0 goto l0_%=;				\\
	call %[bpf_map_lookup_elem];			\\
l0_%=:	r0 = 0; exit;					\\
"	:
	: __imm(bpf_map_lookup_elem)
	: __clobber_all);
"""
    assert read(text, "llvm") == [
        BPF_MOV64_IMM(R1, 0), BPF_STX_MEM(BPF_DW, R10, R1, -8), BPF_JMP_IMM(BPF_JEQ, R1, 0, 1), BPF_EMIT_CALL(1),
        BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN(),
    ]  # fmt: skip


def test_several_programs_of_a_listing_are_several():
    text = "; first\n0: (b7) r0 = 0\n1: (95) exit\n\n; second\n0: (b7) r0 = 1\n1: (95) exit\n"
    found = detect.read(text, "f").programs
    assert [list(program.insns) for program in found] == [
        [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()], [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()],
    ]  # fmt: skip
    assert found[1].name == "second"


def test_an_instruction_knows_its_line():
    (program,) = detect.read("# nothing\n\nr1 = 5\nexit\n", "f.s", "llvm").programs
    assert [insn.source for insn in program.insns] == [("f.s", 3), ("f.s", 4)]


# Which syntax it is


@pytest.mark.parametrize(
    ("text", "syntax"),
    [
        ("r1 = 5\nexit", "kernel"),
        ("r1 = 5 ll\nexit", "llvm"),
        ("mov %r1, 5\nexit", "ubpf"),
        ("(b7) r1 = 5", "kernel"),
        ("BPF_MOV64_IMM(R1, 5),\nBPF_EXIT_INSN(),", "macro"),
        ("struct bpf_insn p[] = { BPF_EXIT_INSN() };", "c"),
        ("1\n6 0 0 0", "tcpdump"),
        ("exit", "kernel"),
    ],
)
def test_a_syntax_is_told(text, syntax):
    found = detect.read(text, "f")
    assert (found.syntax, found.note) == (syntax, "")


def test_what_may_be_two_things_is_said():
    found = detect.read("r1 = 0x5\nexit", "f")
    assert found.syntax == "kernel"
    assert found.note == (
        "f:1: read as kernel text, BPF_LD_IMM64(BPF_REG_1, 0x5); in llvm it is BPF_MOV64_IMM(BPF_REG_1, 5). "
        "--from kernel or --from llvm says which"
    )


def test_no_instruction_is_lost_to_a_comment():
    found = detect.read("r0 = 0; exit", "f")
    assert (found.syntax, len(found.programs[0].insns)) == ("llvm", 2)
    assert found.note == (
        "f:1: read as llvm text, BPF_MOV64_IMM(BPF_REG_0, 0), BPF_EXIT_INSN(); in kernel it is "
        "BPF_MOV64_IMM(BPF_REG_0, 0). --from llvm or --from kernel says which"
    )
    assert detect.read("r0 = 0\n; r1 = 2\nexit", "f").note.startswith("f:2: read as llvm text, BPF_MOV64_IMM(")
    assert detect.read("r0 = 0 ; a comment\nexit", "f").note == ""


def test_comments_of_several_lines_are_passed_over_in_llvms_text():
    (program,) = detect.read("/* a\n b */ r1 = 5 /* c */\nexit /* d */", "f", "llvm").programs
    assert list(program.insns) == [BPF_MOV64_IMM(R1, 5), BPF_EXIT_INSN()]
    assert program.insns[0].source == ("f", 2)


# What is wrong

WRONG = [
    ("ubpf", "mov %r1", "1:8", "the end of the line where ',' belongs", "text-syntax", "write it like `mov %r1, 5`"),
    ("ubpf", "exit\nmov %r50, 1", "2:5", "there is no register r50", "text-register", "registers are r0 to r10"),
    (
        "ubpf",
        "ldxq %r1, [%r2]",
        "1:1",
        "no instruction of the ubpf syntax begins with 'ldxq'",
        "text-unknown",
        "the near",
    ),
    (
        "ubpf",
        "ldxw %r1, [%r2+0x10000]",
        "1:16",
        "an offset of 0x10000 bytes does not fit 16 bits (-32768 to 32767)",
        "text-range",
        "add it to",
    ),
    ("ubpf", "mov %r1, 2147483648", "1:10", "2147483648 does not fit 32 bits", "text-range", "it would be negative"),
    ("ubpf", "ja oot\nout:\nexit", "1:4", "there is no label oot", "text-label", "did you mean out?"),
    (
        "llvm",
        "r1 = 5\nr2 = r1 + 5",
        "2:9",
        "'+' where one of 'll', the end of the line belongs",
        "text-syntax",
        "write it like",
    ),
    ("llvm", "r1 = 99999999999", "1:6", "99999999999 does not fit 32 bits", "text-range", "load 64 bits"),
    ("llvm", "call nothing", "1:6", "there is no helper and no label nothing", "text-helper", "write its number"),
    (
        "kernel",
        "0: (b7) r1 = 5\n2: (95) exit",
        "2:1",
        "this says that it is slot 2, and it is slot 1",
        "text-slot",
        "lines are missing",
    ),
    ("kernel", "(b7) exit", "1:1", "this is no text of opcode b7", "text-opcode", "(b7) is `r1 = 5`"),
    (
        "kernel",
        "(85) call bpf_ringbuf_output#1",
        "1:11",
        "bpf_ringbuf_output is not the name of helper 1",
        "text-helper",
        "helper 1 is bpf_map_lookup_elem",
    ),
    (
        "kernel",
        "0: b701000006000000  (b7) r1 = 5",
        "1:1",
        "the bytes b701000006000000 are not those of the text beside them",
        "text-bytes",
        "the text is b701000005000000",
    ),
    ("kernel", "", "1", "there is no instruction in it, read as kernel text", "text-empty", "--from says"),
    (
        "kernel",
        ".8byte 0x1ffffffffffffffff",
        "1:8",
        "'0x1ffffffffffffffff' is no number of 64 bits",
        "text-range",
        "write .8byte",
    ),
    (
        "macro",
        "BPF_MOV64_IMM(R0, R1)",
        "1:1",
        "BPF_MOV64_IMM: R1 is a register, and the imm slot takes a number",
        "register-in-imm",
        "did you mean BPF_MOV64_REG(R0, R1)?",
    ),
    (
        "macro",
        "BPF_MOV64_IM(R0, 1)",
        "1:1",
        "there is no macro BPF_MOV64_IM",
        "c-macro",
        "did you mean BPF_MOV64_IMM?",
    ),
    (
        None,
        "hello world",
        "1:1",
        "'hello' begins no instruction, in any syntax",
        "text-unknown",
        "the kernel and LLVM",
    ),
    (
        None,
        "r0 = 0\nexitt",
        "2:1",
        "'exitt' begins no instruction, in any syntax",
        "text-unknown",
        "did you mean `exit`?",
    ),
    (
        None,
        "movv r0, 1",
        "1:1",
        "'movv' begins no instruction, in any syntax",
        "text-unknown",
        "the nearest are mov, mov64, mov32",
    ),
]


@pytest.mark.parametrize(("syntax", "text", "place", "what", "rule", "do"), WRONG)
def test_what_is_wrong_is_said_at_its_place(syntax, text, place, what, rule, do):
    with pytest.raises(BpfasmError) as caught:
        detect.read(text, "f", syntax)
    first, second = caught.value.report().splitlines()
    assert first == f"f:{place}: error: {what} [{rule}]"
    assert second.startswith(do)


# Nothing that is read can do harm


@pytest.mark.parametrize("syntax", [*SYNTAXES, "tcpdump", None])
def test_mutated_texts_give_our_errors_with_a_line(syntax, mutations):
    insns = [insn for _, insn in samples(1, seed=25)]
    source = text_of(insns, syntax if syntax in SYNTAXES else "kernel")
    if syntax == "tcpdump":
        source = "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n"
    choose = random.Random(26)
    read = 0
    for _ in range(mutations):
        text = mutate(excerpt(source, syntax, choose), choose)
        try:
            found = detect.read(text, "f", syntax)
        except BpfasmError as error:
            assert error.source and error.source[0] == "f", (text, error)
            assert 1 <= error.source[1] <= text.count("\n") + 1, (text, error.source)
            assert not (syntax == "c" and error.rule == "text-empty" and PROGRAM.search(text)), text
        else:
            assert found.programs or found.classic
            read += 1
    assert read > mutations // 20 or syntax != "c"


def excerpt(source, syntax, choose):
    """Return some lines of a listing; of C, what makes them an array too, or a file with all that a file may have."""
    if syntax == "c" and choose.randrange(2):
        return choose.choice(C_FILES)
    lines = source.splitlines(keepends=True)
    body = lines[1:-1] if syntax == "c" else lines
    start = choose.randrange(len(body))
    text = "".join(body[start : start + choose.randrange(1, 12)])
    return f"{lines[0]}{text}{lines[-1]}" if syntax == "c" else text


#: An array with an instruction in it, at the start of a line.
PROGRAM = re.compile(r"^struct bpf_insn \w+\[\] = \{\s*BPF_EXIT_INSN\(\)", re.M)

C_FILES = (
    """\
#include <linux/bpf.h>
#define KEY_OFF (-4)
#define R(n) BPF_REG_##n
#define INSNS(args...) { args }
#define LOOKUP(map, ...) \\
	BPF_LD_MAP_FD(BPF_REG_1, map), \\
	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem), ##__VA_ARGS__
#if defined(__x86_64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
enum { drop = 1 << 2, LAST, UNKNOWN = sizeof(struct odd), AFTER };
#elif 1
#error "another machine"
#endif
static const int most = 3, least = -3;
struct bpf_insn prog[] = {
	BPF_MOV64_REG(R(6), R(1)), /* ctx */
	BPF_LD_ABS(BPF_B, ETH_HLEN + offsetof(struct iphdr, protocol)),
	BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, KEY_OFF + most), // key
	LOOKUP(skel->maps.counts, BPF_MOV64_IMM(BPF_REG_0, LAST | drop)),
	[6 ... 7] = BPF_MOV64_IMM(BPF_REG_1, 'A' ? sizeof(int) : ~0UL),
	BPF_EXIT_INSN(),
};
struct bpf_insn more[] = INSNS(BPF_MOV64_IMM(R(0), 1), BPF_EXIT_INSN());
""",
    """\
struct event {
	__u32 pid, tgid:5, flags:3; pthread_t thread; char comm[16];
	union { struct { short x, y; }; __u64 whole; } in __attribute__((packed)), *p, more[3];
	int (*call)(int);
} __attribute__((aligned(16)));
typedef struct event event_t;
union both { struct __sk_buff skb; int table[ARRAY_SIZE(names)]; };
int f(struct event *p, odd_t q) {
	event_t e; const short table[] = { 1, 2, (3) }; long n = 0, m;
	static const struct bpf_insn one[3] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1 },
		{ 0xb7, 1, 0, 0, 'A' },
		[2] = ((struct bpf_insn) { .code = BPF_JMP | BPF_EXIT }),
	}, *two = (struct bpf_insn[]) { BPF_MOV64_IMM(0, sizeof(p->pid) + sizeof(table) / sizeof(table[0])) };
	return load((struct bpf_insn[]) { BPF_LDX_MEM(BPF_W, 1, 2, offsetof(struct __sk_buff, cb[4])) }, sizeof(m));
}
""",
    """\
static struct bpf_test tests[] = {
	{ "one", .insns = { BPF_LD_IMM64(BPF_REG_2, ~0ULL), BPF_EXIT_INSN() }, .result = ACCEPT },
	{ "TAX", .u.insns = { BPF_STMT(BPF_LD | BPF_IMM, 1), BPF_STMT(BPF_RET | BPF_A, 0) }, CLASSIC, { { 2, 10 } } },
	[7] = { "four", { BPF_PROG_TYPE_XDP, { BPF_MOV64_IMM(BPF_REG_0, BIT(4)), BPF_EXIT_INSN(), }, }, },
};
struct sock_filter filter[] = {
	BPF_JUMP(BPF_JMP+BPF_JEQ+BPF_K, __NR_read, 0, 1),
	{ .code = BPF_RET, .k = (u_int)-1 },
	{ 0x15, 0, 1, htonl(0x7f000001) },
};
""",
)

ALPHABET = "rw0123456789abcdefx()[]{}+-*/%&|^=<>!,;:.#\"'\\\n \t_$@~?RBPFskulock\x00\xe9"


def mutate(text, choose):
    """Return a text with some characters and words changed."""
    for _ in range(choose.randrange(1, 6)):
        at, kind = choose.randrange(len(text) + 1), choose.randrange(5)
        if kind == 0:
            text = text[:at] + choose.choice(ALPHABET) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + choose.randrange(1, 4) :]
        elif kind == 2:
            text = text[:at] + text[at:][:12] * choose.randrange(2, 4) + text[at:]
        elif kind == 3:
            text = text[:at] + str(choose.choice((0, 1, -1, 2**31, 2**64, 10**30, "0x", "r99", "pc"))) + text[at:]
        else:
            text = text[:at] + choose.choice(ALPHABET) + text[at + 1 :]
    return text


def test_what_would_go_on_for_ever_ends():
    laughs = "#define A0 BPF_EXIT_INSN(),\n" + "".join(f"#define A{n} A{n - 1} A{n - 1}\n" for n in range(1, 60))
    with pytest.raises(BpfasmError) as caught:
        c.read(f"{laughs}struct bpf_insn p[] = {{ A59 }};", "f")
    assert caught.value.source == ("f", 61)
    for text in ("(" * 100_000, "BPF_MOV64_IMM(R0, " + "-" * 100_000, "{" * 100_000, "~" * 9999):
        for syntax in ("c", "macro"):
            with pytest.raises(BpfasmError):
                detect.read(f"struct bpf_insn p[] = {{ {text}" if syntax == "c" else text, "f", syntax)


def test_lines_have_an_end(monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINES", 3)
    with pytest.raises(BpfasmError) as caught:
        detect.read("exit\n" * 4, "f", "kernel")
    assert caught.value.rule == "text-size"


def test_a_zero_in_a_line_is_no_number():
    assert read("r1 = -128", "llvm") == [BPF_MOV64_IMM(R1, -128)]
    with pytest.raises(BpfasmError) as caught:
        read("exit\nr\x00 = -128", "llvm")
    assert caught.value.source == ("f", 2)


def test_hex_and_decimal_are_not_mistaken_for_each_other():
    """Lines are read by their shape, which has to tell 0x1f from 10, whatever stood in the text before."""
    for first in ("0x1f", "0X1F", "31"):
        found = read(f"r1 = {first}\nr1 = 10\nr1 = 0x10\nr1 = 0X10\nr1 = 10", "llvm")
        assert [insn.imm for insn in found] == [31, 10, 16, 16, 10], first


@pytest.mark.parametrize(
    "line", ["r\u0661 = 5", "r1 = \u0665", "r1 = 1\u0665", "r01 = 5", "1r = 12", "r1 = 12a", "r 1 = 5"]
)
def test_digits_stand_where_they_belong(line):
    """Neither digits of other scripts nor those that would give the shape of a good line."""
    with pytest.raises(BpfasmError) as caught:
        read(f"r1 = 12\nr1 = 5\n{line}", "llvm")
    assert caught.value.source == ("f", 3)


@pytest.mark.parametrize("syntax", ["kernel", "llvm", "ubpf"])
def test_lines_that_are_read_together_are_read_as_each_alone(syntax):
    """Several hundred lines are cut at once; odd ones between them keep the numbers where they belong."""
    print_one = PRINT[syntax]
    texts = [print_one(insn, form) for form, insn in samples(4, seed=3) if "\n" not in print_one(insn, form)]
    mixed = list(
        itertools.chain.from_iterable((text, ODD[at % len(ODD)].format(at)) for at, text in enumerate(texts))
    )
    (whole,) = lines.read("\n".join(mixed), "f", syntax)
    alone = [insn for text in texts for insn in lines.read(text, "f", syntax)[0].insns]
    assert [item for item in whole.insns if isinstance(item, Insn)] == alone
    assert [item.source[1] for item in whole.insns if isinstance(item, Insn)] == sorted(
        2 * at + 1 for at, text in enumerate(texts) for _ in lines.read(text, "f", syntax)[0].insns
    )


#: What may stand between instructions: numbers of lines that have no instruction are none of the next one's.
ODD = ("", "   ", "label_{}:", "  l{}x1: ", "// 12 and 0x34", "")
