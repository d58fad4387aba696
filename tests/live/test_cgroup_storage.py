"""The storage of a program in each cgroup it is attached to: what it counts there, read, written and dumped."""

import errno
import json
import os
import socket

import pytest
from support.cgroups import cgroups, enter
from support.network import EVENTS, in_child, unshare

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.asm.map_values import CgroupStorageKey
from bpfasm.errors import KernelError, MapError
from bpfasm.kernel import load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import system
from bpfasm.uapi.bpf import BPF_CGROUP_INET_EGRESS

pytestmark = pytest.mark.lab

CPU = min(os.sched_getaffinity(0))


@pytest.fixture
def groups(tmp_path):
    """Give two cgroups and their ids."""
    with cgroups(tmp_path) as made:
        found = [made / "one", made / "two"]
        for each in found:
            each.mkdir()
        yield [(str(each), each.stat().st_ino) for each in found]


def counting(spec):
    """Return a program that adds 1 to what it has in the cgroup, and lets everything pass."""
    return Program("counting", BPF_PROG_TYPE_CGROUP_SKB, [
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_IMM(R2, 0),
        BPF_EMIT_CALL(BPF_FUNC_get_local_storage),
        BPF_MOV64_IMM(R1, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
        BPF_MOV64_IMM(R0, 1),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


def send(group, times=1):
    """Send datagrams, 23 a time, from a cgroup, on one CPU, where nobody else sends."""

    def work():
        os.sched_setaffinity(0, {CPU})
        unshare()
        enter(group)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound,
            socket.socket(type=socket.SOCK_DGRAM) as other,
        ):
            bound.bind(("127.0.0.1", 0))
            for _ in range(times * EVENTS):
                other.sendto(b"x", bound.getsockname())

    in_child(work)


@pytest.mark.parametrize(
    "spec",
    [
        CgroupStorage("counts", value=u64),
        CgroupStorage("counts_by_id", value=u64, key=u64),
        PerCpuCgroupStorage("counts_cpu", value=u64),
    ],
    ids=lambda spec: spec.name,
)
def test_each_cgroup_has_a_count_of_its_own(spec, groups, capsys):
    if has_map_type(spec.type) is False:
        pytest.skip("this kernel does not have this type of map")
    cpus = system.possible_cpus()

    def value(count, others=0):
        return [count if cpu == CPU else others for cpu in range(cpus)] if spec.per_cpu else count

    def key(id):
        return id if spec.key is u64 else CgroupStorageKey(cgroup_inode_id=id, attach_type=BPF_CGROUP_INET_EGRESS)

    program = counting(spec)
    (one, one_id), (two, two_id) = groups
    with load(program) as obj:
        m, first, second = obj[spec], key(one_id), key(two_id)
        assert not list(m)
        with attach(obj[program], cgroup(one, "egress")), attach(obj[program], cgroup(two, "egress")):
            assert m.snapshot() == {first: value(0), second: value(0)}
            send(one)
            send(two, times=2)
            assert m.snapshot() == {first: value(EVENTS), second: value(2 * EVENTS)}
            m[first] = 1000
            send(one)
            assert m[first] == m.get(first) == value(1000 + EVENTS, others=1000)
            assert m[second] == value(2 * EVENTS)
            assert len(m) == 2

            capsys.readouterr()
            assert cli.main(["map", "dump", "id", str(m.info()["id"]), "--json"]) == 0
            found = json.loads(capsys.readouterr().out)["elements"]
            counts = {
                each["key_hex"]: [int.from_bytes(bytes.fromhex(v["value_hex"]), "little") for v in each["values"]]
                for each in found
            }
            whole = {m._pack_key(each).hex(): m[each] if spec.per_cpu else [m[each]] for each in (first, second)}
            assert counts == whole

            # Elements come by attaching only, and go with the cgroup.
            nowhere = key(1 << 40)
            assert nowhere not in m
            with pytest.raises(KernelError) as caught:
                m[nowhere] = 1
            assert caught.value.errno == errno.ENOENT
            with pytest.raises(MapError):
                del m[first]
