"""LLVM's text as we print it, given to llvm-mc 14 and 19: where they know a form, they make our bytes of it."""

import re
import shutil
import subprocess

import pytest
from samples import samples

from bpfasm.asm import *
from bpfasm.asm.syntax import lines, llvm
from bpfasm.isa.insn import encode
from bpfasm.isa.match import form_of
from bpfasm.isa.table import FORMS
from bpfasm.views.listing import listing

pytestmark = pytest.mark.oracle

LOADABLE = [form for form in FORMS if form.dialect == "source"]

#: What each does not know, by the beginnings of the names of forms.
UNKNOWN = {
    "14": (
        "sdiv", "smod", "mod32", "mod64", "movsx", "bswap", "ldsx", "gotol", "may_goto", "gotox", "callx", "jset",
        "addr_space_cast", "st8", "st16", "st32", "st64", "load_acquire", "store_release", "ld_map", "ld_btf_id",
        "ld_func", "atomic32_fetch", "atomic64_fetch", "atomic32_xchg", "atomic64_xchg", "atomic32_cmpxchg",
        "atomic64_cmpxchg", "atomic32_or", "atomic32_and", "atomic32_xor", "atomic64_or", "atomic64_and",
        "atomic64_xor",
    ),
    "19": ("gotox", "load_acquire", "store_release"),
}  # fmt: skip


def encoded(texts, version):
    """Return the bytes that llvm-mc makes of each text, None where it refuses it."""
    tool = f"llvm-mc-{version}"
    if not shutil.which(tool):
        pytest.skip(f"needs {tool} (apt install llvm-{version})")
    command = [tool, "--triple=bpfel", f"--mcpu={'v3' if version == '14' else 'v4'}", "--show-encoding"]
    done = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True, check=False)
    refused = {int(number) for number in re.findall(r"^<stdin>:(\d+):\d+: error:", done.stderr, re.M)}
    made = iter(re.findall(r"encoding: \[(.*?)\]", done.stdout))
    found = [
        None if n in refused else bytes(int(b, 16) for b in next(made).split(",")) for n in range(1, len(texts) + 1)
    ]
    assert next(made, None) is None
    return found


@pytest.mark.parametrize("version", UNKNOWN)
def test_our_text_is_taken(version):
    pairs = [(form, insn, llvm.text(insn, form)) for form, insn in samples(60, seed=31, forms=LOADABLE)]
    # A raw word has no encoding to show. Its assembler takes 16 bits for gotol, though 32 are there.
    pairs = [p for p in pairs if ".8byte" not in p[2] and (p[0].name != "gotol" or -(2**15) <= p[1].imm < 2**15)]
    theirs = encoded([text for _, _, text in pairs], version)
    refused = {form.name for (form, _, _), code in zip(pairs, theirs, strict=True) if code is None}
    taken = {form.name for (form, _, _), code in zip(pairs, theirs, strict=True) if code is not None}
    assert {name for name in refused if not name.startswith(UNKNOWN[version])} == set()
    assert refused & taken == set()
    wrong = [
        (text, code.hex())
        for (form, insn, text), code in zip(pairs, theirs, strict=True)
        # It takes the text of two forms that it does not know for an addition.
        if code is not None and code != encode([insn], "little") and not form.name.startswith(UNKNOWN[version])
    ]
    assert wrong == []
    assert len(taken) > {"14": 90, "19": 150}[version]


@pytest.mark.parametrize("version", UNKNOWN)
def test_our_symbols_are_taken(version):
    counts, limit = HashMap("counts", key=u32, value=u64, max_entries=1), Global("limit", u64, 5)
    rodata = MapSpec.as_is(name="x.rodata", type=BPF_MAP_TYPE_ARRAY, key=4, value=8, max_entries=1)
    insns = [
        BPF_LD_MAP_FD(R1, counts),
        BPF_LD_MAP_VALUE(R2, limit, 4),
        BPF_LD_MAP_VALUE(R2, rodata, 0),
        BPF_LD_MAP_VALUE(R2, counts, -4),
        BPF_CALL_KFUNC(0, kfunc("bpf_rcu_read_lock")),
    ]
    texts = [llvm.text(insn, form_of(insn)) for insn in insns]
    tool = f"llvm-mc-{version}"
    if not shutil.which(tool):
        pytest.skip(f"needs {tool} (apt install llvm-{version})")
    done = subprocess.run(
        [tool, "--triple=bpfel"], input="\n".join(texts), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert [line.strip() for line in done.stdout.splitlines() if line.strip() not in ("", ".text")] == texts


@pytest.mark.parametrize("version", UNKNOWN)
def test_a_whole_listing_with_labels_is_assembled_to_our_bytes(version, tmp_path):
    helper = Subprog("helper", [BPF_MOV64_REG(R0, R1), BPF_EXIT_INSN()])
    program = Program(
        "main",
        BPF_PROG_TYPE_XDP,
        [
            BPF_LD_IMM64(R1, -5),
            BPF_CALL_REL(helper),
            BPF_JMP_IMM(BPF_JNE, R0, 7, "out"),
            BPF_RAW_INSN(0xFF, 1, 2, 3, 4),
            label("out"),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )
    tool, objcopy = f"llvm-mc-{version}", f"llvm-objcopy-{version}"
    if not shutil.which(tool) or not shutil.which(objcopy):
        pytest.skip(f"needs {tool} (apt install llvm-{version})")
    text = "\n".join(listing(assemble(program), "llvm", labels=True)) + "\n"
    subprocess.run(
        [tool, "--triple=bpfel", "--filetype=obj", "-o", tmp_path / "o"], input=text, text=True, check=True
    )
    subprocess.run([objcopy, "-O", "binary", "--only-section=.text", tmp_path / "o", tmp_path / "raw"], check=True)
    assert (tmp_path / "raw").read_bytes() == link(program, Target(byteorder="little")).code
    (back,) = lines.read(text, "f", "llvm")
    assert link(back, Target(byteorder="little")).code == (tmp_path / "raw").read_bytes()


def test_what_its_disassembler_prints_is_read(tmp_path):
    """Columns, bytes, addresses, symbols: llvm-objdump's whole output."""
    objdump, tool = "llvm-objdump-19", "llvm-mc-19"
    if not shutil.which(objdump) or not shutil.which(tool):
        pytest.skip("needs llvm-objdump-19 (apt install llvm-19)")
    insns = [
        insn
        for form, insn in samples(4, seed=32, forms=LOADABLE)
        if ".8byte" not in llvm.text(insn, form)
        and not form.name.startswith((*UNKNOWN["19"], "gotol", "ld_map", "ld_b"))
        and form.kind not in ("ld_imm64", "call")
    ]
    text = "\n".join(listing(assemble(Program("p", 0, insns)), "llvm")) + "\n"
    command = [tool, "--triple=bpfel", "--filetype=obj", "--mcpu=v4", "-o", tmp_path / "o"]
    subprocess.run(command, input=text, text=True, check=True)
    printed = subprocess.run(
        [objdump, "-d", "--mcpu=v4", tmp_path / "o"], capture_output=True, text=True, check=True
    ).stdout
    (back,) = lines.read(printed, "f", "llvm")
    assert encode(assemble(back).insns, "little") == encode(insns, "little")
