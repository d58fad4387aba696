"""Objects as they are written: sections, symbols, relocations, types; what has no place in one is refused by name."""

import random
import sys
from pathlib import Path

import pytest
from support.made_kernel import ASKED, kernel

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.asm.map_types import all_types
from bpfasm.asm.prog_types import TYPES
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.elf import sections
from bpfasm.elf.layout import R_BPF_64_32, R_BPF_64_64, R_BPF_64_ABS64
from bpfasm.elf.object import read_object
from bpfasm.elf.object_write import write_object
from bpfasm.elf.read import Elf
from bpfasm.elf.writing.byteorder import in_order
from bpfasm.elf.writing.section_of import section_of
from bpfasm.errors import BpfasmError
from bpfasm.isa.insn import decode
from bpfasm.uapi import btf as kinds, elf as numbers

ROOT = Path(__file__).parents[2]

EXIT = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
HERE = Path(__file__).name

counts = ArrayMap("counts", value=u64, max_entries=4)


def program(*insns, name="prog", type=BPF_PROG_TYPE_SOCKET_FILTER, **more):
    return Program(name, type, [*insns, *EXIT], **more)


def read(*items, **options):
    return Elf(write_object(*items, **options))


def contents(elf, name):
    return elf.contents(elf.section(name))


def relocations(elf, name):
    """Return (offset, symbol's or section's name, how)."""
    found = []
    for each in elf.relocations(elf.section(name)):
        symbol = elf.symbols[each.symbol]
        found.append((each.offset, symbol.name or elf.sections[symbol.section].name, each.type))
    return found


def symbol(elf, name):
    (found,) = [each for each in elf.symbols if each.name == name]
    return found


# Sections and symbols


def test_a_section_for_each_kind_of_program_and_symbols_within():
    elf = read(
        program(name="one"), program(name="two"), program(name="three", type=BPF_PROG_TYPE_XDP), program(name="four")
    )
    assert [each.name for each in elf.sections] == [
        "", "socket", "xdp", "license", ".BTF", ".BTF.ext", ".symtab", ".strtab",
    ]  # fmt: skip
    assert contents(elf, "license") == b"GPL\0"
    assert [symbol(elf, name).value for name in ("one", "two", "three", "four")] == [0, 16, 0, 32]
    assert {each.bind for each in elf.symbols if each.type == numbers.STT_FUNC} == {numbers.STB_GLOBAL}
    assert len(contents(elf, "socket")) == 48
    # Local symbols come first: the table's info is the number of the first global one.
    table = elf.section(".symtab")
    binds = [each.bind for each in elf.symbols]
    assert binds == sorted(binds)
    assert table.info == binds.index(numbers.STB_GLOBAL)


def test_functions_that_are_called_are_local_and_in_text_once():
    leaf = Subprog("leaf", EXIT)
    other = Subprog("other", [BPF_CALL_REL(leaf), BPF_EXIT_INSN()])
    elf = read(
        program(BPF_CALL_REL(other), BPF_CALL_REL(leaf), name="one"),
        program(BPF_CALL_REL(leaf), BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, other, 0), name="two"),
    )
    assert {name: (symbol(elf, name).bind, symbol(elf, name).value) for name in ("leaf", "other")} == {
        "other": (numbers.STB_LOCAL, 0),
        "leaf": (numbers.STB_LOCAL, 16),
    }
    text = decode(contents(elf, ".text"))
    assert relocations(elf, ".text") == [(0, ".text", R_BPF_64_32)]
    assert text[0].imm == 1  # slots from the start of .text, less one: as clang has it for static functions
    code = decode(contents(elf, "socket"))
    assert relocations(elf, "socket") == [
        (0, ".text", R_BPF_64_32),
        (8, ".text", R_BPF_64_32),
        (32, ".text", R_BPF_64_32),
        (40, ".text", R_BPF_64_64),
    ]
    assert [code[0].imm, code[1].imm, code[4].imm] == [-1, 1, 1]
    assert (code[5].src_reg, code[5].imm) == (0, 0)  # bytes


def test_what_is_called_by_a_label_becomes_a_function():
    body = [BPF_CALL_REL("f"), BPF_EXIT_INSN(), label("f"), BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()]
    elf = read(Program("prog", BPF_PROG_TYPE_XDP, body))
    found = symbol(elf, "prog_2")
    assert (elf.sections[found.section].name, found.value, found.size) == (".text", 0, 16)
    assert symbol(elf, "prog").size == 16


