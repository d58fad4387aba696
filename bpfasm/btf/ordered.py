"""All the types of a BTF in C, each behind those that it is made of, for a compiler to take.

It lays them out as BTF has them (``placed``). C has one type, constant or name by each name where the kernel's files
may have several: another is ``NAME___2``, which CO-RE takes for the same.

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

from functools import cache

from bpfasm.btf.core_types import FLAVOR
from bpfasm.btf.placed import Places
from bpfasm.btf.read import COMPOSITE, ENUMS, MOST_DEEP, too_deep
from bpfasm.btf.text import WITH_BODY, c_name, enum_lines
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.btf.placed import Gap
    from bpfasm.btf.read import Btf, BtfType, Member

#: Types within types can be far more than there are bytes.
_MOST_LINES = 1 << 16

#: How a compiler is told the bytes of an enum.
_MODES = {1: "byte", 2: "HI", 4: "SI", 8: "DI"}

#: What compilers have themselves.
_BUILT_IN = ("__builtin_va_list",)


class _Types(dict[int, "BtfType"]):
    """The types that are printed, each decoded once, by names of which C has one each."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.ids = range(btf.first_id, len(btf))
        self.size_of = cache(btf.size_of)
        self.places = Places(self)
        tags = _Names()
        others = _Names()
        for id in self.ids:
            type = self[id]
            if type.kind in WITH_BODY and type.name:
                self[id] = type = type.replace(name=tags.new(type.name, WITH_BODY[type.kind]))
            if type.kind in ENUMS:
                members = (each.replace(name=others.new(each.name)) for each in type.members)
                self[id] = type.replace(members=tuple(members))
            elif type.kind == uapi.BTF_KIND_TYPEDEF and type.name not in _BUILT_IN:
                self[id] = type.replace(name=others.new(type.name))
        for id in self.ids:
            type = self[id]
            if type.kind == uapi.BTF_KIND_FWD:
                self[id] = type.replace(name=tags.of(type.name, _word(type)))

    def __missing__(self, id: int) -> BtfType:
        self[id] = found = self.btf.type(id)
        return found

    def type(self, id: int) -> BtfType:
        """Return a type, as a Btf does."""
        return self[id]


class _Names:
    """The names that are taken, and which word of C is theirs."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def new(self, name: str, word: str = "") -> str:
        """Return the name for one more that is called so."""
        found, count = name, self._counts.get(name, 1)
        while found in self._words:
            count += 1
            found = f"{name}{FLAVOR}{count}"
        self._words[found], self._counts[name] = word, count
        return found

    def of(self, name: str, word: str) -> str:
        """Return the name of the first that is called so and has the word."""
        found, count = name, 1
        while self._words.setdefault(found, word) != word:
            count += 1
            found = f"{name}{FLAVOR}{count}"
        return found


def _word(type: BtfType) -> str:
    """Return the word of a struct or union that may be declared only."""
    if type.kind == uapi.BTF_KIND_FWD:
        return "union" if type.flag else "struct"
    return WITH_BODY[type.kind]


def ordered_lines(btf: Btf) -> Iterator[str]:
    """Yield the lines: structs and unions by their names first, then each type. Raises DecodeError."""
    types = _Types(btf)
    yield from _tag_lines(types)
    yield from {
        f"{_word(type)} {type.name};": None
        for type in map(types.type, types.ids)
        if type.name and type.kind in (*COMPOSITE, uapi.BTF_KIND_FWD)
    }
    within = _within(types)
    for id in _order(types):
        type = types[id]
        if type.kind == uapi.BTF_KIND_TYPEDEF:
            if type.name not in _BUILT_IN:
                yield from ("", *_declared(types, type.type, type.name, "typedef ", 0))
        elif type.kind in ENUMS and type.name and not type.members:
            yield from ("", f"enum {type.name};")
        elif type.kind in WITH_BODY and (type.name or (type.kind in ENUMS and id not in within)):
            yield from ("", *_body(types, type, 0), f"}}{_attributes(types, type)};")


def _tag_lines(types: _Types) -> Iterator[str]:
    """Yield what declares the kernel's words for what a pointer points to (``__user``), where a compiler has them."""
    tags = (type for type in map(types.type, types.ids) if type.kind == uapi.BTF_KIND_TYPE_TAG)
    found = {type.name for type in tags if not type.flag}
    if found:
        yield from ("#ifndef __has_attribute", "#define __has_attribute(name) 0", "#endif")
        yield "#if __has_attribute(btf_type_tag)"
        yield from (f'#define __{name} __attribute__((btf_type_tag("{name}")))' for name in sorted(found))
        yield "#else"
        yield from (f"#define __{name}" for name in sorted(found))
        yield from ("#endif", "")


