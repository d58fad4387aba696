"""The probes against bpftool's on this kernel: types and what it knows of the verifier.

Helpers are compared in the lab (tests/lab/test_features.py): bpftool does not know the words by which the verifier
of a kernel that is newer than it refuses a helper, and takes them all for there.
"""

import os
import subprocess

import pytest
from support import bpftool

from bpfasm.kernel import features
from bpfasm.kernel.needs import missing

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def theirs():
    if os.geteuid() != 0 or missing(["bpf"]):
        pytest.skip("bpftool asks as root")
    if not bpftool.files():
        pytest.skip("bpftool is not installed")
    program = bpftool.files()[0]
    done = subprocess.run([program, *bpftool.COMMAND[1:]], capture_output=True, text=True, check=True)
    return bpftool.Found(done.stdout)


def ours(group):
    return {row.name: answer.state for row, answer in features.survey(group)}


def test_types_of_programs_and_maps(theirs):
    for group, found in (("program", theirs.programs), ("map", theirs.maps)):
        states = ours(group)
        assert len(found) > 25
        # It asks for a type id that is none, and takes any complaint for a yes; we load for a function that there is.
        differ = {name for name, there in found.items() if states[name] != ("yes" if there else "no")}
        assert {name for name in differ if states[name] != "unknown"} == set()
        assert differ <= {"tracing", "lsm", "ext"}


def test_what_it_knows_of_the_verifier(theirs):
    states = ours("verifier") | ours("isa")
    for name, mine in (
        ("have_large_insn_limit", "large_programs"),
        ("have_bounded_loops", "bounded_loops"),
        ("have_v2_isa_extension", "cpu_v2"),
        ("have_v3_isa_extension", "jmp32"),
    ):
        assert (states[mine] == "yes") == theirs.misc[name]
