"""Programs in the kernel: loaded, run, refused; and what a failed step leaves behind."""

import errno
import gc
import os
import struct
import sys

import pytest
from support import zygote
from support.bpf2 import running_series
from support.each import each

from bpfasm.asm import *
from bpfasm.errors import AssemblyError, FeatureMissing, KernelError, LinkError, VerifierError
from bpfasm.isa.insn import encode
from bpfasm.kernel import load
from bpfasm.kernel.programs.verdict import FIRST_SIZE, verify
from bpfasm.syscall.libc import buffer
from bpfasm.vlog.last import last

pytestmark = pytest.mark.lab

PACKET = bytes(range(64))
RETURN_0 = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]


def program(insns, type=BPF_PROG_TYPE_SOCKET_FILTER, **more):
    return Program("prog", type, insns, **more)


def refused(*insns, **more):
    with pytest.raises(VerifierError) as caught:
        load(program(insns, **more))
    return caught.value


def test_a_name_the_kernel_would_not_take():
    named = Program("über-lang.named_program", BPF_PROG_TYPE_SOCKET_FILTER, RETURN_0)
    with load(named) as obj:
        assert obj[named].info().name == "berlang.named_p"


@pytest.mark.parametrize("returns", [0, 1, 42, 0x7FFFFFFF])
def test_run_returns_r0(returns):
    prog = program([BPF_MOV64_IMM(R0, returns), BPF_EXIT_INSN()], BPF_PROG_TYPE_XDP)
    with load(prog) as obj:
        assert obj[prog].test_run(PACKET).retval == returns


def test_run_sees_the_packet_and_may_change_it():
    prog = program(
        [
            BPF_LDX_MEM(BPF_W, R2, R1, 0),  # xdp_md.data
            BPF_LDX_MEM(BPF_W, R3, R1, 4),  # xdp_md.data_end
            BPF_MOV64_REG(R4, R2),
            BPF_ALU64_IMM(BPF_ADD, R4, 14),
            BPF_MOV64_IMM(R0, XDP_ABORTED),
            BPF_JMP_REG(BPF_JGT, R4, R3, "short"),
            BPF_LDX_MEM(BPF_H, R0, R2, 12),
            BPF_ST_MEM(BPF_B, R2, 0, 0xFF),
            label("short"),
            BPF_EXIT_INSN(),
        ],
        BPF_PROG_TYPE_XDP,
    )
    with load(prog) as obj:
        result = obj[prog].test_run(PACKET, repeat=3)
    assert result.retval == struct.unpack_from("=H", PACKET, 12)[0]
    assert result.data == b"\xff" + PACKET[1:]


def test_run_counts_in_a_map():
    hits = ArrayMap("hits", value=u64, max_entries=1)
    stack = StackLayout(key=u32)
    prog = program(
        [
            BPF_ST_MEM(BPF_W, FP, stack.key, 0),
            BPF_MOV64_REG(R2, FP),
            BPF_ALU64_IMM(BPF_ADD, R2, stack.key),
            BPF_LD_MAP_FD(R1, hits),
            BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
            BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
            BPF_MOV64_IMM(R1, 1),
            BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
            label("out"),
            *RETURN_0,
        ]
    )
    with load(prog) as obj:
        for _ in range(23):
            obj[prog].test_run(PACKET)
        assert obj[hits][0] == 23


def test_subprograms_are_loaded():
    double = Subprog("double", [BPF_MOV64_REG(R0, R1), BPF_ALU64_REG(BPF_ADD, R0, R1), BPF_EXIT_INSN()])
    prog = program([BPF_MOV64_IMM(R1, 21), BPF_CALL_REL(double), BPF_EXIT_INSN()])
    with load(prog) as obj:
        assert obj[prog].test_run(PACKET).retval == 42


def test_a_log_of_an_accepted_program():
    prog = program(RETURN_0)
    with load(prog, log_level=2) as obj:
        assert "(b7) r0 = 0" in obj[prog].log
        assert last(obj[prog].log).error == ()
    with load(prog) as obj:
        assert obj[prog].log == ""


@pytest.mark.parametrize("level", [1, 2, 4, 2 | 4])
def test_the_log_of_an_accepted_program_by_level(level):
    """All have the totals; 2 has every state, 4 the time. The path of level 1 is thrown away when all went well."""
    prog = program([BPF_MOV64_IMM(R1, 1), BPF_JMP_IMM(BPF_JEQ, R1, 1, 1), BPF_MOV64_IMM(R2, 2), *RETURN_0])
    with load(prog, log_level=level) as obj:
        log = obj[prog].log
    assert "processed " in log
    assert ("(b7) r1 = 1" in log) == bool(level & 2)
    assert ("verification time " in log) == ("stack depth " in log) == bool(level & 4)


