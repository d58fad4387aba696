"""Keys and values that the kernel lays out, as records."""

from __future__ import annotations

from bpfasm.asm.handles import fd32
from bpfasm.asm.record import Record
from bpfasm.asm.types import pad, u32, u64


class DevMapValue(Record):
    """``struct bpf_devmap_val``: reading gives the program's id in the place of its file descriptor."""

    ifindex = u32("index of the interface")
    prog = fd32("program to run on what was redirected there, 0 for none")


class CpuMapValue(Record):
    """``struct bpf_cpumap_val``: reading gives the program's id in the place of its file descriptor."""

    qsize = u32("packets that the CPU's queue holds")
    prog = fd32("program to run on what was redirected there, 0 for none")


class CgroupStorageKey(Record):
    """``struct bpf_cgroup_storage_key``."""

    cgroup_inode_id = u64("id of the cgroup")
    attach_type = u32("BPF_CGROUP_*")
    _ = pad(4)


class InsnArrayValue(Record):
    """``struct bpf_insn_array_value``; only ``orig_off`` is written, the kernel fills in the others."""

    orig_off = u32("slot in the program as it was loaded")
    xlated_off = u32("slot in the program as the verifier rewrote it")
    jitted_off = u32("offset in its native code, bytes")
    _ = pad(4)
