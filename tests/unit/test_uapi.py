"""The generated constants and layouts: what is known of them without the headers."""

import doctest
import importlib
import pkgutil
import struct
import subprocess
import sys

import pytest

from bpfasm import uapi
from bpfasm.uapi import bpf, if_link, in_, perf_event, pkt_cls, ptrace, unistd

MODULES = {name: importlib.import_module(f"bpfasm.uapi.{name}") for _, name, _ in pkgutil.iter_modules(uapi.__path__)}


def layouts():
    for module in MODULES.values():
        for name, value in vars(module).items():
            if name.startswith(("struct_", "union_")):
                yield name, value, getattr(module, f"sizeof_{name}")
    for machine, layout in ptrace.bpf_user_pt_regs_t.items():
        yield machine, layout, ptrace.sizeof_bpf_user_pt_regs_t[machine]


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (bpf.BPF_MAP_CREATE, 0),
        (bpf.BPF_LINK_CREATE, 28),
        (bpf.BPF_FUNC_map_lookup_elem, 1),
        (bpf.BPF_PROG_TYPE_KPROBE, 2),
        (bpf.BPF_PSEUDO_MAP_FD, 1),
        (bpf.BPF_CMPXCHG, 0xF1),
        (bpf.BPF_F_CTXLEN_MASK, 0xFFFFF << 32),
        (bpf.TCX_NEXT, -1),
        (bpf.union_bpf_attr["log_true_size"], (140, 4, "I")),
        (bpf.union_bpf_attr["map_name"], (28, 16, "16s")),
        (bpf.union_bpf_attr["batch.in_batch"], (0, 8, "Q")),
        (bpf.union_bpf_attr["link_create.kprobe_multi.flags"], (16, 4, "I")),
        (bpf.sizeof_union_bpf_attr, 168),
        (bpf.struct_bpf_insn["src_reg"], (1, 1, "B:4:4")),
        (bpf.struct_bpf_sock["dst_port"], (48, 2, ">H")),
        (perf_event.PERF_EVENT_IOC_SET_BPF, 0x40042408),
        (perf_event.struct_perf_event_attr["precise_ip"], (40, 8, "Q:15:2")),
        (if_link.IFLA_XDP_FD, 1),
        (in_.IPPROTO_TCP, 6),
        (pkt_cls.TC_ACT_SHOT, 2),
        (unistd.syscalls["x86_64"]["__NR_bpf"], 321),
        (unistd.syscalls["aarch64"]["__NR_bpf"], 280),
        (ptrace.bpf_user_pt_regs_t["x86_64"]["rdi"], (112, 8, "Q")),
    ],
)
def test_what_everyone_knows(value, known):
    assert value == known


def test_importing_loads_nothing_else():
    code = "import sys; before = set(sys.modules); {}; print(*set(sys.modules) - before)"
    imports = {"import bpfasm.uapi": {"bpfasm", "bpfasm.uapi"}}
    for name in MODULES:
        imports[f"import bpfasm.uapi.{name}"] = {"bpfasm", "bpfasm.uapi", f"bpfasm.uapi.{name}"}
    for statement, loaded in imports.items():
        command = [sys.executable, "-c", code.format(statement)]
        assert set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()) == loaded


def test_no_name_has_two_values():
    seen = {}
    for module in MODULES.values():
        for name, value in vars(module).items():
            if name not in vars(uapi):  # __name__, __file__ ...
                assert seen.setdefault(name, value) == value, name
    assert len(seen) > 2500


def test_every_enum_names_its_constants():
    tags = [(module, tag) for module in MODULES.values() for tag in vars(module) if tag.startswith("enum_")]
    assert len(tags) >= 60
    for module, tag in tags:
        assert all(isinstance(getattr(module, name), int) for name in getattr(module, tag))


def test_every_member_is_inside_and_as_long_as_its_format():
    count = 0
    for name, members, size in layouts():
        for member, (offset, length, form) in members.items():
            letter, *bits = form.split(":")
            assert struct.calcsize(letter) == length, (name, member)
            assert offset + length <= size, (name, member)
            if bits:
                assert sum(map(int, bits)) <= 8 * length, (name, member)
            count += 1
    assert count > 1100


def test_the_documentation_is_true():
    failed, tried = doctest.testmod(uapi)
    assert tried > 5 and not failed
