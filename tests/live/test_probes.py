"""The probes on the running kernel: what a release brought is there, what a later one brought is not.

The releases in the table are checked both ways, on every kernel of the lab. What a kernel was built without is known
from its configuration.
"""

import os
import time
from functools import cache
from pathlib import Path

import pytest
from support.bpf2 import kernel_types, running_series
from support.config import built_with

from bpfasm.isa.helpers import HELPERS, since
from bpfasm.kernel import features, needs
from bpfasm.kernel.base.memlock import plenty
from bpfasm.syscall import bpf as call, system, tracefs
from bpfasm.syscall.probe import helpers
from bpfasm.syscall.probe.table import GROUPS
from bpfasm.syscall.probe.vmlinux import vmlinux
from bpfasm.uapi import bpf

pytestmark = pytest.mark.lab

SERIES = running_series()


def number(release):
    return tuple(int(part) for part in release.split("."))


def lacks(row):
    """Return what the kernel was built without; None where that cannot be known."""
    known = {option: built_with(option) for option in row.config}
    return None if None in known.values() else [option for option, there in known.items() if not there]


@pytest.fixture(scope="module")
def told():
    """Ask a group once for all tests: an emulated kernel takes seconds for all of them."""
    return cache(lambda group: list(features.survey(group)))


@pytest.mark.parametrize("group", [group for group in GROUPS if group != "machine"])
def test_what_the_table_says_of_the_release(told, group):
    wrong, released = [], False
    for row, answer in told(group):
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


def test_root_of_a_kernel_of_the_lab_is_told_everything(told):
    """Where nothing is withheld, all that the table has is answered, with evidence."""
    if "cloud" not in os.uname().release:
        pytest.skip("this kernel may withhold something")
    found = [(row, answer) for group in GROUPS for row, answer in told(group)]
    assert [(row.id, answer) for row, answer in found if answer.state == "unknown"] == []
    assert [row.id for row, answer in found if not answer.evidence] == []
    assert [row.id for row, answer in found if (answer.state == "no") != bool(answer.reason)] == []


# Helpers


@pytest.fixture(scope="module")
def anywhere():
    """Which helpers some program may call."""
    with plenty():
        return helpers.anywhere(HELPERS)


#: Options without which a kernel does not have a helper, or lets no program have it.
HELPER_NEEDS = {
    "override_return": "BPF_KPROBE_OVERRIDE",
    **dict.fromkeys(("rc_repeat", "rc_keydown", "rc_pointer_rel"), "BPF_LIRC_MODE2"),
}


def test_helpers_by_release(anywhere):
    wrong = []
    for id, name in HELPERS.items():
        state = anywhere[id].state
        option = HELPER_NEEDS.get(name)
        there = number(since(id)) <= number(SERIES)
        if id in helpers.LOUD:
            expected = "unknown"
        elif option and there and not built_with(option):
            expected = state  # no, or unknown: it is not for us to say
        else:
            expected = "yes" if there else "no"
        # Some are for LSM and tracing alone, and from those this kernel may keep everybody.
        if state != expected and not (state == "unknown" and anywhere[id].errno):
            wrong.append((name, since(id), anywhere[id]))
    assert wrong == []


def test_what_every_program_may_call_and_what_few_may():
    types = ["SOCKET_FILTER", "SCHED_CLS", "XDP", "LWT_XMIT", "CGROUP_SKB", "KPROBE", "SK_LOOKUP", "EXT"]
    found = {each.label: each for each in features.helpers([getattr(bpf, f"BPF_PROG_TYPE_{name}") for name in types])}
    assert found.pop("ext").lack.reason == "an extension may call what the program that it extends may call"
    for label, each in found.items():
        if "/" in label:
            assert bpf.BPF_FUNC_map_lookup_elem not in each.answers  # the plain form may call it
            continue
        assert len(each.answers) == len(HELPERS) - len(helpers.LOUD)
        assert each.answers[bpf.BPF_FUNC_map_lookup_elem].state == "yes", label
        redirects = label in {"sched_cls", "xdp", "lwt_xmit"}
        assert (each.answers[bpf.BPF_FUNC_redirect].state == "yes") == redirects, label
    assert found["xdp"].answers[bpf.BPF_FUNC_xdp_adjust_head].state == "yes"
    refused = found["socket_filter"].answers[bpf.BPF_FUNC_xdp_adjust_head]
    assert refused.evidence.startswith("a call of xdp_adjust_head: EINVAL, ")


def test_one_helper_of_every_form_of_program(anywhere):
    """The quick question stops at the first program that may; asking all comes to the same."""
    for name in ("ringbuf_output", "copy_from_user", "xdp_adjust_head", "get_func_arg"):
        found = features.helper(f"bpf_{name}")
        (id,) = (id for id, known in HELPERS.items() if known == name)
        callers = {
            each.label for each in found if each.answers and id in each.answers and each.answers[id].state == "yes"
        }
        assert bool(callers) == (anywhere[id].state == "yes")
        if name == "xdp_adjust_head":
            assert callers == {"xdp"}
        if name == "copy_from_user" and number(SERIES) >= (5, 14):
            assert {"syscall", "kprobe/sleepable"} - callers <= (
                {"kprobe/sleepable"} if number(SERIES) < (6, 0) else set()
            )


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


@pytest.mark.lab(on="ends")
def test_nothing_is_left_behind(anywhere):
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
    if built_with("BPF_LIRC_MODE2") is False:
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


def test_the_machine_is_what_its_files_say(told):
    answers = {row.name: answer for row, answer in told("machine")}
    jit = Path("/proc/sys/net/core/bpf_jit_enable")
    if jit.exists():
        assert (answers["jit"].state == "yes") == (jit.read_text().strip() != "0")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    kinds = {line.split()[2] for line in mounts}
    for name, kind in (("bpffs", "bpf"), ("tracefs", "tracefs"), ("cgroup2", "cgroup2")):
        assert (answers[name].state == "yes") == (kind in kinds)
