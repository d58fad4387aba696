"""What was written is read back: the same programs, functions, operands, lines, maps and variables."""

import sys

import pytest
from support.made_kernel import ASKED, kernel

from bpfasm.asm import *
from bpfasm.asm.fields import Core
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.ksym import ADDRESS, FUNCTION, Ksym
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.variables import Section
from bpfasm.btf.core import named
from bpfasm.elf.object import read_object
from bpfasm.elf.object_write import write_object
from bpfasm.elf.reading.core import Recorded
from bpfasm.elf.writing.functions import split

EXIT = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]

hits = HashMap("hits", key=u32, value=u64, max_entries=16, flags=BPF_F_NO_PREALLOC)
pairs = HashMap("pairs", key=chars(8), value=array(u32, 3), max_entries=16)
inner = ArrayMap("inner", value=u64, max_entries=1)
outer = ArrayOfMaps("outer", inner=inner, max_entries=2, initial={1: inner})
ring = RingBuf("ring", max_entries=4096)
other = Program("other", BPF_PROG_TYPE_SOCKET_FILTER, EXIT)
table = ProgArray("table", max_entries=2, initial={0: other})
limit = Global("limit", u32, 7, const=True)
words = Global("words", array(u16, 3), (1, 2, 3))
total = Global("total", u64)
leaf = Subprog("leaf", [BPF_LD_MAP_VALUE(R1, words, 2), *EXIT])
step = Subprog("step", [BPF_CALL_REL(leaf), BPF_LD_MAP_FD(R1, hits), *EXIT])


def ksym(reg, *fields):
    return BPF_LD_IMM64(reg, 0).replace(imm=Ksym(*fields))


rich = Program(
    "rich",
    BPF_PROG_TYPE_SOCKET_FILTER,
    [
        *(BPF_LD_MAP_FD(R2, spec) for spec in (hits, pairs, outer, ring, table)),
        *(BPF_LD_MAP_VALUE(R3, variable, 0) for variable in (limit, words, total)),
        BPF_LD_MAP_VALUE(R3, words, 4),
        BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, step, 0),
        BPF_CALL_REL(leaf),
        *ASKED,
        BPF_CALL_KFUNC(0, kfunc("weigh")),
        ksym(R1, "weigh", FUNCTION),
        ksym(R1, "anything", ADDRESS, True),
        BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"),
        BPF_LD_IMM64(R1, 1 << 40),
        label("out"),
        BPF_CALL_REL("own"),
        *EXIT,
        label("own"),
        BPF_MOV64_IMM(R0, 3),
        BPF_EXIT_INSN(),
    ],
)


def operand(insn, reference):
    """Return what an instruction refers to, in the same words whichever way it is said."""
    it = reference.operand
    if reference.callee:
        return "function", reference.callee
    if isinstance(it, MapSpec) and isinstance(it.value, Section):
        (variable, offset), *_ = [place for place in reversed(it.value.places) if place[1] <= insn.imm2]
        return "variable", variable.name, insn.imm2 - offset
    if isinstance(it, Global):
        return "variable", it.name, insn.imm2
    if isinstance(it, MapSpec):
        return "map", it.name
    if isinstance(it, Kfunc | Ksym):
        return it
    sought = named(it.kind, it.root, it.path) if isinstance(it, Core) else it.sought
    assert isinstance(it, Core | Recorded)
    return sought.kind, sought.root, [(step.name, step.index) for step in sought.steps]


