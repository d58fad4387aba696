"""Netfilter hooks, in a network namespace of the test's own: 23 datagrams, dropped or counted."""

import socket

import pytest
from support.network import alone

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.uapi.netfilter import NF_ACCEPT, NF_DROP

pytestmark = pytest.mark.lab

EVENTS = 23
HERE = netfilter("ipv4", "local_in", priority=-128)


@pytest.fixture(autouse=True)
def _netfilter():
    answer = features.ask("link/netfilter")
    if answer.state == "no":
        with pytest.raises((FeatureMissing, KernelError)), load(verdict("absent", NF_ACCEPT)[0]) as obj:
            obj.attach()
        pytest.skip(answer.reason)


def verdict(name, number, where=HERE):
    """Return a program that counts packets, and says what becomes of them."""
    counts = ArrayMap(f"{name}_n", value=u64, max_entries=1)
    body = [
        BPF_LD_MAP_VALUE(R1, counts, 0),
        BPF_MOV64_IMM(R2, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
        BPF_MOV64_IMM(R0, number),
        BPF_EXIT_INSN(),
    ]
    return Program(name, BPF_PROG_TYPE_NETFILTER, body, attach=where), counts


def sent():
    """Send 23 datagrams to ourselves; return how many came."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        for _ in range(EVENTS):
            sender.sendto(b"x", receiver.getsockname())
        came = 0
        while True:
            try:
                came += len(receiver.recv(8))
            except BlockingIOError:
                return came


@pytest.mark.parametrize(("number", "come"), [(NF_ACCEPT, EVENTS), (NF_DROP, 0)])
def test_23_packets_are_23_events(number, come):
    def test():
        program, counts = verdict("packets", number)
        with load(program) as obj:
            assert sent() == EVENTS
            (link,) = obj.attach()
            assert sent() == come
            assert obj[counts][0] == EVENTS
            info = link.info()
            assert (info.kind, info.details["priority"], info.details["hooknum"]) == ("netfilter", -128, 1)
            link.detach()
            assert sent() == EVENTS
            assert obj[counts][0] == EVENTS

    alone(test)


def test_a_priority_has_one_program():
    def test():
        program, _ = verdict("one", NF_ACCEPT)
        with load(program) as obj:
            obj.attach()
            for priority in (-128, -(1 << 31)):
                with pytest.raises(KernelError) as caught:
                    attach(obj[program], HERE.replace(priority=priority)).close()
                assert caught.value.rule == "attach-refused"
            attach(obj[program], HERE.replace(priority=-127)).close()

    alone(test)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("words", [("ipv5", "local_in"), ("ipv4", "ingress")])
def test_what_is_no_hook(words):
    with pytest.raises(OperandError) as caught:
        netfilter(*words, priority=1)
    assert caught.value.rule == "attach-target"
