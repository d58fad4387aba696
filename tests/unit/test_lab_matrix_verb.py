"""``lab matrix`` without a guest: its table, its document, its status, and what is missing where."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab import parallel
from bpfasm.views import matrix

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "bpfasm/views/schemas/lab-matrix-1.json").read_text())


def run(*words, python=(sys.executable,), top=ROOT, path="", **options):
    """Run the command on a machine with these programs; none by default, and so no QEMU."""
    return subprocess.run(
        [*python, "-m", "bpfasm", "lab", "matrix", *words],
        env={"PYTHONPATH": str(top), "PATH": path, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def ran(kernel, status=0, *, output=b"one\ntwo\n", error=None, timed_out=False):
    outcome = lab.Outcome(lab.find(kernel), status, timed_out, error, 3.14159, output)
    return matrix.of_outcome(outcome)


def test_the_table_of_a_command():
    kernels = [
        ran("5.10"),
        ran("6.1", 3, output=b"caf\xc3\xa9 \xff\n"),
        ran("6.12", None, timed_out=True),
        ran("7", None, output=b"", error=LabError("it broke", "the console\nsays so")),
    ]
    document = matrix.document(["a", "b c"], [each | {"release": None} for each in kernels])
    jsonschema.validate(document, SCHEMA)
    assert list(matrix.text(document)) == [
        "== 6.1: status 3",
        "caf\u00e9 \ufffd",
        "",
        "== 6.12: timeout",
        "one",
        "two",
        "",
        "== 7: lab failed",
        "it broke",
        "the console",
        "says so",
        "",
        "KERNEL  RELEASE  RESULT      SECONDS  LAST LINE",
        "5.10    -        ok              3.1  two",
        "6.1     -        status 3        3.1  caf\u00e9 \ufffd",
        "6.12    -        timeout         3.1  two",
        "7       -        lab failed      3.1  it broke",
    ]
    assert list(matrix.text(document, verbose=True))[:4] == ["== 5.10: ok", "one", "two", ""]


def counted(counts, **more):
    areas = [{"area": "tests/a.py", "counts": counts, "reasons": {}}]
    results = {"kernel": "6.1", "release": "6.1.0", "seconds": 61.5, "absent": None, "areas": areas}
    return matrix.of_tests(results | more, ["FPROBE"])


def test_the_table_of_the_live_tests():
    kernels = [
        counted({"passed": 800, "skipped": 5}),
        counted({"passed": 7, "failed": 1, "error": 2}),
        counted({"skipped": 10}, release=None, seconds=None, absent="no QEMU"),
    ]
    document = matrix.document(None, kernels)
    jsonschema.validate(document, SCHEMA)
    assert list(matrix.text(document)) == [
        "KERNEL  RELEASE  RESULT      PASSED  FAILED  SKIPPED  SECONDS",
        "6.1     6.1.0    ok             800       0        5     61.5",
        "6.1     6.1.0    failed           7       3        0     61.5",
        "6.1     -        lab failed       0       0       10        -",
    ]


def test_the_lab_failing_on_any_kernel_is_125():
    done = run("--on", "5.10,6.1", "--json", "--", "true")
    assert done.returncode == 125
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert [kernel["result"] for kernel in document["kernels"]] == ["lab failed"] * 2
    assert document["kernels"][0]["error"].startswith("the lab boots kernels with QEMU")
    assert sorted(line.partition(",")[0] for line in done.stderr.splitlines()) == [
        "lab: 5.10: lab failed",
        "lab: 6.1: lab failed",
    ]


def test_the_live_tests_are_counted_kernel_by_kernel(tmp_path):
    file = tmp_path / "matrix.json"
    done = run("--on", "5.10,6.1", "--json", "--out", str(file), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (125, ""), done.stderr
    document = json.loads(file.read_text())
    jsonschema.validate(document, SCHEMA)
    first, second = document["kernels"]
    assert (first["kernel"], second["kernel"], document["command"]) == ("5.10", "6.1", None)
    areas = {area["area"]: area["counts"] for area in first["areas"]}
    assert {"tests/live/test_maps.py", "tests/live/test_kprobes.py"} <= areas.keys()
    assert all(list(counts) == ["skipped"] for counts in areas.values())


def test_without_pytest_it_says_so():
    done = run(python=(sys.executable, "-S"))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "error: the live tests need pytest, and this Python is without it [lab-tests]",
        "pip install pytest, or name a command: lab matrix -- COMMAND",
    ]


def test_outside_of_a_checkout_it_says_so(tmp_path):
    shutil.copytree(ROOT / "bpfasm", tmp_path / "bpfasm", ignore=shutil.ignore_patterns("__pycache__"))
    done = run(top=tmp_path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: the live tests are in a checkout of bpfasm")


def test_there_is_room_for_one_guest_a_processor_as_far_as_memory_goes():
    before = os.sched_getaffinity(0)
    assert 1 <= parallel.room() <= len(before)
    assert parallel.room(memory_mib=1 << 40) == 1
    try:
        os.sched_setaffinity(0, {min(before)})
        assert parallel.room(memory_mib=1) == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("problem", [KeyError("job"), LabError("of the lab")])
def test_what_a_job_raises_is_raised_where_its_result_is_awaited(problem):
    def job(_pool):
        raise problem

    pool = parallel.Pool([job, lambda _pool: 7])
    pool.add(1)
    with pytest.raises(type(problem)) as caught:
        pool.result()
    assert caught.value is problem
    assert pool.result() == 7
