"""Sockets: filters, who of several gets it, maps of them, and what network namespaces look up and dissect."""

import errno
import os
import socket

import pytest
from support.network import EVENTS, OURS_SKB, alone, counted, in_child, send, unshare, veth
from support.processes import until

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.query import query

pytestmark = pytest.mark.lab

SK_DROP, SK_PASS, HOME = 0, 1, "127.0.0.1"


def udp():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def datagrams(to, number=EVENTS):
    with udp() as sender:
        for _ in range(number):
            sender.sendto(b"x" * 8, to)


def received(made):
    """Return how many datagrams wait at a socket."""
    came = 0
    while True:
        try:
            came += len(made.recv(64, socket.MSG_DONTWAIT)) > 0
        except BlockingIOError:
            return came


@pytest.mark.parametrize(("keeps", "come"), [(0xFFFF, EVENTS), (0, 0)])
def test_a_filter_sees_what_a_socket_receives(keeps, come):
    def test():
        with udp() as made:
            made.bind((HOME, 0))
            program, counts = counted("filter", BPF_PROG_TYPE_SOCKET_FILTER, socket_filter(made), keeps)
            with load(program) as obj:
                (link,) = obj.attach()
                assert link.mode == "sockopt"
                datagrams(made.getsockname())
                assert (obj[counts][0], received(made)) == (EVENTS, come)
                with pytest.raises(FeatureMissing) as caught:
                    link.info()
                assert caught.value.rule == "no-link-object"
                link.close()
                datagrams(made.getsockname())
                assert (obj[counts][0], received(made)) == (EVENTS, EVENTS)

    alone(test)


def test_a_filter_is_replaced_and_goes_with_its_socket():
    def test():
        made = udp()
        made.bind((HOME, 0))
        none, nones = counted("none", BPF_PROG_TYPE_SOCKET_FILTER, None, 0)
        every, everys = counted("every", BPF_PROG_TYPE_SOCKET_FILTER, None, 0xFFFF)
        with load(none, every) as obj:
            link = attach(obj[none], socket_filter(made.fileno()))
            datagrams(made.getsockname())
            link.update(obj[every])
            datagrams(made.getsockname())
            assert (obj[nones][0], obj[everys][0], received(made)) == (EVENTS, EVENTS, EVENTS)
            made.close()
            link.close()
            for gone in (made, made.detach() if made.fileno() >= 0 else 999):
                with pytest.raises(KernelError) as caught:
                    attach(obj[none], socket_filter(gone))
                assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.EBADF)
            read, write = os.pipe()
            with pytest.raises(KernelError) as caught:
                attach(obj[none], socket_filter(read))
            assert caught.value.errno == errno.ENOTSOCK
            os.close(read)
            os.close(write)

    alone(test)


def test_a_program_chooses_among_sockets_of_one_address():
    def test():
        first, second = udp(), udp()
        with first, second:
            for made in (first, second):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            first.bind((HOME, 0))
            second.bind(first.getsockname())
            program, counts = counted("chooses", BPF_PROG_TYPE_SOCKET_FILTER, reuseport(first), 1)
            with load(program) as obj:
                (link,) = obj.attach()
                datagrams(first.getsockname())
                assert (obj[counts][0], received(first), received(second)) == (EVENTS, 0, EVENTS)
                link.close()
                datagrams(first.getsockname())
                assert obj[counts][0] == EVENTS
                assert received(first) + received(second) == EVENTS

            pair = ReuseportSockArray("pair", max_entries=1)
            body = [
                BPF_ST_MEM(BPF_W, BPF_REG_10, -4, 0),
                BPF_LD_MAP_FD(R2, pair),
                BPF_MOV64_REG(R3, R10),
                BPF_ALU64_IMM(BPF_ADD, R3, -4),
                BPF_MOV64_IMM(R4, 0),
                BPF_EMIT_CALL(BPF_FUNC_sk_select_reuseport),
                BPF_MOV64_IMM(R0, SK_PASS),
                BPF_EXIT_INSN(),
            ]
            selects = Program("selects", BPF_PROG_TYPE_SK_REUSEPORT, body, attach=reuseport(second))
            with load(selects) as obj:
                obj[pair][0] = first
                with obj.attach()[0]:
                    datagrams(first.getsockname())
                    assert (received(first), received(second)) == (EVENTS, 0)

    alone(test)