def test_the_log_has_the_lines_of_the_source():
    prog = program([BPF_MOV64_IMM(R1, 1), *RETURN_0])
    with load(prog, log_level=2, lines=True) as obj:
        log = obj[prog].log
    assert "; prog = program([BPF_MOV64_IMM(R1, 1), *RETURN_0])" in log
    if tuple(map(int, running_series().split("."))) >= (6, 12):
        assert f" @ {os.path.basename(__file__)}:" in log


def test_lines_whose_source_is_not_there():
    """From a string there is no text: the macro stands for it."""
    names = {name: globals()[name] for name in ("Program", "BPF_MOV64_IMM", "BPF_EXIT_INSN", "R0")}
    exec("prog = Program('typed', 1, [BPF_MOV64_IMM(R0, 5), BPF_EXIT_INSN()])", names)
    with load(names["prog"], lines=True) as obj:
        lines = obj.programs[0].info().lines
    assert [(each.file, each.line, each.text) for each in lines] == [
        ("<string>", 1, "BPF_MOV64_IMM(BPF_REG_0, 5)"), ("<string>", 1, "BPF_EXIT_INSN()"),
    ]  # fmt: skip


def test_which_end_of_a_log_is_kept_where_it_does_not_fit(monkeypatch):
    """The head on kernels before 6.4, the tail from then on: a refusal is at the end."""
    monkeypatch.setattr("bpfasm.kernel.programs.verdict._log_size", lambda fields, level: 0)
    monkeypatch.setattr("bpfasm.kernel.programs.verdict.LARGEST_SIZE", FIRST_SIZE)
    code = encode(straight_line(LONG))
    fields = {"prog_type": 1, "insn_cnt": LONG, "insns": buffer(code), "license": buffer(b"GPL\0")}
    log = verify(fields, 1).log
    tail = tuple(map(int, running_series().split("."))) >= (6, 4)
    assert any(line.startswith("0: (b7) r0 = 0") for line in log.splitlines()[:3]) == (not tail)
    assert ("invalid mem access" in log) == tail


# What the verifier refuses


def test_a_refusal_points_at_the_line():
    here = sys._getframe().f_lineno
    bad = [
        BPF_MOV64_IMM(R0, 0),
        BPF_LD_IMM64(R2, 1),
        BPF_LDX_MEM(BPF_DW, R0, R0, 0),
        BPF_EXIT_INSN(),
    ]
    error = refused(*bad)
    assert error.source == (__file__, here + 4)
    assert error.pc == 3
    assert error.errno == errno.EACCES
    assert error.what.startswith("the verifier refused prog: R0 invalid mem access '")
    assert error.what.endswith("', at slot 3: r0 = *(u64 *)(r0 +0)")
    assert error.log.rstrip().splitlines()[-1].startswith("processed 3 insns")
    assert error.program.insns == tuple(bad)
    first, second = error.report().splitlines()
    assert first.startswith(f"{__file__}:{here + 4}: error: the verifier refused prog: ")
    assert first.endswith(" [refused]")
    assert ".log" in second


REFUSED = [
    ([BPF_EXIT_INSN()], errno.EACCES, "R0 !read_ok", 0),
    ([BPF_MOV64_REG(R0, R5), BPF_EXIT_INSN()], errno.EACCES, "R5 !read_ok", 0),
    ([BPF_MOV64_IMM(R0, 0), BPF_JMP_A(50), BPF_EXIT_INSN()], errno.EINVAL, "jump out of range from insn 1", 1),
    ([BPF_JMP_A(1), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()], errno.EINVAL, "unreachable insn 1", 1),
    ([BPF_RAW_INSN(0x8F, 0, 0, 0, 0), BPF_EXIT_INSN()], errno.EINVAL, "unknown opcode 8f", 0),
    ([BPF_MOV64_IMM(R0, 0), BPF_RAW_INSN(0xB7, 11, 0, 0, 0), BPF_EXIT_INSN()], errno.EINVAL, "R11 is invalid", 1),
    ([BPF_MOV64_IMM(R0, 0), BPF_RAW_INSN(0xB7, 0, 0, 5, 0), BPF_EXIT_INSN()], errno.EINVAL, "reserved fields", 1),
    ([BPF_EMIT_CALL(9999), *RETURN_0], errno.EINVAL, "invalid func unknown#9999", 0),
]


