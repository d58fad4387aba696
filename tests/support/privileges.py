"""Being somebody with less: other capabilities, a filter of system calls, another user namespace. For a child."""

import ctypes
import os
import struct

from bpfasm.uapi import capability, unistd

PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 8, 38, 22, 2
CLONE_NEWUSER, CLONE_NEWPID = 1 << 28, 1 << 29

libc = ctypes.CDLL(None, use_errno=True)


def done(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def become(uid, *kept):
    """Be a user with some capabilities alone; and with what it takes to read Python, which may be root's."""
    done(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setresuid(uid, uid, uid)
    mask = sum(1 << getattr(capability, name) for name in {*kept, "CAP_DAC_READ_SEARCH"})
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("Ii", capability._LINUX_CAPABILITY_VERSION_3, 0)
    done(libc.capset(header, struct.pack("6I", low, low, 0, high, high, 0)))


def refuse(*names, errno):
    """Let system calls (``__NR_bpf`` ...) fail with an errno from now on, by a filter, as in a container."""
    numbers = [unistd.syscalls[os.uname().machine][name] for name in names]
    load, equal, give = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
    filter_ = [(load, 0, 0, 0)]  # the number, offset 0 of struct seccomp_data
    for at, number in enumerate(numbers):
        filter_.append((equal, len(numbers) - at, 0, number))
    filter_ += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050000 | errno)]  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO
    insns = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in filter_))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(filter_), ctypes.addressof(insns)))
    done(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    done(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0))


def new_user_namespace():
    """Be root of a user namespace of one's own, with all capabilities in it."""
    uid, gid = os.getuid(), os.getgid()
    done(libc.unshare(CLONE_NEWUSER))
    with open("/proc/self/setgroups", "w") as file:
        file.write("deny")
    for name, id in (("uid_map", uid), ("gid_map", gid)):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(f"0 {id} 1")
