"""The pytest plugin without a guest: ids, selection, and what becomes of tests where no guest can be."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

from bpfasm.testing.guests import Guests
from bpfasm.testing.keeper import Run, longest_first

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

SUITE = """
import pytest

@pytest.mark.lab
@pytest.mark.parametrize("value", ["a", "b"])
def test_marked(value, lab_kernel):
    pass

@pytest.mark.lab
class TestMarked:
    def test_method(self):
        pass

def test_unmarked(lab_kernel):
    assert lab_kernel == "live"
"""


@pytest.fixture
def run(pytester, monkeypatch, tmp_path_factory):
    """Return what runs pytest on the suite, on a machine without QEMU."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("BPFASM_ON", raising=False)
    pytester.makepyfile(test_it=SUITE)
    return lambda *words: pytester.runpytest_subprocess("-p", "bpfasm.testing.plugin", "--strict-markers", *words)


def ids(done):
    return [line.partition("::")[2] for line in done.outlines if "::" in line]


def test_without_on_a_marked_test_is_for_this_kernel(run):
    done = run("-v")
    done.assert_outcomes(passed=4)
    assert "lab:" not in done.stdout.str()
    assert [name.split()[0] for name in ids(done)] == [
        "test_marked[live-a]",
        "test_marked[live-b]",
        "TestMarked::test_method[live]",
        "test_unmarked",
    ]


def test_a_marked_test_is_one_for_each_kernel(run):
    collected = ids(run("--on", "live,5.10", "--on=7", "--collect-only", "-q"))
    assert collected == [
        *("test_marked[live-a]", "test_marked[live-b]", "TestMarked::test_method[live]"),
        *("test_marked[5.10-a]", "test_marked[5.10-b]", "TestMarked::test_method[5.10]"),
        *("test_marked[7-a]", "test_marked[7-b]", "TestMarked::test_method[7]"),
        "test_unmarked",
    ]


@pytest.mark.parametrize(
    ("on", "kernels"),
    [
        ([], ["live"]),
        (["--on", "6.1"], ["6.1"]),
        (["--on", "6.12,5.10"], ["6.12", "5.10"]),
        (["--on", "5.10,6.1,live,6.12,7"], ["5.10", "live", "7"]),
    ],
)
def test_the_first_and_the_last_kernel_are_enough_for_some(run, pytester, on, kernels):
    pytester.makepyfile(test_it="import pytest\n\n@pytest.mark.lab(on='ends')\ndef test_ends():\n    pass\n")
    assert ids(run(*on, "--collect-only", "-q")) == [f"test_ends[{name}]" for name in kernels]


@pytest.mark.parametrize("on", [["5.10"], ["6.12", "5.10"], ["5.10", "6.1", "6.12", "7"]])
def test_one_kernel_is_enough_for_some_and_they_share_the_tests(run, pytester, on):
    tests = "".join(f"@pytest.mark.lab(on='one')\ndef test_{number}():\n    pass\n" for number in range(40))
    pytester.makepyfile(test_it=f"import pytest\n\n{tests}")
    found = [each.split("[") for each in ids(run("--on", ",".join(["live", *on]), "--collect-only", "-q"))]
    kernels = {}
    for test, kernel in found:
        kernels.setdefault(test, []).append(kernel.rstrip("]"))
    assert {len(each) for each in kernels.values()} == {2} and len(kernels) == 40
    assert {kernel for each in kernels.values() for kernel in each} == {"live", *(on[1:-1] or on)}
    # One that is asked for alone is where it was.
    (one,) = ids(run("--on", ",".join(on), "--collect-only", "-q", "-k", "test_7"))
    assert one == f"test_7[{(set(kernels['test_7']) - {'live'}).pop()}]"


@pytest.mark.parametrize("mark", ["lab('6.1')", "lab(ends=True)", "lab(on='6.1')"])
def test_a_mark_with_something_else(run, pytester, mark):
    pytester.makepyfile(test_it=f"import pytest\n\n@pytest.mark.{mark}\ndef test_it():\n    pass\n")
    done = run("--collect-only", "-q")
    assert done.ret != 0
    done.stdout.fnmatch_lines(["*the mark lab takes nothing but on='each'*"])


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (["test_it.py::test_marked[6.1-b]"], ["test_marked[6.1-b]"]),
        (["-k", "6.1-a"], ["test_marked[6.1-a]"]),
        (
            ["-k", "live and not unmarked"],
            ["test_marked[live-a]", "test_marked[live-b]", "TestMarked::test_method[live]"],
        ),
        (["-m", "not lab"], ["test_unmarked"]),
    ],
)
def test_tests_are_chosen_as_ever(run, words, chosen):
    assert ids(run("--on", "live,6.1", "--collect-only", "-q", *words)) == chosen


def test_the_environment_is_the_default(run, monkeypatch):
    monkeypatch.setenv("BPFASM_ON", "6.12")
    assert ids(run("--collect-only", "-q", "-k", "method")) == ["TestMarked::test_method[6.12]"]
    assert ids(run("--collect-only", "-q", "-k", "method", "--on=7")) == ["TestMarked::test_method[7]"]


def test_a_kernel_that_there_is_not(run):
    done = run("--on", "6.2")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["ERROR: --on: no kernel '6.2' in the lab", "it has 5.10, 6.1, *"])


def test_without_qemu_the_tests_of_guests_are_skipped_and_say_why(run):
    done = run("--on", "live,5.10,6.1", "-rs")
    done.assert_outcomes(passed=4, skipped=6)
    done.stdout.fnmatch_lines(
        ["SKIPPED [[]6[]] *: the lab boots kernels with QEMU, and qemu-system-x86_64 is not *; *"]
    )


