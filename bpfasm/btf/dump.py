"""All the types of a BTF one after the other: as rows, and as the lines that bpftool has for them.

>>> from bpfasm.btf.read import Btf
>>> from bpfasm.btf.write import Writer
>>> types = Writer()
>>> pair = types.add_struct("pair", 8, [("first", types.add_int("int", 4), 0), ("second", 1, 32)])
>>> print("\\n".join(raw_lines(Btf(types.to_bytes()))).expandtabs())
[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=(none)
[2] STRUCT 'pair' size=8 vlen=2
        'first' type_id=1 bits_offset=0
        'second' type_id=1 bits_offset=32
"""

from __future__ import annotations

from bpfasm.btf.read import COMPOSITE
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bpfasm.btf.read import Btf, BtfType, Member

    #: A type by bpftool's words: its id, kind and name, and what its kind has.
    Row = dict[str, Any]

#: BTF_KIND_* without what they begin with.
_KINDS = {
    number: name.removeprefix("BTF_KIND_")
    for name, number in vars(uapi).items()
    if name.startswith("BTF_KIND_") and name != "BTF_KIND_MAX"
}

_NAMES = (
    uapi.BTF_KIND_PTR,
    uapi.BTF_KIND_TYPEDEF,
    uapi.BTF_KIND_VOLATILE,
    uapi.BTF_KIND_CONST,
    uapi.BTF_KIND_RESTRICT,
    uapi.BTF_KIND_TYPE_TAG,
)
_ENCODINGS = {
    0: "(none)",
    uapi.BTF_INT_SIGNED: "SIGNED",
    uapi.BTF_INT_CHAR: "CHAR",
    uapi.BTF_INT_BOOL: "BOOL",
}
#: Those of variables and functions are the same numbers.
_LINKAGES = {0: "static", 1: "global", 2: "extern"}

#: The words for what a type has several of.
_LISTS = ("members", "values", "params", "vars")


def rows(btf: Btf) -> Iterator[Row]:
    """Yield each type, in the order of the ids; those of the base are not among them. Raises DecodeError."""
    for id in range(btf.first_id, len(btf)):
        type = btf.type(id)
        yield {"id": id, "kind": _kind(type), "name": type.name or "(anon)", **_facts(btf, type)}


def _kind(type: BtfType) -> str:
    """Return what a type is; of a kind that is newer than bpfasm, its number."""
    return _KINDS.get(type.kind, f"KIND_{type.kind}")


def _facts(btf: Btf, type: BtfType) -> Row:
    kind, several = type.kind, type.members
    if kind == uapi.BTF_KIND_INT:
        detail = type.detail
        encoding = _ENCODINGS.get(detail >> 24 & 0xF, "UNKN")
        return {
            "size": type.size,
            "bits_offset": detail >> 16 & 0xFF,
            "nr_bits": detail & 0xFF,
            "encoding": encoding,
        }
    if kind in _NAMES:
        return {"type_id": type.type}
    if kind == uapi.BTF_KIND_ARRAY:
        return {"type_id": type.type, "index_type_id": btf.words(type.id)[4], "nr_elems": type.detail}
    if kind in COMPOSITE:
        return {"size": type.size, "vlen": len(several), "members": [_member(each) for each in several]}
    if kind in (uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64):
        values = [{"name": each.name, "val": each.value} for each in several]
        encoding = "SIGNED" if type.flag else "UNSIGNED"
        return {"encoding": encoding, "size": type.size, "vlen": len(several), "values": values}
    if kind == uapi.BTF_KIND_FWD:
        return {"fwd_kind": "union" if type.flag else "struct"}
    if kind == uapi.BTF_KIND_FUNC_PROTO:
        params = [{"name": each.name or "(anon)", "type_id": each.type} for each in several]
        return {"ret_type_id": type.type, "vlen": len(several), "params": params}
    if kind in (uapi.BTF_KIND_FUNC, uapi.BTF_KIND_VAR):
        return {"type_id": type.type, "linkage": _LINKAGES.get(type.detail, "(unknown)")}
    if kind == uapi.BTF_KIND_DATASEC:
        places = [{"type_id": each.type, "offset": each.offset, "size": each.size} for each in several]
        return {"size": type.size, "vlen": len(several), "vars": places}
    if kind == uapi.BTF_KIND_DECL_TAG:
        index = type.detail - (1 << 32) if type.detail >> 31 else type.detail
        return {"type_id": type.type, "component_idx": index}
    return {"size": type.size}  # a float


def _member(member: Member) -> Row:
    row: Row = {"name": member.name or "(anon)", "type_id": member.type, "bits_offset": member.offset}
    return row | {"bitfield_size": member.bits} if member.bits else row


def raw_lines(btf: Btf) -> Iterator[str]:
    """Yield the lines of ``bpftool btf dump ... format raw``. Raises DecodeError."""
    for row in rows(btf):
        facts = [f"{name}={value}" for name, value in row.items() if name not in ("id", "kind", "name", *_LISTS)]
        # So it is there: of a variable alone there is a comma.
        between = ", " if row["kind"] == "VAR" else " "
        yield f"[{row['id']}] {row['kind']} '{row['name']}' {between.join(facts)}"
        for name in _LISTS:
            for each in row.get(name, ()):
                yield f"\t{_line(btf, row['kind'], each)}"


def _line(btf: Btf, kind: str, row: Row) -> str:
    """Return the line of one of those that a type has several of."""
    if kind == "ENUM64":
        return f"'{row['name']}' val={row['val']}{'LL' if row['val'] < 0 else 'ULL'}"
    words = " ".join(f"{name}={value}" for name, value in row.items() if name != "name")
    if kind == "DATASEC":
        type = btf.type(row["type_id"])
        return f"{words} ({_kind(type)} '{type.name or '(anon)'}')"
    return f"'{row['name']}' {words}"
