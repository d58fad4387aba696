"""The lines of the source in the kernel: in the log of a refusal, of what it took, in dumps; global functions."""

import os
import shutil
import subprocess
import sys

import pytest
from support.bpf2 import running_series

from bpfasm.asm import *
from bpfasm.asm.snippets import count
from bpfasm.errors import VerifierError
from bpfasm.kernel import load

pytestmark = pytest.mark.lab

FILE = os.path.basename(__file__)
EXIT = BPF_EXIT_INSN()


def program(body, name="lines"):
    return Program(name, BPF_PROG_TYPE_SOCKET_FILTER, body)


def test_the_log_of_a_refusal_shows_the_line():
    """Without being asked for: on kernels that print no place of a line, the line's text has it."""
    bad = program([
        BPF_MOV64_IMM(R0, 0),
        BPF_LDX_MEM(BPF_W, R0, R1, 30000),
        EXIT,
    ])  # fmt: skip
    here = sys._getframe().f_lineno - 3
    with pytest.raises(VerifierError) as caught:
        load(bad)
    log = caught.value.log
    assert log.count(f"; BPF_LDX_MEM(BPF_W, R0, R1, 30000), @ {FILE}:{here}\n") == 1
    assert log.index(f"@ {FILE}:{here}") < log.index("(61) r0 = *(u32 *)(r1 +30000)")


def test_what_a_snippet_made_shows_the_callers_line_once():
    hits = ArrayMap("hits", value=u64, max_entries=1)
    good = program([
        *count(hits, key=-4),
        BPF_MOV64_IMM(R0, 0),
        EXIT,
    ])  # fmt: skip
    here = sys._getframe().f_lineno - 4
    with load(good, log_level=2, lines=True) as obj:
        log, lines = obj[good].log, obj[good].info().lines
    before, _, rest = log.partition(f"; *count(hits, key=-4), @ {FILE}:{here}\n")
    assert "; *count(hits" not in before + rest  # newer kernels list the instructions before, without lines
    assert rest.index("(62) *(u32 *)(r10 -4) = 0") < rest.index(f"; BPF_MOV64_IMM(R0, 0), @ {FILE}:{here + 1}\n")
    assert [(each.line, each.text) for each in lines][:2] == [
        (here, "*count(hits, key=-4),"), (here + 1, "BPF_MOV64_IMM(R0, 0),"),
    ]  # fmt: skip


@pytest.mark.lab(on="live")
def test_bpftool_shows_the_lines():
    if not shutil.which("bpftool"):
        pytest.skip("needs bpftool (apt install bpftool)")
    good = program([
        BPF_MOV64_IMM(R0, 7),
        EXIT,
    ])  # fmt: skip
    here = sys._getframe().f_lineno - 3
    with load(good, lines=True) as obj:
        command = ["bpftool", "prog", "dump", "xlated", "id", str(obj[good].info().id), "linum"]
        shown = subprocess.check_output(command, text=True)
    assert "; BPF_MOV64_IMM(R0, 7)," in shown
    assert f"[file:{__file__} line_num:{here} line_col:0]" in shown


class Pair(Record):
    """What the function gets a pointer to."""

    first = u64()
    second = u64()


def test_a_static_function_is_verified_where_it_is_called_and_a_global_one_by_itself():
    body = [BPF_MOV64_REG(R0, R1), BPF_ALU64_REG(BPF_ADD, R0, R0), EXIT]
    static, shared = Subprog("static_double", body), Subprog("global_double", body, args=[u64])
    logs = []
    for sub in (static, shared):
        prog = program([BPF_MOV64_IMM(R1, 4), BPF_CALL_REL(sub), EXIT])
        with load(prog, log_level=2) as obj:
            assert obj[prog].test_run(bytes(14)).retval == 8
            assert [name for _, name in obj[prog].info().functions] == ["lines", sub.name]
            logs.append(obj[prog].log)
    assert "Validating global_double() func#1" in logs[1]
    assert "Validating" not in logs[0]


def test_a_global_function_that_takes_a_pointer_has_to_look_at_it():
    def caller(body):
        sub = Subprog("second", body, args=[Pair])
        prepare = [BPF_ST_MEM(BPF_DW, FP, -16, 1), BPF_ST_MEM(BPF_DW, FP, -8, 2), BPF_MOV64_REG(R1, FP)]
        return program([*prepare, BPF_ALU64_IMM(BPF_ADD, R1, -16), BPF_CALL_REL(sub), EXIT])

    read = [BPF_LDX_MEM(BPF_DW, R0, R1, Pair.second.off), EXIT]
    looks = caller([BPF_MOV64_IMM(R0, 0), BPF_JMP_IMM(BPF_JNE, R1, 0, 1), EXIT, *read])
    if tuple(map(int, running_series().split("."))) < (5, 13):
        # Only the context may be pointed at before e5069b9c23b3.
        with pytest.raises(VerifierError, match="type PTR in second"):
            load(looks)
        return
    with load(looks) as obj:
        assert obj[looks].test_run(bytes(14)).retval == 2
    with pytest.raises(VerifierError, match=r"mem_or_null"):
        load(caller(read))
