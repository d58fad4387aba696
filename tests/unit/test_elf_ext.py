"""What .BTF.ext says of an object's instructions, and what is refused of it."""

from struct import pack

import pytest

from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.elf.reading.btf_ext import CoreRecord, read_ext
from bpfasm.errors import DecodeError


def table(step, name, *rows):
    """Return a table of one section; records may have words that nobody knows yet."""
    body = b"".join(pack(f"<{len(row)}I", *row).ljust(step, b"\xff") for row in rows)
    return pack("<3I", step, name, len(rows)) + body


def made(*tables, length=32):
    """Return the section, and types with the strings that it refers to: a name at 1, an access string."""
    types = Writer()
    names = [types.string(text) for text in ("xdp", "0:1", "prog.c", "return 0;")]
    places, data = [], b""
    for each in tables:
        text = each(*names)
        places += (len(data), len(text))
        data += text
    header = pack("<HBBI", 0xEB9F, 1, 0, length) + pack("<6I", *places, *[0] * (6 - len(places)))
    return header[:length] + data, Btf(types.to_bytes())


def functions(xdp, *_):
    return table(8, xdp, (0, 5), (16, 6))


def lines(xdp, _, file, text):
    return table(16, xdp, (0, file, text, 3 << 10 | 2))


def cores(xdp, access, *_):
    return table(20, xdp, (8, 7, access, 0))


def test_its_three_tables_are_read():
    data, btf = made(functions, lines, cores)
    (name, info), *others = read_ext(data, btf).items()
    assert (name, others) == ("xdp", [])
    assert info.functions == {0: 5, 16: 6}
    assert info.lines[0][2] == 3 << 10 | 2
    assert [btf.string(offset) for offset in info.lines[0][:2]] == ["prog.c", "return 0;"]
    assert info.cores == (CoreRecord(8, 7, "0:1", 0),)


def test_headers_of_before_core_are_read():
    data, btf = made(functions, lines, length=24)
    (info,) = read_ext(data, btf).values()
    assert (len(info.functions), len(info.lines), info.cores) == (2, 1, ())


def test_every_cut_is_refused():
    data, btf = made(functions, lines, cores)
    for length in range(len(data)):
        with pytest.raises(DecodeError) as refused:
            read_ext(data[:length], btf)
        assert refused.value.rule == "btf-ext"


@pytest.mark.parametrize(
    ("at", "value", "what"),
    [
        (0, 0, "its header is none"),
        (4, 1000, "its header is none"),
        (12, 1000, "a table ends at byte"),
        (32, 4, "a table has records of 4 bytes, and 8 are the least"),
        (40, 100, "a section is said to have 100 records"),
    ],
)
def test_what_does_not_hold_is_said(at, value, what):
    data, btf = made(functions, lines, cores)
    changed = data[:at] + pack("<I", value) + data[at + 4 :]
    with pytest.raises(DecodeError, match=what) as refused:
        read_ext(changed, btf)
    assert refused.value.rule == "btf-ext"


def test_strings_that_are_all_there_is_do_not_multiply():
    """Each of 5000 types has a name that ends with the half a megabyte of strings."""
    types = b"".join(pack("<3I", n + 1, 7 << 24, 0) for n in range(5000))
    strings = b"\0" + b"a" * (1 << 19) + b"\0"
    header = pack("<HBB5I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    btf = Btf(header + types + strings)
    with pytest.raises(DecodeError, match="its strings are longer than all of it"):
        [btf.type(id).name for id in range(1, 5001)]
    same = Btf(header + b"".join(pack("<3I", 1, 7 << 24, 0) for _ in range(5000)) + strings)
    assert len({id(same.type(number).name) for number in range(1, 5001)}) == 1
