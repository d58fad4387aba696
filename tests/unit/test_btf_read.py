"""BTF that is read: what was written, what is cut short, and whatever else there may be."""

import os
import random
import struct

import pytest

from bpfasm.btf.read import Btf, Member
from bpfasm.btf.values import value_of
from bpfasm.btf.write import Writer
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi


def sample():
    """Return BTF with a type of every kind, and the ids by name."""
    w = Writer()
    ids = {"u32": w.add_int("u32", 4), "s64": w.add_int("s64", 8, uapi.BTF_INT_SIGNED)}
    ids["char"] = w.add_int("char", 1, uapi.BTF_INT_CHAR)
    ids["bool"] = w.add_int("_Bool", 1, uapi.BTF_INT_BOOL)
    ids["pid_t"] = w.add(uapi.BTF_KIND_TYPEDEF, "pid_t", ids["u32"])
    ids["const"] = w.add(uapi.BTF_KIND_CONST, third=ids["pid_t"])
    ids["volatile"] = w.add(uapi.BTF_KIND_VOLATILE, third=ids["const"])
    ids["restrict"] = w.add(uapi.BTF_KIND_RESTRICT, third=ids["volatile"])
    ids["tagged"] = w.add(uapi.BTF_KIND_TYPE_TAG, "rcu", ids["restrict"])
    ids["pointer"] = w.add(uapi.BTF_KIND_PTR, third=ids["tagged"])
    ids["text"] = w.add_array(ids["char"], 8)
    ids["numbers"] = w.add_array(ids["u32"], 3)
    ids["fwd"] = w.add(uapi.BTF_KIND_FWD, "later", flag=True)
    ids["enum"] = w.add(
        uapi.BTF_KIND_ENUM, "verdict", 4, struct.pack("=IiIi", w.string("DROP"), -1, w.string("PASS"), 1),
        count=2, flag=True,
    )  # fmt: skip
    ids["enum64"] = w.add(uapi.BTF_KIND_ENUM64, "big", 8, struct.pack("=3I", w.string("BIG"), 1, 2), count=1)
    ids["float"] = w.add(uapi.BTF_KIND_FLOAT, "double", 8)
    ids["union"] = w.add(
        uapi.BTF_KIND_UNION, "", 4,
        struct.pack("=6I", w.string("word"), ids["u32"], 0, w.string("flag"), ids["bool"], 0), count=2,
    )  # fmt: skip
    ids["event"] = w.add_struct(
        "event", 48,
        [("ts", ids["s64"], 0), ("pid", ids["pid_t"], 64), ("", ids["union"], 96), ("comm", ids["text"], 128),
         ("at", ids["pointer"], 192), ("numbers", ids["numbers"], 256), ("verdict", ids["enum"], 352)],
    )  # fmt: skip
    ids["bits"] = w.add(
        uapi.BTF_KIND_STRUCT, "bits", 4,
        struct.pack("=6I", w.string("low"), ids["u32"], 3 << 24, w.string("high"), ids["s64"], 5 << 24 | 3),
        count=2, flag=True,
    )  # fmt: skip
    ids["proto"] = w.add(
        uapi.BTF_KIND_FUNC_PROTO, "", ids["u32"], struct.pack("=2I", w.string("ctx"), ids["pointer"]), count=1
    )
    ids["func"] = w.add(uapi.BTF_KIND_FUNC, "handler", ids["proto"], count=uapi.BTF_FUNC_GLOBAL)
    ids["tag"] = w.add(uapi.BTF_KIND_DECL_TAG, "kfunc", ids["func"], struct.pack("=i", -1))
    ids["var"] = w.add_var("counter", ids["u32"])
    ids["section"] = w.add_datasec(".data", 16, [(ids["var"], 4, 4)])
    return w.to_bytes(), ids


BLOB, IDS = sample()
BTF = Btf(BLOB)


def test_every_kind_is_there():
    kinds = {BTF.type(id).kind for id in range(len(BTF))}
    assert kinds == set(range(uapi.NR_BTF_KINDS))


def test_types_come_back():
    assert len(BTF) == max(IDS.values()) + 1
    assert BTF.type(0).name == "void"
    event = BTF.type(IDS["event"])
    assert (event.name, event.size, len(event.members)) == ("event", 48, 7)
    assert event.members[1] == Member("pid", IDS["pid_t"], offset=64)
    assert BTF.type(IDS["enum"]).members == (Member("DROP", value=-1), Member("PASS", value=1))
    assert BTF.type(IDS["enum64"]).members == (Member("BIG", value=2 << 32 | 1),)
    assert BTF.type(IDS["bits"]).members[1] == Member("high", IDS["s64"], offset=3, bits=5)
    assert BTF.type(IDS["numbers"]).detail == 3
    assert BTF.type(IDS["func"]).detail == uapi.BTF_FUNC_GLOBAL
    assert BTF.type(IDS["proto"]).members == (Member("ctx", IDS["pointer"]),)
    assert BTF.type(IDS["section"]).members == (Member("counter", IDS["var"], offset=4, size=4),)


