"""Which types of two BTFs are the same for CO-RE: by name, by what can be loaded in their place, by all they have.

(tools/lib/bpf/relo_core.c)
"""

from __future__ import annotations

from bpfasm.btf.read import COMPOSITE, ENUMS, MOST_DEEP
from bpfasm.errors import LinkError
from bpfasm.uapi import btf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.btf.read import Btf, BtfType

#: What stands between a name and its flavour: ``task_struct___old`` is another look at ``task_struct``.
FLAVOR = "___"

#: Comparing two types member by member ends somewhere, whatever they hold.
_MOST_COMPARED = 1 << 16


def essential(name: str) -> str:
    """Return a name without its flavour; the last ``X___Y``, with no more than three underscores, parts them."""
    at = name.rfind(FLAVOR)
    while at > 0:
        if name[at - 1] != "_" and name[at + 3 : at + 4] not in ("", "_"):
            return name[:at]
        at = name.rfind(FLAVOR, 0, at + 2)
    return name


def flavored(btf: Btf, name: str, kinds: tuple[int, ...]) -> list[int]:
    """Return the ids of the types of some kinds that have a name, whatever their flavour."""
    names = {each for each in btf.flavors(name) if essential(each) == name}
    return sorted(id for each in names for id in btf.find(each, *kinds))


def same_kind(kind: int) -> tuple[int, ...]:
    """Return the kinds that a kind is the same as: there are two of enums."""
    return ENUMS if kind in ENUMS else (kind,)


def fields_compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Tell whether a field can be read in the place of another. (bpf_core_fields_are_compat())"""
    for _ in range(MOST_DEEP):
        ours, theirs = local.resolve(local_id), target.resolve(target_id)
        if ours.kind in COMPOSITE and theirs.kind in COMPOSITE:
            return True
        if theirs.kind not in same_kind(ours.kind):
            return False
        if ours.kind in (uapi.BTF_KIND_PTR, uapi.BTF_KIND_FLOAT):
            return True
        if ours.kind in (uapi.BTF_KIND_FWD, *ENUMS):
            names = essential(ours.name), essential(theirs.name)
            return "" in names or names[0] == names[1]
        if ours.kind == uapi.BTF_KIND_INT:
            return not _int_offset(ours) and not _int_offset(theirs)
        if ours.kind != uapi.BTF_KIND_ARRAY:
            return False
        local_id, target_id = ours.type, theirs.type
    return False


def compatible(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Tell whether types of one name can stand for each other. (__bpf_core_types_are_compat())"""
    if target.type(target_id).kind not in same_kind(local.type(local_id).kind):
        return False
    return _Comparison(local, target).compatible(local_id, target_id, MOST_DEEP)


def matches(local: Btf, local_id: int, target: Btf, target_id: int) -> bool:
    """Tell whether a type has all that the local one has: members, enumerators, sizes. (__bpf_core_types_match())"""
    return _Comparison(local, target).matches(local_id, target_id, behind=False, level=MOST_DEEP)


