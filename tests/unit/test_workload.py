"""The known workload: exact counts, and workers that cannot work are no silence."""

import errno
import os
import signal

import pytest

from bpfasm.cli.workload import Workload
from bpfasm.errors import KernelError


def test_calls_are_shared_out_and_counted():
    with Workload(os.getppid, workers=3, calls=23) as workload:
        while workload.running:
            os.sched_yield()
        assert workload.stop() == 23


def test_workers_without_a_number_work_until_they_are_stopped():
    with Workload(os.getppid, workers=2) as workload:
        assert workload.running
        called = workload.stop()
        assert not workload.running
        assert workload.stop() == called


def test_a_call_that_fails_is_told():
    def call():
        raise PermissionError(errno.EPERM, "no")

    with Workload(call, workers=2, calls=10) as workload, pytest.raises(KernelError) as caught:
        while workload.running:  # told to stop too early, they would not call at all
            os.sched_yield()
    assert (caught.value.errno, caught.value.rule) == (errno.EPERM, "worker")
    assert caught.value.what == "a worker ended early, its call failed: Operation not permitted"


def test_a_worker_that_was_killed_is_told():
    with Workload(lambda: os.kill(os.getpid(), signal.SIGKILL), workers=1) as workload:
        with pytest.raises(KernelError, match="a worker ended early, wait status 0x9"):
            while workload.running:
                os.sched_yield()
        assert workload.stop() == 0
