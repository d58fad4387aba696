"""chowncount as it is run: what was counted is what was called, where nobody else calls fchownat(2)."""

import json
import os
from pathlib import Path

import pytest
from support import zygote

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]

#: An emulated guest takes seconds for ten thousand.
CALLS = 1000 if zygote.IN_GUEST else 10_000


@pytest.mark.parametrize("form", ["seed", "labelled", "percpu"])
def test_the_calls_of_four_processes_are_counted_exactly(kprobes, form):
    words = ["chowncount", "--on", "live", "--json", "--form", form, "--calls", str(CALLS), "--workers", "4"]
    done = zygote.run("-m", "bpfasm", *words, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, b"")
    counts = json.loads(done.stdout)
    assert (counts["release"], counts["counted"], counts["called"]) == (os.uname().release, CALLS, CALLS)
