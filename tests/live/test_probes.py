"""The probes on the running kernel: what a release brought is there, what a later one brought is not.

The releases in the table are checked both ways, on every kernel of the lab. What a kernel was built without is known
from its configuration.
"""

import os
import time
from pathlib import Path

import pytest
from support.bpf2 import kernel_types, running_series
from support.config import options

from bpfasm.kernel import features, needs
from bpfasm.kernel.memlock import plenty
from bpfasm.syscall import bpf as call, system, tracefs
from bpfasm.syscall.probe import helpers
from bpfasm.syscall.probe.table import GROUPS
from bpfasm.syscall.probe.vmlinux import vmlinux
from bpfasm.uapi import bpf

pytestmark = pytest.mark.kernel

SERIES = running_series()
BUILT = options()


def number(release):
    return tuple(int(part) for part in release.split("."))


def lacks(row):
    """Return what the kernel was built without; None where that cannot be known."""
    if not row.config:
        return []
    return None if BUILT is None else [option for option in row.config if option not in BUILT]


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "machine"])
def test_what_the_table_says_of_the_release(group):
    wrong, released = [], False
    for row, answer in features.survey(group):
        old_enough = number(row.since) <= number(SERIES) or SERIES in row.also
        missing = lacks(row)
        released |= old_enough
        if answer.state == "unknown":
            # Who may ask gets an answer; some kernels keep even root from tracing.
            expected = bool(answer.errno) or not vmlinux().there
        elif not old_enough or missing:
            expected = answer.state == "no"
        else:
            expected = answer.state == "yes" or missing is None
        if not expected:
            wrong.append((row.id, row.since, missing, answer))
    assert wrong == []
    assert released or group == "kfunc"


def test_root_of_a_kernel_of_the_lab_is_told_everything():
    """Where nothing is withheld, all that the table has is answered, with evidence."""
    if "cloud" not in os.uname().release:
        pytest.skip("this kernel may withhold something")
    found = [(row, answer) for group in GROUPS for row, answer in features.survey(group)]
    assert [(row.id, answer) for row, answer in found if answer.state == "unknown"] == []
    assert [row.id for row, answer in found if not answer.evidence] == []
    assert [row.id for row, answer in found if (answer.state == "no") != bool(answer.reason)] == []


# Helpers


@pytest.fixture(scope="module")
def every_helper():
    return features.helpers()


#: Options without which a kernel does not have a helper, or lets no program have it.
HELPER_NEEDS = {
    "override_return": "BPF_KPROBE_OVERRIDE",
    **dict.fromkeys(("rc_repeat", "rc_keydown", "rc_pointer_rel"), "BPF_LIRC_MODE2"),
}


def test_helpers_by_release(every_helper):
    withheld = [each.label for each in every_helper if each.lack and each.lack.errno]
    callable = {number for each in every_helper for number, answer in each.answers.items() if answer.state == "yes"}
    wrong = []
    for id, name in helpers.HELPERS.items():
        if id in helpers.LOUD:
            assert id not in callable
            continue
        option = HELPER_NEEDS.get(name)
        there = number(helpers.since(id)) <= number(SERIES)
        if option and there and (BUILT is None or option not in BUILT):
            continue
        # Some are for LSM and tracing alone, and those may be withheld.
        if there != (id in callable) and not (there and withheld):
            wrong.append((name, helpers.since(id)))
    assert wrong == []


def test_what_every_program_may_call_and_what_few_may(every_helper):
    found = {each.label: each.answers for each in every_helper if not each.lack}
    assert len(found) > 30
    for label, answers in found.items():
        if "/" in label:
            continue
        assert answers[bpf.BPF_FUNC_map_lookup_elem].state == "yes", label
        redirects = label in {"sched_cls", "sched_act", "xdp", "lwt_xmit"}
        assert (answers[bpf.BPF_FUNC_redirect].state == "yes") == redirects, label
    assert found["xdp"][bpf.BPF_FUNC_xdp_adjust_head].state == "yes"
    refused = found["socket_filter"][bpf.BPF_FUNC_xdp_adjust_head]
    assert refused.evidence.startswith("a call of xdp_adjust_head: EINVAL, ")
    reasons = {each.label: each.lack.reason for each in every_helper if each.lack}
    assert reasons["ext"] == "an extension may call what the program that it extends may call"


