"""What every test is held to: it leaves no file descriptor open."""

import gc
import os
import select
import signal
from types import ModuleType

import pytest

from bpfasm import asm


def pytest_addoption(pluginmanager):
    """Load the plugin of the lab from this checkout, where it is not installed."""
    if not pluginmanager.has_plugin("bpfasm_lab"):
        pluginmanager.import_plugin("bpfasm.testing.plugin")


def pytest_configure(config):
    """Name the mark of the tests that ./run fuzz runs."""
    config.addinivalue_line("markers", "fuzz: reads broken files, more of them under ./run fuzz")


class Module(pytest.Module):
    """A module of tests as pytest looks through it: without what it has from ``import *``.

    pytest asks its plugins about each name, and the notation has a thousand; in a guest that takes a minute.
    """

    def _getobj(self):
        module = super()._getobj()
        own = ModuleType(module.__name__)
        for name, value in vars(module).items():
            if vars(asm).get(name, own) is not value:
                setattr(own, name, value)
        return own


def pytest_pycollect_makemodule(module_path, parent):
    """Have pytest look through modules so."""
    return Module.from_parent(parent, path=module_path)


def pytest_collection_finish():
    """Keep the garbage collector from what lives to the end: tests that collect look at what they made."""
    gc.collect()
    gc.freeze()


# A shell that starts us in the background has Ctrl-C ignored for all our children; the tests of Ctrl-C need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Descriptors:
    """Which descriptors are open, by poll(), which calls the others invalid: to list a folder of /proc takes longer.

    They are the lowest that are free: a test that leaves one open leaves it among these.
    """

    looked_at = range(256)  # a process of macOS may have no more

    def __init__(self):
        self.poll = select.poll()
        for fd in self.looked_at:
            self.poll.register(fd, 0)

    def closed(self):
        return self.poll.poll(0)

    def opened(self, before):
        """Return those that were closed before, and are open."""
        invalid = {fd for fd, what in self.closed() if what & select.POLLNVAL}
        return sorted({fd for fd, what in before if what & select.POLLNVAL} - invalid)


DESCRIPTORS = Descriptors() if hasattr(select, "poll") else None


@pytest.fixture(autouse=True)
def no_fd_left_open():
    if not DESCRIPTORS:
        yield
        return
    before = DESCRIPTORS.closed()
    yield
    if DESCRIPTORS.closed() != before and DESCRIPTORS.opened(before):
        gc.collect()  # what is unreachable warns by itself
        left = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in DESCRIPTORS.opened(before)}
        assert not left, f"left open: {left}"
