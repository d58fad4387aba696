"""Many kernel functions by one link: counts, cookies, sessions, patterns, and what is not there."""

import os

import pytest
from support.counting import EVENTS, counter, work

from bpfasm.asm import *
from bpfasm.asm.snippets import func_arg, ret_value, syscall_arg
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.links.tracing.kprobe import generic
from bpfasm.kernel.links.tracing.kprobe_multi import matching
from bpfasm.syscall import system, tracefs

pytestmark = pytest.mark.lab

TYPE = BPF_PROG_TYPE_KPROBE
FUNCTION = generic("sys_getpriority")


@pytest.fixture
def multi(kprobes):
    answer = features.ask("link/kprobe_multi")
    if answer.state == "no":
        pytest.skip(answer.reason)


@pytest.fixture
def session(multi):
    answer = features.ask("link/kprobe_session")
    if answer.state == "no":
        pytest.skip(answer.reason)


@pytest.mark.parametrize(
    ("where", "times"),
    [
        (kprobe_multi(FUNCTION), 1),
        (kprobe_multi("sys_getpriority", retprobe=True), 1),
        (kprobe_multi(pattern=FUNCTION.replace("getp", "?etp")), 1),  # and setpriority
        (kprobe_multi(FUNCTION, "sys_setpriority"), 1),
        (kprobe_multi(FUNCTION, session=True), 2),
    ],
    ids=["one", "retprobe", "pattern", "several", "session"],  # a function's name is its processor's
)
def test_23_calls_are_23_events_as_kprobes_count_them(request, multi, where, times):
    if where.session:
        request.getfixturevalue("session")
    program, counts = counter("many", TYPE, where)
    single, singles = counter("single", TYPE, kprobe(syscall="getpriority"))
    with load(program, single) as obj:
        many, _ = obj.attach()
        assert many.mode == "multi"
        work()
        assert obj[counts][0] == times * EVENTS
        assert obj[singles][0] == EVENTS
        info = many.info()
        assert (info.kind, info.prog_id) == ("kprobe_multi", obj[program].info().id)
        assert many.missed() in (0, None)
        many.close()
        work()
        assert obj[counts][0] == times * EVENTS


def test_cookies_go_with_their_symbols(multi):
    where = kprobe_multi(FUNCTION, "sys_setpriority", cookies=[5, 1 << 40])
    sums = ArrayMap("sums", value=u64, max_entries=1)
    before = [
        BPF_MOV64_REG(R1, R6),
        BPF_EMIT_CALL(BPF_FUNC_get_attach_cookie),
        BPF_LD_MAP_VALUE(R1, sums, 0),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R0, 0),
    ]
    program, _ = counter("cookies", TYPE, where, before=before)
    with load(program) as obj:
        obj.attach()
        work()
        assert obj[sums][0] == 5 * EVENTS


def test_a_session_that_returns_1_has_no_return(session):
    program, counts = counter("entries", TYPE, kprobe_multi(FUNCTION, session=True), ends=1)
    with load(program) as obj:
        obj.attach()
        work()
        assert obj[counts][0] == EVENTS


def test_a_pattern_attaches_to_all_that_match(multi, tracefs_root):
    wanted = matching("vfs_r*")
    assert {"vfs_read", "vfs_rename", "vfs_rmdir"} <= {*wanted}
    program, _ = counter("several", TYPE, kprobe_multi(pattern="vfs_r*"))
    with load(program) as obj:
        (link,) = obj.attach()
        assert link.info().details.get("count", len(wanted)) == len(wanted)


@pytest.mark.lab(on="ends")
def test_what_is_not_there(multi):
    program, _ = counter("absent", TYPE, kprobe_multi(FUNCTION, "vfs_raed"))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.rule == "no-symbol"
    assert caught.value.what == "this kernel has no function vfs_raed to probe"
    program, _ = counter("nothing", TYPE, kprobe_multi(pattern="no_such_function_*"))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.what == "no function of this kernel matches no_such_function_*"


