"""Types and fields of BTF, as text and as documents."""

from __future__ import annotations

from bpfasm.btf.core import measure, named, resolve
from bpfasm.btf.core_missing import why
from bpfasm.btf.read import COMPOSITE
from bpfasm.btf.text import c_lines, c_name, record_lines
from bpfasm.errors import DecodeError
from bpfasm.uapi import bpf, btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bpfasm.btf.core import Found, Sought
    from bpfasm.btf.read import Btf

#: What a word before a name narrows it to, and the kinds a bare name may be of, in the order they are shown.
_KINDS = {
    "struct": (uapi.BTF_KIND_STRUCT,),
    "union": (uapi.BTF_KIND_UNION,),
    "enum": (uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64),
    "typedef": (uapi.BTF_KIND_TYPEDEF,),
    "func": (uapi.BTF_KIND_FUNC,),
    "var": (uapi.BTF_KIND_VAR,),
    "section": (uapi.BTF_KIND_DATASEC,),
    "int": (uapi.BTF_KIND_INT, uapi.BTF_KIND_FLOAT),
}
_WORDS = {kind: word for word, kinds in _KINDS.items() for kind in kinds}


class Shown:
    """What a name stands for in some BTF: types, or a field of one."""

    def __init__(self, btf: Btf, name: str) -> None:
        """Find ``task_struct``, ``enum pid_type``, or a field such as ``task_struct.comm``. Raises DecodeError."""
        self.btf = btf
        self.name = name
        self.field: Found | None = None
        self.sought: Sought | None = None
        word, _, bare = name.partition(" ")
        if word not in _KINDS or not bare:
            word, bare = "", name  # numbers have names of several words: long unsigned int
        root, dot, path = bare.partition(".")
        groups = (_KINDS[word],) if word else tuple(_KINDS.values())
        if dot and word not in ("section", "var") and not btf.find(bare, uapi.BTF_KIND_DATASEC):
            sought = named(bpf.BPF_CORE_FIELD_BYTE_OFFSET, f"{word} {root}".strip(), path)
            found = resolve(sought, [btf]).found
            if not found:
                raise DecodeError(*why(sought, btf), rule="btf-type")
            self.field, self.sought = found[0], sought
            self.ids = [found[0].root]
            return
        self.ids = [id for kinds in groups for id in btf.find(bare, *kinds)]
        if not self.ids:
            raise DecodeError(*_none(btf, bare, groups), rule="btf-type")

    def lines(self) -> Iterator[str]:
        """Yield it in C."""
        if self.field:
            yield from self._field_lines(self.field)
            return
        for number, id in enumerate(self.ids):
            if number:
                yield ""
            yield from c_lines(self.btf, id)

    def _field_lines(self, found: Found) -> Iterator[str]:
        numbers = self._numbers(found)
        where = f"offset {found.offset // 8}, size {numbers['size']}"
        if found.bits:
            where += f", bit {found.offset % 8} to {found.offset % 8 + found.bits - 1} of its first byte on"
            where += f"; load {numbers['size']} at {numbers['load']}"
            where += f", shift left {numbers['lshift']} and right {numbers['rshift']}"
        last = str(self.sought).rpartition(".")[2]
        yield f"{self.sought}: {where}: {c_name(self.btf, found.type, last)}"

    def _numbers(self, found: Found) -> dict[str, int]:
        sizes = {"load": bpf.BPF_CORE_FIELD_BYTE_OFFSET, "size": bpf.BPF_CORE_FIELD_BYTE_SIZE}
        if found.bits:
            sizes |= {"lshift": bpf.BPF_CORE_FIELD_LSHIFT_U64, "rshift": bpf.BPF_CORE_FIELD_RSHIFT_U64}
        return {name: number.value for name, kind in sizes.items() if (number := measure(kind, found))}

    def record(self) -> Iterator[str]:
        """Yield the Records of the structs."""
        yield "from bpfasm.asm import *"
        for id in self.ids:
            yield from ("", "", *record_lines(self.btf, id))

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        rows: list[dict[str, Any]] = [_type(self.btf, id) for id in ([] if self.field else self.ids)]
        fields = []
        if self.field:
            kind = c_name(self.btf, self.field.type)
            row = {"name": str(self.sought), "type": kind, "bit_offset": self.field.offset, "bits": self.field.bits}
            fields = [row | self._numbers(self.field)]
        return {"schema": "bpfasm/btf-type/1", "types": rows, "fields": fields}


def _type(btf: Btf, id: int) -> dict[str, Any]:
    type = btf.type(id)
    row: dict[str, Any] = {"id": id, "kind": _WORDS[type.kind], "name": type.name, "c": "\n".join(c_lines(btf, id))}
    if type.kind in (uapi.BTF_KIND_FUNC, uapi.BTF_KIND_VAR, uapi.BTF_KIND_TYPEDEF):
        row["type"] = c_name(btf, type.type)
        inner = btf.type(type.type)
        if type.kind != uapi.BTF_KIND_TYPEDEF or inner.name or inner.kind not in (*COMPOSITE, *_KINDS["enum"]):
            return row
        type = inner  # what is in it is nowhere else by a name
    row["size"] = type.size
    if type.kind in COMPOSITE:
        row["members"] = [
            {
                "name": each.name,
                "type": c_name(btf, each.type),
                "type_id": each.type,
                "bit_offset": each.offset,
                "bits": each.bits,
                "size": btf.size_of(each.type),
            }
            for each in type.members
        ]
    elif type.kind in _KINDS["enum"]:
        wide = type.kind == uapi.BTF_KIND_ENUM64
        row["values"] = {
            each.name: f"{each.value & (1 << 64) - 1:#x}" if wide else each.value for each in type.members
        }
    return row


def _none(btf: Btf, name: str, groups: tuple[tuple[int, ...], ...]) -> tuple[str, str]:
    """Return why there is nothing to show."""
    from difflib import get_close_matches

    names = {each for kinds in groups for kind in kinds for each in btf.names(kind)}
    near = [
        each for each in names if abs(len(each) - len(name)) < 3 and (each[:2] == name[:2] or each[-3:] == name[-3:])
    ]
    close = get_close_matches(name, near, n=3)
    do = f"did you mean {' or '.join(close)}?" if close else "a module's types are in --btf module:NAME"
    return f"there is no type {name}", do
