"""Every form that can be loaded against LLVM's assembler and disassembler, in both byte orders.

LLVM's text is not the kernel's, so its syntax is written down here, form by form, and goes both ways: what it
disassembles our bytes to, and what it assembles that text to.
"""

import re
import shutil
import subprocess

import pytest
from samples import samples

from bpfasm.isa.insn import encode
from bpfasm.isa.table import FORMS

pytestmark = pytest.mark.oracle

LLVM_MC = "llvm-mc-19"
TRIPLES = {"little": "bpfel", "big": "bpfeb"}
SOURCE_FORMS = [form for form in FORMS if form.dialect == "source"]


# LLVM's syntax


def syntax():
    """Yield the form's name and its text in LLVM's words."""
    alu = {
        "add": "+=", "sub": "-=", "mul": "*=", "div": "/=", "or": "|=", "and": "&=", "lsh": "<<=", "rsh": ">>=",
        "mod": "%=", "xor": "^=", "mov": "=", "arsh": "s>>=", "sdiv": "s/=", "smod": "s%=",
    }  # fmt: skip
    conditions = {
        "jeq": "==", "jgt": ">", "jge": ">=", "jset": "&", "jne": "!=", "jsgt": "s>", "jsge": "s>=", "jlt": "<",
        "jle": "<=", "jslt": "s<", "jsle": "s<=",
    }  # fmt: skip
    for bits, w in ((64, "r"), (32, "w")):
        for name, sign in alu.items():
            yield f"{name}{bits}_imm", f"{w}{{dst}} {sign} {{imm}}"
            yield f"{name}{bits}_reg", f"{w}{{dst}} {sign} {w}{{src}}"
        for name, sign in conditions.items():
            yield f"{name}{bits}_imm", f"if {w}{{dst}} {sign} {{imm}} goto {{jump}}"
            yield f"{name}{bits}_reg", f"if {w}{{dst}} {sign} {w}{{src}} goto {{jump}}"
        yield f"neg{bits}", f"{w}{{dst}} = -{w}{{dst}}"
        for narrow in (8, 16, 32)[: 3 if bits == 64 else 2]:
            yield f"movsx{bits}_{narrow}", f"{w}{{dst}} = (s{narrow}){w}{{src}}"
    for bits in (16, 32, 64):
        for order in ("le", "be", "bswap"):
            yield f"{order}{bits}", f"r{{dst}} = {order}{bits} r{{dst}}"
    for bits in (8, 16, 32, 64):
        w = "r" if bits == 64 else "w"
        yield f"ldx{bits}", f"{w}{{dst}} = *(u{bits} *)(r{{src}} {{off}})"
        yield f"stx{bits}", f"*(u{bits} *)(r{{dst}} {{off}}) = {w}{{src}}"
        yield f"st{bits}", f"*(u{bits} *)(r{{dst}} {{off}}) = {{imm}}"
        if bits < 64:
            yield f"ldsx{bits}", f"r{{dst}} = *(s{bits} *)(r{{src}} {{off}})"
            yield f"ld_abs{bits}", f"r0 = *(u{bits} *)skb[{{imm}}]"
            yield f"ld_ind{bits}", f"r0 = *(u{bits} *)skb[r{{src}}]"
    for bits, w, infix in ((64, "r", ""), (32, "w", "32")):
        at = f"u{bits} *)(r{{dst}} {{off}})"
        for name, sign in (("add", "+="), ("or", "|="), ("and", "&="), ("xor", "^=")):
            yield f"atomic{bits}_{name}", f"lock *({at} {sign} {w}{{src}}"
            yield f"atomic{bits}_fetch_{name}", f"{w}{{src}} = atomic_fetch_{name}(({at}, {w}{{src}})"
        yield f"atomic{bits}_xchg", f"{w}{{src}} = xchg{infix}_{bits}(r{{dst}} {{off}}, {w}{{src}})"
        yield f"atomic{bits}_cmpxchg", f"{w}0 = cmpxchg{infix}_{bits}(r{{dst}} {{off}}, {w}0, {w}{{src}})"
    for number, name in enumerate(("map_fd", "map_value", "btf_id", "func", "map_idx", "map_idx_value"), 1):
        yield f"ld_{name}", f"ld_pseudo\tr{{dst}}, {number}, {{unsigned}}"
    yield "ld_imm64", "r{dst} = {imm64} ll"
    yield "ja", "goto {jump}"
    yield "gotol", "gotol {jump32}"
    yield "may_goto", "may_goto {jump}"
    yield "call_helper", "call {imm}"
    yield "call_rel", "call {imm}"
    yield "call_kfunc", "call {imm}"
    yield "callx", "callx r{dst}"
    yield "exit", "exit"
    yield "addr_space_cast", "r{dst} = addr_space_cast(r{src}, {to}, {of})"


SYNTAX = dict(syntax())

