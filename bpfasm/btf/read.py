"""Reading BTF: a blob of types, of which each is decoded when it is asked for.

The kernel's own has 100,000 types, and who asks for it wants a few. So making a ``Btf`` checks the header alone; the
first question walks over the types once to learn where each is (0.03 s for the kernel's), and a name is looked for
by its place among the strings, not by decoding every type. (Documentation/bpf/btf.rst)
"""

from __future__ import annotations

import sys
from struct import error as struct_error, unpack_from

from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bpfasm.isa.insn import ByteOrder

#: The words of 4 bytes behind a type's first three: fixed, and for each of what it counts. By kind.
_WORDS = {
    uapi.BTF_KIND_INT: (1, 0),
    uapi.BTF_KIND_PTR: (0, 0),
    uapi.BTF_KIND_ARRAY: (3, 0),
    uapi.BTF_KIND_STRUCT: (0, 3),
    uapi.BTF_KIND_UNION: (0, 3),
    uapi.BTF_KIND_ENUM: (0, 2),
    uapi.BTF_KIND_FWD: (0, 0),
    uapi.BTF_KIND_TYPEDEF: (0, 0),
    uapi.BTF_KIND_VOLATILE: (0, 0),
    uapi.BTF_KIND_CONST: (0, 0),
    uapi.BTF_KIND_RESTRICT: (0, 0),
    uapi.BTF_KIND_FUNC: (0, 0),
    uapi.BTF_KIND_FUNC_PROTO: (0, 2),
    uapi.BTF_KIND_VAR: (1, 0),
    uapi.BTF_KIND_DATASEC: (0, 3),
    uapi.BTF_KIND_FLOAT: (0, 0),
    uapi.BTF_KIND_DECL_TAG: (1, 0),
    uapi.BTF_KIND_TYPE_TAG: (0, 0),
    uapi.BTF_KIND_ENUM64: (0, 3),
}

#: The kinds whose third word is a size in bytes; that of the others is the id of a type.
SIZED = (
    uapi.BTF_KIND_INT,
    uapi.BTF_KIND_STRUCT,
    uapi.BTF_KIND_UNION,
    uapi.BTF_KIND_ENUM,
    uapi.BTF_KIND_ENUM64,
    uapi.BTF_KIND_FLOAT,
    uapi.BTF_KIND_DATASEC,
)

#: Kinds that are another name for a type, or say something more about it.
MODIFIERS = (
    uapi.BTF_KIND_TYPEDEF,
    uapi.BTF_KIND_VOLATILE,
    uapi.BTF_KIND_CONST,
    uapi.BTF_KIND_RESTRICT,
    uapi.BTF_KIND_TYPE_TAG,
)

#: No chain of typedefs and qualifiers, and no type within types, goes deeper; a cycle does (btf.c MAX_RESOLVE_DEPTH).
MOST_DEEP = 32


class Member(Value):
    """What a type has several of: a struct's member, an enum's value, a function's parameter, a section's variable.

    ``offset`` and ``bits`` are those of a member, in bits; ``bits`` is 0 unless it is a bit field. ``value`` is an
    enumerator's. A variable in a section has its ``offset`` and ``size`` in bytes.
    """

    name: str
    type: int = 0
    offset: int = 0
    bits: int = 0
    value: int = 0
    size: int = 0


class BtfType(Value):
    """One type: its ``kind`` (BTF_KIND_*), its name or nothing, its ``size`` in bytes or the ``type`` it refers to.

    ``detail`` is the last word: an int's encoding, offset and bits, a function's or variable's linkage, an array's
    number of elements. ``flag`` is the type's kind_flag.
    """

    id: int
    kind: int
    name: str
    size: int = 0
    type: int = 0
    detail: int = 0
    flag: bool = False
    members: tuple[Member, ...] = ()