def test_functions_with_arguments_are_global():
    if "args" not in Subprog._fields:
        pytest.skip("subprograms do not say what their arguments are")
    add = Subprog("add", [BPF_MOV64_REG(R0, R2), BPF_EXIT_INSN()], args=("ctx", u64))
    elf = read(program(BPF_CALL_REL(add), type=BPF_PROG_TYPE_XDP))
    assert symbol(elf, "add").bind == numbers.STB_GLOBAL
    btf = btf_of(elf)
    (id,) = btf.find("add", kinds.BTF_KIND_FUNC)
    assert btf.type(id).detail == kinds.BTF_FUNC_GLOBAL
    context, number = btf.type(btf.type(id).type).members
    assert btf.type(btf.type(context.type).type).name == "xdp_md"
    assert btf.type(number.type).name == "u64"
    # Of another type of program it is another function.
    refused(
        "function-twice", program(BPF_CALL_REL(add), name="a"), program(BPF_CALL_REL(add), type=BPF_PROG_TYPE_XDP)
    )


def test_two_functions_of_one_name_are_refused():
    one, two = (Subprog("sub", [BPF_MOV64_IMM(R0, n), BPF_EXIT_INSN()]) for n in (1, 2))
    refused("function-twice", program(BPF_CALL_REL(one), name="a"), program(BPF_CALL_REL(two), name="b"))


# Maps and variables


def members(btf, name):
    """Return what a map's variable says: names to numbers, or to the names of types."""
    (id,) = btf.find(name, kinds.BTF_KIND_VAR)
    found = {}
    for each in btf.type(btf.type(id).type).members:
        inner = btf.resolve(each.type)
        behind = btf.type(inner.type) if inner.kind == kinds.BTF_KIND_PTR else inner
        if behind.kind == kinds.BTF_KIND_ENUM64:
            found[each.name] = behind.members[0].value
        elif behind.kind == kinds.BTF_KIND_ARRAY and each.name not in ("key", "value", "values"):
            found[each.name] = behind.detail
        else:
            found[each.name] = behind.name or behind.kind
    return found


def btf_of(elf):
    return Btf(contents(elf, ".BTF"))


def test_maps_say_what_they_are():
    class Pair(Record):
        a = u32("a")
        b = u32("b")

    elf = read(
        HashMap("hash", key=Pair, value=u64, max_entries=7, flags=BPF_F_NO_PREALLOC, pinned=True),
        HashMap("sized", key=12, value=u64, max_entries=1),
        RingBuf("ring", max_entries=4096),
        Arena("arena", max_entries=3, map_extra=1 << 44, flags=BPF_F_MMAPABLE),
        BloomFilter("bloom", value=u32, max_entries=5, hashes=3),
        ArrayMap("near", value=u64, max_entries=1, numa_node=0),
        PerfEventArray("perf"),
    )
    btf = btf_of(elf)
    assert members(btf, "hash") == {
        "type": BPF_MAP_TYPE_HASH, "key": "Pair", "value": "u64", "max_entries": 7, "map_flags": 1, "pinning": 1,
    }  # fmt: skip
    # A kernel takes the types of both or of none.
    assert members(btf, "sized") == {"type": 1, "key_size": 12, "value_size": 8, "max_entries": 1}
    assert members(btf, "ring") == {"type": BPF_MAP_TYPE_RINGBUF, "max_entries": 4096}
    assert members(btf, "arena")["map_extra"] == 1 << 44
    assert members(btf, "bloom")["map_extra"] == 3
    assert members(btf, "near") | {"numa_node": 0, "map_flags": BPF_F_NUMA_NODE} == members(btf, "near")
    assert members(btf, "perf") == {"type": BPF_MAP_TYPE_PERF_EVENT_ARRAY, "key_size": 4, "value_size": 4}
    (id,) = btf.find(".maps", kinds.BTF_KIND_DATASEC)
    for place in btf.type(id).members:
        found = symbol(elf, place.name)
        assert (found.value, found.size) == (place.offset, place.size)
        assert elf.sections[found.section].name == ".maps"
        assert found.bind == numbers.STB_GLOBAL


def test_maps_and_programs_in_maps_are_relocations():
    inner = ArrayMap("inner", value=u32, max_entries=2)
    tail = program(name="tail")
    outer = ArrayOfMaps("outer", inner=inner, max_entries=3, initial={2: inner})
    table = ProgArray("table", max_entries=2, initial={1: tail})
    elf = read(outer, table)
    at = {name: symbol(elf, name).value for name in ("outer", "table", "inner")}
    assert at["inner"] < at["outer"]  # loaders make maps in this order
    assert sorted(relocations(elf, ".maps")) == sorted(
        [(at["outer"] + 24 + 16, "inner", R_BPF_64_ABS64), (at["table"] + 32 + 8, "tail", R_BPF_64_ABS64)]
    )
    assert members(btf_of(elf), "outer")["values"] == kinds.BTF_KIND_ARRAY


