"""All the types of a BTF in C, each behind those that it is made of, for a compiler to take.

>>> from bpfasm.btf.read import Btf
>>> from bpfasm.btf.write import Writer
>>> types = Writer()
>>> pair = types.add_struct("pair", 8, [("first", types.add_int("int", 4), 0), ("second", 1, 32)])
>>> print("\\n".join(ordered_lines(Btf(types.to_bytes()))).expandtabs(4))
struct pair;
<BLANKLINE>
struct pair {
    int first;
    int second;
};
"""

from __future__ import annotations

from bpfasm.btf.read import MOST_DEEP
from bpfasm.btf.text import ENUMS, WITH_BODY, c_name, enum_lines
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.btf.read import Btf, BtfType

#: Types within types can be far more than there are bytes.
_MOST_LINES = 1 << 16
_COMPOSITE = (uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION)


class _Types(dict[int, "BtfType"]):
    """The types that were looked at, each decoded once."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf

    def __missing__(self, id: int) -> BtfType:
        self[id] = found = self.btf.type(id)
        return found


def ordered_lines(btf: Btf) -> Iterator[str]:
    """Yield the lines: structs and unions by their names first, then each type. Raises DecodeError."""
    types, ids = _Types(btf), range(btf.first_id, len(btf))
    forward: dict[str, None] = {}
    for id in ids:
        type = types[id]
        if type.name and type.kind in (*_COMPOSITE, uapi.BTF_KIND_FWD):
            union = type.flag if type.kind == uapi.BTF_KIND_FWD else type.kind == uapi.BTF_KIND_UNION
            forward[f"{'union' if union else 'struct'} {type.name};"] = None
    yield from forward
    within = _within(types, ids)
    for id in _order(types, ids):
        type = types[id]
        if type.kind == uapi.BTF_KIND_TYPEDEF:
            yield from ("", *_declared(types, type.type, type.name, "typedef ", 0))
        elif type.kind in WITH_BODY and (type.name or (type.kind in ENUMS and id not in within)):
            yield from ("", *_body(types, type, 0), "};")


def _within(types: _Types, ids: range) -> set[int]:
    """Return the enums without a name that stand in what they are the type of."""
    found = set()
    for id in ids:
        type = types[id]
        places = [each.type for each in type.members] if type.kind in _COMPOSITE else []
        for each in [type.type] if type.kind == uapi.BTF_KIND_TYPEDEF else places:
            inner = _unnamed(types, each)
            if inner:
                found.add(inner.id)
    return found


def _order(types: _Types, ids: range) -> list[int]:
    """Return the ids, each behind those that must be there before it.

    What is behind a pointer need not be whole: of a struct its name is enough.
    """
    done: dict[int, None] = {}
    begun: set[tuple[int, bool]] = set()
    for first in ids:
        if (first, True) in begun:
            continue
        begun.add((first, True))
        # By a list and not by calls: a chain may be longer than Python's stack.
        waiting = [((first, True), iter(_needs(types, first, whole=True)))]
        while waiting:
            (id, whole), needs = waiting[-1]
            following = next((each for each in needs if each not in begun), None)
            if following:
                begun.add(following)
                waiting.append((following, iter(_needs(types, following[0], whole=following[1]))))
                continue
            waiting.pop()
            type = types[id]
            if whole or not (type.name and type.kind in _COMPOSITE):
                done[id] = None
    return [*done]


def _needs(types: _Types, id: int, *, whole: bool) -> list[tuple[int, bool]]:
    """Return what a type is made of, and whether that must be whole."""
    type = types[id]
    if type.kind in _COMPOSITE:
        return [(each.type, True) for each in type.members] if whole or not type.name else []
    if type.kind == uapi.BTF_KIND_FUNC_PROTO:
        return [(each, False) for each in (type.type, *(param.type for param in type.members)) if each]
    if type.kind == uapi.BTF_KIND_PTR:
        whole = False
    elif type.kind == uapi.BTF_KIND_ARRAY:
        whole = True
    return [(type.type, whole)] if type.type else []


def _declared(types: _Types, id: int, name: str, before: str, depth: int) -> list[str]:
    """Return the declaration of a name; a struct, union or enum that has none stands in it with what it holds."""
    text = f"{before}{c_name(types.btf, id, name)}"
    inner = _unnamed(types, id)
    if inner is None or depth > MOST_DEEP:
        return [f"{text};"]
    head, _, tail = text.partition(f"{WITH_BODY[inner.kind]} {{...}}")
    lines = _body(types, inner, depth)
    indent = "\t" * depth
    return [f"{indent}{head}{lines[0].lstrip()}", *lines[1:], f"{indent}}}{tail};"]


def _unnamed(types: _Types, id: int) -> BtfType | None:
    """Return the struct, union or enum without a name that a declaration is of."""
    for _ in range(MOST_DEEP):
        type = types[id]
        if type.kind in WITH_BODY:
            return None if type.name else type
        if type.kind == uapi.BTF_KIND_TYPEDEF or not type.type:
            return None
        id = type.type
    raise DecodeError(f"type {id} is nested too deep, or holds itself", "the BTF may be broken", rule="btf")


def _body(types: _Types, type: BtfType, depth: int) -> list[str]:
    """Return the lines of a struct, union or enum without the last, its closing brace."""
    if depth > MOST_DEEP:
        raise DecodeError(f"type {type.id} is nested too deep, or holds itself", "the BTF may be broken", rule="btf")
    indent = "\t" * depth
    if type.kind in ENUMS:
        return enum_lines(type, indent)
    lines = [f"{indent}{WITH_BODY[type.kind]} {type.name} {{".replace("  ", " ")]
    for member in type.members:
        declared = _declared(types, member.type, member.name, "", depth + 1)
        if member.bits:
            declared[-1] = f"{declared[-1][:-1]}:{member.bits};"
        if len(declared) == 1:
            declared[0] = f"{indent}\t{declared[0]}"
        lines += declared
        if len(lines) > _MOST_LINES:
            raise DecodeError(f"type {type.id} is nested too deep", "the BTF may be broken", rule="btf")
    return lines
