"""Memory barriers: which machines need a system call for them, and what is said where there is none."""

import errno
import os

import pytest

from bpfasm.errors import FeatureMissing
from bpfasm.kernel.base.words import errno_name
from bpfasm.kernel.readers import waiting
from bpfasm.syscall import barrier
from bpfasm.syscall.libc import failure, syscall
from bpfasm.uapi.membarrier import MEMBARRIER_CMD_GLOBAL

set_affinity = os.sched_setaffinity


@pytest.mark.parametrize("machine", ["x86_64", "s390x"])
def test_where_loads_are_in_order_only_a_full_barrier_is_made(machine):
    acquire, full = barrier.barriers(machine)
    assert acquire is None
    assert full() is None


@pytest.mark.parametrize("machine", ["aarch64", "riscv64", "ppc64le", "armv7l"])
def test_elsewhere_a_system_call_is_the_barrier(machine):
    """It exists on this machine too, so it can be made here."""
    acquire, full = barrier.barriers(machine)
    assert acquire is full
    assert acquire() is None


@pytest.mark.parametrize(("answer", "number"), [(-1, errno.EPERM), (0, errno.ENOSYS), (1, errno.ENOSYS)])
def test_where_it_is_refused(monkeypatch, answer, number):
    monkeypatch.setattr(barrier, "quick_syscall", lambda *_: answer)
    monkeypatch.setattr(barrier, "errno", lambda: errno.EPERM)
    with pytest.raises(OSError) as caught:
        barrier.barriers("aarch64")
    assert caught.value.errno == number


def test_it_is_said(monkeypatch):
    def refused():
        raise failure(errno.EPERM, "membarrier")

    monkeypatch.setattr(waiting, "barriers", refused)
    with pytest.raises(FeatureMissing) as caught:
        waiting.memory_barriers()
    assert caught.value.rule == "no-barrier"
    assert errno_name(errno.EPERM) in caught.value.what
    assert "membarrier" in caught.value.do


def test_a_grace_period_is_the_kernels(monkeypatch):
    """And nothing is left changed by it."""
    allowed = os.sched_getaffinity(0)
    calls = []
    monkeypatch.setattr(barrier, "syscall", lambda *words: calls.append(words) or syscall(*words))
    barrier.grace_period(allowed)
    assert [words[1] for words in calls] == [MEMBARRIER_CMD_GLOBAL]
    assert os.sched_getaffinity(0) == allowed


def test_a_grace_period_where_the_kernel_refuses_it(monkeypatch):
    """Who runs on a CPU knows that nobody else is in the middle of something there."""
    allowed = os.sched_getaffinity(0)
    visited = []
    monkeypatch.setattr(barrier, "syscall", lambda *_: -1)
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: visited.append(cpus) or set_affinity(pid, cpus))
    barrier.grace_period(sorted(allowed))
    assert visited == [*((cpu,) for cpu in sorted(allowed)), allowed]
    assert os.sched_getaffinity(0) == allowed
    with pytest.raises(OSError):
        barrier.grace_period([1 << 20])
    assert os.sched_getaffinity(0) == allowed