def test_variables_are_in_sections_by_what_they_hold():
    class Pair(Record):
        a = u32("a")
        b = u16("b")
        c = u16("c")

    limit = Global("limit", u64, 100, const=True)
    first = Global("first", u8, 7)
    pair = Global("pair", Pair, (1, 2, 3))
    sums = Global("sums", array(u64, 2))
    body = [BPF_LD_MAP_VALUE(R1, each, 0) for each in (first, pair, limit, sums)]
    elf = read(program(*body, BPF_LD_MAP_VALUE(R1, sums, 8)))
    assert contents(elf, ".data") == bytes([7, 0, 0, 0]) + Pair(a=1, b=2, c=3).to_bytes()
    assert contents(elf, ".rodata") == (100).to_bytes(8, sys.byteorder)
    assert (elf.section(".bss").type, elf.section(".bss").size) == (numbers.SHT_NOBITS, 16)
    assert relocations(elf, "socket") == [
        (0, "first", R_BPF_64_64),
        (16, "pair", R_BPF_64_64),
        (32, "limit", R_BPF_64_64),
        (48, "sums", R_BPF_64_64),
        (64, ".bss", R_BPF_64_64),
    ]
    assert [insn.imm for insn in decode(contents(elf, "socket"))[:5]] == [0, 0, 0, 0, 8]
    btf = btf_of(elf)
    (id,) = btf.find(".data", kinds.BTF_KIND_DATASEC)
    assert [(each.name, each.offset, each.size) for each in btf.type(id).members] == [("first", 0, 1), ("pair", 4, 8)]


def test_every_type_of_map_can_be_declared():
    inner = ArrayMap("inside", value=u32, max_entries=1)
    for row in all_types():
        key = next(iter(row.key)) if 4 not in row.key else 4
        value = next(iter(row.value)) if 8 not in row.value else 8
        entries = 4096 if "Ring" in row.spec else next(iter(row.entries))
        of_maps = {"inner": inner} if row.spec.endswith("OfMaps") else {}
        spec = MapSpec("it", row.type, key, value, entries, **of_maps)
        assert members(btf_of(read(spec)), "it")["type"] == row.type


# Byte orders


def test_the_other_byte_order_has_the_same_content():
    class Mixed(Record):
        a = u32("a")
        b = chars(4)("b")
        c = array(u16, 4)("c")

    value = Global("value", Mixed, (1, b"abc", (1, 2, 3, 4)))
    prog = program(BPF_LD_MAP_VALUE(R1, value, 0), BPF_LD_MAP_FD(R2, counts), BPF_MOV64_IMM(R3, 0x1234))
    little, big = (read(prog, byteorder=order) for order in ("little", "big"))
    assert (little.order, big.order) == ("little", "big")
    assert contents(little, ".data") == bytes.fromhex("01000000 61626300 0100 0200 0300 0400")
    assert contents(big, ".data") == bytes.fromhex("00000001 61626300 0001 0002 0003 0004")
    assert decode(contents(little, "socket"), "little") == decode(contents(big, "socket"), "big")
    assert relocations(little, "socket") == relocations(big, "socket")
    one, other = btf_of(little), btf_of(big)
    assert (one.byteorder, other.byteorder) == ("little", "big")
    assert [one.type(id) for id in range(1, len(one))] == [other.type(id) for id in range(1, len(other))]
    assert [tuple(each) for each in little.symbols] == [tuple(each) for each in big.symbols]


@pytest.mark.parametrize(
    ("kind", "little", "big"),
    [
        (u16, "0100", "0001"),
        (s64, "0100000000000000", "0000000000000001"),
        (8, "0102030405060708", "0102030405060708"),
        (ipv4_prefix, "080000000a000000", "000000080a000000"),
        (spin_lock, "01000000", "00000001"),
        (raw(2), "0102", "0102"),
    ],
    ids=str,
)
def test_values_in_the_other_order(kind, little, big):
    other = "big" if sys.byteorder == "little" else "little"
    own, swapped = (bytes.fromhex(each) for each in ((little, big) if other == "big" else (big, little)))
    assert in_order(kind, own, sys.byteorder) == own
    assert in_order(kind, own, other) == swapped


# Names of sections


