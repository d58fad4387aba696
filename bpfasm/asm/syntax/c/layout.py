"""Types of C: their bytes, and where the members of a struct are, as the System V ABI lays them out.

What is not known of a type is no error until somebody asks for it: no program looks into most structs.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.errors import BpfasmError


class Type:
    """A type: its bytes and their alignment, the members of a struct or union, the element of a pointer or array.

    ``members`` has the offset and type of each by its name. ``count`` is the length of an array, else None.
    ``unknown`` is the error to raise where the size is asked for, or a member that is not there.
    """

    def __init__(
        self, size: int, *, align: int = 0, signed: bool = False, tag: str = "",
        members: dict[str, tuple[int, Type]] | None = None, element: Type | None = None, count: int | None = None,
        unknown: BpfasmError | None = None, bit_field: bool = False,
    ) -> None:  # fmt: skip
        self.size, self.align, self.signed, self.tag = size, align or max(1, min(size, 8)), signed, tag
        self.members, self.element, self.count = members, element, count
        self.unknown, self.bit_field = unknown, bit_field

    def known(self) -> Type:
        """Return the type; raise what is not known of it."""
        if self.unknown is not None:
            raise self.unknown
        return self


#: A member of a struct before it is laid out: its name, its type, and the bits of a bit field.
Field = tuple[str, Type, "int | None"]


def pointer(element: Type) -> Type:
    """Return a pointer to a type, which need not be known."""
    return Type(8, element=element, tag=element.tag)


def array(element: Type, count: int) -> Type:
    """Return an array of elements of a type."""
    return Type(
        element.size * count, align=element.align, element=element, count=count, unknown=element.unknown,
        tag=element.tag,
    )  # fmt: skip


def laid_out(kind: str, fields: list[Field], *, packed: bool, align: int, tag: str) -> Type:
    """Return a struct with each member at its place; a union has all of them at 0.

    ``align`` is the least alignment.
    """
    members: dict[str, tuple[int, Type]] = {}
    unknown: BpfasmError | None = None
    end = most = 0  # of the member before, in bits; of the whole, in bytes
    for name, type, width in fields:
        if type.unknown is not None:
            unknown = unknown or type.unknown
            if name and (kind == "union" or not end):
                members[name] = (0, type)
            if kind == "struct":
                break  # nor is it known where the others are
            continue
        unit = 8 if packed else 8 * type.align
        start = 0 if kind == "union" else end
        if width is not None:
            whole = 8 * type.size
            if width == 0 or (not packed and start // whole != (start + width - 1) // whole):
                start = _up(start, whole)
            end = start + width
            if name:
                members[name] = (start // 8, Type(type.size, bit_field=True))
        else:
            start = _up(start, unit)
            end = start + 8 * type.size
            if name:
                members[name] = (start // 8, type)
            else:
                members.update({each: (start // 8 + at, of) for each, (at, of) in (type.members or {}).items()})
        if name or width is None:
            align = max(align, unit // 8)
        most = max(most, _up(end, 8) // 8)
    return Type(_up(most, align), align=align, members=members, tag=tag, unknown=unknown)


def of_header(size: int, layout: dict[str, tuple[int, int, str]], tag: str) -> Type:
    """Return a struct that ``bpfasm.uapi`` has, whose members' members stand dotted beside them."""
    nested: dict[str, dict[str, tuple[int, int, str]]] = {}
    for name, (at, length, spelled) in layout.items():
        first, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(first, {})[rest] = (at - layout[first][0], length, spelled)
    members: dict[str, tuple[int, Type]] = {}
    align = 1
    for name, (at, length, spelled) in layout.items():
        if "." in name:
            continue
        letters, bits, _ = spelled.partition(":")
        if bits:
            members[name] = (at, Type(length, bit_field=True))
            continue
        if name in nested:
            of = of_header(length, nested[name], "")
        else:
            of = _of_format(length, letters)
        align = max(align, of.align)
        members[name] = (at, of)
    packed = size % align or any(at % of.align for at, of in members.values())
    return Type(size, align=1 if packed else align, members=members, tag=tag)


def _of_format(length: int, spelled: str) -> Type:
    """Return the type of a member by its format of Python's struct: ``5I`` is an array of five."""
    digits = spelled.lstrip("<>=")[:-1]
    letter = spelled[-1]
    if not digits:
        return Type(length, signed=letter.islower())
    count = int(digits)
    if letter == "s":
        return array(Type(1, signed=True), count)
    # A flexible array has no element to measure.
    size = length // count if count else {"b": 1, "h": 2, "i": 4, "q": 8}.get(letter.lower(), 1)
    return array(Type(size, signed=letter.islower()), count)


def _up(value: int, to: int) -> int:
    return -(-value // to) * to
