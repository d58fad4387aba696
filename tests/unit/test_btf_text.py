"""Types as text: in C, with the place of each member, and as a Record; what a target has instead."""

import json
import os
import random
import struct
from pathlib import Path

import jsonschema
import pytest

import bpfasm.asm
from bpfasm.btf.core import named, resolve
from bpfasm.btf.core_missing import renamed, why
from bpfasm.btf.files import btf_of
from bpfasm.btf.read import Btf
from bpfasm.btf.text import c_lines, c_name, record_lines
from bpfasm.btf.write import Writer
from bpfasm.errors import BpfasmError, DecodeError
from bpfasm.uapi import bpf as u, btf as uapi
from bpfasm.views.btf_kernels import looked_up, summary
from bpfasm.views.btf_types import Shown
from tests.unit.test_btf_read import BLOB
from tests.unit.test_core import KERNEL

SCHEMA = json.loads((Path(bpfasm.asm.__file__).parents[1] / "views" / "schemas" / "btf-type-1.json").read_text())


def test_a_struct_in_c():
    assert list(Shown(KERNEL, "task").lines()) == [
        "struct task {",
        "\tunsigned int flags;                              /*      0   4 */",
        "\tunion {",
        "\t\tu64 whole;                               /*      8   8 */",
        "\t\tstruct {",
        "\t\t\tint x;                           /*      8   4 */",
        "\t\t\tint y;                           /*     12   4 */",
        "\t\t};                                       /*      8   8 */",
        "\t};                                               /*      8   8 */",
        "\tstruct entity se;                                /*     16  16 */",
        "\tstruct entity all[3];                            /*     32  48 */",
        "\tstruct task *parent;                             /*     80   8 */",
        "\tchar comm[16];                                   /*     88  16 */",
        "\tunsigned int tail[0];                            /*    104   0 */",
        "}; /* 128 bytes */",
    ]


def test_bit_fields_and_enums_in_c():
    assert list(Shown(KERNEL, "bits").lines()) == [
        "struct bits {",
        "\tunsigned int a:3;                                /*      0:0  4 */",
        "\tint b:7;                                         /*      0:3  4 */",
        "\tshort c:2;                                       /*      2:14 2 */",
        "\tunsigned int plain;                              /*      8   4 */",
        "}; /* 12 bytes */",
    ]
    assert list(Shown(KERNEL, "enum order").lines()) == [
        "enum order {",
        "\tFIRST = 0,",
        "\tLATER = 7,",
        "}; /* 4 bytes */",
    ]
    assert list(Shown(KERNEL, "task_t").lines()) == ["typedef struct task task_t;"]


def unnamed():
    """Return types whose names have several words, and those that a typedef alone gives a name."""
    w = Writer()
    for name, size in (
        ("char", 1),
        ("unsigned char", 1),
        ("int", 4),
        ("long unsigned int", 8),
        ("__int128 unsigned", 16),
    ):
        w.add_int(name, size)
    w.add(uapi.BTF_KIND_TYPEDEF, "atomic_t", w.add_struct("", 4, [("counter", 3, 0)]))
    w.add(uapi.BTF_KIND_TYPEDEF, "pairs_t", w.add_array(w.add_struct("", 8, [("a", 3, 0), ("b", 3, 32)]), 2))
    values = struct.pack("=IiIi", w.string("LOW"), -1 & 0x7FFFFFFF, w.string("HIGH"), 2)
    w.add(uapi.BTF_KIND_TYPEDEF, "level_t", w.add(uapi.BTF_KIND_ENUM, "", 4, values, count=2))
    wide = struct.pack("=6I", w.string("BIG"), 1, 1 << 31, w.string("LESS"), 0xFFFFFFFF, 0xFFFFFFFF)
    w.add(uapi.BTF_KIND_ENUM64, "big", 8, wide, count=2, flag=True)
    return Btf(w.to_bytes())


UNNAMED = unnamed()


@pytest.mark.parametrize(
    ("name", "size"),
    [("char", 1), ("unsigned char", 1), ("int", 4), ("long unsigned int", 8), ("__int128 unsigned", 16),
     ("int int", 4), ("int long unsigned int", 8)],
)  # fmt: skip
def test_a_name_of_several_words_is_one_name(name, size):
    """But where the first is a kind: int is the word for all numbers."""
    shown = Shown(UNNAMED, name)
    bare = name.removeprefix("int ") or name
    assert list(shown.lines()) == [f"{bare}; /* {size} byte{'s' * (size > 1)} */"]
    (row,) = shown.document()["types"]
    assert (row["name"], row["size"]) == (bare, size)