def test_what_a_section_is_called_gives_the_program_back():
    seen = set()
    for row in sections.ROWS:
        assert sections.find(row.name) == (row, "")
        if row.target:
            assert sections.find(f"{row.name}/a/b") == (row, "a/b")
        seen.add(row.type)
    assert seen == TYPES.keys()
    assert len({row.name for row in sections.ROWS}) == len(sections.ROWS)
    for name in ("", "xdp_drop", "kprobe.s/x", "socket/x", "tracepoints/x", "xdp/nothing"):
        assert sections.find(name) is None


def places():
    """Return programs at the places that the notation has: each its fields, and the section."""
    import bpfasm.asm as notation

    found = []
    for type, section, maker, *arguments in (
        (
            BPF_PROG_TYPE_TRACEPOINT,
            "tracepoint/syscalls/sys_enter_openat",
            "tracepoint",
            "syscalls",
            "sys_enter_openat",
        ),
        (BPF_PROG_TYPE_KPROBE, "uprobe//bin/sh:main", "uprobe", "/bin/sh", "main"),
        (BPF_PROG_TYPE_KPROBE, "uretprobe//bin/sh:main", "uretprobe", "/bin/sh", "main"),
        (BPF_PROG_TYPE_KPROBE, "usdt//bin/sh:a:b", "usdt", "/bin/sh", "a", "b"),
        (BPF_PROG_TYPE_TRACING, "fexit/vfs_read", "fexit", "vfs_read"),
        (BPF_PROG_TYPE_TRACING, "tp_btf/sched_switch", "tp_btf", "sched_switch"),
        (BPF_PROG_TYPE_LSM, "lsm/file_open", "lsm", "file_open"),
        (BPF_PROG_TYPE_TRACING, "iter/task", "iterator", "task"),
    ):
        if hasattr(notation, maker):
            found.append(({"type": type, "attach": getattr(notation, maker)(*arguments)}, section))
    return found


PLACES = places()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"type": BPF_PROG_TYPE_KPROBE}, "kprobe"),
        ({"type": BPF_PROG_TYPE_KPROBE, "attach": kprobe("vfs_read", offset=16)}, "kprobe/vfs_read+0x10"),
        ({"type": BPF_PROG_TYPE_KPROBE, "attach": kretprobe("vfs_read")}, "kretprobe/vfs_read"),
        ({"type": BPF_PROG_TYPE_KPROBE, "attach": kprobe(syscall="fchownat")}, "ksyscall/fchownat"),
        ({"type": BPF_PROG_TYPE_KPROBE, "attach": kretprobe(syscall="bpf")}, "kretsyscall/bpf"),
        ({"type": BPF_PROG_TYPE_RAW_TRACEPOINT, "attach": raw_tracepoint("sched_switch")}, "raw_tp/sched_switch"),
        (
            {"type": BPF_PROG_TYPE_TRACING, "expected_attach_type": BPF_TRACE_FENTRY, "attach_btf": "vfs_read"},
            "fentry/vfs_read",
        ),
        (
            {
                "type": BPF_PROG_TYPE_LSM, "expected_attach_type": BPF_LSM_MAC, "attach_btf": "file_open",
                "flags": BPF_F_SLEEPABLE,
            },
            "lsm.s/file_open",
        ),
        ({"type": BPF_PROG_TYPE_XDP}, "xdp"),
        ({"type": BPF_PROG_TYPE_XDP, "expected_attach_type": BPF_XDP, "flags": BPF_F_XDP_HAS_FRAGS}, "xdp.frags"),
        ({"type": BPF_PROG_TYPE_SCHED_CLS}, "tc"),
        ({"type": BPF_PROG_TYPE_SCHED_CLS, "expected_attach_type": BPF_TCX_EGRESS}, "tcx/egress"),
        ({"type": BPF_PROG_TYPE_CGROUP_SOCK}, "cgroup/sock_create"),
        ({"type": BPF_PROG_TYPE_SYSCALL, "flags": BPF_F_SLEEPABLE}, "syscall"),
        *PLACES,
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)  # fmt: skip
def test_programs_go_to_the_section_of_their_kind(fields, name):
    assert section_of(program(**fields)) == name


def test_every_type_that_needs_no_target_has_a_section():
    for row in TYPES.values():
        for attach_type in row.attach_types:
            if row.target or attach_type in (
                BPF_TRACE_KPROBE_MULTI, BPF_TRACE_UPROBE_MULTI, BPF_TRACE_KPROBE_SESSION, BPF_TRACE_UPROBE_SESSION,
            ):  # fmt: skip
                continue
            flags = BPF_F_SLEEPABLE if row.sleepable == "always" else 0
            found, rest = sections.find(
                section_of(program(type=row.type, expected_attach_type=attach_type, flags=flags))
            )
            assert (found.type, found.attach_type, rest) == (row.type, attach_type, "")


