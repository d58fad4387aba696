"""Object files as an INPUT: FILE.o, FILE.o:NAME, FILE.o:SECTION."""

from pathlib import Path

import pytest

from bpfasm import inputs
from bpfasm.cli import main
from bpfasm.errors import DecodeError, InputError

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
