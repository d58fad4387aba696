"""CO-RE: what is sought by name and by record, in types made here."""

import struct

import pytest

from bpfasm.btf import core
from bpfasm.btf.core import Number, named, recorded, resolve
from bpfasm.btf.core_types import essential
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.errors import DecodeError, LinkError
from bpfasm.uapi import bpf as u, btf as uapi

OFFSET, SIZE, EXISTS = u.BPF_CORE_FIELD_BYTE_OFFSET, u.BPF_CORE_FIELD_BYTE_SIZE, u.BPF_CORE_FIELD_EXISTS


def members(w, *each):
    """Return the bytes of members (name, type, bit offset, bits)."""
    return b"".join(struct.pack("=3I", w.string(n), t, bits << 24 | off) for n, t, off, bits in each)


def bits_struct(w, name, size, *each):
    return w.add(uapi.BTF_KIND_STRUCT, name, size, members(w, *each), count=len(each), flag=True)


def kernel():
    """Return types with what structs of the kernel have: unnamed members, arrays, bit fields, enums."""
    w = Writer()
    i32, u64, char = w.add_int("int", 4, 1), w.add_int("u64", 8), w.add_int("char", 1, 2)
    u32, short = w.add_int("unsigned int", 4), w.add_int("short", 2, 1)
    deep = w.add_struct("", 8, [("x", i32, 0), ("y", i32, 32)])
    union = w.add(uapi.BTF_KIND_UNION, "", 8, members(w, ("whole", u64, 0, 0), ("", deep, 0, 0)), count=2)
    entity = w.add_struct("entity", 16, [("first", u64, 0), ("sum", u64, 64)])
    entities = w.add_array(entity, 3)
    self = w.add(uapi.BTF_KIND_PTR, third=len(w._types) + 4)
    comm = w.add_array(char, 16)
    tail = w.add_array(u32, 0)
    task = w.add_struct(
        "task", 128,
        [("flags", u32, 0), ("", union, 64), ("se", entity, 128), ("all", entities, 256), ("parent", self, 640),
         ("comm", comm, 704), ("tail", tail, 832)],
    )  # fmt: skip
    assert w._types and task == self + 3
    w.add(uapi.BTF_KIND_TYPEDEF, "task_t", task)
    bits_struct(w, "bits", 12, ("a", u32, 0, 3), ("b", i32, 3, 7), ("c", short, 30, 2), ("plain", u32, 64, 0))
    values = struct.pack("=IiIi", w.string("FIRST"), 0, w.string("LATER"), 7)
    w.add(uapi.BTF_KIND_ENUM, "order", 4, values, count=2)
    w.add(uapi.BTF_KIND_ENUM64, "wide", 8, struct.pack("=3I", w.string("WIDE"), 1, 2), count=1)
    return Btf(w.to_bytes())


KERNEL = kernel()


def number(kind, root, path=""):
    return resolve(named(kind, root, path), [KERNEL]).number


@pytest.mark.parametrize(
    ("path", "offset", "size"),
    [
        ("flags", 0, 4), ("whole", 8, 8), ("x", 8, 4), ("y", 12, 4), ("se", 16, 16), ("se.sum", 24, 8),
        ("all", 32, 48), ("all[2]", 64, 16), ("all[2].sum", 72, 8), ("parent", 80, 8), ("comm", 88, 16),
        ("comm[15]", 103, 1), ("tail[5]", 124, 4),
    ],
)  # fmt: skip
def test_a_field_by_name(path, offset, size):
    assert number(OFFSET, "task", path).value == offset
    assert number(SIZE, "task", path).value == size
    assert number(EXISTS, "task", path) == Number(1)
    assert number(OFFSET, "task_t", path).value == offset
    assert number(OFFSET, "struct task", path).value == offset


@pytest.mark.parametrize(
    ("root", "path"),
    [("task", "nothing"), ("task", "comm[16]"), ("task", "parent.flags"), ("task", "flags[0]"), ("no", "flags"),
     ("union task", "flags"), ("order", "FIRST"), ("task", "se[0]")],
)  # fmt: skip
def test_a_field_that_is_not_there(root, path):
    found = resolve(named(OFFSET, root, path), [KERNEL])
    assert found.number is None
    assert number(EXISTS, root, path) == Number(0)
    with pytest.raises(LinkError) as caught:
        found.value
    assert caught.value.rule == "core-missing"


