"""Fixtures of the tests on the running kernel. Each that skips has proven first that the feature is not there."""

import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import pytest
from support import zygote

from bpfasm.asm.lint import lint
from bpfasm.kernel.needs import missing
from bpfasm.syscall import system, tracefs
from bpfasm.syscall.kallsyms import Kallsyms

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session", autouse=True)
def bpf():
    """Programs can be loaded by who runs the tests."""
    lack = missing(["bpf"])
    if lack:
        pytest.skip(lack.what)


@pytest.fixture(scope="session")
def kprobes():
    """A kernel with kprobes: it has the PMU, or the file in tracefs."""
    root = tracefs.find()
    if system.pmu_type("kprobe") is None and not (root and os.path.exists(f"{root}/kprobe_events")):
        assert "register_kprobe" not in system.kernel_symbols(), "there are kprobes, and no way to them"
        pytest.skip("this kernel is built without kprobes")


@pytest.fixture
def tracefs_root():
    """The directory of tracefs."""
    root = tracefs.find()
    if root is None:
        pytest.skip("tracefs is not mounted")
    return root


@pytest.fixture
def python():
    """Start a Python program in a process of its own."""

    def start(code, *arguments, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        words = ["-c", textwrap.dedent(code), *map(str, arguments)]
        env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'examples'}:{ROOT / 'tests'}"}
        return zygote.python(*words, env=env, cwd=ROOT, **options)

    return start


#: Longer programs are loaded for their length alone.
LINTED = 4000


@pytest.fixture(autouse=not zygote.IN_GUEST)
def silent_lint(monkeypatch):
    """Whatever a test has the kernel accept, lint has no error in.

    Not in the lab's guests: they load the same programs, and linting them there takes long.
    """
    loading = sys.modules["bpfasm.kernel.programs.program"]
    verify, link, linked, accepted = loading.verify, loading.link, [], []

    def linking(*arguments, **options):
        linked[:] = [link(*arguments, **options)]
        return linked[0]

    def verifying(*arguments, **options):
        verdict = verify(*arguments, **options)
        if verdict.fd is not None:
            accepted.extend(each.program for each in linked if len(each.insns) <= LINTED)
        return verdict

    monkeypatch.setattr(loading, "link", linking)
    monkeypatch.setattr(loading, "verify", verifying)
    yield
    assert [each for program in accepted for each in lint(program) if each.severity == "error"] == []


@pytest.fixture(scope="session", autouse=zygote.IN_GUEST)
def symbols_read_once():
    """A dump takes the kernel's own functions from /proc/kallsyms, and an emulated one lists them for seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bpfasm.kernel.programs.dump.Kallsyms", cache(Kallsyms))
        yield


@pytest.fixture
def deep_sleep(monkeypatch):
    """Nobody looks up once a second: who is not woken sleeps on."""
    monkeypatch.setattr("bpfasm.kernel.readers.waiting._LONGEST_S", 1e6)