# Types of a kernel


def records(elf):
    """Return the CO-RE records of an object: (offset, type, access, kind), by section."""
    from bpfasm.elf.reading.btf_ext import read_ext

    btf = btf_of(elf)
    found = {}
    for name, info in read_ext(contents(elf, ".BTF.ext"), btf).items():
        found[name] = [(each.offset, btf.type(each.type).name, each.access, each.kind) for each in info.cores]
    return found


def test_only_what_is_named_goes_along_and_the_file_holds_the_numbers_of_the_types_given():
    types = kernel(before=8)
    elf = read(program(*ASKED), types=types)
    btf = btf_of(elf)
    (id,) = btf.find("task", kinds.BTF_KIND_STRUCT)
    task = btf.type(id)
    assert [(each.name, each.offset, each.bits) for each in task.members] == [
        ("tgid", 64, 0), ("se", 128, 0), ("parent", 256, 0), ("comm", 320, 0), ("flag", 453, 3),
    ]  # fmt: skip
    assert [each.name for each in btf.type(task.members[1].type).members] == ["sum"]
    assert btf.type(task.members[2].type).type == 0  # a pointer, whatever to
    assert btf.find("before", kinds.BTF_KIND_STRUCT) == []
    assert records(elf) == {
        "socket": [
            (0, "task", "0:0", BPF_CORE_FIELD_BYTE_OFFSET),
            (8, "task", "0:1:0", BPF_CORE_FIELD_BYTE_OFFSET),
            (16, "task", "0:3:3", BPF_CORE_FIELD_BYTE_OFFSET),
            (24, "task", "0:4", BPF_CORE_FIELD_LSHIFT_U64),
            (32, "task", "0:4", BPF_CORE_FIELD_EXISTS),
            (40, "task", "0", BPF_CORE_TYPE_SIZE),
            (48, "mode", "0", BPF_CORE_ENUMVAL_VALUE),
            (64, "unheard_of", "0", BPF_CORE_TYPE_EXISTS),
            (72, "task", "0:2", BPF_CORE_FIELD_BYTE_OFFSET),
        ]
    }
    # What is in the file is what link() makes of the same program for a kernel with these types.
    here = link(program(*ASKED), Target(btf=types)).insns
    there = decode(contents(elf, "socket"))
    assert [(each.off, each.imm) for each in there[:7]] == [(each.off, each.imm) for each in here[:7]]
    assert there[8] == here[8]


def test_the_object_does_not_depend_on_the_kernel_but_in_numbers():
    one, other = (read(program(*ASKED), types=kernel(before=before)) for before in (0, 40))
    assert records(one) == records(other)
    assert contents(one, "socket") != contents(other, "socket")


def test_kernel_functions_are_externs_with_their_prototype():
    elf = read(program(BPF_CALL_KFUNC(0, kfunc("weigh"))), types=kernel())
    found = symbol(elf, "weigh")
    assert (found.section, found.bind, found.type) == (numbers.SHN_UNDEF, numbers.STB_GLOBAL, numbers.STT_NOTYPE)
    assert relocations(elf, "socket") == [(0, "weigh", R_BPF_64_32)]
    call = decode(contents(elf, "socket"))[0]
    assert (call.src_reg, call.imm) == (BPF_PSEUDO_CALL, -1)
    btf = btf_of(elf)
    (id,) = btf.find("weigh", kinds.BTF_KIND_FUNC)
    assert btf.type(id).detail == kinds.BTF_FUNC_EXTERN
    first, second = btf.type(btf.type(id).type).members
    behind = btf.type(btf.type(first.type).type)
    assert (behind.name, behind.members, btf.type(second.type).name) == ("entity", (), "long")
    (section,) = btf.find(".ksyms", kinds.BTF_KIND_DATASEC)
    assert [each.name for each in btf.type(section).members] == ["weigh"]


def test_options_are_externs_of_kconfig():
    wanted = [
        kconfig("CONFIG_NET", "char"), kconfig("CONFIG_BPF_JIT", weak=True), kconfig("CONFIG_HZ", u32),
        kconfig("CONFIG_BPF_SYSCALL", "bool"), kconfig("CONFIG_DEFAULT_HOSTNAME", chars(16)),
        kconfig("CONFIG_PHYSICAL_START", u64, weak=True),
    ]  # fmt: skip
    prog = program(*(BPF_LD_MAP_VALUE(R1, each, 0) for each in wanted))
    elf = read(prog)
    assert relocations(elf, "socket") == [(16 * at, each.name, R_BPF_64_64) for at, each in enumerate(wanted)]
    for each in wanted:
        found = symbol(elf, each.name)
        assert (found.section, found.bind == numbers.STB_WEAK) == (numbers.SHN_UNDEF, each.weak)
    assert elf.section(".kconfig") is None
    back = read_object(write_object(prog), "back.o")
    section = back.maps[".kconfig"].value
    assert {(each.name, each.kind, each.size, each.weak) for each, _ in section.places} == {
        (each.name, each.kind, each.size, each.weak) for each in wanted
    }
    places = {offset: each.name for each, offset in section.places}
    assert [places[insn.imm2] for insn in back["prog"].insns[: len(wanted)]] == [each.name for each in wanted]