def test_in_ci_they_fail(run, monkeypatch):
    monkeypatch.setenv("CI", "true")
    done = run("--on", "live,6.1")
    done.assert_outcomes(passed=4, errors=3)
    done.stdout.fnmatch_lines(["*ERROR at setup of test_marked?6.1-a?*", "the lab boots kernels with QEMU, *"])


def test_what_each_kernel_came_to_is_written(run, pytester):
    run("--on", "live,6.1", "--lab-report", "report.json")
    live, guest = json.loads(Path(pytester.path, "report.json").read_text())["kernels"]
    assert (live["kernel"], live["absent"]) == ("live", None)
    assert live["areas"] == [{"area": "test_it.py", "counts": {"passed": 3}, "reasons": {}}]
    assert (guest["kernel"], guest["release"]) == ("6.1", None)
    assert guest["absent"].startswith("the lab boots kernels with QEMU")
    assert guest["areas"][0]["counts"] == {"skipped": 3}
    assert list(guest["areas"][0]["reasons"].values()) == [3]


@pytest.mark.parametrize(
    ("on", "kept"),
    [
        ([], ["test_here[live]", "test_each[live]"]),
        (["--on", "6.1"], ["test_each[6.1]"]),
        (["--on", "6.1,live"], ["test_here[live]", "test_each[live]", "test_each[6.1]"]),
    ],
)
def test_some_are_for_this_kernel_alone(run, pytester, on, kept):
    pytester.makepyfile(
        test_it="""
        import pytest

        pytestmark = pytest.mark.lab

        @pytest.mark.lab(on="live")
        def test_here():
            pass

        def test_each():
            pass
        """
    )
    assert ids(run(*on, "--collect-only", "-q")) == kept


def test_kernels_are_written_in_the_order_of_their_names_on_the_command_line(run, pytester):
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.mark.lab(on="ends")
        def test_ends():
            pass

        @pytest.mark.lab
        def test_each():
            pass
        """
    )
    run("--on", "5.10,6.1,7", "--lab-report", "report.json")
    kernels = json.loads(Path(pytester.path, "report.json").read_text())["kernels"]
    assert [each["kernel"] for each in kernels] == ["5.10", "6.1", "7"]


def test_the_tests_here_go_first_and_their_fixtures_end_with_them(run, pytester):
    """Else the fixtures of a module that has tests in guests would live until those have ended."""
    pytester.makepyfile(
        test_it="""
        import pytest

        @pytest.fixture(scope="module")
        def number():
            yield
            raise LookupError("taken down")

        @pytest.mark.lab
        def test_both(number):
            pass
        """
    )
    done = run("--on", "6.1,live", "-v")
    assert [name.split()[:2] for name in ids(done)[:3]] == [
        ["test_both[live]", "PASSED"],
        ["test_both[live]", "ERROR"],
        ["test_both[6.1]", "SKIPPED"],
    ]


def test_a_run_that_does_not_ask_for_it_imports_next_to_nothing():
    code = (
        "import sys, pytest; had = {*sys.modules}; import bpfasm.testing.plugin; print(sorted({*sys.modules} - had))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['bpfasm', 'bpfasm.testing', 'bpfasm.testing.plugin']"


def test_where_bpfasm_is_installed_pytest_loads_it(run, pytester, monkeypatch):
    """And a checkout's own tests, which load it themselves, run there as well."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    info = pytester.path / "site" / "bpfasm-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bpfasm\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{k} = {v}\n" for k, v in entries.items()))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{info.parent}")
    collect = ["--on", "6.1", "--collect-only", "-q"]
    assert "test_marked[6.1-a]" in ids(pytester.runpytest_subprocess(*collect))
    monkeypatch.chdir(ROOT)
    words = [*collect, "-p", "no:cacheprovider", "tests/live/test_maps.py"]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_maps.py::test_an_array[6.1]" in done.stdout


@pytest.mark.parametrize("tests_here", [0, 1])
def test_one_more_guest_runs_when_pytest_is_through_if_it_was_busy(monkeypatch, tests_here):
    guests, asked = Guests(SimpleNamespace(), {"7": None}), []
    guests.facts["7"]["seconds"] = 1.0
    monkeypatch.setattr(guests, "kernel_of", lambda item: item)
    monkeypatch.setattr(guests, "_start", lambda away, busy: asked.append(f"busy {busy}"))
    monkeypatch.setattr(guests, "_tell", lambda line: asked.append("one more"))
    monkeypatch.setattr(guests, "_end", lambda: None)
    hook = SimpleNamespace(pytest_runtest_protocol=lambda **_: None)
    config = SimpleNamespace(option=SimpleNamespace(collectonly=False), hook=hook)
    session = SimpleNamespace(
        items=["7", *[None] * tests_here], testsfailed=0, shouldfail=False, shouldstop=False, config=config
    )
    loop = guests.pytest_runtestloop(session)
    next(loop)
    with pytest.raises(StopIteration):
        loop.send(True)
    assert asked == (["busy True", "one more"] if tests_here else ["busy False"])


def test_the_kernel_with_the_most_tests_begins_and_the_newest_of_those_with_as_many():
    counts = {"5.10": 3, "6.1": 1, "6.12": 2, "7": 3}
    kernels = [{"name": name, "version": name, "ids": map(str, range(count))} for name, count in counts.items()]
    runs = [Run({}, kernel, SimpleQueue()) for kernel in kernels]
    assert [run.name for run in longest_first(runs)] == ["7", "5.10", "6.12", "6.1"]
