"""chowncount as it is run: what was counted is what was called, where nobody else calls fchownat(2)."""

import json
import os
from pathlib import Path

import pytest
from support import zygote

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("form", ["seed", "labelled", "percpu"])
def test_ten_thousand_calls_of_four_processes_are_counted_exactly(kprobes, form):
    words = ["chowncount", "--on", "live", "--json", "--form", form, "--calls", "10000", "--workers", "4"]
    done = zygote.run("-m", "bpfasm", *words, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, b"")
    counts = json.loads(done.stdout)
    assert (counts["counted"], counts["called"]) == (10000, 10000)