def test_structs_of_functions_have_what_is_set():
    """Each member where it has room; the programs are known by them when the object is read."""
    types = Writer()
    function = types.add(kinds.BTF_KIND_PTR, third=types.add(kinds.BTF_KIND_FUNC_PROTO))
    text = types.add_array(types.add_int("char", 1, kinds.BTF_INT_SIGNED), 5)
    rows = [("name", text, 0), ("key", types.add_int("u16", 2), 64), ("one", function, 128), ("two", function, 192)]
    types.add_struct("ops", 40, [*rows, ("last", types.add_int("u64", 8), 256)])
    one, two = (
        Program(name, BPF_PROG_TYPE_STRUCT_OPS, EXIT, attach_btf=f"ops.{name}", license="GPL")
        for name in ("one", "two")
    )
    members = {"two": two, "key": -2, "name": b"abc", "one": one}
    for order in ("little", "big"):
        data = write_object(StructOps("it", "ops", members), types=Btf(types.to_bytes()), byteorder=order)
        elf = Elf(data)
        assert contents(elf, ".struct_ops") == b"abc\0\0\0" + (0xFFFE).to_bytes(2, order) + bytes(16)
        assert relocations(elf, ".struct_ops") == [(16, "two", R_BPF_64_ABS64), (8, "one", R_BPF_64_ABS64)]
        btf = btf_of(elf)
        (id,) = btf.find("ops", kinds.BTF_KIND_STRUCT)
        assert [(each.name, each.offset) for each in btf.type(id).members] == [
            ("name", 0), ("key", 48), ("one", 64), ("two", 128),
        ]  # fmt: skip
        back = read_object(data, "it.o")
        assert [(each.name, each.attach_btf) for each in back.programs] == [("two", "ops.two"), ("one", "ops.one")]
        assert back["it"].struct == "ops"
        assert back["it"].members == {
            "name": b"abc\0\0", "key": 0xFFFE, "one": back["one"], "two": back["two"],
        }  # fmt: skip
    kernel = Btf(types.to_bytes())
    refused("object-program", one, types=kernel)
    refused("object-types", StructOps("it", "ops", members))
    refused("core-missing", StructOps("it", "ops", {"three": 1}), types=kernel)
    refused("struct-ops", StructOps("it", "ops", {"name": b"too long"}), types=kernel)


def test_what_no_option_is():
    for wrong in (u8, 4, "number", array(u32, 2)):
        with pytest.raises(BpfasmError) as caught:
            kconfig("CONFIG_HZ", wrong)
        assert caught.value.rule == "kconfig-type"
    text = kconfig("CONFIG_DEFAULT_HOSTNAME", chars(16))
    refused("object-operand", program(BPF_LD_MAP_VALUE(R1, text, 4)))


def test_a_type_that_holds_itself_is_refused():
    """By value, which only broken BTF does."""
    types = Writer()
    types.add(kinds.BTF_KIND_STRUCT, "knot", 8, types.words(types.string("a"), 1, 0), count=1)
    refused("btf", program(BPF_MOV64_IMM(R1, field("knot", "a"))), types=Btf(types.to_bytes()))


# Lines


def test_every_instruction_has_its_line():
    from bpfasm.elf.reading.btf_ext import read_ext

    prog = program(BPF_MOV64_IMM(R1, 1))  # here
    elf = read(prog)
    btf = btf_of(elf)
    lines = read_ext(contents(elf, ".BTF.ext"), btf)["socket"].lines
    file, text, place = lines[0]
    assert Path(btf.string(file)).name == HERE
    assert btf.string(text) == "prog = program(BPF_MOV64_IMM(R1, 1))  # here"
    number = 1 + Path(__file__).read_text().splitlines().index(f"    {btf.string(text)}")
    assert place >> 10 == number
    assert sorted(lines) == [0, 8]  # two of one line have it once


# What is refused


def refused(rule, *items, do="", **options):
    with pytest.raises(BpfasmError) as caught:
        write_object(*items, **options)
    assert caught.value.rule == rule, caught.value
    assert caught.value.do
    assert do in caught.value.do
    return caught.value


