"""Rings in plain memory, written as the kernel's headers and sources say; what reads them is tested against these."""

import struct

from bpfasm.asm.perfmem import PerfMemory
from bpfasm.asm.ringmem import RingMemory

BUSY, DISCARD = 1 << 31, 1 << 30


class Ring:
    """A BPF ring buffer of ``size`` bytes, whose positions begin at ``start``."""

    def __init__(self, size=4096, start=0, **options):
        self.size = size
        self.data = bytearray(2 * size)
        self.producer = bytearray(4096)
        self.consumer = bytearray(4096)
        struct.pack_into("<Q", self.producer, 0, start)
        struct.pack_into("<Q", self.consumer, 0, start)
        self.memory = RingMemory(
            memoryview(self.data).toreadonly(),
            memoryview(self.producer).toreadonly().cast("Q"),
            memoryview(self.consumer).cast("Q"),
            **options,
        )

    def poke(self, position, content):
        """Write bytes at a position, in both images of the data."""
        at = position % self.size
        before = content[: self.size - at]
        behind = content[len(before) :]
        for image in (0, self.size):
            self.data[image + at : image + at + len(before)] = before
            self.data[image : image + len(behind)] = behind

    @property
    def written(self):
        return struct.unpack_from("<Q", self.producer)[0]

    @property
    def read(self):
        return struct.unpack_from("<Q", self.consumer)[0]

    def write(self, content, flags=0):
        """Add a record if there is room; return its position, None where there is none."""
        position = self.written
        taken = (8 + len(content) + 7) // 8 * 8
        if position + taken - self.read > self.size - 1:
            return None
        self.poke(position, struct.pack("<II", len(content) | flags, 0x1234) + content)
        struct.pack_into("<Q", self.producer, 0, position + taken)
        return position

    def mark(self, position, length, flags=0):
        """Change the header of a record."""
        self.poke(position, struct.pack("<I", length | flags))


class PerfRing:
    """A perf buffer of ``size`` bytes, which is written forwards, or backwards and overwritten."""

    def __init__(self, size=4096, start=0, *, timed=False, backward=False, **options):
        self.size, self.timed, self.backward = size, timed, backward
        self.data = bytearray(size)
        self.positions = bytearray(struct.pack("<QQ", start, start))
        view = memoryview(self.positions)
        self.memory = PerfMemory(
            memoryview(self.data).toreadonly(), view[:8].cast("Q"), view[8:].cast("Q"), timed=timed, **options
        )

    @property
    def head(self):
        return struct.unpack_from("<Q", self.positions, 0)[0]

    @property
    def tail(self):
        return struct.unpack_from("<Q", self.positions, 8)[0]

    def write(self, kind, body, misc=2):
        """Add a record whose body is a multiple of 8 bytes; return whether there was room."""
        record = struct.pack("<IHH", kind, misc, 8 + len(body)) + body
        head = self.head
        if self.backward:
            head = (head - len(record)) % (1 << 64)
        elif head + len(record) - self.tail > self.size:
            return False
        at = head % self.size
        before = record[: self.size - at]
        behind = record[len(before) :]
        self.data[at : at + len(before)] = before
        self.data[: len(behind)] = behind
        struct.pack_into("<Q", self.positions, 0, head if self.backward else head + len(record))
        return True

    def sample(self, content, time=0, filler=b"\xee"):
        """Add a sample, rounded up as the kernel does (PERF_RECORD_SAMPLE)."""
        room = (4 + len(content) + 7) // 8 * 8 - 4
        body = struct.pack("<Q", time) if self.timed else b""
        return self.write(9, body + struct.pack("<I", room) + content.ljust(room, filler))

    def lost(self, count, time=0):
        """Add a record of what was lost (PERF_RECORD_LOST)."""
        return self.write(2, struct.pack("<QQ", 77, count) + (struct.pack("<Q", time) if self.timed else b""))
