"""``disasm`` of programs in the kernel: their text in every syntax, native code, and what bpftool prints of them."""

import contextlib
import io
import os
import shutil
import subprocess

import pytest

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.asm.syntax import hexdump, kernel, llvm, ubpf
from bpfasm.isa.insn import decode
from bpfasm.isa.match import form_of
from bpfasm.kernel import load
from bpfasm.kernel.programs.info import jited, xlated

PROG = Program(
    "shown",
    BPF_PROG_TYPE_SOCKET_FILTER,
    [
        BPF_MOV64_REG(R6, R1),
        BPF_LD_ABS(BPF_B, 0),
        BPF_JMP_IMM(BPF_JGT, R0, 7, "out"),
        BPF_LD_IMM64(R0, 1 << 40),
        label("out"),
        BPF_EXIT_INSN(),
    ],
)


def disasm(*words, status=0):
    """Run the command in this process; return its output, or what it says where it fails."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        done = cli.main(["disasm", *map(str, words)])
    said, complaint = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert done == status, complaint
    return said


@pytest.fixture
def loaded():
    with load(PROG) as objects:
        yield objects[PROG]


# What a kernel has of a program is read in test_info.py; its text is the same whichever kernel it is.
@pytest.mark.parametrize(("syntax", "dialect"), [("llvm", llvm), ("ubpf", ubpf)])
def test_a_program_in_the_kernel_is_shown_in_every_syntax(loaded, syntax, dialect):
    lines = [line for line in disasm(f"id:{loaded.info().id}", "--to", syntax).splitlines() if line[:1] not in "#;"]
    expected = [dialect.text(insn, form_of(insn)) for insn in decode(xlated(loaded.fd))]
    assert [line.partition("  #")[0] for line in lines] == expected


def test_its_native_code_stands_between(loaded):
    pytest.importorskip("capstone")
    if not jited(loaded.fd):
        pytest.skip("this kernel interprets programs: net.core.bpf_jit_enable is 0")
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("native code of this machine is not known here")
    text = disasm(f"id:{loaded.info().id}", "--native")
    assert text.splitlines()[0] == "shown:"
    assert len([line for line in text.splitlines() if ":\t" in line]) > 5
    assert disasm(f"id:{loaded.info().id}", "--native", "--json").startswith("{")


def test_bpftools_json_is_read(loaded):
    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin")
    if bpftool is None:
        pytest.skip("bpftool is not installed")
    command = [bpftool, "-j", "prog", "dump", "xlated", "id", str(loaded.info().id), "opcodes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"bpftool does not run here: {done.stderr.strip()}")
    code = xlated(loaded.fd)
    assert hexdump.parse(done.stdout, "-") == code
    assert kernel.words(decode(code)[-1], form_of(decode(code)[-1])) == "(95) exit"


def test_calls_of_its_own_functions_are_calls_in_every_view():
    callee = Subprog("callee", [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    insns = [BPF_MOV64_IMM(R1, 0), BPF_CALL_REL(callee), BPF_EXIT_INSN()]
    program = Program("caller", BPF_PROG_TYPE_SOCKET_FILTER, insns)
    with load(program) as objects:
        id = f"id:{objects[program].info().id}"
        assert [line for line in disasm(id, "--to", "macro").splitlines() if line[0] != "#"][1] == "BPF_CALL_REL(1),"
        assert "call the program's own function at slot 3" in disasm(id, "--words")
        assert "called at 1" in disasm(id, "--cfg", "text")
        assert "call subprog[callee]" in disasm(id, "--labels")
        assert "BPF_RAW_INSN" not in disasm(id, "--to", "c")


def test_a_name_that_the_kernel_has_cut_is_found_by_the_whole():
    program = Program("a_name_of_21_letters_", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    with load(program):
        for name in ("a_name_of_21_letters_", "a_name_of_21_le"):
            assert disasm(f"name:{name}") == "0: (b7) r0 = 0\n1: (95) exit\n"
        disasm("name:a_name_of_21_lx", status=2)
