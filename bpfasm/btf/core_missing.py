"""What a target has instead of what was sought: the nearest names, and where such a member is."""

from __future__ import annotations

from bpfasm.btf.core import ENUM_KINDS, FIELD_KINDS, candidates, match
from bpfasm.btf.read import COMPOSITE
from bpfasm.btf.text import c_name
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.btf.core import Sought
    from bpfasm.btf.read import Btf, Member

#: Structs in structs are looked into this deep for a member that is not where it was sought.
_DEEP = 3
#: Such structs in all, so that a message has an end.
_MOST = 2000


def why(sought: Sought, btf: Btf) -> tuple[str, str]:
    """Return what is missing, and what to do: the two lines of an error."""
    (*_, first), kinds = [(), *candidates(sought, [btf])], sought.kinds
    if not first:
        return _no_type(sought, btf, kinds)
    if sought.kind in ENUM_KINDS:
        enum = btf.resolve(first.id)
        names = [each.name for each in enum.members]
        what = f"{c_name(btf, first.id)} has no enumerator {sought.steps[0].name} in the target"
        return what, _nearest(sought.steps[0].name, names) or f"it has {_listed(names)}"
    if sought.kind not in FIELD_KINDS:
        return f"the target's {sought.root} is another type than the object's", "see it with bpfasm btf show"
    # As far as the way goes.
    for length in range(1, len(sought.steps) + 1):
        part = sought.replace(steps=sought.steps[:length])
        if not match(part, btf, first.id):
            return _no_step(sought, part, btf, first.id)
    return f"the target has no {sought}", f"see what it has: bpfasm btf show {sought.root}"


def _no_type(sought: Sought, btf: Btf, groups: Iterable[tuple[int, ...]]) -> tuple[str, str]:
    names = {name for group in groups for kind in group for name in btf.names(kind)}
    word = "enum" if sought.kind in ENUM_KINDS else "struct" if sought.kind in FIELD_KINDS else "type"
    do = _nearest(sought.root, names) or "its module may not be loaded, or this kernel is built without it"
    return f"the target has no {word} {sought.root}", do


def _no_step(sought: Sought, part: Sought, btf: Btf, root: int) -> tuple[str, str]:
    """Return why the last step of a way leads nowhere."""
    step = part.steps[-1]
    before = match(part.replace(steps=part.steps[:-1]), btf, root)
    assert before
    holder = btf.resolve(before.type)
    shown = c_name(btf, before.type)
    if not step.name:
        return (
            f"{sought}: {shown} has no element {step.index} in the target",
            "see it: bpfasm btf show " + sought.root,
        )
    if holder.kind == uapi.BTF_KIND_PTR:
        pointed = btf.resolve(holder.type)
        rest = ".".join(each.name or f"[{each.index}]" for each in sought.steps[len(part.steps) - 1 :])
        way = f'field("{pointed.name}", "{rest}")' if pointed.name else "a field of what it points to"
        return (
            f"{part.replace(steps=part.steps[:-1])} is a pointer ({shown}): what is behind it takes another load",
            f"load the pointer first, and then {way}; core_read() reads such a chain",
        )
    if holder.kind not in COMPOSITE:
        return f"{sought}: {shown} is no struct in the target", f"see it: bpfasm btf show {sought.root}"
    what = f"{shown} has no member {step.name} in the target"
    there = match(part.replace(local=None), btf, root)
    if there:
        return (
            f"{part} is {c_name(btf, there.type, step.name)} in the target, which cannot be read as the object's",
            "declare it in the object as the target has it, in a flavour of the struct (name___new)",
        )
    return what, _elsewhere(step.name, btf, holder.id) or _asks(sought, holder.name)


def _asks(sought: Sought, holder: str) -> str:
    return f"see what it has: bpfasm btf show {holder}; which kernels have it: bpfasm btf show {sought} --on all"


def _elsewhere(name: str, btf: Btf, holder: int) -> str:
    """Say where a member of a name is: deeper within, under another name, in another struct."""
    paths: dict[str, str] = {}
    for path, member in _members(btf, holder):
        paths.setdefault(member.name, path)
    stripped: dict[str, str] = {}
    for each, path in paths.items():  # the nearest first
        stripped.setdefault(each.strip("_"), path)
    if name in paths and "." in stripped[name.strip("_")]:
        return f'it is deeper: "{paths[name]}"'
    if name.strip("_") in stripped:
        return f'it may be called "{stripped[name.strip("_")]}" here: first_of(...) takes both'
    from difflib import get_close_matches

    close = get_close_matches(name, paths, n=1, cutoff=0.7)
    if close:
        return f'did you mean "{paths[close[0]]}"?'
    others = [btf.type(id).name for id in btf.holders_of(name)]
    named = list(dict.fromkeys(each for each in others if each))
    return f"it is a member of {_listed([f'struct {each}' for each in named])}" if named else ""


def renamed(sought: Sought, having: Btf, lacking: Btf) -> str:
    """Guess what a field of one kernel is called in another one that does not have it by its name; else "".

    It is a member of the same struct that the first kernel does not have, and of three things two are the same: its
    type, the member before it, and the one behind it.
    """
    *way, last = sought.steps
    before = sought.replace(steps=tuple(way))
    rows = []
    for btf in (having, lacking):
        place = next((found for each in candidates(before, [btf]) if (found := match(before, btf, each.id))), None)
        if place is None or not last.name or btf.past_names(place.type)[1] not in COMPOSITE:
            return ""
        rows.append(_flat(btf, place.type))
    theirs, ours = rows
    if last.name not in theirs or last.name in ours:
        return ""
    wanted = _about(theirs, last.name)
    alike = [
        name
        for name in ours
        if name not in theirs and sum(a == b for a, b in zip(wanted, _about(ours, name), strict=True)) >= 2
    ]
    return alike[0] if len(alike) == 1 else ""


def _flat(btf: Btf, id: int, depth: int = 0) -> dict[str, str]:
    """Return the members of a struct in their order, with their types in C: those of unnamed ones among them."""
    found: dict[str, str] = {}
    for member in btf.resolve(id).members:
        if member.name:
            found[member.name] = c_name(btf, member.type)
        elif depth <= _DEEP and btf.past_names(member.type)[1] in COMPOSITE:
            found |= _flat(btf, member.type, depth + 1)
    return found


def _about(members: dict[str, str], name: str) -> tuple[str | None, str | None, str | None]:
    """Return a member's type, and which members are before it and behind it."""
    names = [None, *members, None]
    at = names.index(name)
    return members[name], names[at - 1] or "{", names[at + 1] or "}"


def _members(btf: Btf, id: int) -> Iterator[tuple[str, Member]]:
    """Yield the members of a struct with the ways to them, those of structs within it last."""
    todo = [(id, "", 0)]
    for seen, (holder, prefix, depth) in enumerate(todo):
        if seen > _MOST:
            return
        for member in btf.type(holder).members:
            inner, kind = btf.past_names(member.type)
            path = f"{prefix}{member.name}"
            if member.name:
                yield path, member
            if kind in COMPOSITE and (depth < _DEEP or not member.name):
                todo.append((inner, f"{path}." if member.name else prefix, depth + 1))


def _nearest(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = [each for each in names if abs(len(each) - len(name)) < 4 and {*each[:2], *each[-2:]} & {*name}]
    close = get_close_matches(name, near, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