@each(REFUSED, named=lambda case: case[2])
def test_refusals(case):
    insns, number, words, pc = case
    error = refused(*insns)
    assert error.errno == number
    assert words in error.what
    assert error.pc == pc
    assert error.source is None or error.source[0] == __file__


def straight_line(slots):
    """A program of that many slots that is fine but for its last load."""
    body = [BPF_ALU64_IMM(BPF_ADD, R0, 1)] * (slots - 3)
    return [BPF_MOV64_IMM(R0, 0), *body, BPF_LDX_MEM(BPF_DW, R0, R0, 0), BPF_EXIT_INSN()]


#: Slots of programs whose logs do not fit into the first buffer, at 19 bytes a line on 5.10; shorter in an emulated
#: guest, which is long at them.
LONG, LONGER = (4_000, 5_000) if zygote.IN_GUEST else (10_000, 40_000)


@pytest.mark.lab(on="ends")
@pytest.mark.parametrize("slots", [100, LONG, LONGER], ids=["short", "long", "longer"])
def test_the_whole_log_however_long(slots):
    error = refused(*straight_line(slots))
    assert error.errno == errno.EACCES
    assert error.pc == slots - 2
    if slots >= LONG:
        assert len(error.log) > FIRST_SIZE
    lines = error.log.splitlines()
    numbers = [int(line.partition(":")[0]) for line in lines if ": (" in line]
    assert numbers == list(range(slots - 1))


@pytest.mark.lab(on="ends")
def test_the_log_grows_where_the_kernel_does_not_tell_its_size(monkeypatch):
    # The path that kernels before 6.4 take, on any kernel.
    monkeypatch.setattr("bpfasm.kernel.programs.verdict._log_size", lambda fields, level: 0)
    error = refused(*straight_line(LONG))
    assert error.errno == errno.EACCES
    assert error.pc == LONG - 2
    assert error.log.count(": (") == LONG - 1


def test_the_errno_is_the_programs_and_not_the_buffers(monkeypatch):
    monkeypatch.setattr("bpfasm.kernel.programs.verdict._log_size", lambda fields, level: 0)
    monkeypatch.setattr("bpfasm.kernel.programs.verdict.LARGEST_SIZE", FIRST_SIZE)
    code = encode(straight_line(LONG))
    fields = {"prog_type": 1, "insn_cnt": LONG, "insns": buffer(code), "license": buffer(b"GPL\0")}
    for level in (0, 1):
        verdict = verify(fields, level)
        assert verdict.fd is None
        assert verdict.errno == errno.EACCES
        assert len(verdict.log) > FIRST_SIZE // 2  # what there is of it


@pytest.mark.parametrize(
    ("id", "type", "license", "do"),
    [
        (BPF_FUNC_xdp_adjust_head, BPF_PROG_TYPE_SOCKET_FILTER, "GPL",
         "see which types of programs may call it on this kernel: bpfasm features helper/xdp_adjust_head"),
        (BPF_FUNC_trace_printk, BPF_PROG_TYPE_SOCKET_FILTER, "Proprietary",
         'declare the program with license="GPL", if that is what it is; or do without this function'),
        (9999, BPF_PROG_TYPE_XDP, "GPL",
         "this kernel has no helper of that number: bpfasm ref NAME tells numbers, and since when each is there"),
    ],
)  # fmt: skip
def test_the_way_out_where_a_helper_is_refused(id, type, license, do):
    insns = [
        BPF_ST_MEM(BPF_DW, R10, -8, 0),
        BPF_MOV64_REG(R1, R10),
        BPF_ALU64_IMM(BPF_ADD, R1, -8),
        BPF_MOV64_IMM(R2, 8),
        BPF_EMIT_CALL(id),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ]
    with pytest.raises(VerifierError) as caught:
        load(Program("calls", type, insns, license=license))
    assert caught.value.do == do
    assert caught.value.pc == 4


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("level", [8, 99, -1])
def test_a_log_level_that_there_is_not(level):
    with pytest.raises(AssemblyError) as caught:
        load(Program("prog", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]), log_level=level)
    assert caught.value.what == f"the verifier has no log_level {level}"
    assert caught.value.rule == "program-field"


