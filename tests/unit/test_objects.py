"""Objects read, without a compiler or a kernel: some that clang 19 has built, and broken ones of these."""

import os
import struct
from pathlib import Path

import pytest
from support.mutants import mutants

from bpfasm.asm import *
from bpfasm.asm.kconfig import config_values, parse_config
from bpfasm.asm.ksym import Ksym
from bpfasm.asm.variables import Global
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.elf.object import read_object
from bpfasm.elf.reading.core import Recorded
from bpfasm.elf.reading.image import map_name
from bpfasm.elf.reading.types_to_load import older
from bpfasm.errors import BpfasmError, DecodeError, FeatureMissing, LinkError, RecordError
from bpfasm.uapi import btf as kinds

BUILT = Path(__file__).parents[1] / "data" / "objects" / "built"
OBJECTS = sorted(path.name for path in BUILT.glob("*.o"))


def read(name):
    return read_object((BUILT / name).read_bytes(), name)


def operands(program):
    return [insn.imm for insn in program.insns if not isinstance(insn.imm, int)]


def test_functions_are_subprograms():
    found = read("functions.o")
    one, two = found.programs
    assert (one.type, two.type) == (BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS)
    assert found.sections == {"one": "socket", "two": "tc"}
    assert [name for _, name in assemble(one).functions] == ["one", "shared", "middle", "inner"]
    assert [name for _, name in assemble(two).functions] == ["two", "middle", "inner"]
    # One function is one value, whoever calls it.
    assert operands(two)[0] is operands(operands(one)[0])[0]
    assert one.insns[0].source == ("./functions.bpf.c", 8)
    assert found["one"] is one
    assert list(found) == [one, two]
    with pytest.raises(KeyError):
        found["three"]


def test_objects_of_the_other_byte_order_are_the_same():
    """Their types, too, come in this machine's order."""
    here, there = read("functions.o"), read("functions_eb.o")
    assert [link(each).insns for each in there.programs] == [link(each).insns for each in here.programs]
    names = [[found.types.btf.type(each.types.id).name for each in found.programs] for found in (here, there)]
    assert names == [["one", "two"]] * 2
    assert there.types.data[:2] == here.types.data[:2]


def test_variables_have_their_places_types_and_values():
    maps = read("globals.o").maps
    assert list(maps) == [".rodata", ".data", ".data.own", ".rodata.own", ".bss", ".bss.own"]
    assert [maps[name].name for name in maps] == [
        "globals.rodata", "globals.data", ".data.own", ".rodata.own", "globals.bss", ".bss.own",
    ]  # fmt: skip
    places = {name: {each.name: (each.type, at) for each, at in spec.value.places} for name, spec in maps.items()}
    assert places[".rodata"]["limit"] == (s32, 0)
    assert places[".rodata"]["name"] == (chars(16), 4)
    assert {name: type for name, (type, _) in places[".bss"].items()} == {"zero": s32, "runs": s64}
    assert places[".data"]["numbers"][0] == array(s16, 4)
    assert maps[".rodata"].flags == BPF_F_MMAPABLE | BPF_F_RDONLY_PROG
    assert maps[".data"].flags == BPF_F_MMAPABLE
    data = maps[".data"].value
    held = data.pack({})
    at = {each.name: (each, offset) for each, offset in data.places}
    moving, offset = at["moving"]
    assert moving.type.unpack(held[offset : offset + moving.size]) == {"a": 5, "b": 6}
    changed = data.pack({moving: {"b": -7}})
    assert moving.type.unpack(changed[offset : offset + moving.size]) == {"a": 0, "b": -7}
    assert len(maps[".bss"].value.pack({})) == maps[".bss"].value.size == 12
    with pytest.raises(RecordError):
        data.pack({moving: {"c": 1}})


def test_maps_hold_maps_from_the_start():
    maps = read("map_in_map.o").maps
    assert maps["outer"].initial == {1: maps["second"], 3: maps["first"]}
    assert maps["outer"].inner.max_entries == 2
    assert (maps["by_key"].key, maps["by_key"].initial) == (u32, {})


def test_programs_hold_maps_that_hold_them():
    found = read("prog_array.o")
    assert found.maps["jumps"].initial == {0: found["next"], 2: found["last"]}
    assert operands(found["next"])[-1] is found.maps["jumps"]


