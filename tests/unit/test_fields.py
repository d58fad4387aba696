"""Operands that a target's types say: in macros, in text, in a program that is linked."""

import pytest

import bpfasm.asm
from bpfasm.asm import *
from bpfasm.asm.fields import Core
from bpfasm.asm.linker import POISON
from bpfasm.asm.syntax import kernel, macro
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.errors import LinkError, OperandError
from bpfasm.isa.match import form_of
from bpfasm.views import documents
from tests.unit.test_core import KERNEL

EXIT = BPF_EXIT_INSN()
TARGET = Target(btf=KERNEL)
SUM = field("task", "se.sum")
NONE = field("task", "nothing")


def program(*body):
    return Program("prog", BPF_PROG_TYPE_KPROBE, [*body, EXIT])


def test_an_operand_becomes_its_number():
    body = [
        BPF_LDX_MEM(BPF_DW, R1, R1, SUM), BPF_ST_MEM(BPF_W, R1, field("task", "y"), SUM.size),
        BPF_ALU64_IMM(BPF_ADD, R1, SUM), BPF_MOV64_IMM(R2, type_size("task")), BPF_MOV32_IMM(R2, SUM.exists),
        BPF_LD_IMM64(R3, enum_value("wide", "WIDE")), BPF_JMP_IMM(BPF_JEQ, R1, enum_value("order", "LATER"), 0),
        BPF_ALU64_IMM(BPF_LSH, R1, field("bits", "b").lshift), BPF_ALU64_IMM(BPF_ARSH, R1, field("bits", "b").rshift),
        BPF_MOV64_IMM(R2, field("bits", "b").signed), BPF_MOV64_IMM(R2, enum_exists("order", "NEVER")),
        BPF_MOV64_IMM(R2, type_exists("nothing")),
    ]  # fmt: skip
    linked = link(program(*body), TARGET)
    assert linked.insns == (
        BPF_LDX_MEM(BPF_DW, R1, R1, 24), BPF_ST_MEM(BPF_W, R1, 12, 8), BPF_ALU64_IMM(BPF_ADD, R1, 24),
        BPF_MOV64_IMM(R2, 128), BPF_MOV32_IMM(R2, 1), BPF_LD_IMM64(R3, 2 << 32 | 1), BPF_JMP_IMM(BPF_JEQ, R1, 7, 0),
        BPF_ALU64_IMM(BPF_LSH, R1, 54), BPF_ALU64_IMM(BPF_ARSH, R1, 57), BPF_MOV64_IMM(R2, 1), BPF_MOV64_IMM(R2, 0),
        BPF_MOV64_IMM(R2, 0), EXIT,
    )  # fmt: skip
    assert linked.unresolved == linked.missing == ()


def test_without_types_it_is_0_and_unresolved():
    store = BPF_ST_MEM(BPF_W, R1, SUM, SUM.size)
    assembled = assemble(program(BPF_MOV64_IMM(R0, 0), store))
    assert assembled.symbols == ((1, SUM, "off"), (1, SUM.size, "imm"))
    linked = link(assembled)
    assert linked.unresolved == assembled.symbols
    assert linked.insns[1] == BPF_ST_MEM(BPF_W, R1, 0, 0)
    (row,) = documents.programs([assembled])["programs"]
    assert row["insns"][1]["off_symbol"] == {"kind": "field", "name": "task.se.sum"}
    assert row["insns"][1]["symbol"] == {"kind": "field", "name": "task.se.sum"}


@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (BPF_LDX_MEM(BPF_DW, R1, R2, SUM), "(79) r1 = *(u64 *)(r2 +task.se.sum)"),
        (BPF_STX_MEM(BPF_DW, R1, R2, SUM), "(7b) *(u64 *)(r1 +task.se.sum) = r2"),
        (BPF_ST_MEM(BPF_W, R1, SUM, 5), "(62) *(u32 *)(r1 +task.se.sum) = 5"),
        (BPF_ST_MEM(BPF_W, R1, -4, SUM.size), "(62) *(u32 *)(r1 -4) = size(task.se.sum)"),
        (BPF_ALU64_IMM(BPF_ADD, R1, SUM), "(07) r1 += task.se.sum"),
        (BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, SUM), "(db) lock *(u64 *)(r1 +task.se.sum) += r2"),
        (
            BPF_JMP_IMM(BPF_JEQ, R1, enum_value("order", "LATER"), 3),
            "(15) if r1 == enum_value(order.LATER) goto pc+3",
        ),
        (BPF_LD_IMM64(R3, enum_value("wide", "WIDE")), "(18) r3 = enum_value(wide.WIDE)"),
        (BPF_MOV64_IMM(R2, first_of(NONE, SUM)), "(b7) r2 = task.nothing or task.se.sum"),
        (BPF_MOV64_IMM(R2, type_size("struct task")), "(b7) r2 = type_size(struct task)"),
        (BPF_MOV64_IMM(R2, first_of(NONE, 7).size), "(b7) r2 = size(task.nothing) or 7"),
    ],
)
def test_it_prints_by_its_name(insn, text):
    assert kernel.text(insn, form_of(insn)) == text
    assert eval(macro.text(insn, form_of(insn)), vars(bpfasm.asm)) == insn


