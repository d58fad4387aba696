"""What every test is held to: it leaves no file descriptor open."""

import gc
import os
import signal
from types import ModuleType

import pytest

from bpfasm import asm

FDS = "/proc/self/fd"


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


HAS_FDS = os.path.isdir(FDS)


def open_fds():
    """Return the open file descriptors, as words, but for the one that reads the directory: the lowest free one."""
    found = set(os.listdir(FDS))
    lowest = os.open("/", os.O_RDONLY)
    os.close(lowest)
    return found - {str(lowest)}


@pytest.fixture(autouse=True)
def no_fd_left_open():
    if not HAS_FDS:
        yield
        return
    before = open_fds()
    yield
    if open_fds() - before:
        gc.collect()  # what is unreachable warns by itself
        left = {fd: os.readlink(f"{FDS}/{fd}") for fd in sorted(open_fds() - before)}
        assert not left, f"left open: {left}"