@pytest.mark.lab(on="one")
def test_a_program_too_complex_to_verify():
    body = [BPF_MOV64_IMM(R0, 0)]
    for _ in range(270):  # each jump leaves a branch to be looked at later
        body += [BPF_LDX_MEM(BPF_W, R0, R1, 0), *(BPF_JMP_IMM(BPF_JSET, R0, 1 << bit, 0) for bit in range(31))]
    error = refused(*body, BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN())
    # EFAULT up to 6.18, E2BIG from 7 on
    assert error.errno in (errno.EFAULT, errno.E2BIG)
    assert "The sequence of 8193 jumps is too complex" in error.what
    assert error.source is not None


def test_no_instructions():
    with pytest.raises(KernelError) as caught:
        load(program([]))
    assert caught.value.errno == errno.E2BIG
    assert caught.value.what == "prog was not loaded: it has no instructions"


def test_too_many_slots():
    code = encode(RETURN_0[:1]) * 1_000_001
    verdict = verify({"prog_type": 1, "insn_cnt": 1_000_001, "insns": buffer(code), "license": buffer(b"GPL\0")})
    assert (verdict.fd, verdict.errno, verdict.log) == (None, errno.E2BIG, "")


def test_a_type_that_this_kernel_does_not_have():
    with pytest.raises(FeatureMissing) as caught:
        load(program(RETURN_0, 4000))
    assert "has no programs of type BPF_PROG_TYPE_4000" in caught.value.what


def test_a_type_that_needs_a_target():
    with pytest.raises((KernelError, FeatureMissing)) as caught:
        load(program(RETURN_0, BPF_PROG_TYPE_TRACING))
    assert "BPF_PROG_TYPE_TRACING" in caught.value.what or "btf_id" in caught.value.what


def test_a_map_fd_that_is_none():
    with pytest.raises(VerifierError) as caught:
        load(program([BPF_LD_MAP_FD(R1, 0x7FFFFFF), *RETURN_0]))
    assert caught.value.errno == errno.EBADF


# All or nothing


def test_a_program_that_is_refused_takes_all_with_it():
    counts = HashMap("counts", key=u32, value=u64, max_entries=1)
    good = program([BPF_LD_MAP_FD(R1, counts), *RETURN_0])
    before = os.listdir("/proc/self/fd")
    with pytest.raises(VerifierError):
        load(good, good.replace(name="again"), program([BPF_EXIT_INSN()]))
    assert os.listdir("/proc/self/fd") == before


def test_a_map_that_is_refused_takes_all_with_it():
    good = HashMap("good", key=u32, value=u64, max_entries=1)
    bad = HashMap("bad", key=u32, value=u64, max_entries=1, flags=1 << 31)
    overfull = HashMap("overfull", key=u32, value=u64, max_entries=1, initial={1: 1, 2: 2})
    before = os.listdir("/proc/self/fd")
    for last_one in (bad, overfull):
        with pytest.raises(KernelError):
            load(good, last_one)
    assert os.listdir("/proc/self/fd") == before


def test_two_maps_of_one_name():
    one, two = (HashMap("counts", key=u32, value=u64, max_entries=n) for n in (1, 2))
    with pytest.raises(LinkError) as caught:
        load(program([BPF_LD_MAP_FD(R1, one), *RETURN_0]), program([BPF_LD_MAP_FD(R1, two), *RETURN_0]))
    assert caught.value.rule == "map-twice"


def test_closing_is_idempotent_and_in_order():
    counts = HashMap("counts", key=u32, value=u64, max_entries=1)
    prog = program([BPF_LD_MAP_FD(R1, counts), *RETURN_0])
    obj = load(prog)
    closed = []
    for one in (*obj.maps, *obj.programs):
        close = one.close
        one.close = lambda close=close, one=one: (closed.append(one), close())
    obj.close()
    obj.close()
    assert closed[:2] == [obj[prog], obj[counts]]
    assert obj[prog].closed
    assert obj[counts].closed


def test_what_was_forgotten_is_closed_with_a_warning():
    spec = HashMap("forgotten", key=u32, value=u64, max_entries=1)
    prog = program(RETURN_0)
    line = sys._getframe().f_lineno + 1
    obj = load(spec, prog)
    with pytest.warns(ResourceWarning) as caught:
        del obj
        gc.collect()
    words = sorted(str(each.message) for each in caught)
    where = f"was never closed; it was made at {__file__}:{line}"
    assert words == [f"<LoadedMap forgotten> {where}", f"<LoadedProgram prog> {where}"]


def test_what_is_not_there():
    spec = HashMap("there", key=u32, value=u64, max_entries=1)
    with load(spec) as obj:
        assert obj[spec.replace()] is obj[spec]
        for other in (spec.replace(max_entries=2), program(RETURN_0)):
            with pytest.raises(KeyError):
                obj[other]
