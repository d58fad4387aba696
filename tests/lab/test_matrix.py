"""``lab matrix`` on real kernels: one table of what a command did on each."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from support.processes import gone, machines_of, until

from bpfasm import lab

pytestmark = pytest.mark.boots

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "bpfasm/views/schemas/lab-matrix-1.json").read_text())

#: Does well on 5.10, ends with a status on 6.1, and hangs on 6.12.
PROGRAM = """
import os, sys
series = ".".join(os.uname().release.split(".")[:2])
print("on", series, flush=True)
print("an error", file=sys.stderr, flush=True)
if series == "6.1":
    sys.exit(3)
while series == "6.12":
    pass
"""


def matrix(*words):
    """Start the command."""
    return subprocess.Popen(
        [sys.executable, "-m", "bpfasm", "lab", "matrix", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    )


def test_what_a_command_did_on_each_kernel():
    process = matrix("--on", "5.10,6.1,6.12", "--timeout", "5", "--json", "--", "python3", "-c", PROGRAM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, err
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    assert document["command"] == ["python3", "-c", PROGRAM]
    found = {each.pop("kernel"): each for each in document["kernels"]}
    assert [(name, each["result"], each["status"]) for name, each in found.items()] == [
        ("5.10", "ok", 0),
        ("6.1", "failed", 3),
        ("6.12", "timeout", None),
    ]
    for name, each in found.items():
        assert each["release"] == lab.find(name).release
        assert each["output"] == f"on {name}\nan error\n"
    assert found["6.12"]["seconds"] > 5
    told = {line.split(",")[0] for line in err.splitlines()}
    assert told >= {"lab: 5.10: ok", "lab: 6.1: status 3", "lab: 6.12: timeout"}


def test_all_did_it():
    process = matrix("--on", lab.default(), "--", "python3", "-c", "")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert out.splitlines()[-1].split()[:3] == [lab.default(), lab.find(None).release, "ok"]


def test_ctrl_c_ends_every_guest():
    process = matrix("--on", "6.1,5.10", "--", "python3", "-c", "while 1: pass")
    guests = until(lambda: machines_of(process.pid))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    for guest in guests:
        until(lambda pid=guest: gone(pid))
