"""CO-RE: where a field, a type or an enumerator of one BTF is in another one.

What is looked for (``Sought``) comes from either side: by name, as a program in Python says it (:func:`named`), or as
a record of an object file says it, by a type of the object's own BTF (:func:`recorded`). From there on there is one
way: :func:`resolve` finds the candidates in the target's BTF, matches each of them, and turns the match into the
number that the record asks for. (tools/lib/bpf/relo_core.c)

>>> from bpfasm.btf.read import Btf
>>> from bpfasm.btf.write import Writer
>>> types = Writer()
>>> number = types.add_int("int", 4)
>>> inner = types.add_struct("", 8, [("pid", number, 0), ("tgid", number, 32)])
>>> task = types.add_struct("task", 16, [("flags", number, 0), ("", inner, 64)])
>>> resolve(named(uapi.BPF_CORE_FIELD_BYTE_OFFSET, "task", "tgid"), [Btf(types.to_bytes())]).value
12
"""

from __future__ import annotations

from bpfasm.btf.core_types import compatible, essential, fields_compatible, flavored, matches, same_kind
from bpfasm.btf.read import COMPOSITE, ENUMS, MOST_DEEP
from bpfasm.errors import DecodeError, LinkError
from bpfasm.uapi import bpf as uapi, btf as kinds
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.btf.read import Btf, BtfType, Member

FIELD_KINDS = range(uapi.BPF_CORE_FIELD_BYTE_OFFSET, uapi.BPF_CORE_FIELD_RSHIFT_U64 + 1)
TYPE_KINDS = (
    uapi.BPF_CORE_TYPE_ID_LOCAL,
    uapi.BPF_CORE_TYPE_ID_TARGET,
    uapi.BPF_CORE_TYPE_EXISTS,
    uapi.BPF_CORE_TYPE_SIZE,
    uapi.BPF_CORE_TYPE_MATCHES,
)
ENUM_KINDS = (uapi.BPF_CORE_ENUMVAL_EXISTS, uapi.BPF_CORE_ENUMVAL_VALUE)

_STRUCT, _UNION, _TYPEDEF = (kinds.BTF_KIND_STRUCT,), (kinds.BTF_KIND_UNION,), (kinds.BTF_KIND_TYPEDEF,)

#: The kinds that a name without a local type may be of, the likelier ones first: the first that has the name counts.
_NAMED = {
    **dict.fromkeys(FIELD_KINDS, (_STRUCT, _UNION, _TYPEDEF)),
    **dict.fromkeys(TYPE_KINDS, (_STRUCT, _UNION, ENUMS, _TYPEDEF, (kinds.BTF_KIND_INT,), (kinds.BTF_KIND_FLOAT,))),
    **dict.fromkeys(ENUM_KINDS, (ENUMS, _TYPEDEF)),
}
#: What a word before a name narrows it to, as in C.
_WORDS = {"struct": (kinds.BTF_KIND_STRUCT,), "union": (kinds.BTF_KIND_UNION,), "enum": ENUMS}

#: No path has more steps, unnamed members and elements included (BPF_CORE_SPEC_MAX_LEN).
MOST_STEPS = 64


class Step(Value):
    """One step into a type: the member called ``name``, or element ``index`` where there is no name.

    ``type`` is the member's in the local BTF, which the target's has to be compatible with; 0 takes any.
    """

    name: str = ""
    index: int = 0
    type: int = 0


class Found(Value):
    """A place in some BTF: the type it begins with (``root``), and what is there.

    ``type`` is the id of the field's type, ``offset`` is in bits, ``bits`` is the width of a bit field. ``element``
    tells an element of an array from a member. ``value`` is an enumerator's. ``path`` are the indices of members and
    elements, unnamed ones included.
    """

    btf: Btf
    root: int
    type: int = 0
    offset: int = 0
    bits: int = 0
    element: bool = False
    value: int = 0
    path: tuple[int, ...] = ()


class Sought(Value):
    """What is looked for: ``kind`` is BPF_CORE_*, ``root`` the name of the type it begins with.

    The candidates are of one of ``kinds``; of several groups the first that has one counts. ``steps`` lead from the
    type to a field, ``first`` is the element of it that they begin with (``p[2].x``); in an enum the one step is the
    enumerator. ``local`` is what the object file's own BTF says, None for what is known by name alone.
    """

    kind: int
    root: str
    kinds: tuple[tuple[int, ...], ...]
    steps: tuple[Step, ...] = ()
    first: int = 0
    local: Found | None = None

    def __str__(self) -> str:
        """Return it as C has it: ``task_struct.comm[3]``."""
        parts = [f".{step.name}" if step.name else f"[{step.index}]" for step in self.steps]
        return self.root + (f"[{self.first}]" if self.first else "") + "".join(parts)

    def of(self, kind: int) -> Sought:
        """Return another number of the same thing: its size, whether it exists ..."""
        return self.replace(kind=kind)


