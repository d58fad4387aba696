"""Tracepoints by group and name: exact counts by every mechanism, what a link tells, and what is not there."""

import os

import pytest
from support.counting import EVENTS, counter, work
from support.processes import until

from bpfasm.asm import *
from bpfasm.errors import AssemblyError, FeatureMissing, KernelError, LinkError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.link import KernelLink
from bpfasm.kernel.links.tracing.formats import format_of
from bpfasm.kernel.objects import ids
from bpfasm.syscall import system

pytestmark = pytest.mark.lab

TYPE = BPF_PROG_TYPE_TRACEPOINT
HERE = tracepoint("syscalls", "sys_enter_getpriority")


@pytest.fixture(autouse=True)
def _syscalls(tracefs_root):
    if not os.path.isdir(f"{tracefs_root}/events/syscalls"):
        pytest.skip("this kernel is built without CONFIG_FTRACE_SYSCALLS")


@pytest.fixture
def links():
    if features.ask("link/perf_event").state == "no":
        pytest.skip("this kernel has no BPF links on perf events")


@pytest.fixture(params=["auto", "link", "perf"])
def mode(request):
    if request.param == "link" and features.ask("link/perf_event").state == "no":
        pytest.skip("this kernel has no BPF links on perf events")
    return request.param


def test_23_calls_are_23_events(mode):
    program, counts = counter("exact", TYPE, HERE)
    with load(program) as obj:
        work()
        (link,) = obj.attach(mode)
        assert mode in (link.mode, "auto")
        work()
        assert obj[counts][0] == EVENTS
        link.close()
        work()
        assert obj[counts][0] == EVENTS


def test_a_link_tells_where_it_is(links):
    program, _ = counter("told", TYPE, HERE)
    with load(program) as obj:
        (link,) = obj.attach()
        info = link.info()
        assert (info.kind, info.prog_id) == ("perf_event", obj[program].info().id)
        if info.details["type"]:  # told since 6.6
            assert info.details["tp_name"] == "sys_enter_getpriority"
        assert link.missed() is None
        with KernelLink.from_id(info.id) as again:
            assert again.info() == info
            link.close()
            assert again.info() == info  # it holds the link


def test_what_is_no_link_tells_nothing():
    program, _ = counter("silent", TYPE, HERE)
    with load(program) as obj:
        (link,) = obj.attach("perf")
        assert link.missed() is None
        for ask in (link.info, link.detach, lambda: link.update(obj[program]), lambda: link.pin("/x")):
            with pytest.raises(FeatureMissing) as caught:
                ask()
            assert caught.value.rule == "no-link-object"
            assert "silent is attached at tracepoint syscalls:sys_enter_getpriority by perf" in caught.value.what


def test_the_kernel_exchanges_no_program_there(links):
    program, counts = counter("kept", TYPE, HERE)
    with load(program) as obj:
        (link,) = obj.attach()
        with pytest.raises(FeatureMissing) as caught:
            link.update(obj[program])
        assert caught.value.rule == "link-update"
        with pytest.raises(FeatureMissing) as caught:
            link.detach()
        assert caught.value.rule == "link-detach"
        work()
        assert obj[counts][0] == EVENTS


def test_a_pinned_link_stays_when_all_is_closed(links):
    points = system.mounts("bpf")
    if not points:
        pytest.skip("no bpf file system is mounted")
    program, counts = counter("pinned", TYPE, HERE)
    path = f"{points[-1]}/links_{os.getpid()}"
    with load(program) as obj:
        (link,) = obj.attach()
        assert link.pin(path) == path
        try:
            link.close()
            work()
            assert obj[counts][0] == EVENTS
            with KernelLink.from_pin(path) as again:
                about = again.info()
            assert about.prog_id == obj[program].info().id
        finally:
            os.unlink(path)
        # The kernel lets go of what a pin held when no CPU looks at its file any more.
        until(lambda: about.id not in ids.ids("link"))
        work()
        assert obj[counts][0] == EVENTS


def test_one_program_at_two_places_with_cookies(links):
    """The program adds its cookie."""
    both = [HERE.replace(cookie=1), tracepoint("syscalls", "sys_exit_getpriority", cookie=1 << 40)]
    before = [
        BPF_MOV64_REG(R1, R6),
        BPF_EMIT_CALL(BPF_FUNC_get_attach_cookie),
        BPF_MOV64_REG(R7, R0),
        BPF_LD_MAP_VALUE(R1, sums := ArrayMap("sums", value=u64, max_entries=1), 0),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R7, 0),
    ]
    program, counts = counter("cookies", TYPE, None, before=before)
    with load(program) as obj, attach(obj[program], both[0]), attach(obj[program], both[1]):
        work()
        assert obj[counts][0] == 2 * EVENTS
        assert obj[sums][0] == EVENTS * (1 + (1 << 40))


