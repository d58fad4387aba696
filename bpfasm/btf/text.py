"""Types as C has them, with the place of each member beside it, and as a Record of the notation.

>>> from bpfasm.btf.read import Btf
>>> from bpfasm.btf.write import Writer
>>> types = Writer()
>>> pair = types.add_struct("pair", 8, [("first", types.add_int("int", 4), 0), ("second", 1, 32)])
>>> print("\\n".join(c_lines(Btf(types.to_bytes()), pair)).expandtabs())
struct pair {
        int first;                                       /*      0   4 */
        int second;                                      /*      4   4 */
}; /* 8 bytes */
"""

from __future__ import annotations

from bpfasm.btf.read import ENUMS, MOST_DEEP, too_deep
from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.btf.read import Btf, BtfType, Member, Types

_COMPOSITE = {uapi.BTF_KIND_STRUCT: "struct", uapi.BTF_KIND_UNION: "union"}
#: The words of C for what has a body in braces.
WITH_BODY = {**_COMPOSITE, **dict.fromkeys(ENUMS, "enum")}
_QUALIFIERS = {
    uapi.BTF_KIND_CONST: "const",
    uapi.BTF_KIND_VOLATILE: "volatile",
    uapi.BTF_KIND_RESTRICT: "restrict",
}

#: Where the comments begin, tabs counted as 8.
_COLUMN = 57

#: Types within types can be far more than there are bytes.
_MOST_LINES = 1 << 16


def c_name(btf: Types, id: int, name: str = "") -> str:
    """Return the declaration of a ``name`` of a type in C, without a name that of the type itself.

    What has no name and is no pointer, array or function shows what it is, ``struct {...}``. Raises DecodeError.
    """
    return _declared(btf, id, name, [1 << 10])


def _declared(btf: Types, id: int, name: str, left: list[int]) -> str:
    """Build a declaration from the name outwards; ``left`` counts down over all that belongs to it."""
    words: list[str] = []
    for _ in range(2 * MOST_DEEP):
        left[0] -= 1
        if left[0] < 0:
            break
        type = btf.type(id)
        if type.kind in _QUALIFIERS:
            words.insert(0, _QUALIFIERS[type.kind])
        elif type.kind == uapi.BTF_KIND_TYPE_TAG:
            # With the flag the name is any attribute, as it is written.
            words.insert(0, f"__attribute__(({type.name}))" if type.flag else f"__{type.name}")
        elif type.kind == uapi.BTF_KIND_PTR:
            inner = " ".join([*words, name]) if words else name
            name, words = f"*{inner}", []
        elif type.kind == uapi.BTF_KIND_ARRAY:
            name = f"{f'({name})' if name.startswith('*') else name}[{type.detail}]"
        elif type.kind == uapi.BTF_KIND_FUNC_PROTO:
            name = f"{f'({name})' if name.startswith('*') else name}({_parameters(btf, type, left)})"
        elif type.kind in (uapi.BTF_KIND_FUNC, uapi.BTF_KIND_VAR):
            name = name or type.name
        else:
            base = " ".join([*words, _base(type)])
            return f"{base} {name}" if name else base
        id = type.type
    raise too_deep(id)


def _parameters(btf: Types, type: BtfType, left: list[int]) -> str:
    shown = [_declared(btf, each.type, each.name, left) if each.type or each.name else "..." for each in type.members]
    return ", ".join(shown) or "void"


def _base(type: BtfType) -> str:
    word = _COMPOSITE.get(type.kind) or {
        uapi.BTF_KIND_ENUM: "enum",
        uapi.BTF_KIND_ENUM64: "enum",
        uapi.BTF_KIND_FWD: "union" if type.flag else "struct",
    }.get(type.kind)
    if word is None:
        return type.name or f"type_{type.id}"
    return f"{word} {type.name or '{...}'}"


