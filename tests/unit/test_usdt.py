"""What a mark's note says of its arguments, and the instructions that read them."""

import random
import string
from types import SimpleNamespace

import pytest

from bpfasm.asm import *
from bpfasm.asm.snippets import usdt_arg
from bpfasm.elf.probes import marks
from bpfasm.elf.usdt import UsdtArg, parse_args
from bpfasm.errors import DecodeError, OperandError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-4@%edi", {"size": 4, "signed": True, "register": "rdi"}),
        ("8@%rax", {"size": 8, "register": "rax"}),
        ("1@%r9b", {"size": 1, "register": "r9"}),
        ("2@%sil", {"size": 2, "register": "rsi"}),
        ("-4@$-5", {"size": 4, "signed": True, "value": -5}),
        ("4@$0x10", {"size": 4, "value": 16}),
        ("8@16(%rsp)", {"size": 8, "register": "rsp", "value": 16, "memory": True}),
        ("8@(%rbp)", {"size": 8, "register": "rbp", "memory": True}),
        ("-4@-20(%rbp,%rax,4)", {"size": 4, "signed": True, "register": "rbp", "value": -20, "memory": True,
                                 "index": "rax", "scale": 4}),
        ("8@x0", {"size": 8, "register": "regs[0]"}),
        ("-4@w30", {"size": 4, "signed": True, "register": "regs[30]"}),
        ("4@[sp, 12]", {"size": 4, "register": "sp", "value": 12, "memory": True}),
        ("8@[x19]", {"size": 8, "register": "regs[19]", "memory": True}),
        ("4@5", {"size": 4, "value": 5}),
    ],
)  # fmt: skip
def test_an_argument(text, expected):
    whole = {"text": text, "size": 8, "signed": False, **expected}
    assert parse_args(text) == (UsdtArg(**whole),)


def test_several():
    found = parse_args("8@%rdi 4@[sp, 12] -4@$3 8@foo(%rip) 7@%rax")
    assert [(each.text, each.known) for each in found] == [
        ("8@%rdi", True), ("4@[sp, 12]", True), ("-4@$3", True), ("8@foo(%rip)", False), ("7@%rax", False),
    ]  # fmt: skip
    assert parse_args("") == ()


def test_any_text_is_arguments():
    chance = random.Random(5)
    letters = string.ascii_lowercase + string.digits + "@%$()[],-# .\0é"
    for _ in range(2000):
        parse_args("".join(chance.choices(letters, k=chance.randrange(40))))


def test_a_number_and_what_is_not_known():
    (small, large) = parse_args("-4@$-5 8@$0x123456789a")
    assert usdt_arg(small, R7, at=-8) == [BPF_MOV64_IMM(R7, -5)]
    assert usdt_arg(large, R7, at=-8) == [BPF_LD_IMM64(R7, 0x123456789A)]
    with pytest.raises(OperandError) as caught:
        usdt_arg(*parse_args("8@foo(%rip)"), R7, at=-8)
    assert caught.value.rule == "snippet-operand"


def test_a_note_that_is_cut_short():
    note = SimpleNamespace(name="stapsdt", type=3, desc=b"\1" * 30)
    file = SimpleNamespace(name="x", bits=64, order="little", notes=[note], section=lambda name: None, segments=())
    with pytest.raises(DecodeError) as caught:
        marks(file)
    assert caught.value.rule == "usdt"


def test_both_processors_registers_are_found():
    (x86, arm, stack) = parse_args("8@%r8 8@x3 8@[sp, 8]")
    assert [usdt_arg(each, R7, at=-8)[0].off for each in (x86, arm, stack)] == [72, 24, 248]
    (indexed,) = parse_args("4@8(%rdi,%rcx,4)")
    assert [insn.off for insn in usdt_arg(indexed, R7, at=-8)[:2]] == [112, 88]
