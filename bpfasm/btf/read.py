"""Reading BTF: a blob of types, of which each is decoded when it is asked for.

The kernel's own has 100,000 types, and who asks for it wants a few. So making a ``Btf`` checks the header alone; a
name is looked for by its place among the strings, and a type by that of its name among the words; types are gone over
one by one only as far as needed, to know the id of each. (Documentation/bpf/btf.rst)
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left
from itertools import accumulate, count
from operator import add
from struct import error as struct_error, pack, unpack_from

from bpfasm.errors import DecodeError
from bpfasm.uapi import btf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from mmap import mmap
    from typing import Protocol

    from bpfasm.isa.insn import ByteOrder

    #: The bytes of a blob, in memory of our own or mapped from a file.
    Blob = bytes | mmap

    class Types(Protocol):
        """What has types by their ids: a Btf, or one that shows them by other names."""

        def type(self, id: int) -> BtfType:
            """Return a type."""

        def size_of(self, id: int) -> int:
            """Return the bytes of a type."""


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

#: Kinds with members that have a place, and kinds with constants.
COMPOSITE = (uapi.BTF_KIND_STRUCT, uapi.BTF_KIND_UNION)
ENUMS = (uapi.BTF_KIND_ENUM, uapi.BTF_KIND_ENUM64)

#: Kinds that are another name for a type, or say something more about it.
MODIFIERS = (
    uapi.BTF_KIND_TYPEDEF,
    uapi.BTF_KIND_VOLATILE,
    uapi.BTF_KIND_CONST,
    uapi.BTF_KIND_RESTRICT,
    uapi.BTF_KIND_TYPE_TAG,
)

#: Strings with more bytes than this are kept. Names have up to 128, the text of a source line has more at times.
LONG = 256

#: So many words are looked at in one go.
_PART = 1 << 13

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
    """The types of a blob; id 0 is void. ``base`` holds the types before it, where it is split (a module's).

    ``byteorder`` is that of the blob, and of the memory that its types describe.
    """

    def __init__(self, data: Blob, base: Btf | None = None, *, unique: bool = False) -> None:
        """Take a blob. Raises DecodeError where its header is none.

        ``unique`` says that no string is there twice, nor as the end of another one, as in what pahole writes for the
        kernel: the first place of a name is then the only one.
        """
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
        self._raw = (data, types, types + type_len)
        if self.byteorder != sys.byteorder:
            native = pack(f"={type_len // 4}I", *unpack_from(f"{order}{type_len // 4}I", data, types))
            self._raw = (native, 0, type_len)
        raw, start, end = self._raw
        self._words: memoryview = memoryview(raw)[start:end].cast("I")
        self._strings: tuple[int, int] = (strings, strings + str_len)
        self._unique = unique
        self._sizes = _WORDS | self._layout(length)
        self._steps: dict[int, int] = {}
        self.first_id = len(base) if base else 1
        self._first_string: int = base._strings_end() if base else 0
        self._starts = array("I")
        self._walked = 0
        self._found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        self._by_kind: dict[int, tuple[array[int], bytes]] = {}
        self._flavored: list[str] | None = None
        self._texts: dict[int, str] = {}
        self._left = 8 * (str_len + LONG)

    def _strings_end(self) -> int:
        start, end = self._strings
        return self._first_string + end - start

    def _layout(self, length: int) -> dict[int, tuple[int, int]]:
        """Return the sizes of kinds that are newer than this reader, where the blob says them (7.x)."""
        if length < uapi.sizeof_struct_btf_header:
            return {}
        order = "<" if self.byteorder == "little" else ">"
        off, size = unpack_from(f"{order}2I", self.data, uapi.struct_btf_header["layout_off"][0])
        rows = self.data[length + off : length + off + size]
        step = uapi.sizeof_struct_btf_layout
        return {
            kind: (rows[step * kind] // 4, rows[step * kind + 1] // 4)
            for kind in range(len(rows) // step)
            if kind not in _WORDS
        }

    def __len__(self) -> int:
        """Return the number of types, void and those of the base included: the first id that is free."""
        self._walk(len(self._words))
        return self.first_id + len(self._starts)

    def _walk(self, stop: int) -> None:
        """Learn where the types are, up to a word: they have to be gone over one by one (0.1 us each)."""
        at, end = self._walked, len(self._words)
        if at >= end or at > stop:
            return
        infos, steps, append = self._words[1:], self._steps, self._starts.append
        stop = min(stop, end - 1)
        try:
            while at <= stop:
                append(at)
                info = infos[at]
                try:
                    at += steps[info]
                except KeyError:
                    at += self._step(info)
        except IndexError:
            at = end + 1
        except KeyError:
            self._starts.pop()
            raise DecodeError(
                f"type {self.first_id + len(self._starts)} is of kind {infos[at] >> 24 & 0x7F}, which is unknown",
                "this BTF is newer than bpfasm, or its bytes were changed",
                rule="btf-kind",
            ) from None
        if at > end:
            self._starts.pop()
            raise _broken(f"type {self.first_id + len(self._starts)} is cut short")
        self._walked = at

    def _step(self, info: int) -> int:
        """Learn how many words a type takes, by its second one. Raises KeyError for a kind that is unknown."""
        fixed, each = self._sizes[info >> 24 & 0x7F]
        self._steps[info] = step = 3 + fixed + each * (info & 0xFFFFFF)
        return step

    def _start(self, id: int) -> int:
        """Return the word at which a type of this blob starts. Raises DecodeError where there is none."""
        number, starts = id - self.first_id, self._starts
        while not 0 <= number < len(starts):
            if number < 0 or self._walked >= len(self._words):
                raise _broken(f"there is no type {id}")
            self._walk(self._walked + max(1024, 6 * (number - len(starts))))
        return starts[number]

    def _holder(self, id: int) -> Btf:
        """Return the blob that has a type: this one, or one below it."""
        found = self
        while id < found.first_id and found.base:
            found = found.base
        return found

    def string(self, offset: int) -> str:
        """Return the string at an offset. Raises DecodeError where there is none."""
        if offset < self._first_string and self.base:
            return self.base.string(offset)
        first, last = self._strings
        start = first + offset - self._first_string
        end = self.data.find(b"\0", start, last) if first <= start < last else -1
        if end < 0:
            raise _broken(f"there is no string at {offset}")
        if end - start > LONG:
            return self._long(start, end)
        return self.data[start:end].decode("utf-8", "replace")

    def _long(self, start: int, end: int) -> str:
        """Return a long string, of which there is one copy: all types of a broken blob may have it for a name."""
        if start not in self._texts:
            self._texts[start] = self.data[start:end].decode("utf-8", "replace")
            self._left -= end - start
            if self._left < 0:
                raise _broken("its strings are longer than all of it")
        return self._texts[start]

    def type(self, id: int) -> BtfType:
        """Return a type by its id. Raises DecodeError where there is none."""
        if id == 0:
            return BtfType(0, uapi.BTF_KIND_UNKN, "void")
        if id < self.first_id and self.base:
            return self.base.type(id)
        words, at = self._words, self._start(id)
        name_off, info, third = words[at], words[at + 1], words[at + 2]
        kind, length, flag = info >> 24 & 0x7F, info & 0xFFFFFF, bool(info >> 31)
        name = self.string(name_off)
        at += 3
        if kind in SIZED:
            read = _MEMBERS.get(kind)
            members = read(self, words[at : at + self._sizes[kind][1] * length], flag) if read else ()
            detail = words[at] if kind == uapi.BTF_KIND_INT else 0
            return BtfType(id, kind, name, size=third, detail=detail, flag=flag, members=members)
        if kind == uapi.BTF_KIND_ARRAY:
            return BtfType(id, kind, name, type=words[at], detail=words[at + 2], flag=flag)
        if kind == uapi.BTF_KIND_FUNC_PROTO:
            members = _parameters(self, words[at : at + 2 * length], flag)
            return BtfType(id, kind, name, type=third, flag=flag, members=members)
        detail = words[at] if self._sizes[kind][0] else length
        return BtfType(id, kind, name, type=third, detail=detail, flag=flag)

    def words(self, id: int) -> list[int]:
        """Return the words of a type as they stand in the blob: its name, its info, its size or type, the rest."""
        at = self._start(id)
        return self._words[at : at + self._steps[self._words[at + 1]]].tolist()

    @property
    def strings(self) -> bytes:
        """The strings of the blob, each ended by a zero."""
        return bytes(self.data[slice(*self._strings)])

    def past_names(self, id: int) -> tuple[int, int]:
        """Return the id and the kind of what a type is, past typedefs, const and their kin."""
        for _ in range(MOST_DEEP):
            if not id:
                return 0, uapi.BTF_KIND_UNKN
            holder = self._holder(id)
            at = holder._start(id)
            kind = holder._words[at + 1] >> 24 & 0x7F
            if kind not in MODIFIERS:
                return id, kind
            id = holder._words[at + 2]
        raise _broken(f"type {id} is a name for itself")

    def resolve(self, id: int) -> BtfType:
        """Return what a type is, past typedefs, const and their kin. Raises DecodeError for a cycle."""
        return self.type(self.past_names(id)[0])

    def members_of(self, id: int, name: str) -> tuple[int, list[tuple[int, Member]]]:
        """Return how many members a struct or union has, and those of a name or without one, each with its index."""
        holder = self._holder(id)
        words, at = holder._words, holder._start(id)
        length, flag = words[at + 1] & 0xFFFFFF, bool(words[at + 1] >> 31)
        wanted = name.encode() + b"\0"
        data, first, size, initial = holder.data, holder._strings[0] - holder._first_string, len(wanted), wanted[0]
        low = holder._first_string if holder.base else 1
        found = []
        try:
            for index, offset in enumerate(words[at + 3 : at + 3 + 3 * length].tolist()[::3]):
                # Most names differ in their first byte already, and to cut the others out takes five times as long.
                if offset >= low:
                    start = first + offset
                    if data[start] != initial or data[start : start + size] != wanted:
                        continue
                (member,) = _fields(holder, words[at + 3 + 3 * index : at + 6 + 3 * index], flag)
                if not member.name or member.name == name:
                    found.append((index, member))
        except IndexError:
            raise _broken(f"type {id} has a member without a name") from None
        return length, found

    def find(self, name: str, *kinds: int) -> list[int]:
        """Return the ids of the types of some kinds that have a name, those of the base first; mostly one or none."""
        asked = (name, kinds)
        if asked not in self._found:
            self._found[asked] = self._find(name, kinds)
        return list(self._found[asked])

    def _find(self, name: str, kinds: tuple[int, ...]) -> list[int]:
        found = self.base.find(name, *kinds) if self.base else []
        hits: list[int] = []
        offsets = self._offsets(name.encode())
        for places, names in map(self._named, kinds if offsets else ()):
            for offset in offsets:
                wanted = pack("=I", offset)
                at = names.find(wanted)
                while at >= 0:
                    if not at % 4:
                        hits.append(places[at // 4])
                    at = names.find(wanted, at + 1)
        if hits:
            # What looks like a type may be within another one.
            self._walk(max(hits))
        starts, first = self._starts, self.first_id
        for at in sorted(hits):
            number = bisect_left(starts, at)
            if number < len(starts) and starts[number] == at:
                found.append(first + number)
        return found

    def _named(self, kind: int) -> tuple[array[int], bytes]:
        """Return the words that may begin a type of a kind, by the word behind them, and what they are.

        All in C, over a byte of each word: 5 ms for the structs of a kernel, where going over its types takes 12. It
        takes a part after the other, since to get new memory from the kernel would cost as much again.
        """
        if kind not in self._by_kind:
            raw, start, end = self._raw
            places, names, get = array("I"), array("I"), self._words.__getitem__
            first = start + 4 + (3 if sys.byteorder == "little" else 0)
            for number in range(0, len(self._words), _PART):
                column = raw[first + 4 * number : min(first + 4 * (number + _PART), end) : 4]
                for top in (kind, kind | 0x80):  # without and with the type's flag
                    gaps = column.split(bytes((top,)))
                    here = [*map(add, accumulate(map(len, gaps[:-1])), count(number))]
                    places.extend(here)
                    names.extend(map(get, here))
            self._by_kind[kind] = places, names.tobytes()
        return self._by_kind[kind]

    def holders_of(self, name: str) -> list[int]:
        """Return the ids of the structs and unions of this blob that have a member of a name. Takes 0.1 s."""
        words, found = self._words, []
        self._walk(len(words))
        offsets = self._offsets(name.encode())
        for number, at in enumerate(self._starts):
            info = words[at + 1]
            if info >> 24 & 0x7F in COMPOSITE and info & 0xFFFFFF:
                members = words[at + 3 : at + 3 + 3 * (info & 0xFFFFFF)].tolist()[::3]
                if any(offset in members for offset in offsets):
                    found.append(self.first_id + number)
        return found

    def names(self, kind: int) -> set[str]:
        """Return the names of all types of a kind. Takes 0.1 s for the kernel's functions."""
        words = self._words
        found = self.base.names(kind) if self.base else set()
        self._walk(len(words))
        return found | {self.string(words[at]) for at in self._starts if words[at + 1] >> 24 & 0x7F == kind}

    def flavors(self, name: str) -> list[str]:
        """Return the strings that are a name, or begin with it and ``___``: CO-RE's flavours of a type."""
        found = self.base.flavors(name) if self.base else [name]
        if self._flavored is None:
            self._flavored = list(self._strings_with(b"___"))
        return found + [each for each in self._flavored if each.startswith(f"{name}___")]

    def beginning(self, text: str) -> list[str]:
        """Return the strings that begin with a text, whatever they name: quickly, where names() takes its time."""
        found = self.base.beginning(text) if self.base else []
        first, last = self._strings
        part = b"\0" + text.encode()
        at = self.data.find(part, first, last)
        while at >= 0:
            end = self.data.find(b"\0", at + 1, last)
            if end < 0:
                break
            found.append(self.data[at + 1 : end].decode("utf-8", "replace"))
            at = self.data.find(part, end, last)
        return found

    def _strings_with(self, part: bytes) -> Iterator[str]:
        """Yield the strings that have some bytes in them."""
        first, last = self._strings
        at = self.data.find(part, first, last)
        while at >= 0:
            start, end = self.data.rfind(b"\0", first, at) + 1, self.data.find(b"\0", at, last)
            if end < 0:
                return
            yield self.data[start or first : end].decode("utf-8", "replace")
            at = self.data.find(part, end, last)

    def _offsets(self, name: bytes) -> set[int]:
        """Return where a name is among the strings: also as the end of another one, which may be shared."""
        found = self.base._offsets(name) if self.base else set()
        first, last = self._strings
        if self._unique:
            at = self.data.find(b"\0" + name + b"\0", first, last) + 1
            if not at and self.data[first : first + len(name) + 1] == name + b"\0":
                at = first
            return found | {self._first_string + at - first} if at else found
        at = self.data.find(name + b"\0", first, last)
        while at >= 0:
            found.add(self._first_string + at - first)
            at = self.data.find(name + b"\0", at + 1, last)
        return found

    def size_of(self, id: int) -> int:
        """Return the bytes of a type; those of a pointer are 8. Raises DecodeError for one that has none."""
        times = 1
        for _ in range(MOST_DEEP):
            id, kind = self.past_names(id)
            if kind == uapi.BTF_KIND_PTR:
                return times * 8
            holder = self._holder(id)
            if kind in SIZED:
                return times * holder._words[holder._start(id) + 2]
            if kind == uapi.BTF_KIND_ARRAY:
                at = holder._start(id)
                times *= holder._words[at + 5]
                id = holder._words[at + 3]
            elif kind == uapi.BTF_KIND_VAR:
                id = holder._words[holder._start(id) + 2]
            else:
                break
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
        Member(_name(btf, words[at]), words[at], offset=words[at + 1], size=words[at + 2])
        for at in range(0, len(words), 3)
    )


def _name(btf: Btf, id: int) -> str:
    """Return a type's name alone: a broken section may be one of its own variables."""
    while btf.base and id < btf.first_id:
        btf = btf.base
    return btf.string(btf.words(id)[0]) if id else "void"


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


def too_deep(id: int) -> DecodeError:
    """Return the error of a type that is within itself, or within more than MOST_DEEP others."""
    return DecodeError(f"type {id} is nested too deep, or holds itself", "the BTF may be broken", rule="btf")


def _broken(what: str) -> DecodeError:
    return DecodeError(
        f"this is no BTF: {what}", "give the bytes of a BTF section, or of /sys/kernel/btf", rule="btf"
    )