@pytest.mark.parametrize(
    "insn",
    [
        BPF_LD_MAP_FD(R1, 3),
        BPF_LD_MAP_VALUE(R1, 3, 0),
        BPF_LD_IMM64_RAW(R1, BPF_PSEUDO_BTF_ID, 7),
        BPF_LD_IMM64_RAW(R1, BPF_PSEUDO_MAP_IDX, 0),
        BPF_CALL_KFUNC(0, 71402),
    ],
    ids=lambda insn: f"src{insn.src_reg}",
)
def test_numbers_of_one_process_or_kernel(insn):
    error = refused("object-number", program(insn))
    assert error.source[0] == __file__
    assert "slot 0 of prog" in error.what


@pytest.mark.parametrize(
    ("insn", "do"),
    [
        (BPF_LD_MAP_VALUE(R1, counts, 0), "Global"),
        (BPF_LDX_MEM(BPF_W, R1, R1, first_of(field("task", "tgid"), field("task", "se"))), "exists"),
        (BPF_JMP_IMM(BPF_JEQ, R1, enum_value("mode", "ON"), 0), "register"),
        (BPF_ST_MEM(BPF_W, FP, -4, field("task", "tgid")), "register"),
    ],
    ids=["value", "first_of", "jump", "store"],
)
def test_operands_that_no_loader_puts_in(insn, do):
    error = refused("object-operand", program(insn), types=kernel(), do=do)
    assert error.source[0] == __file__


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"type": BPF_PROG_TYPE_UNSPEC}, "no type"),
        ({"ifindex": 2}, "device 2"),
        ({"type": BPF_PROG_TYPE_EXT, "attach_btf": "f", "attach_prog": 3}, "replaces"),
        ({"type": BPF_PROG_TYPE_TRACING, "expected_attach_type": BPF_TRACE_FENTRY, "attach_btf": 77}, "type 77"),
        ({"type": BPF_PROG_TYPE_STRUCT_OPS, "attach_btf": "tcp_congestion_ops.ssthresh"}, "member"),
        ({"flags": BPF_F_ANY_ALIGNMENT}, "flags=0x2"),
        ({"type": BPF_PROG_TYPE_XDP, "expected_attach_type": BPF_TRACE_FENTRY}, "BPF_TRACE_FENTRY"),
        ({"type": BPF_PROG_TYPE_XDP, "attach": kprobe("vfs_read")}, "kprobe vfs_read"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_programs_that_no_section_describes(fields, word):
    error = refused("object-program", program(**fields))
    assert word in error.what
    assert error.what.startswith("prog ")
    assert error.source


def test_what_a_place_says_beyond_its_name():
    if "cookie" not in Kprobe._fields:
        pytest.skip("places have no cookies")
    error = refused("object-program", program(type=BPF_PROG_TYPE_KPROBE, attach=kprobe("vfs_read", cookie=7)))
    assert "cookie=7" in error.what


def test_programs_of_objects_are_there_already():
    from bpfasm.elf.object import read_object

    refused("object-program", *read_object(write_object(program(BPF_LD_MAP_FD(R1, counts)))).programs, do="copy")


def test_an_object_of_nothing():
    refused("object-program")


def test_maps_that_no_definition_describes():
    first = HashMap("first", key=u32, value=u64, max_entries=1, initial={0: 0})
    error = refused("object-initial", program(BPF_LD_MAP_FD(R1, first)))
    assert error.source[0] == __file__
    assert read(first, leave_initial=True).section(".maps")
    assert read(ArrayMap("zeros", value=u64, max_entries=2, initial=[0, 0])).section(".maps")
    refused("object-initial", ArrayMap("ones", value=u64, max_entries=2, initial=[0, 1]))
    refused("object-initial", HashOfMaps("wide", key=u64, inner=counts, max_entries=1, initial={0: counts}))
    refused("object-map", ArrayMap("pinned", value=u64, max_entries=1, pinned="/sys/fs/bpf/x"))
    refused("object-symbol", ArrayMap("a.b", value=u64, max_entries=1))


def test_names_are_shared_by_all():
    refused("object-symbol", program(BPF_LD_MAP_FD(R1, counts), name="counts"))
    refused("object-symbol", program(name="a"), program(name="a", type=BPF_PROG_TYPE_XDP))
    refused("object-symbol", program(name="is not C"))
    refused("object-license", program(name="a"), program(name="b", license="MIT"))


def test_what_the_types_do_not_have():
    asked = program(BPF_MOV64_IMM(R1, field("task", "tgid")))
    refused("object-types", asked, do="--btf")
    refused("object-types", program(BPF_MOV64_IMM(R1, field("task", "nothing").exists)), types=kernel())
    refused("object-types", program(BPF_CALL_KFUNC(0, kfunc("nothing"))), types=kernel())
    other = Writer()
    other.add_struct("task", 4, [("new", other.add_int("int", 4), 0)])
    both = program(BPF_MOV64_IMM(R1, field("task", "new")), BPF_MOV64_IMM(R1, field("task", "tgid")))
    assert len(records(read(both, types=[kernel(), Btf(other.to_bytes())]))["socket"]) == 2


def test_jumps_stay_in_their_function():
    body = [BPF_CALL_REL("f"), BPF_JMP_A("last"), label("f"), BPF_MOV64_IMM(R0, 0), label("last"), BPF_EXIT_INSN()]
    refused("object-jump", Program("prog", BPF_PROG_TYPE_XDP, body))
    refused("object-jump", program(BPF_CALL_REL(100)))
    refused("object-jump", program(BPF_CALL_REL(1), BPF_LD_IMM64(R1, 0)))


# The command


def test_asm_to_elf(tmp_path, capfd):
    target = tmp_path / "percpu.o"
    assert cli.main(["asm", f"{ROOT}/examples/chowncount.py:percpu", "--to", "elf", "--out", str(target)]) == 0
    assert symbol(Elf(target.read_bytes()), "percpu").size == 12 * 8
    assert cli.main(["asm", f"{ROOT}/examples/chowncount.py", "--to", "elf", "--out", str(target)]) == 1
    assert "[object-initial]" in capfd.readouterr().err
    words = ["--to", "elf", "--leave-initial", "--byteorder", "big", "--out", str(target)]
    assert cli.main(["asm", f"{ROOT}/examples/chowncount.py", *words]) == 0
    assert Elf(target.read_bytes()).order == "big"


def test_asm_to_elf_takes_types_from_a_file(tmp_path, capfd):
    (tmp_path / "types").write_bytes(kernel().data)
    (tmp_path / "types.o").write_bytes(write_object(program(*ASKED), types=kernel()))
    source = tmp_path / "prog.py"
    source.write_text(
        "from bpfasm.asm import *\n"
        "prog = Program('prog', BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, field('task', 'tgid')), BPF_EXIT_INSN()])\n"
    )
    for types in ("types", "types.o"):
        words = ["--to", "elf", "--btf", str(tmp_path / types), "--out", str(tmp_path / "out.o")]
        assert cli.main(["asm", str(source), *words]) == 0
        assert records(Elf((tmp_path / "out.o").read_bytes()))["xdp"] == [(0, "task", "0:0", 0)]
    (tmp_path / "plain.o").write_bytes(write_object(program()).replace(b".BTF\0", b".NOT\0"))
    assert cli.main(["asm", str(source), "--to", "elf", "--btf", str(tmp_path / "plain.o")]) == 1
    assert cli.main(["asm", str(source), "--to", "elf", "--btf", str(tmp_path / "none")]) == 2
    assert "[input-file]" in capfd.readouterr().err


def test_any_programs_become_objects_that_can_be_read():
    """Of random bodies, with calls, maps and variables; the same seed each time."""
    random.seed(5)
    maps = [HashMap(f"map{n}", key=u32, value=u64, max_entries=1) for n in range(3)]
    variables = [Global(f"var{n}", kind, None if n % 2 else 1) for n, kind in enumerate((u8, u16, u32, u64))]
    subs = [Subprog("sub0", EXIT)]
    for n in range(1, 6):
        subs.append(Subprog(f"sub{n}", [*(BPF_CALL_REL(random.choice(subs)) for _ in range(2)), *EXIT]))
    for _ in range(40):
        body = []
        for _ in range(random.randrange(20)):
            body.append(
                random.choice(
                    [
                        BPF_LD_MAP_FD(R1, random.choice(maps)),
                        BPF_LD_MAP_VALUE(R1, random.choice(variables), 0),
                        BPF_CALL_REL(random.choice(subs)),
                        BPF_LD_IMM64(R1, random.getrandbits(64)),
                        BPF_JMP_IMM(BPF_JEQ, R1, 0, 0),
                    ]
                )
            )
        prog = program(*body)
        elf = read(prog, byteorder=random.choice(["little", "big"]))
        code = decode(contents(elf, "socket"), elf.order)
        assert [insn.code for insn in code] == [insn.code for insn in prog.insns]
        assert len(relocations(elf, "socket")) == sum(not isinstance(insn.imm, int) for insn in prog.insns)