@pytest.mark.parametrize("name", ["unsigned int", "struct int", "long", "struct"])
def test_no_part_of_a_name_is_taken_for_it(name):
    with pytest.raises(DecodeError, match=f"there is no type {name.removeprefix('struct ')}"):
        Shown(UNNAMED, name)


def test_a_typedef_of_what_has_no_name_shows_what_is_in_it():
    assert list(Shown(UNNAMED, "atomic_t").lines()) == [
        "typedef struct {",
        "\tint counter;                                     /*      0   4 */",
        "} atomic_t; /* 4 bytes */",
    ]
    assert list(Shown(UNNAMED, "pairs_t").lines())[-1] == "} pairs_t[2]; /* 8 bytes */"
    assert list(Shown(UNNAMED, "level_t").lines()) == [
        "typedef enum {", "\tLOW = 2147483647,", "\tHIGH = 2,", "} level_t; /* 4 bytes */",
    ]  # fmt: skip
    (row,) = Shown(UNNAMED, "atomic_t").document()["types"]
    assert (row["size"], [each["name"] for each in row["members"]]) == (4, ["counter"])
    assert "class atomic_t(Record):" in Shown(UNNAMED, "atomic_t").record()


def test_numbers_of_64_bits_are_text_in_documents():
    (row,) = Shown(UNNAMED, "big").document()["types"]
    assert row["values"] == {"BIG": "0x8000000000000001", "LESS": "0xffffffffffffffff"}
    assert list(Shown(UNNAMED, "big").lines())[1:3] == ["\tBIG = -9223372036854775807,", "\tLESS = -1,"]


def test_bit_fields_are_told_in_a_record():
    assert list(Shown(KERNEL, "bits").record())[-5:] == [
        "    # bit 0: unsigned int a:3", "    # bit 3: int b:7", "    # bit 30: short c:2", "    _bytes0 = pad(8)",
        "    plain = u32()  # unsigned int plain",
    ]  # fmt: skip


def test_declarations():
    w = Writer()
    i32 = w.add_int("int", 4, 1)
    const = w.add(uapi.BTF_KIND_CONST, third=i32)
    pointer = w.add(uapi.BTF_KIND_PTR, third=const)
    fixed = w.add(uapi.BTF_KIND_CONST, third=pointer)
    parameters = struct.pack("=4I", w.string("a"), pointer, 0, 0)
    proto = w.add(uapi.BTF_KIND_FUNC_PROTO, third=pointer, rest=parameters, count=2)
    call = w.add(uapi.BTF_KIND_PTR, third=proto)
    calls = w.add_array(call, 4)
    rows = w.add_array(w.add_array(i32, 3), 2)
    to_rows = w.add(uapi.BTF_KIND_PTR, third=rows)
    tagged = w.add(uapi.BTF_KIND_PTR, third=w.add(uapi.BTF_KIND_TYPE_TAG, "rcu", w.add_struct("s", 0, [])))
    nothing = w.add(uapi.BTF_KIND_PTR)
    func = w.add(uapi.BTF_KIND_FUNC, "handler", proto, count=1)
    btf = Btf(w.to_bytes())
    shown = [c_name(btf, each, "x") for each in (pointer, fixed, call, calls, to_rows, tagged, nothing)]
    assert shown == [
        "const int *x", "const int *const x", "const int *(*x)(const int *a, ...)",
        "const int *(*x[4])(const int *a, ...)", "int (*x)[2][3]", "__rcu struct s *x", "void *x",
    ]  # fmt: skip
    assert c_lines(btf, func) == ["const int *handler(const int *a, ...);"]


def test_a_struct_as_a_record():
    names = dict(vars(bpfasm.asm))
    exec("\n".join(Shown(KERNEL, "task").record()), names)
    task = names["task"]
    assert task.size == 128
    assert {field.name: (field.off, field.size) for field in task.fields if field.name[0] != "_"} == {
        "flags": (0, 4), "at8": (8, 8), "se": (16, 16), "all": (32, 48), "parent": (80, 8), "comm": (88, 16),
    }  # fmt: skip
    exec("\n".join(Shown(KERNEL, "bits").record()), names)
    assert [(field.name, field.off, field.size) for field in names["bits"].fields] == [
        ("_bytes0", 0, 8),
        ("plain", 8, 4),
    ]


