"""The pytest plugin on a real guest: a report from there reads as one from here, whatever becomes of the guest."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.processes import gone, machines_of, until

from bpfasm import lab
from bpfasm.lab import cache

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.boots

ROOT = Path(__file__).resolve().parents[2]

#: Tests that do here what they do in a guest; their reports are held against each other.
SAME = """
import logging, sys, warnings
import pytest

pytestmark = pytest.mark.lab

@pytest.fixture(scope="module")
def number():
    yield 7
    print("taken down")

@pytest.fixture
def broken():
    print("said by a fixture")
    raise LookupError("in a fixture")

@pytest.fixture
def falls():
    yield
    raise OSError("in a teardown")

def test_passes(number):
    print("not shown")
    assert number == 7

def test_fails(number):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    logging.getLogger("a").warning("to the log")
    found = {"number": number, "list": list(range(30))}
    assert found == {"number": 7, "list": list(range(31))}, "with words"

def test_raises_from():
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("outer \\x1b \\u2603") from error

def test_skips():
    pytest.skip("there is a reason")

@pytest.mark.skipif(True, reason="a mark says so")
def test_skips_by_mark():
    pass

@pytest.mark.xfail(reason="known")
def test_xfails():
    assert 0

@pytest.mark.xfail(reason="mended")
def test_xpasses():
    pass

def test_errs_in_setup(broken):
    pass

def test_errs_in_teardown(falls):
    pass

@pytest.mark.parametrize("value", [1, "a::b", "[x]", "caf\\u00e9 \\n"])
def test_parametrised(value, record_property):
    record_property("value", repr(value))
    assert value != 1

class TestClass:
    def test_method(self):
        warnings.warn("from a test", UserWarning)

def test_subtests(subtests):
    for number in range(3):
        with subtests.test("sub", number=number):
            print("in", number)
            assert number != 1
"""


#: Tests that end more than themselves; those between them run all the same.
BREAKS = """
import os, signal, sys
from pathlib import Path
import pytest

pytestmark = pytest.mark.lab

def test_is_on_the_kernel(lab_kernel):
    assert os.uname().release.startswith(lab_kernel + ".")

def test_comes_compiled():
    from _pytest.assertion.rewrite import PYC_TAIL, get_cache_dir
    path = Path(__file__)
    assert sys.dont_write_bytecode  # so it was not made here
    assert (get_cache_dir(path) / (path.stem + PYC_TAIL)).exists()

def test_panics():
    print("said before")
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("c")

def test_after_the_panic():
    pass

def busy():
    while True:
        pass

def test_hangs():
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    busy()

@pytest.fixture
def ends_in_teardown():
    yield
    os._exit(4)

def test_ends_in_teardown(ends_in_teardown):
    pass

def test_stops_pytest():
    pytest.exit("enough")
"""

#: A test that says where it is, and does not end.
WAITS = """
import pytest

@pytest.mark.lab
def test_waits():
    print("on", flush=True)
    while True:
        pass
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    """Return what runs pytest on some tests, in a project that is not ours, with the kernels of this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(CACHE))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BPFASM_ON", raising=False)

    def run(text, *words, start=pytester.runpytest_subprocess, **options):
        pytester.makepyfile(test_it=text)
        pytester.makeini("[pytest]\nlab_timeout = 5\n")
        return start("-p", "bpfasm.testing.plugin", *words, **options)

    return run


#: Named before pytester gives each test a home of its own.
CACHE = cache.root().parent


def cases(path, kernel):
    """Return the test cases of a JUnit file that are of a kernel, by name, without what is the kernel's own."""
    found = {}
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name")
        if f"[{kernel}" in name:
            case.attrib.pop("time")
            text = ElementTree.tostring(case, encoding="unicode").replace(kernel, "KERNEL")
            found[name.replace(kernel, "KERNEL")] = re.sub(r"0x[0-9a-f]{6,}", "0x...", text)
    return found


def test_a_report_from_a_guest_reads_as_one_from_here(suite, pytester):
    version = lab.default()
    done = suite(
        SAME,
        "--on",
        f"live,{version}",
        "--junitxml=all.xml",
        "--lab-report=report.json",
        "-ojunit_family=xunit1",
        "-ra",
        "--durations=3",
        "-v",
    )
    here, there = cases("all.xml", "live"), cases("all.xml", version)
    assert len(here) == 15
    assert there == here
    output = re.sub(r"0x[0-9a-f]{6,}", "0x...", done.stdout.str())
    sections = re.split(r"^_+ (.*) _+$", output, flags=re.M)
    failures = dict(zip(sections[1::2], sections[2::2], strict=False))
    for name, text in failures.items():
        if version in name:
            same = failures[name.replace(version, "live")]
            assert text.partition("====")[0] == same.partition("====")[0], name
    counts = done.parseoutcomes()
    assert all(count % 2 == 0 for count in counts.values()), counts
    live, guest = json.loads(Path("report.json").read_text())["kernels"]
    assert (live["release"], guest["release"]) == (os.uname().release, lab.fetch(version).release)
    assert guest["areas"] == live["areas"]
    assert guest["areas"][0]["reasons"] == {"there is a reason": 1, "a mark says so": 1}
    assert done.ret == 1


def test_a_test_that_ends_its_guest_has_failed_and_the_others_run(suite):
    version = lab.default()
    done = suite(BREAKS, "--on", version, "-v")
    outcomes = dict(re.findall(rf"^test_it.py::(\w+)\[{version}\] (\w+)", done.stdout.str(), flags=re.M))
    assert outcomes == {
        "test_is_on_the_kernel": "PASSED",
        "test_comes_compiled": "PASSED",
        "test_panics": "FAILED",
        "test_after_the_panic": "PASSED",
        "test_hangs": "FAILED",
        "test_ends_in_teardown": "FAILED",
        "test_stops_pytest": "FAILED",
    }
    sections = re.split(r"^_+ (.*) _+$", done.stdout.str(), flags=re.M)
    why = {
        name.partition("[")[0].split()[-1]: text for name, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    assert "Kernel panic - not syncing: sysrq triggered crash" in why["test_panics"]
    assert "sysrq_handle_crash" in why["test_panics"]
    assert why["test_hangs"].startswith("\nit did not end within 5 s\n")
    assert "in busy" in why["test_hangs"]
    assert "_pytest" not in why["test_hangs"]
    assert "its process in the guest ended with status 4" in why["test_ends_in_teardown"]
    assert "pytest in the guest ended with status 2" in why["test_stops_pytest"]
    assert done.ret == 1

    again = suite(BREAKS, "--on", version, "--lf", "-x")
    again.assert_outcomes(failed=1)
    assert "stopping after 1 failures" in again.stdout.str()


@pytest.fixture
def waiting(suite, pytester):
    """Start pytest on a test that waits in a guest; give its process, and the guest's."""
    started = []

    def start(*words, **_options):
        command = [sys.executable, "-m", "pytest", *words]
        process = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started.append(process)
        while b"on" not in process.stdout.readline().split():
            assert process.poll() is None
        (machine,) = machines_of(process.pid)
        return process, machine

    yield lambda: suite(WAITS, "--on", lab.default(), "-s", start=start)
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 2), (signal.SIGKILL, -9)], ids=["SIGINT", "SIGKILL"])
def test_guests_end_with_the_run(waiting, number, status):
    process, machine = waiting()
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == status
    until(lambda: gone(machine))


def test_a_guest_that_stands_still_is_ended(waiting):
    process, machine = waiting()
    os.kill(machine, signal.SIGSTOP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(rb"not a word from it for \d\d s: the guest with kernel \S+ ended before its command", out)
    assert gone(machine)