def test_a_type_past_its_names():
    assert BTF.resolve(IDS["tagged"]).name == "u32"
    assert [BTF.size_of(IDS[name]) for name in ("tagged", "numbers", "pointer", "event", "var", "section")] == [
        4, 12, 8, 48, 4, 16,
    ]  # fmt: skip
    with pytest.raises(DecodeError):
        BTF.size_of(IDS["func"])


def test_names_are_found_by_kind():
    assert BTF.find("event", uapi.BTF_KIND_STRUCT) == [IDS["event"]]
    assert BTF.find("event", uapi.BTF_KIND_FUNC) == []
    assert BTF.find("vent", uapi.BTF_KIND_STRUCT) == []
    assert BTF.find("nothing", uapi.BTF_KIND_FUNC) == []
    assert BTF.names(uapi.BTF_KIND_TYPEDEF) == {"pid_t"}


def test_a_string_that_is_the_end_of_another_counts():
    w = Writer()
    at = w.string("prefix_name")
    w._offsets["name"] = at + len("prefix_")  # as a linker may share them
    id = w.add_struct("name", 0, [])
    assert Btf(w.to_bytes()).find("name", uapi.BTF_KIND_STRUCT) == [id]


def test_split_btf_goes_on_where_its_base_ends():
    w = Writer()
    first = len(BTF)
    header, base_strings = 24, len(BLOB) - BLOB.index(b"\0u32\0")
    local = w.add_struct("module", 4, [("pid", IDS["pid_t"], 0)])
    data = bytearray(w.to_bytes())
    for at in (header, header + 12):  # the two names lie behind the base's
        struct.pack_into("=I", data, at, struct.unpack_from("=I", data, at)[0] + base_strings)
    split = Btf(bytes(data), BTF)
    assert (len(split), split.first_id) == (first + 1, first)
    found = split.type(first + local - 1)
    assert (found.name, found.members) == ("module", (Member("pid", IDS["pid_t"]),))
    assert split.find("module", uapi.BTF_KIND_STRUCT) == [first]
    assert split.find("event", uapi.BTF_KIND_STRUCT) == [IDS["event"]]
    assert split.resolve(IDS["tagged"]).name == "u32"


def test_names_that_begin_alike():
    """Those of types and members, a base's first; the end of another string begins nothing."""
    w, more = Writer(), Writer()
    w.add_struct("task_struct", 4, [("task_id", w.add_int("subtask", 4), 0)])
    base = Btf(w.to_bytes())
    assert sorted(base.beginning("task")) == ["task_id", "task_struct"]
    assert (base.beginning("task_struct"), base.beginning("tasks")) == (["task_struct"], [])
    more.add_struct("task_work", 0, [])
    assert Btf(more.to_bytes(), base).beginning("task_") == [*base.beginning("task_"), "task_work"]


def test_the_other_byte_order_reads_the_same():
    count = (BLOB.index(b"\0u32\0") - 24) // 4
    words = struct.pack(f">{count}I", *struct.unpack_from(f"<{count}I", BLOB, 24))
    header = struct.pack(">HBB5I", *struct.unpack_from("<HBB5I", BLOB))
    swapped = Btf(header + words + BLOB[24 + 4 * count :])
    assert [swapped.type(id) for id in range(len(swapped))] == [BTF.type(id) for id in range(len(BTF))]


def test_a_kind_that_is_not_known():
    w = Writer()
    w.add_int("u32", 4)
    w.add(100, "new", 0, b"\0" * 8, count=1)
    w.add_struct("after", 0, [])
    with pytest.raises(DecodeError) as caught:
        len(Btf(w.to_bytes()))
    assert (caught.value.what, caught.value.rule) == ("type 2 is of kind 100, which is unknown", "btf-kind")


