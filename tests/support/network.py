"""Network namespaces of a test's own, pairs of devices in them, and frames that nobody else sends."""

import ctypes
import fcntl
import os
import socket
import struct
import traceback
from contextlib import contextmanager

from bpfasm.asm import *

CLONE_NEWNET, CLONE_NEWNS, SIOCSIFFLAGS, IFF_UP = 1 << 30, 1 << 17, 0x8914, 1
RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 16, 1, 4, 0x200, 0x400
IFLA_IFNAME, IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 3, 18, 1, 2, 1

#: An EtherType that is free for experiments, as a program that loads 2 bytes of the frame sees it.
ETHERTYPE = socket.htons(0x88B5)
EVENTS = 23


def in_child(test):
    """Run a test in a child; fail where it fails."""
    child = os.fork()
    if not child:
        status = 1
        try:
            test()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def unshare(what=CLONE_NEWNET):
    """Go into a network namespace of one's own, whose loopback device is up."""
    assert ctypes.CDLL(None, use_errno=True).unshare(what) == 0, os.strerror(ctypes.get_errno())
    up("lo")


@contextmanager
def namespace():
    """Give a file to ``join`` a network namespace by, made once for many children: guests are long at it."""
    (made, say), (over, end) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        unshare()
        os.write(say, b"r")
        os.read(over, 1)
        os._exit(0)
    os.close(say)
    os.read(made, 1)
    it = os.open(f"/proc/{child}/ns/net", os.O_RDONLY)
    for fd in (made, over, end):
        os.close(fd)
    assert os.waitpid(child, 0)[1] == 0
    try:
        yield it
    finally:
        os.close(it)


def join(namespace):
    """Be in a network namespace from now on."""
    assert ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def alone(test):
    """Run a test in a child, in a network namespace of its own."""

    def enter():
        unshare()
        test()

    in_child(enter)


def up(name):
    """Set a device up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        fcntl.ioctl(made, SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), IFF_UP))


def veth(one="v0", other="v1"):
    """Make a pair of devices, both up: what one sends the other receives."""

    def attribute(type, value):
        return struct.pack("=HH", 4 + len(value), type) + value + bytes(-len(value) % 4)

    def device(name):
        return bytes(16) + attribute(IFLA_IFNAME, name.encode() + b"\0")

    peer = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, device(other)))
    body = device(one) + attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth") + peer)
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as asked:
        asked.send(struct.pack("=IHHII", 16 + len(body), RTM_NEWLINK, flags, 1, 0) + body)
        (error,) = struct.unpack_from("=i", asked.recv(4096), 16)
    assert not error, os.strerror(-error)
    for name in (one, other):
        up(name)


def send(device="v0", frames=EVENTS):
    """Send frames that nobody else sends."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as made:
        made.bind((device, 0))
        for _ in range(frames):
            made.send(b"\xff" * 6 + b"\2" + bytes(5) + struct.pack("=H", ETHERTYPE) + bytes(50))


def counted(name, type, where, returns, before=(), size=BPF_DW, **fields):
    """Return a program that adds 1 to a counter and returns a number, and its map; ``before`` may leave for "out"."""
    counts = ArrayMap(f"{name[:13]}_n", value=u64, max_entries=1)
    insns = [
        BPF_MOV64_REG(R6, R1),
        *before,
        BPF_LD_MAP_VALUE(R1, counts, 0),
        BPF_MOV64_IMM(R2, 1),
        BPF_ATOMIC_OP(size, BPF_ADD, R1, R2, 0),
        label("out"),
        BPF_MOV64_IMM(R0, returns),
        BPF_EXIT_INSN(),
    ]
    return Program(name, type, insns, attach=where, **fields), counts


#: Leave where the frame is not one of send().
OURS_XDP = (
    BPF_LDX_MEM(BPF_W, R2, R1, 0),  # data
    BPF_LDX_MEM(BPF_W, R3, R1, 4),  # data_end
    BPF_MOV64_REG(R4, R2),
    BPF_ALU64_IMM(BPF_ADD, R4, 14),
    BPF_JMP_REG(BPF_JGT, R4, R3, "out"),
    BPF_LDX_MEM(BPF_H, R5, R2, 12),
    BPF_JMP_IMM(BPF_JNE, R5, ETHERTYPE, "out"),
)
OURS_SKB = (
    BPF_LDX_MEM(BPF_W, R2, R1, 16),  # __sk_buff.protocol
    BPF_JMP_IMM(BPF_JNE, R2, ETHERTYPE, "out"),
)
