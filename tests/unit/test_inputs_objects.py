"""Object files as an INPUT: FILE.o, FILE.o:NAME, FILE.o:SECTION."""

from pathlib import Path

import pytest

from bpfasm import inputs
from bpfasm.btf.write import Writer
from bpfasm.cli import main
from bpfasm.elf.object import read_object
from bpfasm.errors import DecodeError, InputError
from bpfasm.uapi import btf as kinds

BUILT = Path(__file__).parents[1] / "data" / "objects" / "built"
FUNCTIONS = str(BUILT / "functions.o")


def names(given):
    return [program.name for program in inputs.read(given).programs]


def test_programs_are_chosen_by_name_and_by_section():
    assert names(FUNCTIONS) == ["one", "two"]
    assert names(f"{FUNCTIONS}:two") == ["two"]
    assert names(f"{FUNCTIONS}:socket") == ["one"]
    assert sorted(names(f"{BUILT / 'prog_array.o'}:tc")) == ["entry", "last", "next"]


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(InputError) as refused:
        inputs.read(f"{FUNCTIONS}:three")
    assert refused.value.rule == "input-name"
    assert str(refused.value).splitlines()[1] == "it has one, two, socket, tc"


@pytest.mark.parametrize("data", [Path(FUNCTIONS).read_bytes()[:100], bytes(range(64)), b""])
def test_what_is_no_object_is_refused(tmp_path, data):
    path = tmp_path / "cut.o"
    path.write_bytes(data)
    with pytest.raises(DecodeError) as refused:
        inputs.read(str(path))
    assert refused.value.rule == "elf"


def test_a_listing_shows_operands(capsys):
    assert main(["disasm", f"{BUILT / 'core_fields.o'}:offsets"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "0: (b7) r1 = task_struct.pid",
        "1: (b7) r0 = task_struct.tasks.prev",
    ]
    assert main(["disasm", f"{BUILT / 'core_fields.o'}:offsets", "--to", "macro"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == ('BPF_MOV64_IMM(BPF_REG_1, field("task_struct", "pid")),')


def test_bytes_keep_the_numbers_of_the_compiler(capsys):
    assert main(["asm", f"{BUILT / 'core_fields.o'}:offsets"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1] == "b700000020000000"


STRUCTS = """
from bpfasm.asm import *

def member(name):
    return Program(name, BPF_PROG_TYPE_STRUCT_OPS, [BPF_EXIT_INSN()], attach_btf=f"ops.{name}")

one = member("one")
slow = quick = StructOps("it", "ops", {"one": one, "two": member("two"), "key": 3})
empty = StructOps("none", "ops", {})
"""


@pytest.fixture
def structs(tmp_path):
    """A file with structs of functions, and one with the types of a kernel that has such a struct."""
    types = Writer()
    function = types.add(kinds.BTF_KIND_PTR, third=types.add(kinds.BTF_KIND_FUNC_PROTO))
    rows = [("key", types.add_int("u64", 8), 0), ("one", function, 64), ("two", function, 128)]
    types.add_struct("ops", 24, rows)
    (tmp_path / "kernel").write_bytes(types.to_bytes())
    (tmp_path / "ops.py").write_text(STRUCTS)
    return tmp_path


def test_structs_of_functions_in_a_file(structs):
    path = str(structs / "ops.py")
    assert names(path) == ["one", "two"]
    assert [each.name for each in inputs.read(path).structs] == ["it", "none"]
    for name in ("slow", "it"):
        given = inputs.read(f"{path}:{name}")
        assert ([each.name for each in given.programs], given.structs[0].members["key"]) == (["one", "two"], 3)
    assert (names(f"{path}:one"), inputs.read(f"{path}:one").structs) == (["one"], ())
    with pytest.raises(InputError, match="none holds no programs"):
        inputs.read(f"{path}:empty")


def test_structs_go_into_an_object_and_come_back(structs):
    target = str(structs / "ops.o")
    kernel = str(structs / "kernel")
    assert main(["asm", f"{structs / 'ops.py'}:slow", "--to", "elf", "--btf", kernel, "--out", target]) == 0
    found = read_object(Path(target).read_bytes(), target)
    assert found["it"].members == {"one": found["one"], "two": found["two"], "key": 3}
    assert names(f"{target}:it") == ["one", "two"]
