"""Memory barriers: which machines need a system call for them, and what is said where there is none."""

import errno

import pytest

from bpfasm.errors import FeatureMissing
from bpfasm.kernel import waiting
from bpfasm.kernel.words import errno_name
from bpfasm.syscall import barrier
from bpfasm.syscall.libc import failure


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
