"""Words for the kernel's numbers."""

from __future__ import annotations

from errno import EOPNOTSUPP, errorcode

from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi import bpf, names

#: What to do where this kernel will not; each command takes ``--on``.
IN_THE_LAB = "add `--on 6.1`: the lab runs it on Debian's 6.1 kernel, in QEMU, without root"


def errno_name(number: int) -> str:
    """Return ``EINVAL`` for 22."""
    # Python has two names for 95, and takes the one that the kernel does not.
    own = {ENOTSUPP: "ENOTSUPP", EOPNOTSUPP: "EOPNOTSUPP"}
    return own.get(number) or errorcode.get(number, f"errno {number}")


def map_type(number: int) -> str:
    """Return ``BPF_MAP_TYPE_HASH`` for 1."""
    return names(bpf, "bpf_map_type").get(number, f"BPF_MAP_TYPE_{number}")


def prog_type(number: int) -> str:
    """Return ``BPF_PROG_TYPE_KPROBE`` for 2."""
    return names(bpf, "bpf_prog_type").get(number, f"BPF_PROG_TYPE_{number}")


def attach_type(number: int) -> str:
    """Return ``cgroup_inet_ingress`` for 0."""
    return names(bpf, "bpf_attach_type").get(number, str(number)).removeprefix("BPF_").lower()


def object_name(name: str) -> bytes:
    """Return the name that the kernel takes for an object: 15 of A-Z a-z 0-9 _ and the dot."""
    kept = "".join(c for c in name if c in "._" or (c.isascii() and c.isalnum()))
    return kept.encode()[: bpf.BPF_OBJ_NAME_LEN - 1]