def test_records_of_fields_are_operands():
    found = read("core_fields.o")
    recorded = [imm for imm in operands(found["offsets"]) if isinstance(imm, Recorded)]
    assert list(map(repr, recorded)) == [
        'field("task_struct", "pid")', 'field("task_struct", "tasks.prev")', 'field("task_struct", "comm[3]")',
    ]  # fmt: skip
    assert [link(found["offsets"]).insns[at].imm for at in (0, 1)] == [0, 32]  # the compiler's numbers
    types = Writer()
    number = types.add_int("int", 4, kinds.BTF_INT_SIGNED)
    types.add_struct("task_struct", 16, [("flags", types.add_int("unsigned int", 4), 0), ("pid", number, 96)])
    linked = link(found["sizes"], Target(btf=Btf(types.to_bytes())))
    assert [str(operand) for _, operand, _ in linked.missing] == [
        "size(task_struct.tasks)", "size(task_struct.comm)",
    ]  # fmt: skip
    assert [insn.imm for insn in linked.insns if insn.code == BPF_JMP | BPF_CALL] == [0xBAD2310] * 2
    slot, operand, _ = linked.missing[1]
    error = operand.missing(linked.insn_at(slot), Target(btf=Btf(types.to_bytes())))
    assert error.rule == "core-missing"
    assert str(error) == "the target has no task_struct.comm\nit was looked for in struct task_struct (id 3)"
    inner = types.add_struct("names", 16, [("comm", types.add_array(number, 4), 0)])
    types.add_struct("holder", 16, [("it", inner, 0)])
    error = operand.missing(linked.insn_at(slot), Target(btf=Btf(types.to_bytes())))
    assert error.do == "it was looked for in struct task_struct (id 3); it is a member of struct names"
    error = operand.missing(linked.insn_at(slot), Target(btf=Btf(Writer().to_bytes())))
    assert str(error) == "the target has no task_struct.comm\nno type there is called task_struct"


def test_kernel_functions_may_be_missing_where_they_are_weak():
    locked, guarded = read("kfuncs.o").programs
    assert operands(locked) == [kfunc("bpf_rcu_read_lock"), kfunc("bpf_rcu_read_unlock")]
    with pytest.raises(LinkError) as refused:
        link(locked, Target(kfuncs={}))
    assert refused.value.rule == "kfunc-unknown"
    linked = link(guarded, Target(kfuncs={}, ksyms={}))
    assert [operand.name for _, operand, _ in linked.missing] == ["there_is_no_such_function"]
    (symbol,) = (each for each in operands(guarded) if isinstance(each, Ksym))
    address = next(insn for insn in linked.insns if insn.width == 2)
    assert (symbol.weak, address.src_reg, address.imm, address.imm2) == (True, 0, 0, 0)
    with pytest.raises(LinkError) as refused:
        link(Program("p", 1, [insn.replace(imm=Ksym("x")) for insn in guarded.insns if insn.width == 2]),
             Target(ksyms={}))  # fmt: skip
    assert refused.value.rule == "ksym-unknown"


CONFIG = """# CONFIG_NOTHING is not set
CONFIG_BPF_SYSCALL=y
CONFIG_BPF_JIT=m
CONFIG_NET=y
CONFIG_HZ=250
CONFIG_PHYSICAL_START=0x1000000
CONFIG_DEFAULT_HOSTNAME="house"
"""


def values(text, **own):
    variables = [each for each, _ in read("kconfig.o").maps[".kconfig"].value.places]
    found = config_values(variables, parse_config(text), {"LINUX_KERNEL_VERSION": 0x60100, **own})
    return {variable.name: value for variable, value in found.items()}


def test_the_configuration_says_what_variables_are():
    assert values(CONFIG, LINUX_HAS_BPF_COOKIE=1) == {
        "LINUX_KERNEL_VERSION": 0x60100, "LINUX_HAS_BPF_COOKIE": 1, "CONFIG_BPF_SYSCALL": 1, "CONFIG_BPF_JIT": 2,
        "CONFIG_NET": ord("y"), "CONFIG_HZ": 250, "CONFIG_PHYSICAL_START": 0x1000000,
        "CONFIG_DEFAULT_HOSTNAME": b"house",
    }  # fmt: skip