class Number(Value):
    """A number for an instruction, and what is to be known about it.

    ``size`` is the bytes of a field that is loaded or stored by its offset, 0 where that does not matter, and
    ``type`` its id. ``exact`` is whether a compiler is sure to give the same one: of bit fields it may not.
    """

    value: int
    size: int = 0
    type: int = 0
    exact: bool = True


class Resolved(Value):
    """What became of something sought: its ``number`` in the target, None where it takes a place and there is none.

    ``candidates`` are the types of that name, ``found`` those places in them that matched.
    """

    number: Number | None
    candidates: tuple[tuple[Btf, int], ...] = ()
    found: tuple[Found, ...] = ()

    @property
    def value(self) -> int:
        """The number. Raises LinkError where there is none."""
        if self.number is None:
            raise LinkError("the target has no such field, type or value", rule="core-missing")
        return self.number.value


# What is sought


def named(kind: int, root: str, path: str = "") -> Sought:
    """Return what a name stands for: ``named(BPF_CORE_FIELD_BYTE_SIZE, "task_struct", "comm")``.

    ``root`` may say what it is, as in C: ``"enum pid_type"``. ``path`` goes through members and
    elements, ``mm.pgd``, ``comm[3]``; unnamed members need no mention. For an enum it is the enumerator, for a type
    nothing. Raises LinkError for a path that is none.
    """
    word, _, name = root.rpartition(" ")
    groups = (_WORDS[word],) if word in _WORDS else _NAMED[kind]
    if kind in ENUM_KINDS:
        return Sought(kind, essential(name), groups, (Step(essential(path)),))
    return Sought(kind, essential(name), groups, steps_of(path) if kind in FIELD_KINDS else ())


def steps_of(path: str) -> tuple[Step, ...]:
    """Return the steps of ``signal.shared_pending.list[1]``. Raises LinkError for what is no path."""
    steps: list[Step] = []
    for part in path.split("."):
        name, *indices = part.replace("]", "").split("[")
        if not name.isidentifier() or part.count("]") != len(indices) or not all(i.isdecimal() for i in indices):
            raise LinkError(
                f"{path!r} is no path to a field",
                'write names with dots between, and indices: "se.sum_exec_runtime", "comm[0]"',
                rule="core-path",
            )
        steps.append(Step(name))
        steps += [Step(index=int(each)) for each in indices]
    if len(steps) > MOST_STEPS:
        raise LinkError(f"a path of {len(steps)} steps is too long", f"{MOST_STEPS} are the most", rule="core-path")
    return tuple(steps)


def recorded(btf: Btf, kind: int, type: int, access: str) -> Sought:
    """Return what a record of .BTF.ext stands for: a type of the object's ``btf``, and indices such as ``0:1:2``.

    Raises DecodeError for a record that does not fit the types. (relo_core.c bpf_core_parse_spec())
    """
    local = btf.type(type)
    root = essential(local.name)
    if kind in TYPE_KINDS:
        if access != "0":
            raise _record(kind, type, access, "that of a type is 0")
        return Sought(kind, root, (same_kind(local.kind),), local=Found(btf, type, type))
    parts = access.split(":")
    if kind not in FIELD_KINDS and kind not in ENUM_KINDS:
        raise _record(kind, type, access, "there is no such kind of record")
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts) or len(parts) > MOST_STEPS:
        raise _record(kind, type, access, "it is to be up to 64 numbers with colons between")
    indices = tuple(map(int, parts))
    if kind in ENUM_KINDS:
        enum = btf.resolve(type)
        if enum.kind not in ENUMS or len(indices) > 1 or indices[0] >= len(enum.members):
            raise _record(kind, type, access, f"{enum.name or 'the type'} has no such enumerator")
        member = enum.members[indices[0]]
        found = Found(btf, type, enum.id, value=member.value, path=indices)
        return Sought(kind, root, (same_kind(local.kind),), (Step(essential(member.name)),), local=found)
    steps, found = _walk(btf, kind, type, indices, access)
    return Sought(kind, root, (same_kind(local.kind),), steps, indices[0], found)


