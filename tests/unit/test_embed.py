"""Embedded objects: the module that is written carries the bytes and is right about the types."""

import os
import random
import sys
from pathlib import Path

import pytest
from mypy import api

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.elf.object_write import write_object
from bpfasm.elf.writing.draft import Draft
from bpfasm.errors import BpfasmError
from bpfasm.uapi import btf as kinds
from bpfasm.views import embed

ROOT = Path(__file__).parents[2]
EXIT = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]


class Pair(Record):
    a = u32("a")
    b = u16("b")
    name = chars(10)("its name")


maps = (
    HashMap("hits", key=u32, value=u64, max_entries=16),
    HashMap("pairs", key=Pair, value=Pair, max_entries=16),
    PerCpuArrayMap("percpu", value=u64, max_entries=1),
    HashMap("sized", key=12, value=u64, max_entries=1),
    RingBuf("ring", max_entries=4096, record=Pair),
    PerfEventArray("perf"),
    Queue("queue", value=u64, max_entries=4),
    ProgArray("table", max_entries=2),
    ArrayMap("attach", value=array(u32, 4), max_entries=2),
)
limit = Global("limit", u32, 7)
pair = Global("pair", Pair, (1, 2, b"three"))
words = Global("words", array(u16, 3))
text = Global("text", chars(16), b"hello", const=True)
lone = Program(
    "loaded", BPF_PROG_TYPE_XDP, [*(BPF_LD_MAP_VALUE(R1, each, 0) for each in (limit, pair, words, text)), *EXIT]
)


def module(data=None, name="some-thing", **options):
    return embed.module(data or write_object(lone, *maps), name, **options)


def run(source):
    names = {"__name__": "made"}
    exec(compile(source, "made.py", "exec"), names)
    return names


def test_the_bytes_are_those_of_the_object():
    data = write_object(lone, *maps)
    made = run(module(data))["SomeThing"]
    assert made.data() == data
    assert {program.name for program in made.read().programs} == {"loaded"}


def test_structs_of_functions_are_attributes():
    types = Writer()
    function = types.add(kinds.BTF_KIND_PTR, third=types.add(kinds.BTF_KIND_FUNC_PROTO))
    types.add_struct("ops", 8, [("one", function, 0)])
    one = Program("one", BPF_PROG_TYPE_STRUCT_OPS, EXIT, attach_btf="ops.one", license="GPL")
    made = module(write_object(StructOps("class", "ops", {"one": one}), types=Btf(types.to_bytes())))
    assert "    #: A struct of functions, ops, that attach() registers.\n    class_: LoadedStructOps" in made
    assert "    from bpfasm.kernel.links.struct_ops import LoadedStructOps" in made
    assert run(made)["SomeThing"].read()["class"].struct == "ops"


def test_a_declaration_has_the_records():
    made = run(module())
    obj = made["SomeThing"].read()
    assert obj["pairs"].value is obj["pairs"].key is obj["ring"].record is made["Pair"]
    assert [(field.name, field.off, field.type) for field in made["Pair"].fields] == [
        (field.name, field.off, field.type) for field in Pair.fields
    ]
    (data,) = [spec for spec in obj.maps.values() if spec.name.endswith(".data")]
    found = {variable.name: variable.type for variable, _ in data.value.places}
    assert found == {"limit": u32, "pair": made["Pair"]}


#: What a type checker is to make of the module.
USE = """
from made import Pair, SomeThing

with SomeThing(limit=3, words=(1, 2, 3), text=b"x", pair=Pair(a=1, b=2, name=b"n"), log_level=1) as obj:
    obj.limit = obj.hits[3] + 1
    obj.hits[4] += 1
    name: bytes = obj.pairs[Pair(a=1, b=2, name=b"n")].name
    total: int = sum(obj.percpu[0])
    for event in obj.ring.reader():
        number: int = event.a + event.b
    raw: bytes = obj.perf.reader().read()
    obj.queue.push(1)
    first: int = obj.words[0] + obj.attach_[1][2]
    obj.loaded_.test_run(bytes(14))
    obj.attach()
    {}
"""


def check(folder, use):
    """Return the errors that mypy finds in a program that uses the module."""
    (folder / "made.py").write_text(module())
    (folder / "use.py").write_text(use)
    # Other options than the project's own make another cache, which is kept for the next run beside that one.
    cache = os.environ["MYPY_CACHE_DIR"] + "-embed" if "MYPY_CACHE_DIR" in os.environ else str(folder / "cache")
    before = os.environ.get("MYPYPATH")
    os.environ["MYPYPATH"] = f"{ROOT}:{folder}"
    try:
        words = ["--strict", "--config-file=", "--explicit-package-bases", "--cache-dir", cache]
        out, err, _ = api.run([*words, str(folder / "use.py"), str(folder / "made.py")])
    finally:
        if before is None:
            del os.environ["MYPYPATH"]
        else:
            os.environ["MYPYPATH"] = before
    assert not err
    return [line for line in out.splitlines() if ": error:" in line]