def test_an_option_that_is_missing_or_of_another_type_is_refused():
    with pytest.raises(FeatureMissing) as refused:
        values(CONFIG.replace("CONFIG_HZ=250\n", ""))
    assert refused.value.rule == "kconfig-missing"
    assert str(refused.value).startswith("this kernel's configuration has no CONFIG_HZ\n")
    with pytest.raises(FeatureMissing, match="is not to be had"):
        values("")
    for text in ("CONFIG_HZ=y", "CONFIG_HZ=99999999999", 'CONFIG_HZ="250"', "CONFIG_BPF_SYSCALL=m", "CONFIG_NET=5"):
        with pytest.raises(LinkError) as refused:
            values(
                CONFIG.replace(next(row for row in CONFIG.splitlines() if row.startswith(text.split("=")[0])), text)
            )
        assert refused.value.rule == "kconfig-type"


def test_names_of_maps_are_those_of_libbpf():
    assert map_name("a_long_name_of_an_object", ".rodata") == "a_long_n.rodata"
    assert map_name("short", ".bss") == "short.bss"
    assert map_name("a_long_name_of_an_object", ".kconfig") == "a_long_.kconfig"
    assert map_name("any", ".data.of_its_own") == ".data.of_its_ow"
    assert map_name("a-b", ".data") == "a_b.data"


def test_types_of_older_kernels_have_the_same_ids():
    types = Writer()
    real = types.add(kinds.BTF_KIND_FLOAT, "double", 8)
    wide = types.add(kinds.BTF_KIND_ENUM64, "wide", 8, bytes(12), count=1)
    tag = types.add(kinds.BTF_KIND_TYPE_TAG, "user", real)
    types.add(kinds.BTF_KIND_DECL_TAG, "mark", tag, bytes(4))
    types.add_struct("all", 16, [("a", real, 0), ("b", wide, 64)])
    changed = Btf(older(types.to_bytes()))
    assert [changed.type(id).kind for id in range(1, len(changed))] == [
        kinds.BTF_KIND_STRUCT, kinds.BTF_KIND_UNION, kinds.BTF_KIND_CONST, kinds.BTF_KIND_INT, kinds.BTF_KIND_STRUCT,
        kinds.BTF_KIND_INT,
    ]  # fmt: skip
    assert [changed.size_of(id) for id in (1, 2, 5)] == [8, 8, 16]


def test_what_is_no_object_is_refused():
    data = (BUILT / "functions.o").read_bytes()
    other = bytearray(data)
    other[18:20] = b"\x3e\x00"
    with pytest.raises(DecodeError) as refused:
        read_object(bytes(other), "other.o")
    assert refused.value.rule == "object"
    with pytest.raises(DecodeError) as refused:
        read_object(data[:1000], "cut.o")
    assert refused.value.rule == "elf"


def walk(data):
    """Read an object, lay its programs out, and make what its maps hold."""
    found = read_object(data, "changed.o")
    for program in found.programs:
        link(program)
    for spec in found.maps.values():
        if getattr(spec.value, "places", ()) and spec.value.size < 1 << 20:
            spec.value.pack({})
    return found


#: How many changed copies of each object are read; ./run fuzz reads more, of all together as many as it is told.
MUTANTS = int(os.environ.get("BPFASM_FUZZ_COUNT", 60 * len(OBJECTS))) // len(OBJECTS)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", OBJECTS)
def test_changed_objects_give_a_value_or_our_error(name):
    refused = 0
    for changed in mutants((BUILT / name).read_bytes(), name, MUTANTS):
        try:
            walk(changed)
        except BpfasmError as error:
            assert error.rule
            refused += 1
    assert 0 < refused < MUTANTS


def test_two_options_of_one_name():
    """Only a broken object has them: who refers to the one that is gone is named."""
    data = (BUILT / "kconfig.o").read_bytes()
    one, other = b"CONFIG_HZ", b"CONFIG_BPF_SYSCALL"
    types = data.index(b"\x9f\xeb\x01")
    strings = types + 24 + int.from_bytes(data[types + 12 : types + 16], "little")
    entry = {
        name: struct.pack("<II", data.index(b"\0%s\0" % name, strings) + 1 - strings, kinds.BTF_KIND_VAR << 24)
        for name in (one, other)
    }
    assert data.count(entry[other]) == 1
    with pytest.raises(DecodeError, match="CONFIG_BPF_SYSCALL is in no section"):
        read_object(data.replace(entry[other], entry[one]), "twice.o")


def test_globals_are_what_they_are_called():
    found = read("globals.o")
    names = {each.name for spec in found.maps.values() for each, _ in spec.value.places}
    assert names >= {"limit", "name", "fixed", "zero", "runs", "flag", "shade", "moving", "numbers", "own", "late"}
    assert all(isinstance(each, Global) for spec in found.maps.values() for each, _ in spec.value.places)
