"""The table of probes, without asking a kernel: it is complete, and its answers say what they must."""

import errno
import re
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("Linux", allow_module_level=True)

from bpfasm.errors import UsageError
from bpfasm.isa.helpers import since
from bpfasm.kernel import features
from bpfasm.syscall import system
from bpfasm.syscall.probe import btf as types, commands, helpers, links, maps, vmlinux
from bpfasm.syscall.probe.answer import Answer, Tried, every, judge, name_of, no, unknown, yes
from bpfasm.syscall.probe.table import GROUPS
from bpfasm.uapi import bpf, btf, names

ROWS = [row for group in GROUPS for row in features.features(group)]


# Answers


@pytest.mark.parametrize(
    ("number", "log", "state", "reason"),
    [
        (0, "", "yes", ""),
        (errno.EBADF, "", "yes", ""),
        (errno.EINVAL, "", "no", "none such"),
        (errno.EPERM, "", "unknown", "not permitted"),
        (errno.EACCES, "", "unknown", "not permitted"),
        (errno.EACCES, "R1 !read_ok\n", "unknown", "the kernel says EACCES"),
        (errno.ENOMEM, "", "unknown", "the kernel says ENOMEM"),
    ],
)
def test_what_an_errno_proves(number, log, state, reason):
    answer = judge(Tried("call", number, log), there=(errno.EBADF,), absent=(errno.EINVAL,), reason="none such")
    assert (answer.state, answer.reason) == (state, reason)
    assert answer.evidence.startswith(f"call: {name_of(number)}")
    assert bool(answer.errno) == (reason == "not permitted")


def test_evidence_ends_with_what_the_verifier_complained_of():
    log = "0: (85) call unknown#999\ninvalid func unknown#999\nprocessed 1 insns (limit 1000000)\n"
    assert Tried("call", errno.EINVAL, log).words == "call: EINVAL, invalid func unknown#999"
    assert Tried("call", 0, log).words == "call: done"
    assert name_of(524) == "ENOTSUPP"


def test_several_answers_as_one():
    there, absent, untold = yes("tried"), no("too old", "call: EINVAL"), unknown("not permitted", "call: EPERM", 1)
    assert every({"a": there, "b": there}) == yes("2 of 2: a, b")
    assert every({"a": there, "b": absent, "c": untold}) == Answer("no", "b: too old", "call: EINVAL")
    assert every({"a": there, "c": untold}) == Answer("unknown", "c: not permitted", "call: EPERM", 1)


# The table


def test_every_row_is_well_made():
    assert len(ROWS) == len({row.id for row in ROWS}) > 350
    for row in ROWS:
        assert re.fullmatch(r"[a-z]+/[a-z0-9_.]+", row.id)
        assert re.fullmatch(r"[0-9a-f]{12}|", row.commit), row.id
        assert re.fullmatch(r"[3-9]\.\d{1,2}" if row.group != "machine" else "", row.since), row.id
        assert all(re.fullmatch(r"!?[A-Z][A-Z0-9_]+", option) for option in row.config), row.id
        assert all(re.fullmatch(r"[3-9]\.\d+", series) for series in row.also), row.id
        assert "  " not in row.what


def called(group):
    return {row.name for row in ROWS if row.group == group}


def enumerators(header, tag, prefix):
    """Return the names of an enum, without its prefix, in lower case, without the value that stands for none."""
    return {name.removeprefix(prefix).lower() for value, name in names(header, tag).items() if value}


@pytest.mark.parametrize(
    ("group", "tag", "prefix"),
    [("program", "bpf_prog_type", "BPF_PROG_TYPE_"), ("map", "bpf_map_type", "BPF_MAP_TYPE_")],
)
def test_every_type_has_a_row(group, tag, prefix):
    assert called(group) == enumerators(bpf, tag, prefix)