def meaning(program):
    """Return the functions of a program by name: instructions, where each comes from, what each refers to."""
    found = {}
    for function in split(assemble(program)):
        said = {(each.pc, each.slot): each for each in function.references}
        rows, pc = [], 0
        for insn in function.insns:
            refers = {slot: operand(insn, said[pc, slot]) for slot in ("off", "imm") if (pc, slot) in said}
            plain = [
                insn.code,
                insn.dst_reg,
                insn.src_reg,
                *(refers.get(each) or getattr(insn, each) for each in ("off", "imm")),
            ]
            rows.append((plain, insn.source, None if refers else insn.imm2))
            pc += insn.width
        found[function.name] = rows
    return found


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_program_is_what_it_was(order):
    obj = read_object(write_object(rich, types=kernel(), byteorder=order))
    again = obj["rich"]
    assert meaning(again) == meaning(rich)
    assert len(meaning(again)) == 4
    assert (again.type, again.license, again.attach) == (rich.type, "GPL", None)
    assert set(obj.maps) == {"hits", "pairs", "outer", "inner", "ring", "table", ".rodata", ".data", ".bss"}
    for spec in (hits, pairs, inner, ring):
        there = obj[spec.name]
        assert [getattr(there, name) for name in ("name", "type", "key", "value", "max_entries", "flags")] == [
            getattr(spec, name) for name in ("name", "type", "key", "value", "max_entries", "flags")
        ]
    assert obj["outer"].initial == {1: obj["inner"]}
    assert (obj["outer"].inner.type, obj["outer"].inner.value) == (inner.type, inner.value)
    assert obj["table"].initial == {0: obj["other"]}
    held = {}
    for spec in obj.maps.values():
        if isinstance(spec.value, Section):
            data = spec.value.pack({})
            held |= {each.name: (each.type, data[at : at + each.size]) for each, at in spec.value.places}
    expected = {each.name: (each.type, each.pack(each.init)) for each in (limit, words, total)}
    if order != sys.byteorder:
        expected = {name: (type, data if type is u64 else None) for name, (type, data) in expected.items()}
        held = {name: (type, data if type is u64 else None) for name, (type, data) in held.items()}
    assert held == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"type": BPF_PROG_TYPE_KPROBE, "attach": kprobe("vfs_read", offset=16)},
        {"type": BPF_PROG_TYPE_KPROBE, "attach": kretprobe("vfs_read")},
        {"type": BPF_PROG_TYPE_KPROBE, "attach": kprobe(syscall="fchownat")},
        {"type": BPF_PROG_TYPE_RAW_TRACEPOINT, "attach": raw_tracepoint("sched_switch"), "license": "MIT"},
        {"type": BPF_PROG_TYPE_KPROBE, "attach": kprobe_multi(pattern="vfs_*", retprobe=True),
         "expected_attach_type": BPF_TRACE_KPROBE_MULTI},
        {"type": BPF_PROG_TYPE_KPROBE, "attach": uprobe("libc.so.6", "getpriority", offset=4)},
        {"type": BPF_PROG_TYPE_KPROBE, "attach": uretprobe("/bin/bash", "readline")},
        {"type": BPF_PROG_TYPE_KPROBE, "attach": usdt("libc.so.6", "libc", "setjmp")},
        {"type": BPF_PROG_TYPE_TRACEPOINT, "attach": tracepoint("syscalls", "sys_enter_openat")},
        {"type": BPF_PROG_TYPE_TRACING, "attach": tp_btf("sched_switch")},
        {"type": BPF_PROG_TYPE_TRACING, "attach": fmod_ret("security_file_open")},
        {"type": BPF_PROG_TYPE_TRACING, "attach": iterator("task")},
        {"type": BPF_PROG_TYPE_TRACING, "expected_attach_type": BPF_TRACE_FENTRY, "attach_btf": "vfs_read"},
        {
            "type": BPF_PROG_TYPE_LSM, "expected_attach_type": BPF_LSM_MAC, "attach_btf": "file_open",
            "flags": BPF_F_SLEEPABLE,
        },
        {"type": BPF_PROG_TYPE_XDP, "expected_attach_type": BPF_XDP},
        {"type": BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "expected_attach_type": BPF_CGROUP_INET4_CONNECT},
    ],
    ids=lambda fields: str(fields.get("attach") or fields.get("attach_btf") or fields["type"]),
)  # fmt: skip
def test_what_it_is_for_is_what_it_was(fields):
    prog = Program("prog", insns=EXIT, **fields)
    (again,) = read_object(write_object(prog)).programs
    assert {name: getattr(again, name) for name in fields} == fields
    assert again.insns == prog.insns


def test_examples_are_what_they_were():
    from bpfasm import inputs

    for name in ("percpu", "chowncount", "seed"):
        prog = inputs.shipped("examples/chowncount.py")[name]
        again = read_object(write_object(prog, leave_initial=True))[name]
        assert meaning(again) == meaning(prog)
        assert again.attach == prog.attach