def _within(types: _Types) -> set[int]:
    """Return the enums without a name that stand in what they are the type of."""
    found = set()
    for id in types.ids:
        type = types[id]
        places = [each.type for each in type.members] if type.kind in COMPOSITE else []
        for each in [type.type] if type.kind == uapi.BTF_KIND_TYPEDEF else places:
            inner = _unnamed(types, each)
            if inner:
                found.add(inner.id)
    return found


def _order(types: _Types) -> list[int]:
    """Return the ids, each behind those that must be there before it.

    What is behind a pointer need not be whole: of a struct its name is enough.
    """
    done: dict[int, None] = {}
    begun: set[tuple[int, bool]] = set()
    for first in types.ids:
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
            if whole or not (type.name and type.kind in COMPOSITE):
                done[id] = None
    return [*done]


def _needs(types: _Types, id: int, *, whole: bool) -> list[tuple[int, bool]]:
    """Return what a type is made of, and whether that must be whole."""
    type = types[id]
    if type.kind in COMPOSITE:
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
    text = f"{before}{c_name(types, id, name)}"
    inner = _unnamed(types, id)
    if inner is None or depth > MOST_DEEP:
        return [f"{text};"]
    head, _, tail = text.partition(f"{WITH_BODY[inner.kind]} {{...}}")
    lines = _body(types, inner, depth)
    indent = "\t" * depth
    return [f"{indent}{head}{lines[0].lstrip()}", *lines[1:], f"{indent}}}{_attributes(types, inner)}{tail};"]


def _unnamed(types: _Types, id: int) -> BtfType | None:
    """Return the struct, union or enum without a name that a declaration is of."""
    for _ in range(MOST_DEEP):
        type = types[id]
        if type.kind in WITH_BODY:
            return None if type.name else type
        if type.kind == uapi.BTF_KIND_TYPEDEF or not type.type:
            return None
        id = type.type
    raise too_deep(id)


def _body(types: _Types, type: BtfType, depth: int) -> list[str]:
    """Return the lines of a struct, union or enum without the last, its closing brace."""
    if depth > MOST_DEEP:
        raise too_deep(type.id)
    indent = "\t" * depth
    if type.kind in ENUMS:
        return enum_lines(type, indent)
    lines = [f"{indent}{WITH_BODY[type.kind]} {type.name} {{".replace("  ", " ")]
    *before, behind = types.places.of(type).gaps
    for member, gap in zip(type.members, before, strict=True):
        lines += [*_gap_lines(gap, indent), *_member(types, member, depth + 1)]
        if len(lines) > _MOST_LINES:
            raise DecodeError(f"type {type.id} is nested too deep", "the BTF may be broken", rule="btf")
    return [*lines, *_gap_lines(behind, indent)]


def _member(types: _Types, member: Member, depth: int) -> list[str]:
    """Return the lines of a member.

    One without a name that has a type with a name (``-fms-extensions``) stands there with what it holds.
    """
    tabs = "\t" * depth
    inner = None if member.name or _unnamed(types, member.type) else types.btf.resolve(member.type)
    if inner and inner.kind in COMPOSITE:
        return [*_body(types, inner.replace(name=""), depth), f"{tabs}}}{_attributes(types, inner)};"]
    lines = _declared(types, member.type, member.name, "", depth)
    if member.bits:
        lines[-1] = f"{lines[-1][:-1]}:{member.bits};"
    if len(lines) == 1:
        lines[0] = f"{tabs}{lines[0]}"
    return lines


def _gap_lines(gap: Gap, indent: str) -> list[str]:
    return [f"{indent}\t{name} : {bits};" for name, bits in gap]


def _attributes(types: _Types, type: BtfType) -> str:
    """Return what stands behind a closing brace, so that a compiler lays the type out as it is."""
    if type.kind in ENUMS:
        values = [each.value for each in type.members] or [0]
        fits = min(values) >= -(1 << 31) and max(values) < 1 << (31 if min(values) < 0 else 32)
        said = [f"mode({_MODES[type.size]})"] if type.size != (4 if fits else 8) and type.size in _MODES else []
    else:
        place = types.places.of(type)
        said = ["packed"] * place.packed + [f"aligned({place.aligned})"] * (place.aligned > 0)
    return f" __attribute__(({', '.join(said)}))" if said else ""