def test_what_is_no_record():
    with pytest.raises(DecodeError) as caught:
        record_lines(KERNEL, KERNEL.find("order", uapi.BTF_KIND_ENUM)[0])
    assert caught.value.rule == "btf-type"


@pytest.mark.parametrize(
    "name", ["task", "bits", "enum order", "wide", "task_t", "int", "task.comm", "bits.b", "task.all[1]"]
)
def test_documents_follow_the_schema(name):
    jsonschema.validate(Shown(KERNEL, name).document(), SCHEMA)


@pytest.mark.parametrize("name", ["big", "atomic_t", "level_t", "pairs_t"])
def test_documents_of_what_has_no_name_follow_it_too(name):
    jsonschema.validate(Shown(UNNAMED, name).document(), SCHEMA)


def test_a_field_is_shown_with_what_reads_it():
    assert list(Shown(KERNEL, "task.se.sum").lines()) == ["task.se.sum: offset 24, size 8: u64 sum"]
    (row,) = Shown(KERNEL, "bits.b").document()["fields"]
    assert row == {
        "name": "bits.b", "type": "int", "bit_offset": 3, "bits": 7, "load": 0, "size": 4, "lshift": 54, "rshift": 57,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("root", "path", "what", "do"),
    [
        ("tsk", "flags", "the target has no struct tsk", "did you mean task?"),
        ("task", "flag", "struct task has no member flag in the target", 'did you mean "flags"?'),
        ("task", "sum", "struct task has no member sum in the target", 'it is deeper: "se.sum"'),
        ("task", "__parent", "struct task has no member __parent in the target",
         'it may be called "parent" here: first_of(...) takes both'),
        ("task", "plain", "struct task has no member plain in the target", "it is a member of struct bits"),
        ("task", "parent.flags", "task.parent is a pointer (struct task *): what is behind it takes another load",
         'load the pointer first, and then field("task", "flags"); core_read() reads such a chain'),
        ("task", "comm[16]", "task.comm[16]: char [16] has no element 16 in the target",
         "see it: bpfasm btf show task"),
        ("task", "flags.x", "task.flags.x: unsigned int is no struct in the target", "see it: bpfasm btf show task"),
        ("task", "qqqq", "struct task has no member qqqq in the target",
         "see what it has: bpfasm btf show task; which kernels have it: bpfasm btf show task.qqqq --on all"),
    ],
)  # fmt: skip
def test_what_the_target_has_instead(root, path, what, do):
    sought = named(u.BPF_CORE_FIELD_BYTE_OFFSET, root, path)
    assert resolve(sought, [KERNEL]).number is None
    assert why(sought, KERNEL) == (what, do)


def kernel(*members, inner=()):
    """Return types with a struct whose members, of 8 bytes each, are (name, type)."""
    types = Writer()
    known = {"long": types.add_int("long", 8), "int": types.add_int("int", 4)}
    known["disk"] = types.add(uapi.BTF_KIND_PTR, third=types.add_struct("disk", 0, []))
    known["inner"] = types.add_struct("", 64, [(name, known[kind], 64 * at) for at, (name, kind) in enumerate(inner)])
    types.add_struct("bio", 256, [(name, known[kind], 64 * at) for at, (name, kind) in enumerate(members)])
    return Btf(types.to_bytes())


OLD = kernel(
    ("next", "disk"), ("disk", "disk"), ("flags", "int"), ("", "inner"), inner=[("one", "int"), ("two", "long")]
)


@pytest.mark.parametrize(
    ("field", "new", "name"),
    [
        # The type and the member before it; that and the one behind it; at the struct's begin.
        ("disk", kernel(("next", "disk"), ("device", "disk"), ("more", "int"), ("flags", "int")), "device"),
        ("disk", kernel(("next", "disk"), ("state", "long"), ("flags", "int")), "state"),
        ("next", kernel(("link", "disk"), ("disk", "disk")), "link"),
        # Within an unnamed struct, which may go.
        ("two", kernel(("flags", "int"), ("one", "int"), ("second", "long")), "second"),
        # Two that might be it; one thing in common alone; a member that the old kernel has as well; another struct.
        ("disk", kernel(("next", "disk"), ("device", "disk"), ("x", "int"), ("other", "disk"), ("flags", "int")), ""),
        ("disk", kernel(("device", "disk"),), ""),
        ("disk", kernel(("next", "disk"), ("flags", "int")), ""),
        ("disk", KERNEL, ""),
    ],
)  # fmt: skip
def test_a_member_is_known_again_by_its_place(field, new, name):
    assert renamed(named(u.BPF_CORE_FIELD_BYTE_OFFSET, "bio", field), OLD, new) == name