def test_mypy_finds_nothing_in_the_module_and_what_is_wrong_in_its_use(tmp_path):
    assert check(tmp_path, USE.format("pass")) == []
    wrong = (
        'obj.limit = "three"', 'obj.hits["x"]', "text: str = obj.text", "obj.nothing", "event.c",
        "SomeThing(limits=1)", "obj.perf.reader().read().a",
    )  # fmt: skip
    errors = check(tmp_path, USE.format("\n    ".join(wrong)))
    first = USE[: USE.index("{}")].count("\n") + 1
    assert [int(line.split(":")[1]) for line in errors] == [first + number for number in range(len(wrong))], errors


def test_names_that_python_has_get_an_underscore():
    source = module(
        write_object(Program("class", BPF_PROG_TYPE_XDP, EXIT), ArrayMap("close", value=4, max_entries=1))
    )
    made = run(source)["SomeThing"]
    assert "    class_: LoadedProgram" in source
    assert made._renamed == {"close_": "close", "class_": "class"}


@pytest.mark.parametrize(
    ("members", "size", "lines"),
    [
        ([("a", "u8", 0), ("b", "u32", 32)], 8, ["a = u8()", "_ = pad(3)", "b = u32()"]),
        ([("a", "u32", 0), ("b", "u8", 32)], 8, ["a = u32()", "b = u8()", "_ = pad(3)"]),
        (
            [("size", "u32", 0), ("class", "u32", 32), ("__x", "u64", 64)],
            16,
            ["size_ = u32()", "class_ = u32()", "x = u64()"],
        ),
        ([("p", "ptr", 0), ("s", "struct", 64)], 16,
         ["p = u64()", "s = raw(8)()  # struct inner s: Inner.from_bytes() reads it"]),
        ([("one", "array", 0), ("u", "union", 128)], 24,
         ["one = raw(16)()  # struct inner one[2]", "u = raw(8)()  # union odd?name u"]),
        ([("a", "u8", 0), ("b", "u32", 8)], 5, None),  # packed
        ([("a", "u64", 0), ("b", "u32", 64)], 12, None),
        ([], 0, None),
    ],
)  # fmt: skip
def test_structs_become_records_where_one_has_their_layout(members, size, lines):
    types = Writer()
    ids = {name: types.add_int(name, number) for name, number in (("u8", 1), ("u32", 4), ("u64", 8))}
    ids["ptr"] = types.add(kinds.BTF_KIND_PTR)
    ids["struct"] = types.add_struct("inner", 8, [("x", ids["u64"], 0)])
    ids["array"] = types.add_array(ids["struct"], 2)
    ids["union"] = types.add(kinds.BTF_KIND_UNION, "odd\nname", 8)
    struct = types.add_struct("event", size, [(name, ids[kind], offset) for name, kind, offset in members])
    btf = Btf(types.to_bytes())
    made = embed._Module(write_object(lone), "some", {}, {})
    assert (made._record(btf.type(struct), btf) is not None) == (lines is not None)
    if lines:
        assert made.records["Event"][3:] == [f"    {line}" for line in lines]
        classes = [line for each in made.records.values() for line in each or ()]
        names = run("\n".join(["from bpfasm.asm import *", *classes]))
        assert names["Event"].size == size
        assert ("Inner" in names) == ("struct" in [kind for _, kind, _ in members])


def test_embed_the_command(tmp_path, capfd):
    source = f"{ROOT}/examples/chowncount.py"
    assert cli.main(["embed", f"{source}:chowncount", "--out", str(tmp_path / "made.py")]) == 0
    made = run((tmp_path / "made.py").read_text())["Chowncount"]
    # What the object does not say, the module does.
    assert made.read()["counts"].initial == {bytes(4): bytes(8)}
    (tmp_path / "obj.o").write_bytes(made.data())
    assert cli.main(["embed", str(tmp_path / "obj.o"), "--name", "other", "--out", str(tmp_path / "again.py")]) == 0
    again = run((tmp_path / "again.py").read_text())["Other"]
    assert again.data() == made.data()
    words = ["embed", f"{ROOT}/examples/execs.py:by_ring", "--record"]
    assert cli.main([*words, "lost=Exec"]) == 0
    assert "lost: Map[int, list[int]]" in capfd.readouterr().out
    for wrong, status, rule in (
        ("lost=Nothing", 2, "embed-record"),
        ("x=Exec", 2, "embed-record"),
        ("x", 2, "usage"),
    ):
        assert cli.main([*words, wrong]) == status
        assert f"[{rule}]" in capfd.readouterr().err
    (tmp_path / "prog.hex").write_text("b700000000000000 9500000000000000")
    assert cli.main(["embed", str(tmp_path / "prog.hex")]) == 2
    assert "[embed-input]" in capfd.readouterr().err
    assert cli.main(["embed", str(tmp_path / "none.py")]) == 2
    assert "[input-file]" in capfd.readouterr().err


