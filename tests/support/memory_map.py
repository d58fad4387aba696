"""Maps that a dict or a list holds: the face of a map without a kernel, as plain as it can be."""

from errno import E2BIG, EEXIST, ENOENT

from bpfasm.asm.mapface import MapFace
from bpfasm.errors import KernelError
from bpfasm.uapi import bpf


class MemoryMap(MapFace):
    """A map of any type whose elements are values of its own; only the operations that every holder supplies."""

    def __init__(self, spec, cpus=0):
        self.held = {}
        self.queue = []
        super().__init__(spec, cpus)
        if spec.row.keys == "index" and not spec.row.sparse:
            zero = bytes(self._value.size)
            self.held = {self._key.pack(index): zero for index in range(spec.max_entries)}
        if spec.initial:
            self.fill(spec.initial)

    def _lookup(self, key, flags=0):
        if self.spec.row.keys == "none":
            return self.queue[self._end] if self.queue else None
        if self.spec.row.keys == "prefix":
            return max(self._prefixes_of(key), default=(0, None))[1]
        return self.held.get(key)

    def _update(self, key, value, flags=0):
        if self.spec.row.keys == "none":
            if len(self.queue) == self.max_entries:
                if not flags & bpf.BPF_EXIST:
                    raise KernelError(E2BIG, "full")
                self.queue.pop(0)
            self.queue.append(value)
            return
        there = key in self.held
        if flags & bpf.BPF_NOEXIST and there:
            raise KernelError(EEXIST, "there")
        if flags & bpf.BPF_EXIST and not there:
            raise KernelError(ENOENT, "not there")
        if not there and (len(self.held) == self.max_entries or self.spec.row.keys == "index"):
            raise KernelError(E2BIG, "full")
        self.held[key] = value

    def _delete(self, key):
        return self.held.pop(key, None) is not None

    def _next_key(self, key):
        keys = list(self.held)
        if key not in self.held:
            return keys[0] if keys else None
        place = keys.index(key) + 1
        return keys[place] if place < len(keys) else None

    def _holds(self, value):
        return value in self.queue

    @property
    def _end(self):
        return -1 if self.spec.type == bpf.BPF_MAP_TYPE_STACK else 0

    def _prefixes_of(self, key):
        """Yield (bits, value) of each prefix that a key begins with."""
        bits, data = int.from_bytes(key[:4], "little"), int.from_bytes(key[4:])
        width = 8 * len(key[4:])
        for each, value in self.held.items():
            length = int.from_bytes(each[:4], "little")
            if length <= bits and data >> (width - length) == int.from_bytes(each[4:]) >> (width - length):
                yield length, value


class QueueInMemory(MemoryMap):
    """A queue or stack: it can take out, too."""

    def _take(self, key):
        return self.queue.pop(self._end) if self.queue else None


def memory_map(spec, cpus=0):
    """Return a map in memory for a declaration."""
    return (QueueInMemory if "take" in spec.row.ops and spec.row.keys == "none" else MemoryMap)(spec, cpus)
