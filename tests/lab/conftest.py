"""Guests for the tests of the lab: one boot for each kernel of the matrix, shared by all tests that harm nothing."""

import pytest

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab.machine import qemu


@pytest.fixture(scope="session", autouse=True)
def _qemu():
    _needs_qemu("x86_64")


def _needs_qemu(arch):
    try:
        qemu.find(arch)
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=[kernel.version for kernel in lab.everything()])
def _running(request):
    """Boot a kernel; a list, so that a guest that a failing test has ended is followed by another."""
    _needs_qemu(lab.find(request.param).arch)
    running = [lab.boot(request.param)]
    yield running
    running[-1].close()


@pytest.fixture
def guest(_running):
    """Return a running guest, on each kernel in turn."""
    if _running[-1].over:
        _running.append(lab.boot(_running[-1].kernel))
    return _running[-1]