def test_what_maps_hold_goes_along_in_the_order_of_the_machine_it_is_for(tmp_path):
    source = tmp_path / "prog.py"
    source.write_text(
        "from bpfasm.asm import *\n"
        "m = HashMap('m', key=u32, value=u16, max_entries=2, initial={1: 2})\n"
        "prog = Program('prog', BPF_PROG_TYPE_XDP, [BPF_LD_MAP_FD(R1, m), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])\n"
    )
    for order in ("little", "big"):
        out = tmp_path / "made.py"
        assert cli.main(["embed", str(source), "--byteorder", order, "--out", str(out)]) == 0
        expected = {(1).to_bytes(4, order): (2).to_bytes(2, order)}
        assert run(out.read_text())["Prog"]._fields["m"]["initial"] == expected
    assert sys.byteorder in ("little", "big")


def test_handles_cannot_go_along(tmp_path, capfd):
    source = tmp_path / "prog.py"
    source.write_text(
        "from bpfasm.asm import *\n"
        "m = ProgArray('m', max_entries=2, initial={1: 3})\n"
        "prog = Program('prog', BPF_PROG_TYPE_XDP, [BPF_LD_MAP_FD(R1, m), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])\n"
    )
    assert cli.main(["embed", str(source)]) == 1
    assert "[object-initial]" in capfd.readouterr().err


def test_an_object_says_nothing_in_python():
    """Its names may be anything: they are shown, and never run."""
    data = write_object(lone, *maps)
    for old, new in ((b"\0loaded\0", b'\0"\n*\xff"]\0'), (b"\0hits\0", b"\0\n()#\0"), (b"\0Pair\0", b'\0""";\0')):
        assert old in data
        source = module(data.replace(old, new))
        assert run(source)["SomeThing"].data() == data.replace(old, new)
        assert '""";' not in source


def test_an_object_with_nothing_in_it_is_a_module():
    data = Draft("little").to_bytes()
    assert run(module(data))["SomeThing"].data() == data


def test_names_are_told_apart():
    """Two variables of one name, and a name that becomes the same as another one where Python takes no dots."""
    one, two = Global("twice_a", u32, 1), Global("twice_b", u64, 2, const=True)
    loads = [BPF_LD_MAP_VALUE(R1, one, 0), BPF_LD_MAP_VALUE(R1, two, 0)]
    programs = [Program(name, BPF_PROG_TYPE_XDP, [*loads, *EXIT]) for name in ("as_it_is", "as_it__s")]
    data = write_object(*programs).replace(b"twice_b", b"twice_a").replace(b"as_it__s", b"as.it_is")
    source = module(data)
    run(source)
    lines = [line.strip() for line in source.splitlines()]
    assert [line for line in lines if ": int = ..." in line] == ["twice_a: int = ...,"]
    assert [line for line in lines if ": LoadedProgram" in line] == [
        "as_it_is: LoadedProgram",
        "as_it_is_: LoadedProgram",
    ]


def test_a_struct_whose_name_begins_with_a_digit():
    """C has names of its kind behind an underscore, and a class is capitalized."""
    data = write_object(lone, *maps)
    source = module(data.replace(b"Pair\0", b"_2nd\0"))
    assert "class Struct2nd(Record):" in source
    compile(source, "made.py", "exec")


@pytest.mark.fuzz
def test_any_bytes_give_a_module_or_our_error():
    random.seed(8)
    data = write_object(lone, *maps)
    made = 0
    for _ in range(int(os.environ.get("BPFASM_FUZZ_COUNT") or 150)):
        broken = bytearray(data)
        for _ in range(random.choice([1, 2, 4, 8])):
            broken[random.randrange(len(data))] = random.choice([0, 1, 255, random.randrange(256)])
        try:
            source = module(bytes(broken))
        except BpfasmError:
            continue
        compile(source, "made.py", "exec")
        made += 1
    assert made > 20


def test_broken_objects_are_refused():
    with pytest.raises(BpfasmError):
        module(b"\x7fELF" + bytes(100))