def test_a_kernel_without_it_says_so(kprobes):
    if features.ask("link/kprobe_multi").state != "no":
        pytest.skip("this kernel has kprobe.multi")
    program, counts = counter("without", TYPE, kprobe_multi(FUNCTION))
    with load(program) as obj:
        with pytest.raises(FeatureMissing) as caught:
            obj.attach()
        assert caught.value.rule == "no-kprobe-multi"
        work()
        assert obj[counts][0] == 0


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"symbols": ("a",), "pattern": "b*"},
        {"symbols": ("vfs_*",)},
        {"symbols": ("a", "b"), "cookies": (1,)},
        {"pattern": "a*", "cookies": (1,)},
        {"symbols": ("a",), "session": True, "retprobe": True},
    ],
)
def test_what_does_not_go_together(given):
    with pytest.raises(OperandError) as caught:
        kprobe_multi(*given.pop("symbols", ()), **given)
    assert caught.value.rule == "attach-target"


# Single kprobes: what they have beside their place


def test_arguments_and_results_of_system_calls_and_functions(kprobes):
    """getpriority(PRIO_PGRP, 0): the wrapper's argument is where the registers are; the result is 20 less nice."""
    sums = ArrayMap("sums", value=u64, max_entries=1)
    add = [BPF_LD_MAP_VALUE(R1, sums, 0), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R7, 0)]
    programs = [
        counter("which", TYPE, kprobe(syscall="getpriority"), before=[*syscall_arg(0, R7, at=-8, ctx=R6), *add]),
        counter("result", TYPE, kretprobe(syscall="getpriority"), before=[*ret_value(R7, ctx=R6), *add]),
        # The function's own argument is an address, and not small.
        counter("regs", TYPE, kprobe(syscall="getpriority"), before=[
            *func_arg(0, R7, ctx=R6), BPF_ALU64_IMM(BPF_RSH, R7, 63), *add,
        ]),
    ]  # fmt: skip
    nice = os.getpriority(os.PRIO_PGRP, 0)
    for (program, _), expected in zip(programs, (os.PRIO_PGRP, 20 - nice, 1), strict=True):
        with load(program) as obj:
            obj.attach()
            for _ in range(EVENTS):
                os.getpriority(os.PRIO_PGRP, 0)
            assert obj[sums][0] == EVENTS * expected, program.name


def test_maxactive_takes_tracefs(kprobes, tracefs_root):
    program, counts = counter("active", TYPE, kretprobe(syscall="getpriority", maxactive=77))
    with load(program) as obj:
        (link,) = obj.attach()
        assert link.mode == "tracefs"
        lines = (system.read(f"{tracefs_root}/kprobe_events") or "").splitlines()
        assert [line.partition(":")[0] for line in lines if FUNCTION in line] == ["r77"]
        work()
        assert obj[counts][0] == EVENTS
        assert link.missed() == 0
        link.close()
        for mode in ("link", "perf"):
            with pytest.raises(FeatureMissing) as caught:
                obj.attach(mode)
            assert caught.value.rule == "kprobe-maxactive"


def test_maxactive_beyond_what_the_kernel_takes(kprobes, tracefs_root):
    """A kprobe_events line with 5000 is EINVAL on every kernel (KRETPROBE_MAXACTIVE_MAX is 4096)."""
    program, _ = counter("beyond", TYPE, kretprobe(syscall="getpriority", maxactive=5000))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.rule == "kprobe-maxactive"
    assert "4096" in caught.value.do


def test_misses_are_counted(kprobes, tracefs_root):
    """A kprobe at a function that kprobes run through misses itself; at a system call's it does not."""
    program, _ = counter("misses", TYPE, kprobe(syscall="getpriority"))
    with load(program) as obj:
        for mode in ("tracefs", "auto"):
            (link,) = obj.attach(mode)
            work()
            assert tracefs.find() == tracefs_root
            if link.mode != "perf":
                assert link.missed() in (0, None if mode == "auto" else 0)
            link.close()
