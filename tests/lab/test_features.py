"""``bpfasm features`` in guests: helpers as bpftool finds them, several kernels at once, a locked down kernel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import bpftool

from bpfasm import lab

ROOT = Path(__file__).resolve().parents[2]

#: What bpftool cannot load, and so has no helpers for; extensions have none of their own.
NOT_ITS = {"tracing", "struct_ops", "lsm", "ext"}

#: What only programs that may sleep may call; to bpftool of 6.1 the verifier's complaint is one about arguments.
SLEEPS = {"copy_from_user", "copy_from_user_task"}


# 6.12 and later say in other words that a program may not call a helper, and bpftool of 6.1 does not know them.
@pytest.mark.parametrize("version", ["5.10", "6.1"])
def test_helpers_as_bpftool_finds_them(version):
    files = bpftool.files()
    if not files:
        pytest.skip("bpftool is not installed")
    with lab.boot(version, copy=files) as guest:
        theirs = guest.capture([str(files[0]), *bpftool.COMMAND[1:]], timeout=120)
        ours = guest.capture(
            ["python3", "-m", "bpfasm", "features", "program", "map", "helper", "--json", "--on", "live"], timeout=240
        )
    assert (theirs.status, ours.status, ours.stderr) == (0, 0, b"")
    found = bpftool.Found(theirs.stdout)
    (kernel,) = json.loads(ours.stdout)["kernels"]
    states = {row["id"]: row["state"] for row in kernel["features"]}
    for group, types in (("program", found.programs), ("map", found.maps)):
        for name, there in types.items():
            assert states[f"{group}/{name}"] == ("yes" if there else "no")
    callers = {row["id"].partition("/")[2]: row.get("programs", ()) for row in kernel["features"]}
    compared = 0
    for type, helpers in found.helpers.items():
        if type in NOT_ITS or not found.programs.get(type):
            continue
        mine = {name for name, programs in callers.items() if type in programs}
        assert mine - helpers == set(), type
        assert helpers - mine <= SLEEPS, type
        compared += len(helpers)
    assert compared > 1000


def test_several_kernels_side_by_side():
    words = [sys.executable, "-m", "bpfasm", "features", "map", "isa/gotol", "--on", "5.10,6.1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0][:2] == ["FEATURE", "SINCE"]
    assert [name.rpartition(".")[0] for name in lines[0][2:]] == ["5.10", "6.1"]
    assert ["map/hash", "3.19", "yes", "yes"] in lines
    assert ["map/task_storage", "5.11", "no", "yes"] in lines
    assert ["map/arena", "6.9", "no", "no"] in lines
    assert ["isa/gotol", "6.6", "no", "yes"] in lines
    assert done.returncode == 1  # one of the two has no gotol


LOCKED_DOWN = """
import json, sys
from bpfasm.asm import *
from bpfasm.errors import BpfasmError
from bpfasm.kernel import features, load

open("/sys/kernel/security/lockdown", "w").write("confidentiality")
said = {name: features.helper(name) for name in ("probe_read_kernel", "map_lookup_elem")}
rows = {name: {each.label: next(iter(each.answers.values())).reason for each in found if each.answers}
        for name, found in said.items()}
read = Program("reads", BPF_PROG_TYPE_KPROBE, [
    BPF_MOV64_REG(R3, R1),
    BPF_MOV64_REG(R1, FP),
    BPF_ALU64_IMM(BPF_ADD, R1, -8),
    BPF_MOV64_IMM(R2, 8),
    BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel),
    BPF_MOV64_IMM(R0, 0),
    BPF_EXIT_INSN(),
])
nothing = Program("nothing", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()],
                  attach=kprobe("vfs_statx"))
errors = []
for program in (read, nothing):
    try:
        with load(program) as obj:
            obj.attach()
        errors.append(None)
    except BpfasmError as error:
        errors.append((type(error).__name__, error.rule, error.what, error.do))
print(json.dumps([rows, errors, features.ask("machine/lockdown").evidence]))
"""


@pytest.mark.parametrize("version", ["5.10", "6.12"])
def test_a_kernel_that_is_locked_down(version):
    """For good: the guest is the test's own."""
    done = lab.capture(version, ["python3", "-c", LOCKED_DOWN], timeout=120)
    assert (done.status, done.stderr) == (0, b"")
    rows, (reads, attaches), mode = json.loads(done.stdout)
    assert mode == "lockdown is confidentiality"
    assert rows["probe_read_kernel"]["kprobe"] == "the kernel is locked down, and hides it"
    assert rows["map_lookup_elem"]["kprobe"] == ""
    assert reads[:2] == ["VerifierError", "refused"]
    assert reads[3].startswith("the kernel is locked down (confidentiality mode)")
    assert attaches[:3] == [
        "FeatureMissing",
        "lockdown",
        "attaching kprobe vfs_statx: the kernel is locked down (confidentiality mode) and refuses it even to root",
    ]
