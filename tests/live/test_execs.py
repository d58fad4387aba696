"""The example that shows every program that starts: exact events of a known workload."""

import os
import subprocess
from pathlib import Path

import pytest
from support import zygote

pytestmark = pytest.mark.lab(on="one")

ROOT = Path(__file__).parents[2]
PROGRAMS = 5


def start(*arguments):
    options = {"env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    example = ROOT / "examples" / "execs.py"
    return zygote.python(example, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run_programs():
    """Start programs, one after the other; return their pids."""
    pids = []
    for _ in range(PROGRAMS):
        with subprocess.Popen(["true"]) as process:
            pids.append(process.pid)
    return pids


@pytest.mark.parametrize("arguments", [[], ["--perf"]], ids=["ring", "perf"])
def test_each_program_is_one_line(arguments):
    with start(*arguments) as process:
        assert process.stdout.readline().split() == ["TIME(s)", "PID", "UID", "COMM"]
        pids = run_programs()
        lines = []
        while not lines or int(lines[-1][1]) != pids[-1]:
            lines.append(process.stdout.readline().split(None, 3))
        process.terminate()
        rest, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 143)
    lines += [line.split(None, 3) for line in rest.splitlines()]
    ours = [line for line in lines if int(line[1]) in pids]
    assert [int(pid) for _, pid, _, _ in ours] == pids
    assert {int(uid) for _, _, uid, _ in ours} == {os.getuid()}
    assert all(comm.strip() == "true" for *_, comm in ours)
    times = [float(line[0]) for line in ours]
    assert times == sorted(times)


@pytest.mark.parametrize("arguments", [[], ["--perf"]], ids=["ring", "perf"])
def test_it_stops_after_a_count(arguments):
    with start("--count", "2", *arguments) as process:
        process.stdout.readline()
        run_programs()
        out, err = process.communicate(timeout=60)
    assert (err, process.returncode) == ("", 0)
    assert len(out.splitlines()) == 2