def test_a_cookie_needs_a_link():
    program, counts = counter("cookie", TYPE, HERE.replace(cookie=7))
    with load(program) as obj:
        if features.ask("link/perf_event").state == "no":
            with pytest.raises(FeatureMissing) as caught:
                obj.attach()
            assert caught.value.rule == "no-cookie"
        work()
        assert obj[counts][0] == 0


def test_fields_are_found_where_this_kernel_has_them():
    """getpriority(which, who): only one of the two is what we ask for."""
    inside = [
        BPF_LDX_MEM(BPF_DW, R1, R6, HERE.field("which")),
        BPF_JMP_IMM(BPF_JNE, R1, os.PRIO_PGRP, "out"),
        BPF_LDX_MEM(BPF_DW, R1, R6, HERE.field("who")),
        BPF_JMP_IMM(BPF_JNE, R1, os.getpgrp(), "out"),
    ]
    program, counts = counter("fields", TYPE, HERE, before=inside)
    with load(program) as obj:
        obj.attach()
        for which, who in ((os.PRIO_PROCESS, 0), (os.PRIO_PGRP, os.getpgrp()), (os.PRIO_PGRP, 0)):
            for _ in range(EVENTS):
                os.getpriority(which, who)
        assert obj[counts][0] == EVENTS


def test_a_field_that_is_not_there():
    program, _ = counter("absent", TYPE, HERE, before=[BPF_LDX_MEM(BPF_DW, R1, R6, HERE.field("whom"))])
    with pytest.raises(LinkError) as caught:
        load(program)
    assert caught.value.rule == "tracepoint-field"
    assert caught.value.do in ("did you mean who?", "did you mean which?")


def test_the_format_says_what_the_file_says(tracefs_root):
    format = format_of("sched", "sched_switch")
    text = system.read(f"{tracefs_root}/events/sched/sched_switch/format")
    assert format.id == int(system.read(f"{tracefs_root}/events/sched/sched_switch/id"))
    assert len(format.fields) == text.count("field:")
    assert (format.fields["prev_comm"].type, format.fields["prev_comm"].size) == ("char[16]", 16)


@pytest.mark.lab(on="ends")
@pytest.mark.parametrize(
    ("place", "do"),
    [
        (tracepoint("syscalls", "sys_enter_getpriorty"), "did you mean sys_enter_getpriority"),
        (tracepoint("syscall", "sys_enter_getpriority"), 'did you mean tracepoint("syscalls", "sys_enter_getpri'),
        (tracepoint("syscalls", "nothing_like_it"), "see those it has: ls "),
        (raw_tracepoint("sched_swtch"), "did you mean sched_switch"),
    ],
    ids=str,
)
def test_a_tracepoint_that_is_not_there(place, do):
    program, _ = counter("absent", place.takes[0], place)
    with load(program) as obj, pytest.raises(FeatureMissing) as caught:
        obj.attach()
    assert caught.value.rule == "no-tracepoint"
    assert caught.value.do.startswith(do)


def test_the_wrong_type_and_the_wrong_mode():
    program, _ = counter("wrong", BPF_PROG_TYPE_KPROBE, HERE)
    with load(program) as obj:
        with pytest.raises(KernelError) as caught:
            obj.attach()
        assert caught.value.what == (
            "wrong is of type BPF_PROG_TYPE_KPROBE, and tracepoint syscalls:sys_enter_getpriority takes a "
            "BPF_PROG_TYPE_TRACEPOINT"
        )
        with pytest.raises(AssemblyError) as caught:
            obj.attach("tracefs")
    assert caught.value.rule == "attach-mode"
    assert caught.value.do == "its modes are auto, link, perf"


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("names", [("", "x"), ("a", ""), ("a/b", "c"), ("../x", "y"), ("a", "b:c"), ("a", None)])
def test_what_is_no_name(names):
    with pytest.raises(OperandError, match="is no name of a tracepoint") as caught:
        tracepoint(*names)
    assert caught.value.rule == "attach-target"
