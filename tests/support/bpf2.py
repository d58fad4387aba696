"""bpf(2) in a few lines, without anything of bpfasm: what judges it must not be made of it."""

import contextlib
import ctypes
import functools
import os
import re
import resource
import struct
from pathlib import Path

import kernel_forms

NUMBER = {"x86_64": 321, "aarch64": 280}
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, TEST_RUN, BTF_LOAD, MAP_FREEZE = 0, 1, 2, 5, 10, 18, 22
SOCKET_FILTER, SCHED_CLS = 1, 3
ARRAY, ARENA, INSN_ARRAY = 2, 33, 34
MMAPABLE = 1 << 10

libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def unlimited():
    """Lift the limit of locked memory: kernels before 5.11 count programs by it, and closed ones for a while."""
    limits = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    yield
    resource.setrlimit(resource.RLIMIT_MEMLOCK, limits)


def bpf(command, attributes):
    """Call bpf(2); attributes are the bytes of the union, padded with zeros."""
    buffer = ctypes.create_string_buffer(attributes.ljust(160, b"\0"), 160)
    with unlimited():
        result = libc.syscall(NUMBER[os.uname().machine], command, buffer, 160)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command})")
    return result, buffer.raw


def address(buffer):
    return ctypes.addressof(buffer) if buffer else 0


class Fd:
    """A file descriptor that is closed at the end of a with."""

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.number)


class Map(Fd):
    """A map; an array of one element holds the bytes that a test works on."""

    def __init__(self, type=ARRAY, key_size=4, value_size=8, max_entries=1, flags=0, extra=0):
        self.size = value_size
        attributes = struct.pack("=5I44xQ", type, key_size, value_size, max_entries, flags, extra)
        super().__init__(bpf(MAP_CREATE, attributes)[0])

    def content(self):
        return self._element(MAP_LOOKUP, b"")

    def fill(self, data):
        self._element(MAP_UPDATE, data)

    def _element(self, command, data):
        key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(data, self.size)
        bpf(command, struct.pack("=IxxxxQQQ", self.number, address(key), address(value), 0))
        return value.raw

    def freeze(self):
        bpf(MAP_FREEZE, struct.pack("=I", self.number))


class Refused(Exception):
    """The kernel refused a program: the last words of its log, which is ``log``."""

    def __init__(self, errno, log):
        closing = ("processed", "verification time", "stack ")
        said = log.partition("\nVerification failed: ")[0]  # 7.3 adds a report
        words = [line for line in said.splitlines() if line and not line.startswith(closing)]
        super().__init__(f"{os.strerror(errno)}: {words[-1] if words else 'no log'}")
        self.errno, self.log = errno, log


class Prog(Fd):
    """A loaded program. ``functions`` are (first slot, type id) in the BTF of the fd ``btf``."""

    def __init__(self, code, type=SOCKET_FILTER, fd_array=(), btf=0, functions=()):
        infos = b"".join(struct.pack("=II", *function) for function in functions)
        fds = struct.pack(f"={len(fd_array)}i", *fd_array)
        insns, license, infos, fds = (
            ctypes.create_string_buffer(data, len(data)) if data else None for data in (code, b"GPL\0", infos, fds)
        )
        log = None
        while True:
            attributes = struct.pack(
                "=IIQQIIQII16sIIIIQIIQIIIIQ",
                type, len(code) // 8, address(insns), address(license), bool(log), len(log or b""), address(log),
                0, 0, b"", 0, 0, btf, 8 if functions else 0, address(infos), len(functions),
                0, 0, 0, 0, 0, 0, address(fds),
            )  # fmt: skip
            try:
                number, _ = bpf(PROG_LOAD, attributes)
            except OSError as error:
                if log:
                    raise Refused(error.errno, log.value.decode()) from None
                log = ctypes.create_string_buffer(1 << 16)  # it is slow: written only for what is refused
                continue
            super().__init__(number)
            return

    def run(self, packet=bytes(64)):
        """Run it once over a packet; return R0's low half."""
        data = ctypes.create_string_buffer(packet, len(packet))
        _, out = bpf(TEST_RUN, struct.pack("=IIIIQQII", self.number, 0, len(packet), 0, address(data), 0, 1, 0))
        return struct.unpack_from("=I", out, 4)[0]


class Btf(Fd):
    """Types of two functions: ``int main(void)``, and ``static int callback(int x)``."""

    MAIN, CALLBACK = 4, 5

    def __init__(self):
        names = b"\0int\0x\0main\0callback\0"
        int_, x, main, callback = (names.index(name) for name in (b"int", b"x", b"main", b"callback"))
        types = struct.pack("=4I", int_, 1 << 24, 4, 1 << 24 | 32)  # 1: a signed number of 32 bits
        types += struct.pack("=3I", 0, 13 << 24, 1)  # 2 and 3: the prototypes
        types += struct.pack("=5I", 0, 13 << 24 | 1, 1, x, 1)
        types += struct.pack("=3I", main, 12 << 24 | 1, 2)  # 4: a global function
        types += struct.pack("=3I", callback, 12 << 24, 3)  # 5: a static one
        data = struct.pack("=HBB5I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names)) + types + names
        blob = ctypes.create_string_buffer(data, len(data))
        super().__init__(bpf(BTF_LOAD, struct.pack("=QQIII", address(blob), 0, len(data), 0, 0))[0])


def running_series():
    """Return the running kernel's series: "6.1"."""
    return ".".join(re.findall(r"\d+", os.uname().release)[:2])


def is_in(form):
    """Tell by its release whether the running kernel should have a form: what a test must not find out by trying."""
    return kernel_forms.has(form, running_series())


@functools.cache
def kernel_types():
    """Return the ids of the running kernel's variables and functions by (kind, name), as its BTF has them."""
    path = Path("/sys/kernel/btf/vmlinux")
    data = path.read_bytes() if path.exists() else b""
    if not data:
        return {}
    header, types, types_len, strings = struct.unpack_from("=4I", data, 4)
    #: Words after the first 3 of a type by its kind, and words for each of the members that it counts.
    fixed, each = [0] * 32, [0] * 32
    for kind, words in ((1, 1), (3, 3), (14, 1), (17, 1)):
        fixed[kind] = words
    for kind, words in ((4, 3), (5, 3), (6, 2), (13, 2), (15, 3), (19, 3)):
        each[kind] = words
    words = memoryview(data)[header + types : header + types + types_len].cast("I")
    at, end, number, found = 0, len(words), 0, {}
    while at < end:
        number += 1
        info = words[at + 1]
        kind = info >> 24 & 31
        if kind in (12, 14):
            start = header + strings + words[at]
            name = data[start : data.index(b"\0", start)].decode()
            found["var" if kind == 14 else "func", name] = number
        at += 3 + fixed[kind] + each[kind] * (info & 0xFFFF)
    return found
