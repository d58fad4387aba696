"""chowncount in the lab, where there are kprobes and nobody else calls fchownat(2): the counts are exact."""

import json

import pytest

pytestmark = pytest.mark.lab


def chowncount(guest, *words):
    """Run the command in a guest; return its JSON document."""
    done = guest.capture(["python3", "-m", "bpfasm", "chowncount", "--on", "live", "--json", *words])
    assert (done.status, done.stderr) == (0, b"")
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["seed", "labelled", "percpu"])
def test_ten_thousand_calls_of_four_processes_are_counted_exactly(guest, form):
    counts = chowncount(guest, "--form", form, "--calls", "10000", "--workers", "4")
    assert (counts["counted"], counts["called"]) == (10000, 10000)