def test_reuseport_takes_a_socket_that_shares():
    with udp() as made:
        program, _ = counted("alone", BPF_PROG_TYPE_SOCKET_FILTER, reuseport(made), 0)
        with load(program) as obj, pytest.raises(KernelError) as caught:
            obj.attach()
        assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.EINVAL)
        assert "SO_REUSEPORT" in caught.value.do


def test_lookups_are_seen_in_the_namespace_that_was_named():
    def test():
        answer = features.ask("attach/sk_lookup")
        assert answer.state == "yes", answer
        with udp() as made:
            made.bind((HOME, 0))
            here = f"/proc/{os.getpid()}/ns/net"
            program, counts = counted("lookup", BPF_PROG_TYPE_SK_LOOKUP, sk_lookup(here), SK_PASS)
            other, _ = counted("other", BPF_PROG_TYPE_SK_LOOKUP, sk_lookup(), SK_PASS)
            with load(program, other) as obj:
                link = attach(obj[program])
                assert link.info().details["netns_ino"] == os.stat(here).st_ino
                datagrams(made.getsockname())
                assert (obj[counts][0], received(made)) == (EVENTS, EVENTS)
                in_child(lambda: elsewhere(made.getsockname()))  # another namespace is none of its business
                assert obj[counts][0] == EVENTS
                second = attach(obj[other])
                assert len(query(sk_lookup()).prog_ids) == 2
                second.detach()
                second.close()
                link.update(obj[other], expected=obj[program])
                assert query(sk_lookup()).prog_ids == (obj[other].info().id,)
                link.close()
                assert query(sk_lookup()).prog_ids == ()
                with pytest.raises(KernelError) as caught:
                    attach(obj[other], sk_lookup("no_such_namespace"))
                assert caught.value.rule == "netns"

    def elsewhere(to):
        unshare()
        datagrams(to)

    alone(test)


@pytest.mark.parametrize("mode", ["link", "prog_attach"])
def test_headers_are_dissected(mode):
    def test():
        veth()
        # A frame from a socket without a protocol is dissected before it is sent.
        program, counts = counted("dissects", BPF_PROG_TYPE_FLOW_DISSECTOR, flow_dissector(), 0)
        other, others = counted("other", BPF_PROG_TYPE_FLOW_DISSECTOR, None, 0)
        with load(program, other) as obj:
            link = attach(obj[program], mode=mode)
            assert query(flow_dissector()).prog_ids == (obj[program].info().id,)
            send("v0")
            until(lambda: obj[counts][0] >= EVENTS)
            assert obj[counts][0] % EVENTS == 0
            before = obj[counts][0]
            if mode == "link":
                with pytest.raises(KernelError) as caught:
                    attach(obj[other], flow_dissector(), "link")
                assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.E2BIG)
            link.update(obj[other])
            send("v0")
            until(lambda: obj[others][0] >= before)
            assert (obj[counts][0], obj[others][0]) == (before, before)
            link.close()
            assert query(flow_dissector()).prog_ids == ()
            with pytest.raises(FeatureMissing) as caught:
                attach(obj[other], flow_dissector("/proc/self/ns/net"), "prog_attach")
            assert caught.value.rule == "netns"

    alone(test)


def connected():
    """Return both ends of a TCP connection."""
    with socket.socket() as listening:
        listening.bind((HOME, 0))
        listening.listen()
        one = socket.create_connection(listening.getsockname())
        return one, listening.accept()[0]


#: What is attached to a map, its type, what it returns, and whether it is what receives that is in the map.
VERDICTS = {
    "stream_verdict": (BPF_PROG_TYPE_SK_SKB, True),
    "verdict": (BPF_PROG_TYPE_SK_SKB, True),
    "msg_verdict": (BPF_PROG_TYPE_SK_MSG, False),
}


