"""Objects that clang 19 has built, loaded and run on each kernel: what the C says is what comes back."""

import time
from pathlib import Path

import pytest

from bpfasm.asm import *
from bpfasm.elf.object import read_object
from bpfasm.errors import FeatureMissing, KernelError, VerifierError
from bpfasm.kernel import kconfig, load
from bpfasm.kernel.btf.kernel import vmlinux
from bpfasm.kernel.objects import ids
from bpfasm.syscall import system
from bpfasm.uapi.btf import BTF_KIND_FUNC, BTF_KIND_STRUCT

pytestmark = pytest.mark.lab

BUILT = Path(__file__).parents[1] / "data" / "objects" / "built"
PACKET = bytes(64)


def read(name):
    return read_object((BUILT / name).read_bytes(), name)


def test_functions_call_each_other():
    obj = read("functions.o")
    with load(*obj) as loaded:
        length = 64 - 14  # a socket filter does not see the Ethernet header
        retval = loaded[obj["one"]].test_run(PACKET).retval
        assert retval == length * 3 + 1 + length
        assert loaded[obj["two"]].test_run(PACKET).retval == 64 * 3 + 1 + 6
        info = loaded[obj["one"]].info()
        assert [name for _, name in info.functions] == ["one", "shared", "middle", "inner"]
        assert {line.file for line in info.lines} == {"./functions.bpf.c"}
        assert info.lines[0].text == 'SEC("socket") int one(struct __sk_buff *skb) { return shared(skb->len); }'


def test_the_kernel_gets_the_types_once():
    """All programs and maps of an object refer to one BTF object of the kernel, which goes with the last of them."""
    obj = read("globals.o")
    both = read("functions.o")
    with load(*obj, *both) as loaded:
        types = {each.spec.name: ids.info("map", each.fd)["btf_id"] for each in loaded.maps}
        told = {each.name: ids.info("prog", each.fd)["btf_id"] for each in loaded.programs}
        assert len(types) >= 3
        ours = told.pop("sum")
        assert {*types.values()} - {0} == {ours}
        assert set(told) == {"one", "two"}
        assert len({ours, *told.values()}) == 2
        held = {ours, *told.values()}
    deadline = time.monotonic() + 20  # programs are let go of after a grace period
    while held & set(ids.ids("btf")):
        assert time.monotonic() < deadline


def test_variables_are_set_before_and_read_after():
    obj = read("globals.o")
    with load(*obj, values={"limit": 1000, "moving": {"a": 7, "b": 8}}) as loaded:
        program = loaded[obj["sum"]]
        # limit, 'o' of "house", fixed.a, moving.a, shade, other, late = own, hidden + flag, zero + numbers[1]
        first = 1000 + ord("o") + 3 + 7 + 2 + 13 + 11 + (9 + 1) + 2
        assert program.test_run(PACKET).retval == first
        assert (loaded.globals.runs, loaded.globals.late, loaded.globals.zero) == (1, 11, 2)
        loaded.globals.own = 20
        assert program.test_run(PACKET).retval == first + 9 + 1 + 3
        assert loaded.globals.moving == {"a": 7, "b": 8}
        assert loaded.globals.name == b"house"


def test_maps_hold_maps():
    obj = read("map_in_map.o")
    with load(*obj) as loaded:
        assert loaded[obj["there"]].test_run(PACKET).retval == 1 << 1 | 1 << 3
        assert [loaded[obj[name]][0] for name in ("second", "first")] == [1, 3]


def test_programs_jump_to_each_other():
    obj = read("prog_array.o")
    with load(*obj) as loaded:
        assert loaded[obj["entry"]].test_run(PACKET).retval == 111
        assert loaded.globals.visited == 111


def test_the_configuration_is_this_kernels():
    obj = read("kconfig.o")
    if not kconfig.read():
        with pytest.raises(FeatureMissing) as refused:
            load(*obj)
        assert refused.value.rule == "kconfig-missing"
        return
    with load(*obj) as loaded:
        found = loaded.globals
        assert found.CONFIG_BPF_SYSCALL == 1
        assert ord("y") == found.CONFIG_NET
        assert found.CONFIG_HZ in (100, 250, 300, 1000)
        assert system.version()[0] << 8 | system.version()[1] == found.LINUX_KERNEL_VERSION >> 8
        assert found.CONFIG_THERE_IS_NO_SUCH_OPTION == 0
        expected = (
            found.CONFIG_HZ + ord("y") * 10000 + 3 + found.CONFIG_BPF_JIT * 5 + found.CONFIG_DEFAULT_HOSTNAME[0]
            + found.LINUX_HAS_BPF_COOKIE * 100000
        )  # fmt: skip
        assert loaded[obj["options"]].test_run(PACKET).retval == expected
        with pytest.raises(Exception, match="const"):
            loaded.globals.CONFIG_HZ = 1


@pytest.mark.lab(on="ends")
def test_kernel_functions_are_found_or_gone_without():
    obj = read("kfuncs.o")
    if vmlinux().find("bpf_rcu_read_lock", BTF_KIND_FUNC):
        with load(obj["locked"]) as loaded:
            assert loaded[obj["locked"]].test_run(PACKET).retval == 3
    else:
        with pytest.raises(KernelError) as refused:
            load(obj["locked"])
        assert refused.value.rule == "btf-name"
    with load(obj["guarded"]) as loaded:
        assert loaded[obj["guarded"]].test_run(PACKET).retval == 4


def test_fields_are_where_this_kernel_has_them():
    obj = read("core_fields.o")
    types = vmlinux()
    (id,) = types.find("task_struct", BTF_KIND_STRUCT)
    places = {each.name: each.offset // 8 for each in types.type(id).members}
    with load(obj["offsets"], obj["sizes"], obj["exists"], obj["read"], obj["is_signed"]) as loaded:
        ran = {each.name: each.test_run(ctx=bytes(64)).retval for each in loaded.programs}
    assert ran["offsets"] == places["pid"] + places["tasks"] + 8 + places["comm"] + 3
    assert ran["sizes"] == 16 * 100 + 16 + 4
    assert ran["exists"] == 1 + 4 * ("state" in places)
    assert (ran["read"], ran["is_signed"]) == (1, 1)


@pytest.mark.lab(on="ends")
def test_what_a_program_gets_to_and_is_not_there_is_named():
    task = read("core_guarded.o")
    with load(task["guarded"]) as loaded:
        assert loaded[task["guarded"]].test_run(ctx=bytes(64)).retval == 5
    with pytest.raises(VerifierError) as refused:
        load(task["reached"])
    assert refused.value.rule == "core-missing"
    assert "the target has no task_struct.not_there" in refused.value.what
    assert refused.value.source == ("./core_guarded.bpf.c", 20)
