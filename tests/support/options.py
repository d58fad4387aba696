"""Which options the running kernel was built with, as bpf(2) and its files show it: one JSON object. Run in a guest.

Each probe asks for what the option gives, so that an option that is set and of no use counts as lacking. The module
whose types are looked for comes in on standard input.
"""

import ctypes
import errno
import json
import os
import socket
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
BPF, FINIT_MODULE, DELETE_MODULE = {"x86_64": (321, 313, 176), "aarch64": (280, 273, 106)}[os.uname().machine]
LEAVE = bytes.fromhex("b7000000000000009500000000000000")  # r0 = 0; exit


def bpf(command, attributes):
    """Call bpf(2) and return its result, or the errno, negative."""
    buffer = ctypes.create_string_buffer(attributes, 144)
    result = libc.syscall(BPF, command, buffer, 144)
    return result if result >= 0 else -ctypes.get_errno()


def load(kind, code=LEAVE, attach_type=0):
    """Load a program of a type; return its descriptor, or the errno, negative."""
    insns, gpl = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    where = ctypes.addressof(insns), ctypes.addressof(gpl)
    return bpf(5, struct.pack("=IIQQIIQII16xII", kind, len(code) // 8, *where, 0, 0, 0, 0, 0, 0, attach_type))


def takes(kind, attach_type=0):
    return load(kind, attach_type=attach_type) >= 0


def kprobe_multi():
    """Attach to one function by name, as no kprobe does."""
    names = (ctypes.c_char_p * 1)(b"vfs_statx")
    program = load(2, attach_type=42)
    return bpf(28, struct.pack("=4I2I3Q", program, 0, 42, 0, 0, 1, ctypes.addressof(names), 0, 0)) >= 0


def override():
    """bpf_override_return(ctx, 0), which only a kernel with the option knows."""
    return load(2, bytes.fromhex("b702000000000000850000003a000000") + LEAVE) >= 0


def netkit():
    """Attach to a device that is not there: the one errno says so, the other that nothing is known of netkit."""
    return bpf(8, struct.pack("=4I", 0x7FFFFFFF, load(3), 54, 0)) == -errno.ENODEV


def module_types():
    """Load the module, and look for its types."""
    fd = os.memfd_create("module")
    os.write(fd, sys.stdin.buffer.read())
    if libc.syscall(FINIT_MODULE, fd, b"", 0) and ctypes.get_errno() != errno.EEXIST:
        raise OSError(ctypes.get_errno(), "finit_module")
    found = os.path.exists("/sys/kernel/btf/dummy")
    libc.syscall(DELETE_MODULE, b"dummy", os.O_NONBLOCK)
    return found


def af_xdp():
    try:
        socket.socket(44, socket.SOCK_RAW).close()
    except OSError:
        return False
    return True


def words(path):
    with open(path) as file:
        return file.read().replace(",", " ").split()


def knows_type(name):
    """Whether the kernel's types have a name: a struct_ops has one of its own."""
    with open("/sys/kernel/btf/vmlinux", "rb") as file:
        return b"\0" + name + b"\0" in file.read()


PROBES = {
    "BPF_KPROBE_OVERRIDE": override,
    "BPF_LIRC_MODE2": lambda: takes(20),
    "BPF_LSM": lambda: "bpf" in words("/sys/kernel/security/lsm"),
    "CGROUP_BPF": lambda: takes(8),
    "DEBUG_INFO_BTF": lambda: os.path.exists("/sys/kernel/btf/vmlinux"),
    "DEBUG_INFO_BTF_MODULES": module_types,
    "DYNAMIC_FTRACE_WITH_DIRECT_CALLS": lambda: "register_ftrace_direct" in words("/proc/kallsyms"),
    "FPROBE": kprobe_multi,
    "FTRACE_SYSCALLS": lambda: os.path.exists("/sys/kernel/tracing/events/syscalls/sys_enter_openat"),
    "FUNCTION_ERROR_INJECTION": lambda: os.path.exists("/sys/kernel/debug/error_injection/list"),
    "HID_BPF": lambda: knows_type(b"bpf_struct_ops_hid_bpf_ops"),
    "KPROBE_EVENTS": lambda: os.path.exists("/sys/kernel/tracing/kprobe_events"),
    "NETFILTER_BPF_LINK": lambda: takes(32, 45),
    "NETKIT": netkit,
    "NET_SCH_BPF": lambda: knows_type(b"bpf_struct_ops_Qdisc_ops"),
    "SCHED_CLASS_EXT": lambda: os.path.exists("/sys/kernel/sched_ext/state"),
    "UPROBE_EVENTS": lambda: os.path.exists("/sys/kernel/tracing/uprobe_events"),
    "XDP_SOCKETS": af_xdp,
}


if __name__ == "__main__":
    json.dump({name: bool(probe()) for name, probe in PROBES.items()}, sys.stdout)