def test_bit_fields_have_the_load_that_holds_them():
    shifts = u.BPF_CORE_FIELD_LSHIFT_U64, u.BPF_CORE_FIELD_RSHIFT_U64
    asked = [OFFSET, SIZE, u.BPF_CORE_FIELD_SIGNED, *shifts]
    assert [number(kind, "bits", "a").value for kind in asked] == [0, 4, 0, 61, 61]
    assert [number(kind, "bits", "b").value for kind in asked] == [0, 4, 1, 54, 57]
    # Two bits at 30: the second byte pair of a short, whose two bytes have both.
    assert [number(kind, "bits", "c").value for kind in asked] == [2, 2, 1, 48, 62]
    assert [number(kind, "bits", "plain").value for kind in asked] == [8, 4, 0, 32, 32]
    assert [number(kind, "bits", "b").exact for kind in asked] == [False, False, True, False, True]


def test_types_and_enumerators():
    assert number(u.BPF_CORE_TYPE_SIZE, "task").value == 128
    assert number(u.BPF_CORE_TYPE_SIZE, "nothing").value == 0
    assert number(u.BPF_CORE_TYPE_EXISTS, "order").value == 1
    assert number(u.BPF_CORE_TYPE_EXISTS, "struct order").value == 0
    (task,) = KERNEL.find("task", uapi.BTF_KIND_STRUCT)
    assert number(u.BPF_CORE_TYPE_ID_TARGET, "task").value == task
    assert number(u.BPF_CORE_ENUMVAL_VALUE, "order", "LATER").value == 7
    assert number(u.BPF_CORE_ENUMVAL_VALUE, "wide", "WIDE").value == 2 << 32 | 1
    assert number(u.BPF_CORE_ENUMVAL_EXISTS, "order", "NEVER").value == 0
    assert resolve(named(u.BPF_CORE_ENUMVAL_VALUE, "order", "NEVER"), [KERNEL]).number is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [("a___b", "a"), ("a___b___c", "a___b"), ("a____b", "a____b"), ("___b", "___b"), ("a___", "a___"), ("a", "a"),
     ("a___b____c", "a"), ("a_b___c", "a_b")],
)  # fmt: skip
def test_flavours(name, kept):
    assert essential(name) == kept


@pytest.mark.parametrize("path", ["", ".", "a.", "a..b", "a[", "a]", "a[x]", "a[-1]", "[0]", "a->b", "1a"])
def test_what_is_no_path(path):
    with pytest.raises(LinkError) as caught:
        named(OFFSET, "task", path)
    assert caught.value.rule == "core-path"


def test_two_types_that_differ_are_ambiguous():
    w = Writer()
    i32 = w.add_int("int", 4, 1)
    w.add_struct("dup", 8, [("x", i32, 0), ("same", i32, 32)])
    w.add_struct("dup", 12, [("x", i32, 32), ("same", i32, 32)])
    twice = Btf(w.to_bytes())
    assert resolve(named(OFFSET, "dup", "same"), [twice]).value == 4
    with pytest.raises(LinkError) as caught:
        resolve(named(OFFSET, "dup", "x"), [twice])
    assert caught.value.rule == "core-ambiguous"


def test_modules_are_asked_for_what_the_kernel_has_not():
    w = Writer()
    w.add_struct("own", 8, [("x", w.add_int("int", 4, 1), 32)])
    w.add_struct("task", 8, [("only_here", w.add_int("int", 4, 1), 32)])
    module = Btf(w.to_bytes())
    assert resolve(named(OFFSET, "own", "x"), iter([KERNEL, module])).value == 4
    assert resolve(named(OFFSET, "task", "only_here"), iter([KERNEL, module])).number is None


# Records of an object