class _Comparison:
    """Compares types of two BTFs, and counts: types within types can be far more than there are bytes."""

    def __init__(self, local: Btf, target: Btf) -> None:
        self.local = local
        self.target = target
        self.left = _MOST_COMPARED
        self.known: dict[tuple[int, int, bool], bool] = {}

    def _both(self, local_id: int, target_id: int) -> tuple[BtfType, BtfType]:
        self.left -= 1
        if self.left < 0:
            raise _too_deep()
        return self.local.resolve(local_id), self.target.resolve(target_id)

    def compatible(self, local_id: int, target_id: int, level: int) -> bool:
        for _ in range(MOST_DEEP if level > 0 else 0):
            ours, theirs = self._both(local_id, target_id)
            if theirs.kind not in same_kind(ours.kind):
                return False
            if ours.kind in (uapi.BTF_KIND_UNKN, uapi.BTF_KIND_FWD, *COMPOSITE, *ENUMS):
                return True
            if ours.kind == uapi.BTF_KIND_INT:
                return not _int_offset(ours) and not _int_offset(theirs)
            if ours.kind == uapi.BTF_KIND_FUNC_PROTO:
                pairs = zip(ours.members, theirs.members, strict=False)
                if len(ours.members) != len(theirs.members) or not all(
                    self.compatible(a.type, b.type, level - 1) for a, b in pairs
                ):
                    return False
            elif ours.kind not in (uapi.BTF_KIND_PTR, uapi.BTF_KIND_ARRAY):
                return False
            local_id, target_id = ours.type, theirs.type
        raise _too_deep()

    def matches(self, local_id: int, target_id: int, *, behind: bool, level: int) -> bool:
        key = (local_id, target_id, behind)
        if key not in self.known:
            self.known[key] = self._matches(local_id, target_id, behind, level)
        return self.known[key]

    def _matches(self, local_id: int, target_id: int, behind: bool, level: int) -> bool:
        for _ in range(MOST_DEEP if level > 0 else 0):
            ours, theirs = self._both(local_id, target_id)
            if essential(ours.name) != essential(theirs.name):
                return False
            if ours.kind == uapi.BTF_KIND_FWD or (ours.kind in COMPOSITE and behind):
                return _announced(ours, theirs, behind)
            if ours.kind in ENUMS:
                return theirs.kind in ENUMS and _enumerators_match(ours, theirs)
            if ours.kind != theirs.kind:
                return False
            if ours.kind == uapi.BTF_KIND_UNKN:
                return True
            if ours.kind in COMPOSITE:
                return len(ours.members) <= len(theirs.members) and all(
                    any(
                        essential(a.name) == essential(b.name)
                        and self.matches(a.type, b.type, behind=behind, level=level - 1)
                        for b in theirs.members
                    )
                    for a in ours.members
                )
            if ours.kind == uapi.BTF_KIND_INT:
                return ours.size == theirs.size and not (ours.detail ^ theirs.detail) >> 24 & uapi.BTF_INT_SIGNED
            if ours.kind == uapi.BTF_KIND_PTR:
                behind = True
            elif ours.kind == uapi.BTF_KIND_ARRAY:
                if ours.detail != theirs.detail:
                    return False
            elif ours.kind == uapi.BTF_KIND_FUNC_PROTO:
                pairs = zip(ours.members, theirs.members, strict=False)
                if len(ours.members) != len(theirs.members) or not all(
                    self.matches(a.type, b.type, behind=behind, level=level - 1) for a, b in pairs
                ):
                    return False
            else:
                return False
            local_id, target_id = ours.type, theirs.type
        raise _too_deep()


def _announced(ours: BtfType, theirs: BtfType, behind: bool) -> bool:
    """Compare where one of two may be a forward declaration, whose flag says that it is a union's."""
    if ours.kind == theirs.kind:
        return ours.kind != uapi.BTF_KIND_FWD or ours.flag == theirs.flag
    if not behind or uapi.BTF_KIND_FWD not in (ours.kind, theirs.kind):
        return False
    forward, whole = (ours, theirs) if ours.kind == uapi.BTF_KIND_FWD else (theirs, ours)
    return whole.kind == (uapi.BTF_KIND_UNION if forward.flag else uapi.BTF_KIND_STRUCT)


def _enumerators_match(ours: BtfType, theirs: BtfType) -> bool:
    there = {essential(each.name) for each in theirs.members}
    return (
        ours.size == theirs.size
        and len(ours.members) <= len(theirs.members)
        and all(essential(each.name) in there for each in ours.members)
    )


def _int_offset(type: BtfType) -> int:
    """Return where an int begins in its bytes: bit fields were made of that once."""
    return type.detail >> 16 & 0xFF


def _too_deep() -> LinkError:
    return LinkError("two types are nested too deep, or hold themselves", "the BTF may be broken", rule="core-path")