def _walk(btf: Btf, kind: int, type: int, indices: tuple[int, ...], access: str) -> tuple[tuple[Step, ...], Found]:
    """Follow indices into a type; return the steps that have names or are elements, and where they end."""
    steps: list[Step] = []
    offset = 8 * indices[0] * btf.size_of(type)
    id, bits, element, last = type, 0, True, False
    for index in indices[1:]:
        outer = btf.resolve(id)
        if outer.kind in COMPOSITE:
            if index >= len(outer.members):
                raise _record(kind, type, access, f"{outer.name or 'the type'} has no member {index}")
            member = outer.members[index]
            offset += member.offset
            id, bits = member.type, member.bits
            if member.name:
                steps.append(Step(member.name, type=member.type))
                element, last = False, index == len(outer.members) - 1
        elif outer.kind == kinds.BTF_KIND_ARRAY:
            open = not outer.detail and bool(steps) and bool(steps[-1].name) and last
            if index >= outer.detail and not open:
                raise _record(kind, type, access, f"the array has no element {index}")
            id, bits, element = outer.type, 0, True
            offset += 8 * index * btf.size_of(id)
            steps.append(Step(index=index))
        else:
            raise _record(kind, type, access, f"{outer.name or 'what is there'} is no struct, union or array")
    return tuple(steps), Found(btf, type, id, offset, bits, element, path=indices)


def _record(kind: int, type: int, access: str, why: str) -> DecodeError:
    return DecodeError(
        f"a CO-RE record (kind {kind}, type {type}) has the access string {access[:80]!r}: {why}",
        "the object's .BTF and .BTF.ext do not fit each other: build it again",
        rule="core-record",
    )


# Where it is


def resolve(sought: Sought, targets: Iterable[Btf]) -> Resolved:
    """Find something in the types of a kernel: the first of ``targets`` that has a type of the name decides.

    They are the kernel's own and then its modules'. Raises LinkError where candidates disagree, DecodeError for
    broken types. (relo_core.c bpf_core_calc_relo_insn())
    """
    if sought.kind == uapi.BPF_CORE_TYPE_ID_LOCAL:
        assert sought.local
        return Resolved(Number(sought.local.root, exact=False), found=(sought.local,))
    cands = _candidates(sought, targets)
    found = [place for btf, id in cands if (place := match(sought, btf, id))]
    if not found:
        return Resolved(measure(sought.kind, None), tuple(cands))
    numbers = [measure(sought.kind, place) for place in found]
    for place, number in zip(found, numbers, strict=True):
        if place.offset != found[0].offset or _value(number) != _value(numbers[0]):
            raise LinkError(
                f"{sought} is ambiguous: the target has {len(found)} types {sought.root} that differ in it",
                f"their ids are {', '.join(str(each.root) for each in found)}",
                rule="core-ambiguous",
            )
    return Resolved(numbers[0], tuple(cands), tuple(found))


def _value(number: Number | None) -> int | None:
    return number.value if number else None


def _candidates(sought: Sought, targets: Iterable[Btf]) -> list[tuple[Btf, int]]:
    """Return the types that have the name, in the first BTF that has one; else those that are a flavour of it.

    libbpf takes both at once. No kernel has flavours, and to look for them takes as long as all the rest.
    """
    if not sought.root:
        return []
    for btf in targets:
        for group in sought.kinds:
            cands = [(btf, id) for id in btf.find(sought.root, *group) or flavored(btf, sought.root, group)]
            if cands:
                return cands
    return []


def match(sought: Sought, btf: Btf, id: int) -> Found | None:
    """Return where something is in a type of the target, None where it is not. (bpf_core_spec_match())"""
    if sought.kind in TYPE_KINDS:
        local = sought.local
        if local:
            test = matches if sought.kind == uapi.BPF_CORE_TYPE_MATCHES else compatible
            if not test(local.btf, local.root, btf, id):
                return None
        return Found(btf, id, id)
    if sought.kind in ENUM_KINDS:
        enum = btf.resolve(id)
        if enum.kind in ENUMS:
            for index, member in enumerate(enum.members):
                if essential(member.name) == sought.steps[0].name:
                    return Found(btf, id, enum.id, value=member.value, path=(index,))
        return None
    return _field(sought, btf, id)


def _field(sought: Sought, btf: Btf, root: int) -> Found | None:
    local = sought.local.btf if sought.local else None
    type, bits, element = root, 0, True
    offset = 8 * sought.first * btf.size_of(root) if sought.first else 0
    path = [sought.first]
    last = False  # the last member of its struct, which may be an array without a length
    for step in sought.steps:
        outer, kind = btf.past_names(type)
        if step.name:
            way = _member(outer, kind, btf, step, local, set(), 0)
            if way is None:
                return None
            for index, member, last in way:  # noqa: B007
                offset += member.offset
                path.append(index)
            type, bits, element = member.type, member.bits, False
        else:
            if kind != kinds.BTF_KIND_ARRAY:
                return None
            array = btf.type(outer)
            open = not array.detail and last and not element
            if step.index >= array.detail and not open:
                return None
            type, bits, element = array.type, 0, True
            offset += 8 * step.index * btf.size_of(type)
            path.append(step.index)
        if len(path) > MOST_STEPS:
            raise LinkError(
                f"the way to {sought} is too long", "the target's types are nested too deep", rule="core-path"
            )
    return Found(btf, root, type, offset, bits, element, path=tuple(path))