def local():
    w = Writer()
    i32, u64 = w.add_int("int", 4, 1), w.add_int("u64", 8)
    deep = w.add_struct("", 8, [("y", i32, 0)])
    entity = w.add_struct("entity___mine", 8, [("sum", u64, 0)])
    two = w.add_array(entity, 2)
    ids = {"task": w.add_struct("task___old", 64, [("", deep, 0), ("all", two, 64), ("flags", u64, 192)])}
    values = struct.pack("=IiIi", w.string("LATER___x"), 3, w.string("GONE"), 4)
    ids["order"] = w.add(uapi.BTF_KIND_ENUM, "order", 4, values, count=2)
    ids["gone"] = w.add_struct("gone", 4, [("x", i32, 0)])
    ids["int"] = i32
    ids["float"] = w.add_struct("bits", 4, [("plain", w.add(uapi.BTF_KIND_FLOAT, "float", 4), 0)])
    return Btf(w.to_bytes()), ids


LOCAL, IDS = local()


def from_record(kind, name, access):
    sought = recorded(LOCAL, kind, IDS[name], access)
    return core.measure(kind, sought.local), resolve(sought, [KERNEL]).number


def test_a_record_is_matched_by_name():
    before, after = from_record(OFFSET, "task", "0:0:0")
    assert (before.value, after.value, after.size) == (0, 12, 4)
    before, after = from_record(OFFSET, "task", "0:1:1:0")
    assert (before.value, after.value, after.size) == (16, 56, 8)
    before, after = from_record(SIZE, "task", "0:2")
    assert (before.value, after.value) == (8, 4)
    before, after = from_record(OFFSET, "task", "2:2")
    assert (before.value, after.value) == (2 * 64 + 24, 2 * 128)
    assert str(recorded(LOCAL, OFFSET, IDS["task"], "0:1:1:0")) == "task.all[1].sum"


def test_a_record_of_an_enumerator_or_a_type():
    before, after = from_record(u.BPF_CORE_ENUMVAL_VALUE, "order", "0")
    assert (before.value, after.value) == (3, 7)
    assert from_record(u.BPF_CORE_ENUMVAL_VALUE, "order", "1")[1] is None
    assert from_record(u.BPF_CORE_TYPE_EXISTS, "gone", "0") == (Number(1), Number(0))
    assert from_record(u.BPF_CORE_TYPE_SIZE, "task", "0")[1].value == 128
    assert from_record(u.BPF_CORE_TYPE_ID_LOCAL, "task", "0")[1].value == IDS["task"]
    assert from_record(u.BPF_CORE_TYPE_MATCHES, "task", "0")[1].value == 0
    assert from_record(EXISTS, "gone", "0:0")[1].value == 0


def test_a_member_of_another_kind_is_none():
    assert from_record(OFFSET, "float", "0:0")[1] is None


@pytest.mark.parametrize(
    ("kind", "name", "access"),
    [(OFFSET, "task", ""), (OFFSET, "task", "0:9"), (OFFSET, "task", "0:1:2"), (OFFSET, "task", "0:2:0"),
     (OFFSET, "task", "x"), (OFFSET, "task", "0:-1"), (OFFSET, "task", ":".join("0" * 65)), (99, "task", "0"),
     (u.BPF_CORE_TYPE_SIZE, "task", "0:1"), (u.BPF_CORE_ENUMVAL_VALUE, "order", "2"),
     (u.BPF_CORE_ENUMVAL_VALUE, "task", "0"), (u.BPF_CORE_ENUMVAL_VALUE, "order", "0:0")],
)  # fmt: skip
def test_a_record_that_does_not_fit(kind, name, access):
    with pytest.raises(DecodeError) as caught:
        recorded(LOCAL, kind, IDS[name], access)
    assert caught.value.rule == "core-record"


def test_what_an_element_has_not():
    with pytest.raises(LinkError) as caught:
        number(u.BPF_CORE_FIELD_SIGNED, "task", "comm[0]")
    assert caught.value.rule == "core-element"


def test_a_bit_field_that_no_load_holds():
    w = Writer()
    bits_struct(w, "packed", 16, ("x", w.add_int("u64", 8), 60, 10))
    with pytest.raises(LinkError) as caught:
        resolve(named(OFFSET, "packed", "x"), [Btf(w.to_bytes())])
    assert caught.value.rule == "core-bits"