def test_a_jump_beside_an_operand_prints_too():
    insn = BPF_JMP_IMM(BPF_JEQ, R1, SUM.size, "out")
    assert macro.text(insn, form_of(insn)) == 'BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, field("task", "se.sum").size, "out")'
    assert kernel.text(insn, form_of(insn)) == "(15) if r1 == size(task.se.sum) goto out"


def test_the_first_that_exists():
    def linked(operand):
        return link(program(BPF_MOV64_IMM(R1, operand)), TARGET).insns[0].imm

    assert linked(first_of(NONE, field("task", "y"), SUM)) == 12
    assert linked(first_of(NONE, SUM).size) == 8
    assert linked(first_of(NONE, SUM).exists) == 1
    assert linked(first_of(NONE, field("no", "x")).exists) == 0
    assert linked(first_of(NONE, 77)) == 77
    assert linked(first_of(enum_value("order", "NEVER"), enum_value("order", "LATER"))) == 7
    assert linked(first_of(type_size("nothing"), type_size("task"))) == 128
    with pytest.raises(LinkError, match=r"the target has none of task.nothing or no.x"):
        linked(first_of(NONE, field("no", "x")))


def test_a_missing_field_is_refused_where_the_program_does_not_ask():
    body = program(BPF_LDX_MEM(BPF_W, R1, R1, NONE))
    with pytest.raises(LinkError) as caught:
        link(body, TARGET)
    assert caught.value.rule == "core-missing"
    assert caught.value.source == body.insns[0].source


@pytest.mark.parametrize("asks", [NONE.exists, type_exists("task"), first_of(NONE, SUM).exists])
def test_a_missing_field_is_poisoned_where_the_program_asks(asks):
    body = program(BPF_MOV64_IMM(R2, asks), BPF_LDX_MEM(BPF_W, R1, R1, NONE), BPF_ST_MEM(BPF_W, R1, SUM, NONE.size))
    linked = link(body, TARGET)
    poison = BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, POISON)
    assert linked.insns[1:3] == (poison, poison)
    assert linked.missing == ((1, NONE, "off"), (2, NONE.size, "imm"))


def test_a_poisoned_load_keeps_its_width():
    wide = enum_value("order", "NEVER")
    linked = link(program(BPF_MOV64_IMM(R2, enum_exists("order", "NEVER")), BPF_LD_IMM64(R1, wide)), TARGET)
    assert linked.insns[1] == BPF_LD_IMM64(R10, POISON)


def test_what_does_not_fit_its_slot():
    types = Writer()
    types.add_struct("large", 50000, [("last", types.add_int("int", 4), 8 * 40000)])
    target = Target(btf=Btf(types.to_bytes()))
    assert link(program(BPF_ALU64_IMM(BPF_ADD, R1, field("large", "last"))), target).insns[0].imm == 40000
    for insn, on in (
        (BPF_LDX_MEM(BPF_W, R1, R1, field("large", "last")), target),
        (BPF_MOV64_IMM(R1, enum_value("wide", "WIDE")), TARGET),
    ):
        with pytest.raises(LinkError) as caught:
            link(program(insn), on)
        assert caught.value.rule == "core-range"
        assert caught.value.source == insn.source


@pytest.mark.parametrize(
    "make",
    [
        lambda: field("task", "a->b"), lambda: field("task", ""), lambda: field("", "a"), lambda: field("a b", "c"),
        lambda: field("struct", ""), lambda: field(5, "a"), lambda: field("task", 5), lambda: field("a b c", "d"),
        lambda: type_size("task").size, first_of, lambda: first_of(5, SUM), lambda: first_of("x"),
        lambda: enum_value("order", ""), lambda: first_of(SUM, 1, 2), lambda: field("task", "a b"),
    ],
)  # fmt: skip
def test_what_names_nothing(make):
    with pytest.raises(OperandError) as caught:
        make()
    assert caught.value.rule == "core-operand"
    assert caught.value.source[0] == __file__


def test_a_map_is_still_no_number():
    for make in (lambda spec: BPF_MOV64_IMM(R1, spec), lambda spec: BPF_LDX_MEM(BPF_W, R1, R1, spec)):
        with pytest.raises(OperandError):
            make(ArrayMap("counts", value=8, max_entries=1))


def test_operands_compare_by_what_they_say():
    assert field("task", "se.sum") == SUM
    assert isinstance(SUM, Core)
    assert len({SUM, field("task", "se.sum"), SUM.size}) == 2
