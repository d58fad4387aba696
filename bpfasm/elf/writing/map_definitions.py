"""Maps as an object declares them: variables of ``.maps``, whose types say what each map is.

A number is the length of an array that a member points to, a key or value the type that one points to:
``int (*type)[1]; u32 *key;``. (libbpf's parse_btf_map_def(), bpf_helpers.h __uint() and __type())
"""

from __future__ import annotations

from bpfasm.asm.btf_types import add_type
from bpfasm.asm.handles import Handle
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program
from bpfasm.uapi import btf as kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.btf.write import Writer

#: What ``pinning`` is for a map that loaders pin by its name (libbpf's LIBBPF_PIN_BY_NAME).
PIN_BY_NAME = 1

_POINTER = 8


class Definition:
    """A map's variable: its ``type`` in the object's BTF, its ``size``, and where in it the names of ``slots`` go.

    ``slots`` are the names of the programs or maps that it holds at first, by their offset in the variable.
    """

    def __init__(self, btf: Writer, spec: MapSpec) -> None:
        members = _members(btf, spec)
        end = _POINTER * len(members)
        held = contents(spec)
        if spec.inner is not None or held:
            members.append(("values", _values(btf, spec)))
        self.type = btf.add_struct(
            "", end, [(name, type, 8 * _POINTER * at) for at, (name, type) in enumerate(members)]
        )
        self.slots = {end + _POINTER * index: each.name for index, each in held.items()}
        self.size = max((at + _POINTER for at in self.slots), default=end)


def contents(spec: MapSpec) -> dict[int, Program | MapSpec]:
    """Return the programs or maps that a map holds at first, by their index."""
    items = spec.initial.items() if isinstance(spec.initial, dict) else enumerate(spec.initial)
    return {index: each for index, each in items if isinstance(each, Program | MapSpec)}


def inner_first(specs: Iterable[MapSpec]) -> list[MapSpec]:
    """Return maps in the order in which loaders can make them: what a map holds is there before it."""
    order: dict[str, MapSpec] = {}

    def add(spec: MapSpec) -> None:
        for each in contents(spec).values():
            if isinstance(each, MapSpec):
                add(each)
        order.setdefault(spec.name, spec)

    for spec in specs:
        add(spec)
    return list(order.values())


def _members(btf: Writer, spec: MapSpec) -> list[tuple[str, int]]:
    """Return what a map's struct holds, but for its values: (name, type)."""
    members = [("type", _number(btf, spec.type))]
    # A kernel takes the types of both or of none, and a handle has none.
    typed = not any(isinstance(kind, int | Handle) for kind in (spec.key or spec.value, spec.value or spec.key))
    for name, kind, size in (("key", spec.key, spec.key_size), ("value", spec.value, spec.value_size)):
        if not size or (spec.inner is not None and name == "value"):
            continue
        if typed:
            members.append((name, _pointer(btf, add_type(btf, kind))))
        else:
            members.append((f"{name}_size", _number(btf, size)))
    for name, number in (
        ("max_entries", spec.max_entries),
        ("map_flags", spec.flags),
        ("map_extra", spec.map_extra),
        ("pinning", PIN_BY_NAME if spec.pinned else 0),
    ):
        if number:
            members.append((name, _number(btf, number)))
    if spec.numa_node is not None:
        members.append(("numa_node", _number(btf, spec.numa_node)))
    return members


def _number(btf: Writer, number: int) -> int:
    """Return the type that says a number: a pointer to an array of so many, or where it is too large an enum."""
    if number < 1 << 32:
        return _pointer(btf, btf.add_array(btf.add_int("int", 4, kinds.BTF_INT_SIGNED), number))
    value = btf.words(btf.string(f"number_{number:x}"), number & 0xFFFF_FFFF, number >> 32)
    return btf.add(kinds.BTF_KIND_ENUM64, third=8, rest=value, count=1)


def _pointer(btf: Writer, type: int) -> int:
    return btf.add(kinds.BTF_KIND_PTR, third=type)


def _values(btf: Writer, spec: MapSpec) -> int:
    """Return the type of the last member: an array, without a length, of pointers to maps or to functions."""
    if spec.inner is None:
        number = btf.add_int("int", 4, kinds.BTF_INT_SIGNED)
        element = btf.add(kinds.BTF_KIND_FUNC_PROTO, third=number)
    else:
        element = Definition(btf, spec.inner).type
    return btf.add_array(_pointer(btf, element), 0)
