"""The text of translated programs: what bpftool prints of the same instructions, and the names beside."""

import sys

import pytest

if sys.platform != "linux":
    pytest.skip("Linux", allow_module_level=True)

from bpfasm.asm import *
from bpfasm.asm.syntax.xlated import Names, as_written, own_functions, text
from bpfasm.isa.insn import decode, slots
from bpfasm.isa.match import form_of
from bpfasm.syscall.kallsyms import Kallsyms

NAMES = Names(
    maps={12: "counts"},
    calls={204544: "bpf_ktime_get_ns", -71402: "bpf_rcu_read_lock"},
    functions={0: "main", 8: "f"},
)


@pytest.mark.parametrize(
    ("code", "pc", "words", "beside"),
    [
        ("850000000000000000", 0, "(85) call unknown#0", ""),
        ("8500000000 1f0300", 0, "(85) call bpf_ktime_get_ns#204544", ""),
        ("8500000001 1f0300", 0, "(85) call unknown#204545", ""),
        ("850000000c000000", 0, "(85) call bpf_tail_call#12", ""),
        ("85100500 01000000", 2, "(85) call pc+5#f", ""),
        ("8510feff 01000000", 2, "(85) call pc-2", ""),
        ("8520000016e9feff", 0, "(85) call bpf_rcu_read_lock#-71402", ""),
        ("8520010005000000", 0, "(85) call kernel-function#5", ""),
        ("e510050010270000", 2, "(e5) call pc+5#f", ""),
        ("18110000 0c000000 0000000000000000", 0, "(18) r1 = map[id:12]", "counts"),
        ("18110000 0d000000 0000000000000000", 0, "(18) r1 = map[id:13]", ""),
        ("18270000 0c000000 0000000004000000", 0, "(18) r7 = map[id:12][0]+4", "counts"),
        ("18420000 05000000 0000000001000000", 2, "(18) r2 = subprog[+5]", "f"),
        ("18080000 88776655 0000000044332211", 0, "(18) r8 = 0x1122334455667788", ""),
        ("b700000007000000", 0, "(b7) r0 = 7", ""),
        ("bc11000001000000", 0, "(bc) w1 = w1", ""),
        ("f500000000000000", 0, "(f5) if r0 (null) 0x0 goto pc+0", ""),
    ],
)
def test_texts(code, pc, words, beside):
    (insn, *_) = decode(bytes.fromhex(code)[: 16 if code.startswith("18") else 8])
    assert text(insn, form_of(insn), pc, NAMES) == (words, beside)


def test_where_functions_start():
    code = [
        BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 3, 1),  # to 4: the distance is in off
        BPF_LD_IMM64_RAW_FULL(R1, BPF_PSEUDO_FUNC, 0, 0, 4, 2),  # to 6
        BPF_EXIT_INSN(),
        *[BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()] * 2,
    ]
    assert own_functions(slots(code)) == [0, 4, 6]


def test_calls_as_a_program_has_them():
    code = (
        "8500000000 1f0300  8510050001000000  8520000016e9feff  85000000905b0000  e5100500 10270000  9500000000000000"
    )
    written = list(as_written(decode(bytes.fromhex(code)), NAMES))
    assert written == [
        BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns),
        BPF_CALL_REL(5),
        BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, -71402),
        BPF_EMIT_CALL(23440),  # no helper: what the kernel put in
        BPF_CALL_REL(5),
        BPF_EXIT_INSN(),
    ]


SYMBOLS = b"""\
ffffffff81000000 T _text
ffffffff81000010 T bpf_alias.cold
ffffffff81000010 t bpf_alias
ffffffff81000010 t __pfx_bpf_alias
ffffffff81000020 T __bpf_call_base
ffffffffc0000000 t bpf_prog_6deef7357e7b4530_double\t[bpf]
"""


def test_symbols():
    symbols = Kallsyms(SYMBOLS)
    assert symbols.address("__bpf_call_base") == 0xFFFFFFFF81000020
    assert symbols.address("bpf_alias") == 0xFFFFFFFF81000010
    assert symbols.address("bpf_prog_6deef7357e7b4530_double") == 0xFFFFFFFFC0000000
    assert symbols.address("call_base") == symbols.address("__bpf_call_bas") == 0
    assert symbols.names(0xFFFFFFFF81000010) == ["bpf_alias.cold", "bpf_alias", "__pfx_bpf_alias"]
    assert symbols.name(0xFFFFFFFF81000010) == "bpf_alias"
    assert symbols.name(0xFFFFFFFFC0000000) == "bpf_prog_6deef7357e7b4530_double"
    assert symbols.name(0xFFFFFFFF81000011) == symbols.name(0) == ""


def test_symbols_that_are_hidden():
    symbols = Kallsyms(b"0000000000000000 T _text\n0000000000000000 T __bpf_call_base\n")
    assert symbols.address("__bpf_call_base") == 0
    assert symbols.names(0) == []


def test_no_symbols():
    assert Kallsyms(b"").address("_text") == 0
    assert Kallsyms(b"").name(1) == ""
