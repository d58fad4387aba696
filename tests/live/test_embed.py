"""Embedded objects on a kernel: a module that was written loads its object, counts, and reads events."""

import os

import pytest

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.elf.object_write import write_object
from bpfasm.uapi.bpf import struct___sk_buff
from bpfasm.views import embed

pytestmark = pytest.mark.lab(on="one")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(source):
    names = {"__name__": "made"}
    exec(compile(source, "made.py", "exec"), names)
    return names


def test_chowncount_from_a_module_alone(kprobes, tmp_path, python):
    path = tmp_path / "chowncount_bpf.py"
    assert cli.main(["embed", f"{ROOT}/examples/chowncount.py:chowncount", "--out", str(path)]) == 0
    code = """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from chowncount_bpf import Chowncount

        with Chowncount() as obj:
            obj.attach()
            here = os.open("/", os.O_RDONLY)
            for _ in range(1000):
                os.chown(".", -1, -1, dir_fd=here)
            print(obj.counts[0], dict(obj.counts.items()))
    """
    done = python(code, tmp_path)
    out, err = done.communicate(timeout=60)
    assert (out, err, done.returncode) == ("1000 {0: 1000}\n", "", 0)


class Event(Record):
    number = u64("what was counted")
    length = u32("bytes behind the Ethernet header")
    name = chars(12)("from a variable")


ring = RingBuf("ring", max_entries=4096, record=Event)
limit = Global("limit", u32, 100)
name = Global("name", chars(12), b"embedded", const=True)
seen = Global("seen", u64)
last = Global("last", Event)

packets = Program(
    "packets",
    BPF_PROG_TYPE_SOCKET_FILTER,
    [
        BPF_LDX_MEM(BPF_W, R7, R1, struct___sk_buff["len"][0]),
        BPF_LD_MAP_VALUE(R1, limit, 0),
        BPF_LDX_MEM(BPF_W, R1, R1, 0),
        BPF_LD_MAP_VALUE(R2, seen, 0),
        BPF_LDX_MEM(BPF_DW, R6, R2, 0),
        BPF_ALU64_IMM(BPF_ADD, R6, 1),
        BPF_STX_MEM(BPF_DW, R2, R6, 0),
        BPF_JMP_REG(BPF_JGT, R6, R1, "out"),
        BPF_LD_MAP_VALUE(R8, last, 0),
        BPF_STX_MEM(BPF_DW, R8, R6, Event.number.off),
        BPF_STX_MEM(BPF_W, R8, R7, Event.length.off),
        BPF_LD_MAP_VALUE(R2, name, 0),
        BPF_LDX_MEM(BPF_DW, R3, R2, 0),
        BPF_LDX_MEM(BPF_W, R2, R2, 8),
        BPF_STX_MEM(BPF_W, R8, R3, Event.name.off),
        BPF_ALU64_IMM(BPF_RSH, R3, 32),
        BPF_STX_MEM(BPF_W, R8, R3, Event.name.off + 4),
        BPF_STX_MEM(BPF_W, R8, R2, Event.name.off + 8),
        BPF_LD_MAP_FD(R1, ring),
        BPF_MOV64_REG(R2, R8),
        BPF_MOV64_IMM(R3, Event.size),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_ringbuf_output),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)


def test_variables_records_and_events():
    made = run(embed.module(write_object(packets), "packets"))
    packet = bytes(64)
    with made["Packets"](limit=3, name=b"set") as obj:
        reader = obj.ring.reader()
        for _ in range(2):
            obj.packets.test_run(packet)
        obj.limit = 2
        obj.packets.test_run(packet)
        events = reader.drain()
        assert all(type(event) is made["Event"] for event in events)
        assert [(event.number, event.length, event.name) for event in events] == [(1, 50, b"set"), (2, 50, b"set")]
        assert (obj.seen, obj.limit, obj.name, obj.last) == (3, 2, b"set", events[1])
        obj.last = made["Event"](number=7, length=8, name=b"x")
        assert obj.last.number == 7
        with pytest.raises(AttributeError):
            obj.nothing = 1
        assert not hasattr(obj, "nothing")
    assert obj.seen == 3  # what was read last is still there
    obj.close()


def test_nothing_is_left_open():
    before = len(os.listdir("/proc/self/fd"))
    made = run(embed.module(write_object(packets), "packets"))["Packets"]
    made().close()
    assert len(os.listdir("/proc/self/fd")) == before
