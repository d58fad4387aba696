"""Samples of perf events: exact ones, at every page fault, and by time."""

import os
from ctypes import addressof, c_char
from mmap import PAGESIZE, mmap
from time import monotonic

import pytest
from support.counting import EVENTS, counter

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.syscall import system
from bpfasm.uapi.ptrace import sizeof_bpf_user_pt_regs_t

pytestmark = pytest.mark.lab

TYPE = BPF_PROG_TYPE_PERF_EVENT

#: struct bpf_perf_event_data: the registers, the period, the address.
ADDRESS = sizeof_bpf_user_pt_regs_t[os.uname().machine] + 8


@pytest.fixture(params=["auto", "link", "perf"])
def mode(request):
    if request.param == "link" and features.ask("link/perf_event").state == "no":
        pytest.skip("this kernel has no BPF links on perf events")
    return request.param


@pytest.fixture
def pages():
    """Memory that nobody has touched: its first address, and a function that touches 23 pages of it."""
    memory = mmap(-1, 3 * EVENTS * PAGESIZE)
    place = c_char.from_buffer(memory)
    start, touched = addressof(place), iter(range(3 * EVENTS))

    def touch():
        for _ in range(EVENTS):
            memory[next(touched) * PAGESIZE] = 1

    yield start, touch
    del place
    memory.close()


def faults(where, start):
    inside = [
        BPF_LDX_MEM(BPF_DW, R1, R6, ADDRESS),
        BPF_LD_IMM64(R2, start),
        BPF_JMP_REG(BPF_JLT, R1, R2, "out"),
        BPF_LD_IMM64(R2, start + 3 * EVENTS * PAGESIZE),
        BPF_JMP_REG(BPF_JGE, R1, R2, "out"),
    ]
    return counter("faults", TYPE, where, before=inside)


@pytest.mark.parametrize("pid", [0, None], ids=["this process", "everybody"])
def test_23_page_faults_are_23_events(mode, pages, pid):
    start, touch = pages
    program, counts = faults(perf_event("page-faults", period=1, pid=pid), start)
    with load(program) as obj:
        (link,) = obj.attach(mode)
        assert mode in (link.mode, "auto")
        assert len(link.fds) == (1 if pid == 0 else len(system.online_cpus()))
        touch()
        assert obj[counts][0] == EVENTS
        if link.mode == "link":
            assert link.info().kind == "perf_event"
            if len(link.fds) > 1:
                with pytest.raises(FeatureMissing, match="links, one for each CPU"):
                    link.pin("/sys/fs/bpf/no")
        link.close()
        touch()
        assert obj[counts][0] == EVENTS


def test_by_time():
    program, counts = counter("ticks", TYPE, perf_event("cpu-clock", frequency=999, pid=0))
    with load(program) as obj:
        obj.attach()
        deadline = monotonic() + 60
        while obj[counts][0] < 3:
            assert monotonic() < deadline


def test_a_process_that_is_not_there():
    program, _ = counter("nobody", TYPE, perf_event("page-faults", period=1, pid=1 << 22))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert (caught.value.rule, caught.value.do) == ("attach-refused", "it ended meanwhile")


def test_an_event_that_the_machine_does_not_count():
    """There is no unit of this number."""
    program, _ = counter("raw", TYPE, perf_event((0x7FFFFFF0, 1), period=1))
    with load(program) as obj, pytest.raises(FeatureMissing) as caught:
        obj.attach()
    assert caught.value.rule == "no-perf-event"


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "given", [("cpu-clok", {"period": 1}), ("cpu-clock", {}), ("cpu-clock", {"period": 1, "frequency": 1})]
)
def test_what_does_not_go_together(given):
    with pytest.raises(OperandError) as caught:
        perf_event(given[0], **given[1])
    assert caught.value.rule == "attach-target"