class Btf:
    """The types of a blob; id 0 is void. ``base`` holds the types before it, where it is split (a module's)."""

    def __init__(self, data: bytes, base: Btf | None = None) -> None:
        """Take a blob. Raises DecodeError where its header is none."""
        self.base = base
        self.data = data
        order = "<" if data[:2] == b"\x9f\xeb" else ">"
        self.byteorder: ByteOrder = "little" if order == "<" else "big"
        try:
            magic, version, _, length, type_off, type_len, str_off, str_len = unpack_from(f"{order}HBB5I", data)
        except struct_error:
            raise _broken(f"{len(data)} bytes are less than its header") from None
        if magic != uapi.BTF_MAGIC or version != uapi.BTF_VERSION:
            raise _broken(f"its magic number is {magic:#x}, its version {version}")
        types, strings = length + type_off, length + str_off
        if type_len % 4 or types + type_len > len(data) or strings + str_len > len(data):
            raise _broken(f"the header says more than the {len(data)} bytes there are")
        self._words: Sequence[int] = memoryview(data)[types : types + type_len].cast("I")
        if self.byteorder != sys.byteorder:
            self._words = unpack_from(f"{order}{type_len // 4}I", data, types)
        self._strings = data[strings : strings + str_len]
        self._sizes = _WORDS | self._layout(length)
        self.first_id = len(base) if base else 1
        self._first_string: int = base._strings_end() if base else 0
        self._starts: list[int] = []

    def _strings_end(self) -> int:
        return self._first_string + len(self._strings)

    def _layout(self, length: int) -> dict[int, tuple[int, int]]:
        """Return the sizes of kinds that are newer than this reader, where the blob says them (7.x)."""
        if length < uapi.sizeof_struct_btf_header:
            return {}
        off, size = unpack_from("=2I", self.data, uapi.struct_btf_header["layout_off"][0])
        rows = self.data[length + off : length + off + size]
        step = uapi.sizeof_struct_btf_layout
        return {
            kind: (rows[step * kind] // 4, rows[step * kind + 1] // 4)
            for kind in range(len(rows) // step)
            if kind not in _WORDS
        }

    def __len__(self) -> int:
        """Return the number of types, void and those of the base included: the first id that is free."""
        return self.first_id + len(self._index())

    def _index(self) -> list[int]:
        """Return where each type starts, in words."""
        if self._starts:
            return self._starts
        starts: list[int] = []
        words, sizes = self._words, self._sizes
        at, end = 0, len(words)
        append = starts.append
        try:
            while at < end:
                append(at)
                info = words[at + 1]
                fixed, each = sizes[info >> 24 & 0x7F]
                at += 3 + fixed + each * (info & 0xFFFFFF)
        except IndexError:
            at = end + 1
        except KeyError:
            raise DecodeError(
                f"type {self.first_id + len(starts) - 1} is of kind {words[at + 1] >> 24 & 0x7F}, which is unknown",
                "this BTF is newer than bpfasm, or its bytes were changed",
                rule="btf-kind",
            ) from None
        if at != end:
            raise _broken(f"type {self.first_id + len(starts) - 1} is cut short")
        self._starts = starts
        return starts

    def string(self, offset: int) -> str:
        """Return the string at an offset. Raises DecodeError where there is none."""
        if offset < self._first_string and self.base:
            return self.base.string(offset)
        start = offset - self._first_string
        end = self._strings.find(b"\0", start) if start < len(self._strings) else -1
        if end < 0:
            raise _broken(f"there is no string at {offset}")
        return self._strings[start:end].decode("utf-8", "replace")

    def type(self, id: int) -> BtfType:
        """Return a type by its id. Raises DecodeError where there is none."""
        if id == 0:
            return BtfType(0, uapi.BTF_KIND_UNKN, "void")
        if id < self.first_id and self.base:
            return self.base.type(id)
        starts = self._index()
        if not 0 <= id - self.first_id < len(starts):
            raise _broken(f"there is no type {id}")
        at = starts[id - self.first_id]
        words = self._words
        name_off, info, third = words[at : at + 3]
        kind, count, flag = info >> 24 & 0x7F, info & 0xFFFFFF, bool(info >> 31)
        name = self.string(name_off)
        at += 3
        if kind in SIZED:
            read = _MEMBERS.get(kind)
            members = read(self, words[at : at + self._sizes[kind][1] * count], flag) if read else ()
            detail = words[at] if kind == uapi.BTF_KIND_INT else 0
            return BtfType(id, kind, name, size=third, detail=detail, flag=flag, members=members)
        if kind == uapi.BTF_KIND_ARRAY:
            return BtfType(id, kind, name, type=words[at], detail=words[at + 2], flag=flag)
        if kind == uapi.BTF_KIND_FUNC_PROTO:
            members = _parameters(self, words[at : at + 2 * count], flag)
            return BtfType(id, kind, name, type=third, flag=flag, members=members)
        detail = words[at] if self._sizes[kind][0] else count
        return BtfType(id, kind, name, type=third, detail=detail, flag=flag)

    def resolve(self, id: int) -> BtfType:
        """Return what a type is, past typedefs, const and their kin. Raises DecodeError for a cycle."""
        for _ in range(MOST_DEEP):
            found = self.type(id)
            if found.kind not in MODIFIERS:
                return found
            id = found.type
        raise _broken(f"type {id} is a name for itself")

    def find(self, name: str, kind: int) -> list[int]:
        """Return the ids of the types of a kind that have a name, those of the base first; most often one or none."""
        found = self.base.find(name, kind) if self.base else []
        wanted = self._offsets(name.encode())
        words, first = self._words, self.first_id
        found += [
            first + number
            for number, at in enumerate(self._index())
            if words[at] in wanted and words[at + 1] >> 24 & 0x7F == kind
        ]
        return found

    def names(self, kind: int) -> set[str]:
        """Return the names of all types of a kind. Takes 0.1 s for the kernel's functions."""
        words = self._words
        found = self.base.names(kind) if self.base else set()
        return found | {self.string(words[at]) for at in self._index() if words[at + 1] >> 24 & 0x7F == kind}

    def flavors(self, name: str) -> list[str]:
        """Return the strings that are a name, or a flavour of it (``name___old``): what CO-RE takes for the same."""
        found = self.base.flavors(name) if self.base else [name]
        start = name.encode() + b"___"
        at = self._strings.find(start)
        while at >= 0:
            end = self._strings.find(b"\0", at)
            if (not at or not self._strings[at - 1]) and self._strings[at + len(start) : end].strip(b"_"):
                found.append(self._strings[at:end].decode("utf-8", "replace"))
            at = self._strings.find(start, at + 1)
        return found

    def _offsets(self, name: bytes) -> set[int]:
        """Return where a name is among the strings: also as the end of another one, which may be shared."""
        found = self.base._offsets(name) if self.base else set()
        at = self._strings.find(name + b"\0")
        while at >= 0:
            found.add(self._first_string + at)
            at = self._strings.find(name + b"\0", at + 1)
        return found

    def size_of(self, id: int) -> int:
        """Return the bytes of a type; those of a pointer are 8. Raises DecodeError for one that has none."""
        count = 1
        for _ in range(MOST_DEEP):
            found = self.resolve(id)
            if found.kind == uapi.BTF_KIND_ARRAY:
                count *= found.detail
            elif found.kind == uapi.BTF_KIND_PTR:
                return count * 8
            elif found.kind in SIZED:
                return count * found.size
            elif found.kind != uapi.BTF_KIND_VAR:
                break
            id = found.type
        raise _broken(f"type {id} has no size")


def _fields(btf: Btf, words: Sequence[int], flag: bool) -> tuple[Member, ...]:
    """Read the members of a struct or union; with the flag, an offset holds a bit field's width as well."""
    return tuple(
        Member(
            btf.string(words[at]),
            words[at + 1],
            offset=words[at + 2] & 0xFFFFFF if flag else words[at + 2],
            bits=words[at + 2] >> 24 if flag else 0,
        )
        for at in range(0, len(words), 3)
    )


def _enumerators(btf: Btf, words: Sequence[int], signed: bool) -> tuple[Member, ...]:
    return tuple(
        Member(btf.string(words[at]), value=_signed(words[at + 1], 32) if signed else words[at + 1])
        for at in range(0, len(words), 2)
    )


def _enumerators64(btf: Btf, words: Sequence[int], signed: bool) -> tuple[Member, ...]:
    values = [(words[at], words[at + 1] | words[at + 2] << 32) for at in range(0, len(words), 3)]
    return tuple(Member(btf.string(name), value=_signed(value, 64) if signed else value) for name, value in values)


def _parameters(btf: Btf, words: Sequence[int], _: bool) -> tuple[Member, ...]:
    return tuple(Member(btf.string(words[at]), words[at + 1]) for at in range(0, len(words), 2))


def _variables(btf: Btf, words: Sequence[int], _: bool) -> tuple[Member, ...]:
    return tuple(
        Member(btf.type(words[at]).name, words[at], offset=words[at + 1], size=words[at + 2])
        for at in range(0, len(words), 3)
    )


#: What reads the members of a kind that has a size.
_MEMBERS: dict[int, Callable[[Btf, Sequence[int], bool], tuple[Member, ...]]] = {
    uapi.BTF_KIND_STRUCT: _fields,
    uapi.BTF_KIND_UNION: _fields,
    uapi.BTF_KIND_ENUM: _enumerators,
    uapi.BTF_KIND_ENUM64: _enumerators64,
    uapi.BTF_KIND_DATASEC: _variables,
}


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _broken(what: str) -> DecodeError:
    return DecodeError(
        f"this is no BTF: {what}", "give the bytes of a BTF section, or of /sys/kernel/btf", rule="btf"
    )
