"""The instruction table: what holds for every row, and how an instruction finds its own."""

import itertools
import random
import re

import pytest
from hypothesis import given, settings, strategies as st
from samples import samples

import bpfasm.asm
from bpfasm.asm.syntax import kernel, macro
from bpfasm.isa.form import ROLES
from bpfasm.isa.insn import FIELDS, Insn, decode, encode
from bpfasm.isa.match import MAX_REG, form_of, why_none
from bpfasm.isa.meaning import VOCABULARY
from bpfasm.isa.operands import ALU_OPS, BPF_TO_BE, BPF_TO_LE, JMP_OPS, SIZES
from bpfasm.isa.table import FORMS

NAMESPACE = vars(bpfasm.asm)
EXACTLY = settings(derandomize=True, deadline=None, max_examples=300)

KINDS = {"alu", "jump", "goto", "load", "store", "atomic", "packet", "ld_imm64", "call", "exit", "barrier"}
GROUPS = {"", "base32", "base64", "atomic32", "atomic64", "divmul32", "divmul64", "packet"}
TOUCHES = {"dst", "src", "mem", "r0", "r1", "r2", "r3", "r4", "r5", "r6"}

#: Of each form, instructions with operands of all kinds.
PAIRS = samples(40, seed=7)


# What a row holds


def test_names_are_unique():
    assert len({form.name for form in FORMS}) == len(FORMS) == 237


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_row_is_whole(form):
    free = {field for role in form.operands for field in ROLES[role]}
    assert free | form.fixed.keys() == set(FIELDS) - {"code"}
    assert free & form.fixed.keys() == set()
    assert 0 <= form.code <= 0xFF
    assert form.kind in KINDS
    assert form.group in GROUPS
    assert form.isa in {"", "v1", "v2", "v3", "v4"}
    assert form.dialect in {"source", "xlated"}
    assert {*form.reads, *form.writes} <= TOUCHES
    assert form.size in {0, 1, 2, 4, 8}
    assert bool(form.size) == ("mem" in form.reads or "mem" in form.writes)
    assert re.fullmatch(r"\d+\.\d+", form.since) or form.name == "callx"
    assert form.width == (2 if form.kind == "ld_imm64" else 1)


def test_what_it_reads_and_writes_are_its_operands():
    """Registers, that is; whether they are the right ones, the verifier says (tests/live/test_registers.py)."""
    both = {"dst", "src"}
    assert [form.name for form in FORMS if both & {*form.reads, *form.writes} != both & set(form.operands)] == []


@pytest.mark.parametrize(
    ("word", "is_there"),
    [
        ("d", lambda form: "dst" in form.reads),
        ("s", lambda form: "src" in form.reads),
        ("m", lambda form: "mem" in form.reads),
        ("i", lambda form: "imm" not in form.fixed),
        ("r0", lambda form: "r0" in form.reads),
    ],
)
def test_a_meaning_uses_what_the_form_reads(word, is_there):
    assert [form.name for form in FORMS if word in words_of(form) and not is_there(form)] == []


def test_a_meaning_is_written_in_the_vocabulary():
    assert set().union(*map(words_of, FORMS)) == VOCABULARY.keys() | {"d", "s", "m", "i", "r0", "if", "else"}


def words_of(form):
    return set(re.findall(r"[a-z]\w*", form.meaning))


def test_a_meaning_stays_within_its_width():
    """64 bits of a register, the bytes of a store; a jump is taken or not."""
    edges = (0, 1, 2**31, 2**63, 2**64 - 1)
    for form in filter(lambda form: form.meaning, FORMS):
        bits = 64 if form.kind in ("alu", "load", "packet", "ld_imm64") else 8 * form.size
        for d, s in itertools.product(edges, edges):
            operands = {"d": d, "s": s, "i": s, "r0": d, "m": s % 256**form.size}
            value = eval(form.meaning, {**VOCABULARY, **operands})
            assert value in (True, False) if form.kind == "jump" else 0 <= value < 1 << bits, (form.name, operands)


def group_by_rfc(form):
    """Return the conformance group that RFC 9669 (sections 2.4, 4 and 5) gives to an opcode and its fields."""
    names = ("LD", "LDX", "ST", "STX", "ALU", "JMP", "JMP32", "ALU64")
    class_, operation, mode, wide = names[form.code & 7], form.code >> 4, form.code >> 5, form.code & 0x18 == 0x18
    if class_ in ("ALU", "ALU64"):
        bits = "64" if class_ == "ALU64" else "32"
        if operation == 0xD:
            return "base64" if form.fixed["imm"] == 64 else "base32"
        return f"{'divmul' if operation in (2, 3, 9) else 'base'}{bits}"
    if class_ in ("JMP", "JMP32"):
        # "All CALL and JA instructions belong to the base32 conformance group"; EXIT is listed with them.
        return "base32" if class_ == "JMP32" or operation in (0, 8, 9) else "base64"
    if class_ == "LD" and mode in (1, 2):
        return "packet"
    if class_ == "STX" and mode == 6:
        return "atomic64" if wide else "atomic32"
    # A load that extends 32 bits has 64 to fill.
    return "base64" if wide or (class_ == "LDX" and mode == 4 and form.size == 4) else "base32"


def test_conformance_groups_are_those_of_the_rfc():
    newer = {"may_goto", "gotox", "callx", "addr_space_cast"}
    for form in FORMS:
        in_rfc = form.dialect == "source" and form.name not in newer and "acquire" not in form.name
        in_rfc = in_rfc and "release" not in form.name
        assert form.group == (group_by_rfc(form) if in_rfc else ""), form.name