@pytest.mark.parametrize("mode", ["link", "prog_attach"])
@pytest.mark.parametrize("hook", VERDICTS)
def test_what_passes_through_a_map_of_sockets(hook, mode):
    def test():
        pairs = SockMap("pairs", max_entries=2)
        type, receives = VERDICTS[hook]
        program, counts = counted("verdict", type, sockmap(pairs, hook), SK_PASS)
        one, other = connected()
        with one, other, load(program) as obj:
            (link,) = obj.attach(mode)
            assert link.mode == mode
            obj[pairs][0] = other if receives else one
            for _ in range(EVENTS):
                one.sendall(b"x")
                assert other.recv(8) == b"x"
            assert obj[counts][0] == EVENTS
            link.close()

    lacks(hook, mode)
    alone(test)


def lacks(hook, mode):
    """Skip where the kernel has no such links or no verdict without a parser, and says so."""
    for needed in ["attach/sk_skb_verdict"] * (hook == "verdict") + ["link/sockmap"] * (mode == "link"):
        answer = features.ask(needed)
        if answer.state == "no":
            program, _ = counted("absent", VERDICTS[hook][0], sockmap(SockMap("m", max_entries=1), hook), SK_PASS)
            with load(program) as obj, pytest.raises(FeatureMissing) as caught:
                obj.attach(mode)
            assert caught.value.rule == "no-sockmap-link"
            pytest.skip(answer.reason)


def test_a_parser_and_a_verdict_work_together():
    """A parser says how long a message is: 23 that are sent in halves are 23 verdicts, and come whole."""

    def test():
        pairs = SockMap("pairs", max_entries=2)
        parser, parsed = counted("parser", BPF_PROG_TYPE_SK_SKB, sockmap(pairs, "stream_parser"), 4)
        verdict, decided = counted("verdict", BPF_PROG_TYPE_SK_SKB, sockmap(pairs, "stream_verdict"), SK_PASS)
        one, other = connected()
        with one, other, load(parser, verdict) as obj:
            links = obj.attach("prog_attach")
            obj[pairs][0] = other
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(EVENTS):
                one.sendall(b"ab")
                one.sendall(b"cd")
                assert other.recv(8) == b"abcd"
            assert (obj[parsed][0], obj[decided][0]) == (EVENTS, EVENTS)
            for link in links:
                link.close()

    alone(test)


def test_a_map_has_one_program_of_a_kind():
    def test():
        pairs = SockMap("pairs", max_entries=2)
        one, _ = counted("one", BPF_PROG_TYPE_SK_MSG, sockmap(pairs, "msg_verdict"), SK_PASS)
        array = ArrayMap("array", value=u32, max_entries=1)
        with load(one, array) as obj:
            if features.ask("link/sockmap").state == "yes":
                with obj.attach("link")[0] as link:
                    assert link.info().kind == "sockmap"
                    with pytest.raises(KernelError) as caught:
                        attach(obj[one], sockmap(obj[pairs], "msg_verdict"))
                    assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.EBUSY)
            with pytest.raises(KernelError) as caught:
                attach(obj[one], sockmap(obj[array], "msg_verdict"), "prog_attach")
            assert caught.value.rule == "attach-refused"

    alone(test)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "wrong", [lambda: sockmap(3, "verdicts"), lambda: socket_filter("eth0"), lambda: reuseport(None)]
)
def test_what_is_no_place(wrong):
    with pytest.raises(OperandError) as caught:
        wrong()
    assert caught.value.rule == "attach-target"


def test_a_filter_of_packets_counts_what_arrives():
    """A socket that sees all frames has a filter like any other."""

    def test():
        veth()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as made:
            made.bind(("v1", 3))
            program, counts = counted("frames", BPF_PROG_TYPE_SOCKET_FILTER, socket_filter(made), 0, OURS_SKB)
            with load(program) as obj, obj.attach()[0]:
                send("v0")
                until(lambda: obj[counts][0] >= EVENTS)
                assert obj[counts][0] == EVENTS

    alone(test)
