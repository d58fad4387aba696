"""BTF that is written, read back by hand; tests/live has the kernel's opinion of it."""

import struct
import sys

from bpfasm.btf.write import Writer
from bpfasm.uapi import btf as uapi


def parts(data):
    """Return the words of the types, and the strings."""
    magic, version, flags, length, type_off, type_len, str_off, str_len = struct.unpack_from("=HBB5I", data)
    assert (magic, version, flags, length, type_off, str_off) == (uapi.BTF_MAGIC, 1, 0, 24, 0, type_len)
    assert len(data) == length + type_len + str_len
    types = data[length : length + type_len]
    return list(struct.unpack(f"={len(types) // 4}I", types)), data[length + str_off :]


def test_nothing():
    assert parts(Writer().to_bytes()) == ([], b"\0")


def test_an_int():
    btf = Writer()
    assert btf.add_int("s64", 8, uapi.BTF_INT_SIGNED) == 1
    assert parts(btf.to_bytes()) == ([1, uapi.BTF_KIND_INT << 24, 8, 1 << 24 | 64], b"\0s64\0")


def test_a_struct_with_an_array():
    btf = Writer()
    u32, char = btf.add_int("u32", 4), btf.add_int("char", 1, uapi.BTF_INT_CHAR)
    text = btf.add_array(char, 12)
    pair = btf.add_struct("pair", 16, [("pid", u32, 0), ("comm", text, 32)])
    assert (u32, char, text, pair) == (1, 2, 3, 4)
    words, strings = parts(btf.to_bytes())
    assert words[8:14] == [0, uapi.BTF_KIND_ARRAY << 24, 0, char, u32, 12]
    at = {name: strings.index(b"\0" + name + b"\0") + 1 for name in (b"pair", b"pid", b"comm")}
    assert words[14:] == [at[b"pair"], uapi.BTF_KIND_STRUCT << 24 | 2, 16, at[b"pid"], u32, 0, at[b"comm"], text, 32]


def test_a_section_of_variables():
    btf = Writer()
    u32 = btf.add_int("u32", 4)
    first, second = btf.add_var("first", u32), btf.add_var("second", u32)
    section = btf.add_datasec(".data", 8, [(first, 0, 4), (second, 4, 4)])
    words, _ = parts(btf.to_bytes())
    assert words[4:8] == [btf.string("first"), uapi.BTF_KIND_VAR << 24, u32, uapi.BTF_VAR_GLOBAL_ALLOCATED]
    assert words[12:] == [btf.string(".data"), uapi.BTF_KIND_DATASEC << 24 | 2, 8, first, 0, 4, second, 4, 4]
    assert section == 4


def test_what_is_there_is_not_repeated():
    btf = Writer()
    assert [btf.add_int("u32", 4), btf.add_array(1, 3), btf.add_int("u32", 4), btf.add_array(1, 3)] == [1, 2, 1, 2]
    assert btf.add_struct("u32", 4, [("u32", 1, 0)]) == 3
    assert btf.to_bytes().count(b"u32\0") == 1


def test_it_is_in_this_machines_order():
    assert Writer().to_bytes()[:2] == uapi.BTF_MAGIC.to_bytes(2, sys.byteorder)