def test_one_helper_and_one_type():
    found = {each.label: each for each in features.helper("bpf_redirect")}
    assert found["kprobe/sleepable"].lack or bpf.BPF_FUNC_redirect in found["kprobe/sleepable"].answers
    assert found["xdp"].answers[bpf.BPF_FUNC_redirect].state == "yes"
    (xdp,) = features.helpers([bpf.BPF_PROG_TYPE_XDP])
    assert xdp.label == "xdp"
    assert len(xdp.answers) == len(helpers.HELPERS) - len(helpers.LOUD)


def test_the_kernel_has_what_some_program_may_call(every_helper):
    """The quick question, which stops at the first program that may, comes to the same."""
    with plenty():
        quick = helpers.anywhere(helpers.HELPERS)
    slow = {number for each in every_helper for number, answer in each.answers.items() if answer.state == "yes"}
    assert {number for number, answer in quick.items() if answer.state == "yes"} == slow
    assert {quick[number].state for number in helpers.LOUD} == {"unknown"}


# What is left behind


def ids(command, field="start_id"):
    """Return the ids of all objects of a kind."""
    found, attr = [], {field: 0}
    while True:
        made = call.Attr(attr)
        try:
            made.call(command)
        except OSError:
            return set(found)
        found.append(made["next_id"])
        attr = {field: found[-1]}


KINDS = (bpf.BPF_PROG_GET_NEXT_ID, bpf.BPF_MAP_GET_NEXT_ID, bpf.BPF_LINK_GET_NEXT_ID, bpf.BPF_BTF_GET_NEXT_ID)


def state_of_the_kernel():
    root = tracefs.find()
    files = [f"{root}/kprobe_events", f"{root}/uprobe_events", f"{root}/events/bpf_trace/bpf_trace_printk/enable"]
    files += ["/proc/sys/kernel/bpf_stats_enabled", "/proc/self/cgroup"]
    return system.memlock_limit(), *(system.read(file) for file in files)


def test_nothing_is_left_behind(every_helper):
    before, objects = state_of_the_kernel(), [ids(kind) for kind in KINDS]
    for group in GROUPS:
        features.survey(group)
    features.helper("map_lookup_elem")
    assert state_of_the_kernel() == before
    # The kernel frees after everybody has looked away; other processes may load at the same time.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        more = [ids(kind) - had for kind, had in zip(KINDS, objects, strict=True)]
        if not any(more):
            break
        time.sleep(0.05)
    assert not any(more)


# The pieces


def test_ids_of_the_kernels_types():
    """Found by another reader of BTF."""
    theirs = kernel_types()
    if not theirs:
        assert not vmlinux().there
        pytest.skip("the kernel does not show its types")
    for name in ("bpf_fentry_test1", "security_file_permission", "bpf_iter_task", "vfs_read"):
        assert vmlinux().id("func", name) == theirs.get(("func", name), 0)
    assert vmlinux().id("func", "bpfasm_no_such_function") == 0


def test_needs_are_features():
    assert needs.missing(["bpf", "map/hash", "isa/alu64"]) is None
    lack = needs.missing(["map/hash", "btf/restrict", "program/lirc_mode2"])
    if BUILT is not None and "BPF_LIRC_MODE2" not in BUILT:
        assert lack.rule == "no-feature"
        assert lack.what == (
            f"this kernel ({os.uname().release}) has no program/lirc_mode2: the kernel has no such type; "
            "it came with Linux 4.18"
        )


def test_locked_memory_is_what_it_is():
    """Kernels from 5.11 on do not count it."""
    answer = features.ask("machine/memlock")
    assert answer.state == ("yes" if number(SERIES) < (5, 11) else "no")
    assert answer.evidence.startswith("BPF_MAP_CREATE (RLIMIT_MEMLOCK 0): ")


def test_the_machine_is_what_its_files_say():
    answers = {row.name: answer for row, answer in features.survey("machine")}
    jit = Path("/proc/sys/net/core/bpf_jit_enable")
    if jit.exists():
        assert (answers["jit"].state == "yes") == (jit.read_text().strip() != "0")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    kinds = {line.split()[2] for line in mounts}
    for name, kind in (("bpffs", "bpf"), ("tracefs", "tracefs"), ("cgroup2", "cgroup2")):
        assert (answers[name].state == "yes") == (kind in kinds)