def test_a_new_kind_whose_layout_is_given_is_passed_over():
    w = Writer()
    w.add(20, "new", 0, b"\0" * 12, count=2)
    w.add_struct("after", 0, [])
    old = w.to_bytes()
    length, type_len = 32, struct.unpack_from("=I", old, 12)[0]
    layout = bytes(20 * 4) + struct.pack("=BBH", 4, 4, 0)
    strings = old[24 + type_len :]
    header = struct.pack(
        "=HBB7I", uapi.BTF_MAGIC, 1, 0, length, 0, type_len, type_len + len(layout), len(strings), type_len,
        len(layout),
    )  # fmt: skip
    btf = Btf(header + old[24 : 24 + type_len] + layout + strings)
    assert btf.find("after", uapi.BTF_KIND_STRUCT) == [2]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "less than its header"),
        (b"\x9f\xeb\1" + bytes(5), "less than its header"),
        (bytes(64), "its magic number is 0x0"),
        (b"\x9f\xeb\2" + bytes(64), "its version 2"),
    ],
)
def test_what_is_no_btf(data, words):
    with pytest.raises(DecodeError, match=words):
        Btf(data)


def whole(data):
    """Read everything there is in a blob."""
    btf = Btf(data)
    types = [btf.type(id) for id in range(len(btf))]
    for type in types:
        btf.find(type.name, type.kind)
        for question in (btf.resolve, btf.size_of, lambda id: value_of(btf, id, bytes(64))):
            try:
                question(type.id)
            except DecodeError:
                continue
    return types


def test_cut_short_anywhere():
    read = 0
    for end in range(len(BLOB)):
        try:
            whole(BLOB[:end])
            read += 1
        except DecodeError as error:
            assert error.rule in {"btf", "btf-kind"}
    assert read == 0


#: Blobs that are changed and read; ./run fuzz wants more.
MUTANTS = int(os.environ.get("BPFASM_FUZZ_COUNT", "600"))


@pytest.mark.fuzz
def test_any_bytes_give_types_or_an_error():
    choose = random.Random(4)
    outcomes = set()
    for _ in range(MUTANTS):
        data = bytearray(BLOB)
        for _ in range(choose.randrange(1, 4)):
            data[choose.randrange(len(data))] = choose.choice((0, 1, 4, 0x7F, 0x80, 0xFF, choose.randrange(256)))
        try:
            whole(bytes(data))
            outcomes.add("read")
        except DecodeError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


# Values


def test_a_value_of_every_kind():
    data = struct.pack("=qII8sQ3Ii", -5, 42, 1, b"comm", 0xFFFF888000000010, 1, 2, 3, -1)
    assert value_of(BTF, IDS["event"], data) == {
        "ts": -5, "pid": 42, "word": 1, "flag": True, "comm": "comm", "at": "0xffff888000000010",
        "numbers": [1, 2, 3], "verdict": "DROP",
    }  # fmt: skip
    assert value_of(BTF, IDS["bits"], struct.pack("=I", 0b10001_101)) == {"low": 5, "high": -15}
    assert value_of(BTF, IDS["enum64"], struct.pack("=Q", 2 << 32 | 1)) == "BIG"
    assert value_of(BTF, IDS["enum64"], struct.pack("=Q", 7)) == 7
    assert value_of(BTF, IDS["float"], struct.pack("=d", 1.5)) == 1.5
    assert value_of(BTF, IDS["section"], struct.pack("=4I", 0, 9, 0, 0)) == {"counter": 9}
    assert value_of(BTF, IDS["func"], b"\1\2") == ""
    assert value_of(BTF, IDS["text"], b"\1\2\0\0\0\0\0\0") == [1, 2, 0, 0, 0, 0, 0, 0]


def test_too_few_bytes_for_a_value():
    with pytest.raises(DecodeError, match="event takes 48 bytes, and there are 47"):
        value_of(BTF, IDS["event"], bytes(47))


def test_a_struct_in_itself_ends():
    w = Writer()
    w.add_struct("self", 4, [("self", 1, 0)])
    with pytest.raises(DecodeError, match="holds itself"):
        value_of(Btf(w.to_bytes()), 1, bytes(4))


def test_unions_of_unions_end():
    w = Writer()
    inner = w.add_int("u32", 4)
    for level in range(31):
        members = struct.pack("=6I", w.string("a"), inner, 0, w.string("b"), inner, 0)
        inner = w.add(uapi.BTF_KIND_UNION, f"u{level}", 4, members, count=2)
    with pytest.raises(DecodeError, match="too large"):
        value_of(Btf(w.to_bytes()), inner, bytes(4))


def test_an_array_of_nothing_is_empty():
    w = Writer()
    nothing = w.add_array(w.add_struct("nothing", 0, []), (1 << 32) - 1)
    assert value_of(Btf(w.to_bytes()), nothing, b"") == []
