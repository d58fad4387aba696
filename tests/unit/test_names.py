"""The names that ``from bpfasm.asm import *`` gives: upper case is the kernel's, the rest is ours."""

import types

import pytest

import bpfasm.asm
from bpfasm.asm import macros
from bpfasm.isa import filter_h, operands
from bpfasm.uapi import bpf, bpf_common

HEADERS = [bpf, bpf_common, macros, operands, filter_h]
EXPORTED = bpfasm.asm.__all__


def from_a_header(name):
    return any(name in getattr(header, "__all__", vars(header)) for header in HEADERS)


def test_every_exported_name_is_there_once():
    assert len(EXPORTED) == len(set(EXPORTED))
    assert all(hasattr(bpfasm.asm, name) for name in EXPORTED)
    assert not any(isinstance(getattr(bpfasm.asm, name), types.ModuleType) for name in EXPORTED)


def test_upper_case_is_the_kernels():
    """``R0``, ``FP`` and their kin are in operands: they are what the verifier prints."""
    kernels = {name for name in EXPORTED if name.startswith(("BPF_", "BTF_", "MAX_")) or name == name.upper()}
    assert {name for name in kernels if not from_a_header(name)} == set()


def test_the_rest_is_ours():
    ours = {name for name in EXPORTED if not from_a_header(name)}
    assert ours == {
        "cgroup", "flow_dissector", "reuseport", "sk_lookup", "socket_filter", "sockmap", "tc", "tcx", "xdp",
        "Arena", "ArrayMap", "ArrayOfMaps", "Assembled", "BloomFilter", "CgroupArray", "CgroupStorage",
        "CgrpStorage", "CpuMap", "DevMap", "DevMapHash", "Global", "HashMap", "HashOfMaps", "InodeStorage", "Insn",
        "InsnArray", "Kfunc", "Kprobe", "Label", "Linked", "LpmTrie", "LruHashMap", "LruPerCpuHashMap", "MapSpec",
        "PerCpuArrayMap", "PerCpuCgroupStorage", "PerCpuHashMap", "PerfEventArray", "ProgArray", "Program", "Queue",
        "RHash", "Record", "ReuseportSockArray", "RingBuf", "SkStorage", "SockHash", "SockMap", "Stack", "StructOps",
        "RawTracepoint", "StackLayout", "StackTrace", "Subprog", "Target", "TaskStorage", "UserRingBuf", "XskMap",
        "array", "assemble", "chars", "ipv4_prefix", "ipv6_prefix", "kconfig", "kfunc", "kprobe", "kretprobe",
        "label", "link",
        "lpm_key", "pad", "raw", "s16", "s32", "s64", "s8", "spin_lock", "timer", "u16", "u32", "u64", "u8",
        "Place", "Tracepoint", "fentry", "fexit", "fmod_ret", "freplace", "fsession", "iterator", "kprobe_multi",
        "lsm", "lsm_cgroup", "perf_event", "raw_tracepoint", "register", "tp_btf", "tracepoint", "uprobe",
        "netfilter", "uprobe_multi", "uretprobe", "usdt",
        "enum_exists", "enum_value", "field", "first_of", "type_exists", "type_id", "type_size",
    }  # fmt: skip


@pytest.mark.parametrize("name", operands.__all__)
def test_kinds_win_over_bare_numbers(name):
    """linux/bpf.h has BPF_ADD and its kin too, as ints."""
    assert getattr(bpfasm.asm, name) is getattr(operands, name)


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: header.__name__)
def test_a_name_has_one_value(header):
    """Where two headers have a name, they agree on its value."""
    differ = {
        name
        for name in set(EXPORTED) & vars(header).keys()
        if isinstance(vars(header)[name], int)
        and int(getattr(getattr(bpfasm.asm, name), "number", getattr(bpfasm.asm, name))) != vars(header)[name]
    }
    assert differ == set()
