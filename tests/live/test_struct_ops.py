"""Structs of functions: congestion control by programs, as the kernel's own sockets see it."""

import errno
import json
import os
import signal
import socket

import pytest

from bpfasm.asm import *
from bpfasm.cli import main
from bpfasm.elf.object_write import write_object
from bpfasm.errors import KernelError, MapError
from bpfasm.kernel import load
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.kernel.needs import missing
from bpfasm.views import embed

pytestmark = pytest.mark.lab

STRUCT = "tcp_congestion_ops"
NAME = b"bpfasm_slow"
begun = ArrayMap("begun", value=u64, max_entries=1)


def member(name, *insns, struct=STRUCT):
    return Program(
        name, BPF_PROG_TYPE_STRUCT_OPS, [*insns, BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()], attach_btf=f"{struct}.{name}"
    )


FUNCTIONS = {
    "ssthresh": member("ssthresh"),
    "cong_avoid": member("cong_avoid"),
    "undo_cwnd": member("undo_cwnd"),
    "init": member(
        "init", BPF_LD_MAP_VALUE(R1, begun, 0), BPF_MOV64_IMM(R2, 1), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0)
    ),
}
slow = StructOps("slow", STRUCT, {"name": NAME, **FUNCTIONS})


@pytest.fixture(autouse=True)
def there():
    lack = missing(["map/struct_ops"])
    if lack:
        pytest.skip(lack.what)
    try:
        kernel_btf.find(f"bpf_struct_ops_{STRUCT}", 4)
    except KernelError:
        pytest.skip("this kernel's congestion control takes no programs")


def connect(count):
    """Connect sockets that use it, and close them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        for _ in range(count):
            with socket.socket() as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, NAME)
                client.connect(server.getsockname())
                assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == NAME
                server.accept()[0].close()


def known():
    """Whether the kernel has it registered."""
    with open("/proc/sys/net/ipv4/tcp_available_congestion_control") as file:
        return NAME.decode() in file.read().split()


def test_sockets_call_its_programs():
    with load(slow) as obj:
        assert not known()
        (link,) = obj.attach()
        assert known()
        assert link.mode == ("link" if obj[slow].by_link else "map")
        connect(23)
        assert obj[begun][0] == 23
        assert obj.attach() == ()
        link.close()
        link.close()
        assert not known()
        with pytest.raises(OSError) as caught:
            connect(1)
        assert caught.value.errno == errno.ENOENT
    assert obj[slow].closed


def test_an_object_carries_it():
    """Written, embedded in a module and read again."""
    named = slow.replace(members={name: slow.members[name] for name in ("name", "cong_avoid", "undo_cwnd")})
    named.members["ssthresh"] = member("ssthresh")
    names = {"__name__": "made"}
    exec(embed.module(write_object(named, types=kernel_btf.vmlinux()), "ops"), names)
    with names["Ops"]() as obj:
        assert not known()
        (link,) = obj.attach()
        assert known()
        assert link.mode == ("link" if obj.slow.by_link else "map")
        connect(1)
    assert not known()


def test_closing_everything_ends_it():
    with load(slow) as obj:
        obj.attach()
        assert known()
    assert not known()


def test_once_more_after_the_end():
    with load(slow) as obj:
        obj.attach()[0].close()
        if obj[slow].by_link:
            obj.attach()
            assert known()
        else:
            with pytest.raises(KernelError, match="EBUSY") as caught:
                obj.attach()
            assert "load it again" in caught.value.do


def attached(ops):
    """Load and attach, and end it at once."""
    with load(ops) as obj:
        obj.attach()


def test_one_of_that_name_is_registered():
    with load(slow) as obj:
        obj.attach()
        with pytest.raises(KernelError, match="EEXIST") as caught:
            attached(slow)
        assert (caught.value.rule, caught.value.errno) == ("struct-ops", errno.EEXIST)
        assert "one of that name is registered" in caught.value.do
        assert known()


def test_what_is_missing():
    with pytest.raises(KernelError, match="EINVAL") as caught:
        attached(StructOps("slow", STRUCT, {"name": NAME, "ssthresh": FUNCTIONS["ssthresh"]}))
    assert caught.value.rule == "struct-ops"
    assert "a member that it must have is missing" in caught.value.do
    assert not known()


@pytest.mark.parametrize(
    ("ops", "words"),
    [
        (StructOps("slow", STRUCT, {"nothing": 1}), "has no member nothing here"),
        (StructOps("slow", STRUCT, {"name": bytes(17)}), "has 16 bytes, and 17 were given"),
        (StructOps("slow", "no_such_ops", {}), "has no struct bpf_struct_ops_no_such_ops"),
    ],
)
def test_what_the_struct_is_not(ops, words):
    with pytest.raises(KernelError, match=words):
        load(ops)


def test_a_program_of_another_member():
    with pytest.raises(MapError, match=r"is not one for tcp_congestion_ops\.undo_cwnd") as caught:
        StructOps("slow", STRUCT, {"undo_cwnd": FUNCTIONS["ssthresh"]})
    assert caught.value.rule == "struct-ops"


def test_a_child_does_not_end_it():
    with load(slow) as obj:
        obj.attach()
        child = os.fork()
        if not child:
            obj.links[0].close()
            os._exit(not obj.links[0].closed)
        assert os.waitpid(child, 0)[1] == 0
        assert known()


def test_what_a_killed_process_left_is_found(capsys):
    """A link goes with its process; where the map is the registration it stays, and clean ends it."""
    ready, said = os.pipe()
    child = os.fork()
    if not child:
        obj = load(slow)
        obj.attach()
        os.write(said, b"l" if obj[slow].by_link else b"m")
        signal.pause()
    by_link = os.read(ready, 1) == b"l"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ready)
    os.close(said)
    if not by_link:
        assert known()
        assert main(["clean", "--json"]) == 1
        (item,) = json.loads(capsys.readouterr().out)["items"]
        assert (item["kind"], item["pid"], item["stays"]) == ("ops", child, None)
        assert item["name"].startswith("slow (map ")
        assert main(["clean", "--yes"]) == 0
        capsys.readouterr()
    assert main(["clean", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == []
