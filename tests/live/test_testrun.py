"""Running programs on given data: what goes in, what comes out, and what is refused. Exact results."""

import errno
import os
import signal
import struct

import pytest
from support.bpf2 import running_series

from bpfasm.asm import *
from bpfasm.errors import KernelError, RecordError
from bpfasm.kernel import load
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer

pytestmark = pytest.mark.lab

PACKET = bytes(range(64))
EXIT = BPF_EXIT_INSN()
XDP, TC, RAW_TP = BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_RAW_TRACEPOINT
SERIES = tuple(map(int, running_series().split(".")))


@pytest.fixture
def loaded():
    """Load a program of these instructions; it is closed at the end."""
    opened = []

    def loaded(insns, type=XDP, **more):
        opened.append(load(Program("prog", type, insns, **more)))
        return opened[-1].programs[0]

    yield loaded
    for each in opened:
        each.close()


def counting(insns=()):
    """Return instructions that count their runs in a map, and the map."""
    runs = ArrayMap("runs", value=u64, max_entries=1)
    count = [BPF_LD_MAP_VALUE(R2, runs, 0), BPF_MOV64_IMM(R3, 1), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R2, R3, 0)]
    return [*count, *(insns or [BPF_MOV64_IMM(R0, 0)]), EXIT], runs


# What goes in and comes out


def test_repeat_is_how_often_it_runs():
    body, runs = counting()
    prog = Program("prog", XDP, body)
    with load(prog) as obj:
        for repeat, altogether in ((1, 1), (0, 2), (1000, 1002)):
            done = obj[prog].test_run(PACKET, repeat=repeat)
            assert obj[runs][0] == altogether
        assert done.duration_ns >= 0


def test_a_packet_may_become_longer(loaded):
    grow = loaded([BPF_MOV64_IMM(R2, -8), BPF_EMIT_CALL(BPF_FUNC_xdp_adjust_head), BPF_MOV64_IMM(R0, 2), EXIT])
    assert len(grow.test_run(PACKET).data) == 72
    assert grow.test_run(PACKET).data[8:] == PACKET
    assert len(grow.test_run(PACKET, room=8).data) == 72
    with pytest.raises(KernelError) as caught:
        grow.test_run(PACKET, room=7)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.what == "prog made the packet 72 bytes long, and there is room for 71"
    assert caught.value.do == "give the test run room=72"


def test_a_packet_may_become_much_longer(loaded):
    body = [BPF_MOV64_IMM(R2, 9000), BPF_MOV64_IMM(R3, 0), BPF_EMIT_CALL(BPF_FUNC_skb_change_tail), EXIT]
    grow = loaded(body, TC)
    with pytest.raises(KernelError, match="9000 bytes long"):
        grow.test_run(PACKET)
    assert len(grow.test_run(PACKET, room=9000).data) == 9000


def test_a_packets_context_goes_in_and_comes_out(loaded):
    """__sk_buff.cb[0] is at 48, priority at 32: the program adds one to the other."""
    body = [
        BPF_LDX_MEM(BPF_W, R2, R1, 32),
        BPF_LDX_MEM(BPF_W, R3, R1, 48),
        BPF_ALU64_REG(BPF_ADD, R3, R2),
        BPF_STX_MEM(BPF_W, R1, R3, 48),
        BPF_MOV64_REG(R0, R3),
        EXIT,
    ]
    skb = bytearray(192)
    struct.pack_into("=I", skb, 32, 40)
    struct.pack_into("=I", skb, 48, 2)
    done = loaded(body, TC).test_run(PACKET, ctx=bytes(skb))
    assert done.retval == 42
    assert struct.unpack_from("=I", done.ctx, 48)[0] == 42
    assert done.data == PACKET


def test_a_context_that_is_cut_short_is_zero_behind(loaded):
    body = [BPF_LDX_MEM(BPF_W, R0, R1, 48), EXIT]
    assert loaded(body, TC).test_run(PACKET, ctx=bytes(32) + struct.pack("=I", 7)).retval == 0


def test_an_xdp_context(loaded):
    """xdp_md.data_meta, data, data_end are offsets; 8 bytes before data are metadata."""
    body = [
        BPF_LDX_MEM(BPF_W, R2, R1, 8),
        BPF_LDX_MEM(BPF_W, R3, R1, 0),
        BPF_MOV64_REG(R0, R3),
        BPF_ALU64_REG(BPF_SUB, R0, R2),
        EXIT,
    ]
    prog, ctx = loaded(body), struct.pack("=6I", 8, 64, 0, 0, 0, 0)
    if SERIES < (5, 15):
        with pytest.raises(KernelError, match="does not take these arguments"):
            prog.test_run(PACKET, ctx=ctx)
        return
    assert prog.test_run(PACKET, ctx=ctx).retval == 8
    assert prog.test_run(PACKET).retval == 0


