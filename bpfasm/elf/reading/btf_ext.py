"""``.BTF.ext``: what a compiler says of an object's instructions: functions, source lines, CO-RE records.

The section's header has up to three tables. Each begins with the size of its records, and goes through the object's
sections of code: whose they are, how many, and then the records, which begin with the offset of an instruction in
bytes. Names and texts are strings of ``.BTF``. (Documentation/bpf/btf.rst)
"""

from __future__ import annotations

from struct import Struct, error as struct_error

from bpfasm.errors import DecodeError
from bpfasm.uapi import bpf, btf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.btf.read import Btf
    from bpfasm.isa.insn import ByteOrder

#: The words of a record that are known: struct bpf_func_info, bpf_line_info, bpf_core_relo.
_FUNC, _LINE, _CORE = (
    bpf.sizeof_struct_bpf_func_info // 4,
    bpf.sizeof_struct_bpf_line_info // 4,
    bpf.sizeof_struct_bpf_core_relo // 4,
)
#: magic, version, flags, length of the header, and then offset and length of each table.
_START = "HBBI"


class CoreRecord(Value):
    """A number in an instruction that the target's types decide: of what type, which part of it, what of that."""

    offset: int
    type: int
    access: str
    kind: int


class CodeInfo(Value):
    """What ``.BTF.ext`` says of one section of code, by the offset of the instruction in bytes.

    ``functions`` are the ids of functions in ``.BTF``, ``lines`` the last three words of ``struct bpf_line_info``: a
    file's name, a line's text, line and column.
    """

    functions: dict[int, int]
    lines: dict[int, tuple[int, int, int]]
    cores: tuple[CoreRecord, ...]


def read_ext(data: bytes, btf: Btf) -> dict[str, CodeInfo]:
    """Return what the bytes of ``.BTF.ext`` say, by the names of sections. Raises DecodeError."""
    order: ByteOrder = "little" if data[:2] == b"\x9f\xeb" else "big"
    sign = "<" if order == "little" else ">"
    try:
        magic, version, _, length = Struct(sign + _START).unpack_from(data)
    except struct_error:
        raise _broken(f"{len(data)} bytes are less than its header") from None
    if magic != uapi.BTF_MAGIC or version != uapi.BTF_VERSION or length > len(data) or length < 8:
        raise _broken("its header is none")
    places = Struct(f"{sign}{(length - 8) // 4}I").unpack_from(data, 8)
    tables = [
        dict(_table(data, sign, length + places[at], places[at + 1], words, btf)) if len(places) > at + 1 else {}
        for at, words in ((0, _FUNC), (2, _LINE), (4, _CORE))
    ]
    functions, lines, cores = tables
    found = {}
    for name in dict.fromkeys((*functions, *lines, *cores)):
        found[name] = CodeInfo(
            {row[0]: row[1] for row in functions.get(name, ())},
            {row[0]: (row[1], row[2], row[3]) for row in lines.get(name, ())},
            tuple(CoreRecord(row[0], row[1], btf.string(row[2]), row[3]) for row in cores.get(name, ())),
        )
    return found


def _table(
    data: bytes, sign: str, start: int, size: int, words: int, btf: Btf
) -> Iterator[tuple[str, list[tuple[int, ...]]]]:
    """Yield the name of each section of code in a table, with its records as far as they are known."""
    if not size:
        return
    end = start + size
    if end > len(data) or size < 4:
        raise _broken(f"a table ends at byte {end}, and there are {len(data)}")
    word, head = Struct(f"{sign}I"), Struct(f"{sign}2I")
    (step,) = word.unpack_from(data, start)
    if step % 4 or step < 4 * words:
        raise _broken(f"a table has records of {step} bytes, and {4 * words} are the least")
    at = start + 4
    record = Struct(f"{sign}{words}I{step - 4 * words}x")
    found: dict[str, list[tuple[int, ...]]] = {}
    while at < end:
        if at + 8 > end:
            raise _broken("a table is cut short")
        name, count = head.unpack_from(data, at)
        at += 8
        if count * step > end - at:
            raise _broken(f"a section is said to have {count} records, and there is no room for them")
        rows = found.setdefault(btf.string(name), [])
        rows += record.iter_unpack(data[at : at + count * step])
        at += count * step
    yield from found.items()


def _broken(what: str) -> DecodeError:
    return DecodeError(
        f"this is no .BTF.ext: {what}",
        "build the object again; llvm-objdump -h shows its sections",
        rule="btf-ext",
    )