def c_lines(btf: Btf, id: int) -> list[str]:
    """Return the lines of a type's declaration in C, with offset and size of each member in bytes.

    Of a bit field the offset is followed by that of its first bit, ``12:3``, and the size is that of its type.
    Structs without a name stand where they are. Raises DecodeError for a type that is broken.
    """
    type = btf.type(id)
    lines: list[str] = []
    if type.kind in WITH_BODY:
        lines = _whole(btf, type, "")
    elif type.kind == uapi.BTF_KIND_TYPEDEF:
        inner, suffix = _unnamed(btf, type.type, type.name)
        lines = _whole(btf, inner, f" {suffix}") if inner else [f"{c_name(btf, type.type, type.name)};"]
        lines[0] = f"typedef {lines[0]}"
    elif type.kind in (uapi.BTF_KIND_FUNC, uapi.BTF_KIND_VAR):
        lines = [f"{c_name(btf, type.type, type.name)};"]
    elif type.kind == uapi.BTF_KIND_DATASEC:
        lines = [f"section {type.name} {{"]
        lines += [
            _beside(f"\t{c_name(btf, each.type)};", f"{each.offset:>6} {each.size:>3}") for each in type.members
        ]
        lines.append(f"}}; /* {_count(type.size, 'byte')} */")
    elif type.kind in (uapi.BTF_KIND_INT, uapi.BTF_KIND_FLOAT):
        lines = [f"{type.name}; /* {_count(type.size, 'byte')} */"]
    else:
        lines = [f"{c_name(btf, id)};"]
    return lines


def _whole(btf: Btf, type: BtfType, tail: str) -> list[str]:
    """Return the lines of a struct, union or enum; ``tail`` is what stands behind its closing brace."""
    lines: list[str] = []
    if type.kind in ENUMS:
        lines = [*enum_lines(type), f"}}{tail}"]
    else:
        for line in _body(btf, type, 0, 0, tail):
            lines.append(line)
            if len(lines) > _MOST_LINES:
                raise DecodeError(f"type {type.id} is nested too deep", "the BTF may be broken", rule="btf")
    lines[-1] = f"{lines[-1]}; /* {_count(type.size, 'byte')} */"
    return lines


def enum_lines(type: BtfType, indent: str = "") -> list[str]:
    """Return the lines of an enum without the last, its closing brace."""
    head = f"{indent}enum {type.name} {{" if type.name else f"{indent}enum {{"
    return [head, *(f"{indent}\t{each.name} = {_number(each.value)}," for each in type.members)]


def _number(value: int) -> str:
    return f"{value}ULL" if value >> 63 > 0 else str(value)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _body(btf: Btf, type: BtfType, start: int, depth: int, tail: str) -> Iterator[str]:
    """Yield the lines of a struct or union that starts at a bit; ``tail`` is what stands behind its closing brace."""
    if depth > MOST_DEEP:
        raise too_deep(type.id)
    indent = "\t" * depth
    yield f"{indent}{_COMPOSITE[type.kind]} {type.name} {{".replace("  ", " ")
    for member in type.members:
        at = start + member.offset
        inner, suffix = _unnamed(btf, member.type, member.name)
        if inner is not None and inner.kind in _COMPOSITE:
            lines = list(_body(btf, inner, at, depth + 1, f" {suffix}" if suffix else ""))
            lines[-1] = _beside(f"{lines[-1]};", _place(btf, member, at))
            yield from lines
            continue
        bits = f":{member.bits}" if member.bits else ""
        yield _beside(f"{indent}\t{c_name(btf, member.type, member.name)}{bits};", _place(btf, member, at))
    yield f"{indent}}}{tail}"


def _unnamed(btf: Btf, id: int, name: str) -> tuple[BtfType | None, str]:
    """Return the struct or enum without a name that something is, or is an array of; and its own declarator."""
    for _ in range(MOST_DEEP):
        type = btf.type(id)
        if type.kind in WITH_BODY:
            return (None if type.name else type), name
        if type.kind == uapi.BTF_KIND_ARRAY:
            name = f"{name}[{type.detail}]"
        elif type.kind not in _QUALIFIERS:
            break
        id = type.type
    return None, name