def test_every_attach_type_and_command_has_a_row():
    attach = {name.removeprefix("BPF_").lower() for name in names(bpf, "bpf_attach_type").values()}
    assert called("attach") == attach
    assert called("command") == {name.removeprefix("BPF_").lower() for name in names(bpf, "bpf_cmd").values()}


def test_every_kind_of_link_and_of_btf_has_a_row():
    kinds = {name.removeprefix("BPF_LINK_TYPE_").lower() for name in names(bpf, "bpf_link_type").values()}
    assert kinds - {"unspec"} - called("link") == set()
    assert set(types.KINDS) == set(range(1, btf.BTF_KIND_MAX + 1))


def test_every_helper_has_a_release():
    assert sorted(helpers.HELPERS) == list(range(1, bpf.__BPF_FUNC_MAX_ID))
    releases = [[int(part) for part in since(number).split(".")] for number in sorted(helpers.HELPERS)]
    assert releases == sorted(releases)
    assert since(bpf.BPF_FUNC_ringbuf_output) == "5.8"
    assert since(bpf.BPF_FUNC_loop) == "5.17"


def test_every_field_is_one_of_the_attr():
    for number, name, _ in commands._FIELDS:
        assert name in bpf.union_bpf_attr
        assert number in commands._IDLE


def test_a_value_of_every_cpu_has_room(monkeypatch):
    """The kernel writes 8 bytes for each CPU that there may be: above 512 of them more than a page."""
    for cpus, size in ((4, 4096), (512, 4096), (8192, 8 * 8192)):
        monkeypatch.setattr(system, "possible_cpus", lambda cpus=cpus: cpus)
        assert len(maps.values_of_every_cpu()) == size


def test_a_feature_that_there_is_not():
    with pytest.raises(UsageError) as caught:
        features.find("map/ringbuff")
    assert (caught.value.rule, caught.value.what) == ("no-such-feature", "there is no feature 'map/ringbuff'")
    assert caught.value.do.startswith("did you mean map/ringbuf")
    with pytest.raises(UsageError) as caught:
        features.find("nonsense/at_all")
    assert "machine" in caught.value.do
    with pytest.raises(UsageError, match="'ringbuf_outputt'") as caught:
        features.helper("bpf_ringbuf_outputt")
    assert caught.value.do == "did you mean ringbuf_output or ringbuf_submit or ringbuf_submit_dynptr?"


# The kernel's types


@pytest.fixture
def kernel_types(tmp_path, monkeypatch):
    """Give BTF to be read as the kernel's."""

    def give(data):
        file = tmp_path / "vmlinux"
        if data is not None:
            file.write_bytes(data)
        monkeypatch.setattr(vmlinux, "PATH", str(file))
        monkeypatch.setattr(vmlinux, "_read", [])
        return vmlinux.vmlinux()

    return give


def test_ids_are_counted_over_types_of_every_size(kernel_types):
    """Each kind's blob has types of other sizes between the number and the function that comes last."""
    for kind, before in types.KINDS.items():
        every = (*before, types.PROTO, types.function(btf.BTF_FUNC_STATIC))
        known = kernel_types(types.blob(*every))
        assert known.id("func", "f") == 1 + len(set(every)), kind  # each is written once
        assert known.names("f")
        assert known.names("int")
        assert not known.names("fint")
        assert known.id("struct", "f") == known.id("func", "int") == known.id("func", "none") == 0


def test_a_kernel_that_does_not_show_its_types(kernel_types):
    known = kernel_types(None)
    assert not known.there
    assert known.id("func", "f") == 0
    assert links.named("bpf_link")().state == "unknown"
    assert types.of_the_kernel().state == "no"


def test_what_is_named_is_there(kernel_types):
    kernel_types(types.blob(types.PROTO, types.function(btf.BTF_FUNC_STATIC)))
    assert links.named("x", "f")() == yes("the kernel's BTF has f")
    assert links.named("x", "y")().state == "no"