#: What LLVM 19 does not know. It takes two of them for an addition (``lock *(u64 *)(r1 + 8) += r2``).
UNKNOWN = {
    "gotox",
    *(f"{name}{bits}" for name in ("load_acquire", "store_release") for bits in (8, 16, 32, 64)),
}

#: Fields that its text leaves out: there the way back gives 0.
LEFT_OUT = {
    "ld_ind8": {"imm"}, "ld_ind16": {"imm"}, "ld_ind32": {"imm"},
    "ld_map_value": {"imm2"}, "ld_map_idx_value": {"imm2"}, "ld_btf_id": {"imm2"},
    "call_rel": {"src_reg"}, "call_kfunc": {"src_reg", "off"},
}  # fmt: skip

#: Its assembler takes a distance of 16 bits, though 32 are there.
NARROW = {"gotol"}


def text(form, insn):
    """Return an instruction in LLVM's words."""
    imm = insn.imm
    return SYNTAX[form.name].format(
        dst=insn.dst_reg,
        src=insn.src_reg,
        off=f"{'-' if insn.off < 0 else '+'} {abs(insn.off)}",
        jump=f"{insn.off:+d}",
        jump32=f"{imm:+d}",
        imm=imm,
        unsigned=imm % 2**32,
        imm64=(insn.imm2 or 0) << 32 | imm % 2**32,
        to=imm >> 16 & 0xFFFF,
        of=imm & 0xFFFF,
    )


# The tool


def llvm_mc(lines, *options):
    """Return the lines of text that it makes of lines, None for what it refuses."""
    if not shutil.which(LLVM_MC):
        pytest.skip(f"needs {LLVM_MC} (apt install llvm-19)")
    done = subprocess.run(
        [LLVM_MC, "--mcpu=v4", *options], input="\n".join(lines), capture_output=True, text=True, check=False
    )
    refused = {int(n) for n in re.findall(r"^<stdin>:(\d+):\d+: (?:warning|error):", done.stderr, re.M)}
    printed = iter([line.strip() for line in done.stdout.splitlines() if line.strip() not in ("", ".text")])
    found = [None if number in refused else next(printed) for number in range(1, len(lines) + 1)]
    assert next(printed, None) is None
    return found


def disassembled(codes, order):
    """Return the text of each instruction, None where it is invalid."""
    blocks = [f"[{' '.join(f'{byte:#x}' for byte in code)}]" for code in codes]
    return llvm_mc(blocks, "--disassemble", f"--triple={TRIPLES[order]}")


def assembled(texts, order):
    """Return the bytes of each text."""
    lines = llvm_mc(texts, "--show-encoding", f"--triple={TRIPLES[order]}")
    assert None not in lines
    return [
        bytes(int(byte, 16) for byte in re.search(r"encoding: \[(.*)\]", line).group(1).split(",")) for line in lines
    ]


def test_the_syntax_and_the_unknown_are_all_forms():
    names = {form.name for form in SOURCE_FORMS}
    assert SYNTAX.keys() | UNKNOWN == names
    assert SYNTAX.keys() & UNKNOWN == set()
    assert LEFT_OUT.keys() <= names


@pytest.mark.parametrize("order", TRIPLES)
def test_our_bytes_are_disassembled_to_llvms_text(order):
    pairs = [(form, insn) for form, insn in samples(60, seed=3, forms=SOURCE_FORMS) if form.name in SYNTAX]
    theirs = disassembled([encode([insn], order) for _, insn in pairs], order)
    expected = [text(form, insn) for form, insn in pairs]
    assert [both for both in zip(expected, theirs, strict=True) if both[0] != both[1]] == []


@pytest.mark.parametrize("order", TRIPLES)
def test_llvms_text_is_assembled_to_our_bytes(order):
    pairs = [
        (form, insn.replace(**dict.fromkeys(LEFT_OUT.get(form.name, ()), 0)))
        for form, insn in samples(60, seed=4, forms=SOURCE_FORMS)
        if form.name in SYNTAX and (form.name not in NARROW or -(2**15) <= insn.imm < 2**15)
    ]
    texts = [text(form, insn) for form, insn in pairs]
    ours, theirs = [encode([insn], order) for _, insn in pairs], assembled(texts, order)
    assert {form.name for form, _ in pairs} == SYNTAX.keys()
    assert [three for three in zip(texts, ours, theirs, strict=True) if three[1] != three[2]] == []


@pytest.mark.parametrize("order", TRIPLES)
def test_what_is_listed_as_unknown_is(order):
    pairs = [(form, insn) for form, insn in samples(20, seed=5, forms=SOURCE_FORMS) if form.name in UNKNOWN]
    theirs = disassembled([encode([insn], order) for _, insn in pairs], order)
    known = {form.name for (form, _), line in zip(pairs, theirs, strict=True) if line and "lock" not in line}
    assert known == set()