def _place(btf: Btf, member: Member, bit: int) -> str:
    """Return offset and size of a member, as they stand in its comment."""
    size = btf.size_of(member.type)
    if member.bits:
        unit = max(size, 1)
        start = bit // 8 // unit * unit
        return f"{start:>6}:{bit - 8 * start:<2} {size}"
    return f"{bit // 8:>6} {size:>3}"


def _beside(text: str, comment: str) -> str:
    width = len(text.expandtabs(8))
    return f"{text}{' ' * max(1, _COLUMN - width)}/* {comment} */"


# As a Record


def record_lines(btf: Btf, id: int) -> list[str]:
    """Return the lines of a Record with the layout of a struct, to read one in Python or to fill one in a program.

    Numbers, pointers (``u64``), text and arrays of numbers are what they are; the rest, bit fields among it, is raw
    bytes with a comment. Raises DecodeError for what is no struct or union.
    """
    type = btf.resolve(id)
    if type.kind not in _COMPOSITE or not type.size:
        raise DecodeError(
            f"{c_name(btf, id)} is no struct with members", "a Record is made of a struct", rule="btf-type"
        )
    name = _unused(set(), type.name or btf.type(id).name or f"type_{type.id}")
    lines = [f"class {name}(Record):", f'    """{_base(type)}: {_count(type.size, "byte")}."""', ""]
    at, used = 0, set[str]()
    bits: list[Member] = []
    if type.kind == uapi.BTF_KIND_UNION:
        lines += [f"    # {c_name(btf, each.type, each.name)}" for each in type.members]
    for member in type.members if type.kind == uapi.BTF_KIND_STRUCT else ():
        start = member.offset // 8
        size = 0 if member.bits else btf.size_of(member.type)
        if not size or start < at:
            bits += [member] if member.bits else []
            continue  # what holds bit fields becomes bytes of its own
        if start > at:
            lines += _bytes(btf, bits, at, start)
            bits = []
        kind = _notation(btf, member.type, start, type.size)
        called = _unused(used, member.name.lstrip("_") or f"at{start}")
        lines.append(f"    {called} = {kind}()  # {c_name(btf, member.type, member.name)}")
        at = start + size
    if at < type.size:
        lines += _bytes(btf, bits, at, type.size)
    return lines


def _bytes(btf: Btf, bits: list[Member], start: int, end: int) -> list[str]:
    """Return the lines of bytes that are no field of a Record, and what bit fields are in them."""
    lines = [f"    # bit {each.offset - 8 * start}: {c_name(btf, each.type, each.name)}:{each.bits}" for each in bits]
    return [*lines, f"    _bytes{start} = pad({end - start})"]


def _unused(used: set[str], name: str) -> str:
    from keyword import iskeyword

    while name in used or iskeyword(name) or name in _RECORDS_OWN or name[0].isdigit():
        name = f"at{name}" if name[0].isdigit() else f"{name}_"
    used.add(name)
    return name


#: What a Record has by these names itself.
_RECORDS_OWN = {"align", "fields", "from_bytes", "from_rows", "pack", "size", "to_bytes", "unpack"}


def _notation(btf: Btf, id: int, start: int, whole: int) -> str:
    """Return what a member of a Record of ``whole`` bytes is declared as: a number where it is aligned."""
    type, size = btf.resolve(id), btf.size_of(id)
    if type.kind == uapi.BTF_KIND_ARRAY:
        element, width = btf.resolve(type.type), btf.size_of(type.type)
        if element.kind == uapi.BTF_KIND_INT and width == 1 and "char" in element.name:
            return f"chars({size})"
        inner = _notation(btf, type.type, start, whole)
        return f"array({inner}, {type.detail})" if inner[0] in "us" and type.detail and width else f"raw({size})"
    if type.kind == uapi.BTF_KIND_PTR and not start % 8 and not whole % 8:
        return "u64"
    number = type.kind in (uapi.BTF_KIND_INT, uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64)
    if not number or size not in (1, 2, 4, 8) or start % size or whole % size:
        return f"raw({size})"
    signed = type.detail >> 24 & uapi.BTF_INT_SIGNED if type.kind == uapi.BTF_KIND_INT else type.flag
    return f"{'s' if signed else 'u'}{8 * size}"