def test_a_field_in_several_kernels():
    middle = kernel(("next", "disk"), ("device", "disk"), ("flags", "int"))
    new = kernel(("next", "disk"), ("more", "int"), ("device", "disk"), ("less", "int"), ("flags", "int"))
    found = looked_up({"7": new, "5.10": OLD, "6.1": middle, "none": KERNEL}, "bio.disk")
    assert [*found["5.10"].lines()] == ["bio.disk: offset 8, size 8: struct disk *disk"]
    where = 'it may be called "device" there: that is in the place it has in'
    assert found["6.1"].do == f"{where} 5.10"
    assert found["7"].do == f"{where} 6.1"  # which the oldest alone does not tell
    assert found["none"].what == "the target has no struct bio"
    assert summary(found) == "in 5.10; not in 7, 6.1, none"
    assert summary(looked_up({"5.10": OLD, "6.1": middle}, "bio.flags")) == ""
    assert summary(looked_up({"5.10": OLD, "7": KERNEL}, "bio")) == "in 5.10; not in 7"


def test_an_enumerator_that_is_not_there():
    sought = named(u.BPF_CORE_ENUMVAL_VALUE, "order", "LATR")
    assert why(sought, KERNEL) == ("enum order has no enumerator LATR in the target", "did you mean LATER?")


def test_a_type_that_is_not_there():
    with pytest.raises(DecodeError) as caught:
        Shown(KERNEL, "ordr")
    assert (caught.value.what, caught.value.do) == ("there is no type ordr", "did you mean order?")
    with pytest.raises(DecodeError, match="struct task has no member nothing"):
        Shown(KERNEL, "task.nothing")


def elf(data):
    """Return an ELF file of 64 bits with a .BTF section."""
    names = b"\0.BTF\0.shstrtab\0"
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 1, 247, 1, 0, 0, 64, 0, 64, 0, 0, 64, 3, 2
    )
    start = 64 + 3 * 64
    rows = [(0,) * 6, (1, 1, 0, 0, start, len(data)), (6, 3, 0, 0, start + len(data), len(names))]
    return header + b"".join(struct.pack("<2I4Q", *row).ljust(64, b"\0") for row in rows) + data + names


def test_types_in_an_elf_file():
    assert len(btf_of(elf(BLOB))) == len(Btf(BLOB))
    whole = elf(BLOB)
    for end in range(4, len(whole) - 16, 7):
        with pytest.raises(DecodeError):
            btf_of(whole[:end])
    with pytest.raises(DecodeError):
        btf_of(whole[:0x28] + b"\xff" * 8 + whole[0x30:])  # its sections are beyond all memory


#: Blobs that are changed and shown; ./run fuzz wants more.
MUTANTS = int(os.environ.get("BPFASM_FUZZ_COUNT", "150"))


@pytest.mark.fuzz
def test_any_bytes_are_shown_or_refused():
    """Every view of a blob whose bytes were changed ends, with text or with an error of ours."""
    choose = random.Random(11)
    shown = refused = 0
    source = bytes(KERNEL.data)
    for _ in range(MUTANTS):
        data = bytearray(source)
        for _ in range(choose.randrange(1, 4)):
            data[choose.randrange(24, len(data))] = choose.choice((0, 1, 4, 0x7F, 0x80, 0xFF, choose.randrange(256)))
        try:
            btf = Btf(bytes(data))
            ids = range(len(btf))
        except DecodeError:
            refused += 1
            continue
        for id in ids:
            for view in (c_lines, record_lines):
                try:
                    view(btf, id)
                    shown += 1
                except BpfasmError:
                    refused += 1
        for path in ("flags", "y", "all[2].sum", "nothing", "parent.flags"):
            sought = named(u.BPF_CORE_FIELD_BYTE_OFFSET, "task", path)
            try:
                if resolve(sought, [btf]).number is None:
                    why(sought, btf)
            except BpfasmError:
                refused += 1
    assert shown > 1000
    assert refused > 1000