def test_live_packets():
    """Dropped by the program, 64 at a time; retval says nothing."""
    body, runs = counting([BPF_MOV64_IMM(R0, XDP_DROP)])
    prog = Program("prog", XDP, body)
    with load(prog) as obj:
        if SERIES < (5, 18):
            with pytest.raises(KernelError, match="does not take these arguments") as caught:
                obj[prog].test_run(PACKET, live=True)
            assert "live packets since 5.18" in caught.value.do
            assert obj[runs][0] == 0
            return
        obj[prog].test_run(PACKET, live=True, repeat=100)
        assert obj[runs][0] == 100
        obj[prog].test_run(PACKET, live=True, repeat=3, batch_size=2)
        assert obj[runs][0] == 103
        with pytest.raises(KernelError, match="was given more than it takes"):
            obj[prog].test_run(PACKET, live=True, batch_size=257)


def test_the_arguments_of_a_raw_tracepoint(loaded):
    prog = loaded([BPF_LDX_MEM(BPF_DW, R0, R1, 8), EXIT], RAW_TP)
    assert prog.test_run(ctx=struct.pack("=2Q", 1, 77)).retval == 77
    with pytest.raises(KernelError, match="does not take these arguments"):
        prog.test_run(ctx=bytes(8))  # it reads 16
    with pytest.raises(KernelError) as caught:
        prog.test_run(ctx=bytes(104))
    assert "at most 12 of them" in caught.value.do


def test_on_a_cpu(loaded):
    prog = loaded([BPF_EMIT_CALL(BPF_FUNC_get_smp_processor_id), EXIT], RAW_TP)
    for cpu in sorted(os.sched_getaffinity(0)):
        assert prog.test_run(cpu=cpu).retval == cpu
    with pytest.raises(KernelError, match="cannot be on that CPU"):
        prog.test_run(cpu=4000)


def test_the_memory_of_a_syscall_program(loaded):
    if SERIES < (5, 14):
        pytest.skip("BPF_PROG_TYPE_SYSCALL is new in 5.14")
    body = [
        BPF_LDX_MEM(BPF_DW, R2, R1, 0),
        BPF_LDX_MEM(BPF_DW, R3, R1, 8),
        BPF_ALU64_REG(BPF_MUL, R2, R3),
        BPF_STX_MEM(BPF_DW, R1, R2, 16),
        BPF_MOV64_IMM(R0, 1),
        EXIT,
    ]
    prog = loaded(body, BPF_PROG_TYPE_SYSCALL, flags=BPF_F_SLEEPABLE)
    done = prog.test_run(ctx=struct.pack("=3Q", 1 << 40, 3, 0))
    assert struct.unpack("=3Q", done.ctx) == (1 << 40, 3, 3 << 40)
    with pytest.raises(KernelError) as caught:
        prog.test_run(ctx=bytes(8))
    assert caught.value.do == "ctx is what the program reads of it, and at most 65535 bytes"


def test_a_socket_that_is_looked_up(loaded):
    """struct bpf_sk_lookup: family at 8, protocol at 12; its context comes back."""
    body = [BPF_LDX_MEM(BPF_W, R2, R1, 12), BPF_MOV64_IMM(R0, 0), BPF_JMP_IMM(BPF_JNE, R2, 17, 1),
            BPF_MOV64_IMM(R0, 1), EXIT]  # fmt: skip
    prog = loaded(body, BPF_PROG_TYPE_SK_LOOKUP, expected_attach_type=BPF_SK_LOOKUP)
    for protocol, passed in ((6, 0), (17, 1)):
        ctx = bytes(8) + struct.pack("=II", 2, protocol) + bytes(56)
        done = prog.test_run(ctx=ctx)
        assert done.retval == passed
        assert len(done.ctx) >= 64
    with pytest.raises(KernelError, match="does not take this ctx") as caught:
        prog.test_run(ctx=bytes(72))
    assert "AF_INET" in caught.value.do


def test_flags_of_the_run(loaded):
    prog = loaded([BPF_MOV64_IMM(R0, 5), EXIT], TC)
    with pytest.raises(KernelError, match="does not take these arguments"):
        prog.test_run(PACKET, flags=1 << 20)


# What is refused


@pytest.mark.parametrize("data", [b"", b"short", bytes(13)])
def test_too_little_data(loaded, data):
    with pytest.raises(KernelError) as caught:
        loaded([BPF_MOV64_IMM(R0, 0), EXIT], TC).test_run(data)
    assert (caught.value.errno, caught.value.rule) == (errno.EINVAL, "test-run")
    assert "at least an Ethernet header (14 bytes)" in caught.value.do