# Which form an instruction is


def test_an_instruction_of_a_form_is_found_as_that():
    assert [(form.name, insn) for form, insn in PAIRS if form_of(insn) is not form] == []


def test_its_macro_text_makes_the_same_instruction():
    texts = [macro.text(insn, form) for form, insn in PAIRS]
    made = eval(f"[{', '.join(texts)}]", NAMESPACE)
    assert [three for three in zip(PAIRS, texts, made, strict=True) if three[0][1] != three[2]] == []


@pytest.mark.parametrize("order", ["little", "big"])
def test_its_bytes_make_the_same_instruction(order):
    insns = [insn for _, insn in PAIRS]
    assert decode(encode(insns, order), order) == insns


def test_with_another_value_in_a_fixed_field_it_is_another_form_or_none():
    for form, insn in PAIRS:
        for field, value in form.fixed.items():
            if isinstance(value, int):
                assert form_of(insn.replace(**{field: value ^ 1})) is not form, (insn, field)


@pytest.mark.parametrize("slot", ["dst_reg", "src_reg"])
def test_registers_end_at_the_last_that_a_kernel_names(slot):
    insn = Insn(0xBF, 1, 2)
    assert MAX_REG == 12
    assert form_of(insn.replace(**{slot: MAX_REG})).name == "mov64_reg"
    for number in range(MAX_REG + 1, 16):
        assert form_of(insn.replace(**{slot: number})) is None
        assert why_none(insn.replace(**{slot: number})) == f"there is no register {number}"


@pytest.mark.parametrize(
    ("insn", "why"),
    [
        (Insn(0x00), "code 0 is only the second slot of BPF_LD_IMM64"),
        (Insn(0xFF), "no instruction has code 0xff"),
        (Insn(0x18), "BPF_LD_IMM64 without its second slot"),
        (Insn(0x18, 1, 9, 0, 0, 0, 0), "src_reg is 9, and this opcode takes 0, 1, 2, 3, 4, 5, 6 there"),
        (Insn(0x18, 1, 0, 0, 0, 3, 0), "off2 is 3, and ld_imm64 takes 0 there"),
        (Insn(0x07, 1, 2), "src_reg is 2, and add64_imm takes 0 there"),
        (Insn(0x07, 1, 2, 3), "src_reg is 2, and add64_imm takes 0 there; off is 3, and add64_imm takes 0 there"),
        (Insn(0x95, 0, 0, 0, 0, 0, 0), "off2 is 0, and exit has one slot; imm2 is 0, and exit has one slot"),
        (Insn(0x37, 1, 0, 2), "off is 2, and this opcode takes 0, 1 there"),
        (Insn(0xBF, 1, 2, 7), "off is 7, and this opcode takes -1, 0, 1, 8, 16, 32 there"),
        (Insn(0xD4, 1, 0, 0, 8), "imm is 8, and this opcode takes 16, 32, 64 there"),
        (Insn(0xDB, 1, 2, 0, 2),
         "imm is 2, and this opcode takes 0, 1, 64, 65, 80, 81, 160, 161, 225, 241, 256, 272 there"),
        (Insn(0x85, 0, 3), "src_reg is 3, and this opcode takes 0, 1, 2 there"),
        (Insn(0xBF, 1, 2, 8, 5), "imm is 5, and movsx64_8 takes 0 there"),
        (Insn(0xBC, 1, 2, 0, 1), "imm is 1, and mov32_reg takes 0 there"),
    ],
)  # fmt: skip
def test_why_it_is_none(insn, why):
    assert form_of(insn) is None
    assert why_none(insn) == why


@given(st.binary(min_size=8, max_size=8) | st.binary(min_size=16, max_size=16))
@EXACTLY
def test_any_slots_are_a_form_or_there_is_a_reason(data):
    for insn in decode(data):
        known(insn)


def test_any_fields_of_any_opcode_are_a_form_or_there_is_a_reason():
    choose = random.Random(8)
    small = (-1, 0, 0, 0, 1, 8, 16, 32, 64)
    for code in [*range(256)] * 200:
        fields = [choose.choice((0, 0, 1, 2, choose.randrange(16))) for _ in range(2)]
        fields += [
            choose.choice(small),
            choose.choice((*small, 0xE1, 0xF1, 0x100, choose.randrange(-(2**31), 2**31))),
        ]
        if code == 0x18 or choose.random() < 0.1:
            fields += [choose.choice(small), choose.choice(small)]
        known(Insn(code, *fields))


def known(insn):
    """Look an instruction up, and print it whether it is known or not."""
    form = form_of(insn)
    if form is None:
        assert why_none(insn)
    else:
        assert form.code == insn.code
    assert kernel.text(insn, form)
    assert macro.text(insn, form).startswith("BPF_")


def test_every_operation_and_size_has_its_forms():
    """What the operand kinds offer, the table knows: by the names in the macro templates."""
    templates = " ".join(form.macro for form in FORMS)
    kinds = [*ALU_OPS, *JMP_OPS, *SIZES, BPF_TO_LE, BPF_TO_BE]
    own_macros = {"BPF_END", "BPF_EXIT"}
    assert {kind.name for kind in kinds if not re.search(rf"\b{kind.name}\b", templates)} == own_macros