def _member(
    outer: int, kind: int, btf: Btf, step: Step, local: Btf | None, seen: set[int], depth: int
) -> list[tuple[int, Member, bool]] | None:
    """Return the members that lead to a name, through unnamed structs and unions: index, member, whether the last.

    (bpf_core_match_member())
    """
    if kind not in COMPOSITE or outer in seen or depth > MOST_DEEP:
        return None
    seen.add(outer)
    count, members = btf.members_of(outer, step.name)
    for index, member in members:
        here = (index, member, index == count - 1)
        if not member.name:
            way = _member(*btf.past_names(member.type), btf, step, local, seen, depth + 1)
            if way:
                return [here, *way]
        elif local and step.type and not fields_compatible(local, step.type, btf, member.type):
            return None
        else:
            return [here]
    return None


# What number it is


def measure(kind: int, found: Found | None) -> Number | None:
    """Return the number of a place, None where there is no place and it takes one.

    The same is asked of the local types, to know what a compiler has put there. (bpf_core_calc_relo())
    """
    if kind in (uapi.BPF_CORE_FIELD_EXISTS, uapi.BPF_CORE_ENUMVAL_EXISTS):
        return Number(int(found is not None))
    if kind in TYPE_KINDS:
        return _type_number(kind, found)
    if found is None:
        return None
    if kind == uapi.BPF_CORE_ENUMVAL_VALUE:
        return Number(found.value)
    if found.element:
        return _element_number(kind, found)
    return _field_number(kind, found)


def _type_number(kind: int, found: Found | None) -> Number:
    if found is None:
        return Number(0)
    if kind in (uapi.BPF_CORE_TYPE_ID_TARGET, uapi.BPF_CORE_TYPE_ID_LOCAL):
        return Number(found.root, exact=False)
    return Number(found.btf.size_of(found.root) if kind == uapi.BPF_CORE_TYPE_SIZE else 1)


def _element_number(kind: int, found: Found) -> Number:
    size = found.btf.size_of(found.type)
    if kind == uapi.BPF_CORE_FIELD_BYTE_OFFSET:
        return Number(found.offset // 8, size, found.type)
    if kind == uapi.BPF_CORE_FIELD_BYTE_SIZE:
        return Number(size)
    raise LinkError(
        "an element of an array has an offset and a size, and no shifts or sign here",
        "take those of the array's element type",
        rule="core-element",
    )


def _field_number(kind: int, found: Found) -> Number:
    """Return a number of a member; the shifts make it out of the 64 bits that its load gives."""
    btf = found.btf
    type = btf.resolve(found.type)
    if found.bits:
        bits = found.bits
        start, size = _load_of(found, type.size)
    else:
        start, size = found.offset // 8, btf.size_of(found.type)
        bits = 8 * size
    exact = not found.bits
    if kind == uapi.BPF_CORE_FIELD_BYTE_OFFSET:
        return Number(start, 0 if found.bits else _innermost(btf, type), found.type, exact)
    if kind == uapi.BPF_CORE_FIELD_BYTE_SIZE:
        return Number(size, exact=exact)
    if kind == uapi.BPF_CORE_FIELD_SIGNED:
        return Number(int(_signed(type)))
    if kind == uapi.BPF_CORE_FIELD_RSHIFT_U64:
        return Number(64 - bits)
    into = found.offset - 8 * start
    left = 64 - (into + bits) if btf.byteorder == "little" else 8 * (8 - size) + into
    return Number(left, exact=exact)


def _load_of(found: Found, size: int) -> tuple[int, int]:
    """Return offset and size of the smallest load that has all of a bit field, in bytes."""
    if size <= 0 or size & (size - 1):
        raise DecodeError(f"a bit field is of a type of {size} bytes", "the target's BTF is broken", rule="btf")
    while True:
        start = found.offset // 8 // size * size
        if found.offset + found.bits <= 8 * (start + size):
            return start, size
        if size >= 8:
            raise LinkError(
                "a bit field spans more than 8 aligned bytes", "read its bytes one by one", rule="core-bits"
            )
        size *= 2


def _signed(type: BtfType) -> bool:
    if type.kind in ENUMS:
        return type.flag
    return type.kind == kinds.BTF_KIND_INT and bool(type.detail >> 24 & kinds.BTF_INT_SIGNED)


def _innermost(btf: Btf, type: BtfType) -> int:
    """Return the bytes of a field as it is loaded: of an array, those of an element."""
    for _ in range(MOST_DEEP):
        if type.kind != kinds.BTF_KIND_ARRAY:
            break
        type = btf.resolve(type.type)
    return btf.size_of(type.id)


def candidates(sought: Sought, targets: Iterable[Btf]) -> Iterator[BtfType]:
    """Yield the types of the target that have the name."""
    return (btf.type(id) for btf, id in _candidates(sought, targets))