def test_an_address_header_that_is_announced_and_missing(loaded):
    prog = loaded([BPF_MOV64_IMM(R0, 3), EXIT], TC)
    header = bytes(12) + b"\x08\x00"  # IPv4 follows
    assert prog.test_run(header + bytes([0x45]) + bytes(19)).retval == 3
    with pytest.raises(KernelError, match="does not take these arguments"):
        prog.test_run(header + bytes(19))


def test_too_much_data(loaded):
    prog = loaded([BPF_MOV64_IMM(R0, 3), EXIT], TC)
    assert prog.test_run(bytes(3000)).retval == 3
    with pytest.raises(KernelError, match=r"does not take these arguments|is too long"):
        prog.test_run(bytes(1 << 20))


def test_a_closed_program(loaded):
    prog = loaded([BPF_MOV64_IMM(R0, 0), EXIT])
    prog.close()
    with pytest.raises(ValueError, match="is closed"):
        prog.test_run(PACKET)


# Signals


@pytest.fixture
def alarms():
    """Let SIGALRM come every so many seconds; give the list of those that came."""
    came = []
    before = signal.signal(signal.SIGALRM, lambda *_: came.append(1))

    def start(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
        return came

    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_a_run_that_signals_cut_short_is_made_again(alarms):
    """One signal: the handler runs between two tries, and the second one ends."""
    body, runs = counting()
    prog = Program("prog", XDP, body)
    with load(prog) as obj:
        took = obj[prog].test_run(PACKET, repeat=100_000).duration_ns * 100_000 / 1e9
        obj[runs][0] = 0
        came = alarms(max(took / 2, 0.001))
        signal.setitimer(signal.ITIMER_REAL, max(took / 2, 0.001))  # once
        obj[prog].test_run(PACKET, repeat=100_000)
        assert obj[runs][0] >= 100_000
        assert len(came) <= 1
        assert obj[runs][0] == 100_000 or came


def test_signals_without_end(alarms):
    """Six tries, and between them the handler has run."""
    body, runs = counting()
    prog = Program("prog", XDP, body)
    with load(prog) as obj:
        came = alarms(0.02)
        with pytest.raises(KernelError) as caught:
            obj[prog].test_run(PACKET, repeat=1 << 30)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert caught.value.what == f"the test run of prog was interrupted by signals {bpf.TRIES} times"
        assert caught.value.errno in (errno.EINTR, errno.EAGAIN)
        assert len(came) >= bpf.TRIES - 1
        assert obj[runs][0] < 1 << 30


def test_what_python_raises_in_a_handler_ends_the_run(loaded):
    def stop(*_):
        raise KeyboardInterrupt

    program = loaded([BPF_MOV64_IMM(R0, 0), EXIT])
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            program.test_run(PACKET, repeat=1 << 30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_size_that_was_needed_is_in_the_error(loaded):
    grow = loaded([BPF_MOV64_IMM(R2, -8), BPF_EMIT_CALL(BPF_FUNC_xdp_adjust_head), BPF_MOV64_IMM(R0, 2), EXIT])
    out = buffer(10)
    with pytest.raises(bpf.RunError) as caught:
        bpf.prog_test_run(prog_fd=grow.fd, data_in=buffer(PACKET), data_size_in=64, data_out=out, data_size_out=10)
    assert (caught.value.errno, caught.value.data_size_out) == (errno.ENOSPC, 72)
    assert out.raw[8:] == PACKET[:2]


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("repeat", [-1, 1 << 32])
def test_a_number_that_does_not_fit(loaded, repeat):
    with pytest.raises(RecordError) as caught:
        loaded([BPF_MOV64_IMM(R0, 0), EXIT]).test_run(PACKET, repeat=repeat)
    assert caught.value.what == f"repeat is {repeat}, and the kernel's field takes 0 to 4294967295"
    assert caught.value.rule == "value-range"


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("room", [-100, 1 << 40, "4096"])
def test_a_room_that_no_packet_needs(loaded, room):
    program = loaded([BPF_MOV64_IMM(R0, XDP_PASS), EXIT])
    with pytest.raises(RecordError, match="can become 0 to 4194304 bytes longer"):
        program.test_run(PACKET, room=room)


def test_a_device_that_is_not_there(loaded):
    program = loaded([BPF_MOV64_IMM(R0, 0), EXIT], BPF_PROG_TYPE_SCHED_CLS)
    ctx = bytearray(192)
    struct.pack_into("I", ctx, 10 * 4, 1 << 30)  # __sk_buff.ifindex
    with pytest.raises(KernelError) as caught:
        program.test_run(PACKET, ctx=bytes(ctx))
    assert (caught.value.errno, caught.value.rule) == (errno.ENODEV, "test-run")
    assert "ctx with the index of a network device that there is not" in caught.value.what
    assert "socket.if_nameindex()" in caught.value.do
