"""The types that an object carries of a kernel: of each only what its programs name, as clang keeps of a header.

A loader compares them with the types of the kernel it runs on. So a struct has the members that were named, each at
its place in the kernel whose types were given, unnamed structs around it left out; of a pointer there is no more
than that it is one. (Documentation/bpf/llvm_reloc.rst; relo_core.c)
"""

from __future__ import annotations

from bpfasm.asm.ksym import ADDRESS, VARIABLE, Ksym
from bpfasm.btf.core import ENUM_KINDS, FIELD_KINDS, measure, named, recorded, resolve
from bpfasm.btf.read import COMPOSITE, ENUMS, MOST_DEEP, Btf
from bpfasm.errors import DecodeError, LinkError
from bpfasm.uapi import bpf, btf as kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.fields import Core
    from bpfasm.asm.kfunc import Kfunc
    from bpfasm.btf.core import Found
    from bpfasm.btf.read import BtfType
    from bpfasm.btf.write import Writer
    from bpfasm.errors import Source


class Local:
    """What stands for an operand in an object: its record's type and access string, and the number in the file."""

    def __init__(self, type: int, access: str, number: int) -> None:
        self.type, self.access, self.number = type, access, number


class _Struct:
    """A struct or union that grows by the members that are named; it is written when all are known."""

    def __init__(self, type: BtfType, name: str) -> None:
        self.kind, self.name, self.size = type.kind, name, type.size
        #: name: (offset and width in bits, the BTF that has the member's type, that type)
        self.members: dict[str, tuple[int, int, Btf, int]] = {}
        self.id = 0

    @property
    def order(self) -> list[str]:
        """The members by their places, as kernels want them."""
        return sorted(self.members, key=lambda name: self.members[name][0])


class _Enum:
    """An enum that grows by the enumerators that are named."""

    def __init__(self, type: BtfType, name: str) -> None:
        self.kind, self.name, self.size, self.signed = type.kind, name, type.size, type.flag
        self.values: dict[str, int] = {}
        self.id = 0


#: The id of a struct while its members are written.
_BEGUN = -1

#: What leads to a field: a struct and the name of a member of it, or the index of an element.
_Way = list[tuple["_Struct", str] | int]


class LocalTypes:
    """Types for an object, taken from those of kernels: first all that is named, then the types in one go."""

    def __init__(self, btf: Writer, sources: tuple[Btf, ...]) -> None:
        self.btf, self.sources = btf, sources
        self._structs: dict[tuple[object, ...], _Struct] = {}
        self._enums: dict[str, _Enum] = {}
        self._fields: dict[Core, tuple[Btf, int, str, _Way]] = {}
        self._enumerators: dict[Core, tuple[_Enum, str]] = {}
        self._others: dict[Core, tuple[Btf | None, int, str]] = {}
        self._written: dict[Core, Local] = {}

    def want(self, core: Core, source: Source | None) -> None:
        """Take in an operand. Raises LinkError where no types that were given have what it names."""
        if core in self._fields or core in self._enumerators or core in self._others:
            return
        # A question whether something is there has an answer in no types, but a loader asks with what it would be.
        sought = named(_ASKED.get(core.kind, core.kind), core.root, core.path)
        for btf in self.sources:
            resolved = resolve(sought, [btf])
            if not resolved.found:
                continue
            found = resolved.found[0]
            if core.kind in FIELD_KINDS:
                self._fields[core] = btf, found.root, sought.root, self._follow(btf, found, sought.root)
            elif core.kind in ENUM_KINDS:
                enum = btf.resolve(found.root)
                known = self._enums.setdefault(sought.root, _Enum(enum, sought.root))
                member = enum.members[found.path[0]]
                known.values[core.path] = member.value
                self._enumerators[core] = known, core.path
            else:
                self._others[core] = btf, found.root, sought.root
                if btf.type(found.root).kind in COMPOSITE:
                    self._struct(btf, btf.type(found.root), sought.root)
            return
        if core.kind == bpf.BPF_CORE_TYPE_EXISTS:
            self._others[core] = None, 0, sought.root  # a struct, where nothing says what it would be
            return
        raise LinkError(
            f"no types were given that have {core.title}, and an object describes what it names",
            "give those of a kernel that has it: write_object(..., types=Btf(...)), or --btf FILE",
            source=source,
            rule="object-types",
        )

    def extern(self, symbol: Kfunc | Ksym, source: Source | None) -> tuple[int, int]:
        """Return the kind and the type of what is the kernel's: BTF_KIND_FUNC and a prototype, or BTF_KIND_VAR.

        Raises LinkError where no types that were given have it.
        """
        if isinstance(symbol, Ksym) and symbol.kind == ADDRESS:
            return kinds.BTF_KIND_VAR, self.btf.add(kinds.BTF_KIND_CONST)  # const void: an address of anything
        variable = isinstance(symbol, Ksym) and symbol.kind == VARIABLE
        kind = kinds.BTF_KIND_VAR if variable else kinds.BTF_KIND_FUNC
        for btf in self.sources:
            for id in btf.find(symbol.name, kind):
                return kind, self.shape(btf, btf.type(id).type)
        raise LinkError(
            f"no types were given that have the {symbol.word} {symbol.name}, and an object describes what it uses",
            "give those of a kernel that has it: write_object(..., types=Btf(...)), or --btf FILE",
            source=source,
            rule="object-types",
        )

    def write(self) -> None:
        """Write the types of all that was named."""
        for enum in self._enums.values():
            self._write_enum(enum)
        for struct in [*self._structs.values()]:
            self._write_struct(struct)
        roots: list[tuple[Core, int, str]] = []
        for core, (btf, root, name, way) in self._fields.items():
            parts = [step if isinstance(step, int) else step[0].order.index(step[1]) for step in way]
            roots.append((core, self._root(btf, root, name), ":".join(map(str, (0, *parts)))))
        for core, (known, value) in self._enumerators.items():
            roots.append((core, known.id, str(list(known.values).index(value))))
        for core, (source, root, name) in self._others.items():
            type = self.btf.add_struct(name, 0, []) if source is None else self._root(source, root, name)
            roots.append((core, type, "0"))
        if not roots:
            return
        local = Btf(self.btf.to_bytes())
        for core, type, access in roots:
            number = measure(core.kind, recorded(local, core.kind, type, access).local)
            assert number
            self._written[core] = Local(type, access, number.value)

    def of(self, core: Core) -> Local:
        """Return what stands for an operand."""
        return self._written[core]

    # What is named

    def _follow(self, btf: Btf, found: Found, name: str) -> _Way:
        """Enter the members that lead to a field; return the way to it, without what has no name."""
        way: _Way = []
        outer, offset = btf.resolve(found.root), 0
        holder = self._struct(btf, outer, name)
        for index in found.path[1:]:
            if outer.kind == kinds.BTF_KIND_ARRAY:
                way.append(index)
                inner, unnamed = outer.type, False
            else:
                member = outer.members[index]
                offset += member.offset
                inner, unnamed = member.type, not member.name
                if member.name:
                    holder.members.setdefault(member.name, (offset, member.bits, btf, member.type))
                    way.append((holder, member.name))
                    offset = 0
            outer = btf.resolve(inner)
            if outer.kind in COMPOSITE and not unnamed:
                holder = self._struct(btf, outer, outer.name)
        return way

    def _struct(self, btf: Btf, type: BtfType, name: str) -> _Struct:
        """Return the struct that stands for a type: for each name one, whichever kernel's."""
        resolved = btf.resolve(type.id)
        key = (resolved.kind, name) if resolved.name else (id(btf), resolved.id)
        known = self._structs.setdefault(key, _Struct(resolved, name if resolved.name else ""))
        known.size = max(known.size, resolved.size)
        return known

    # What is written

    def _root(self, btf: Btf, id: int, name: str) -> int:
        """Return the type that a record begins with, under the name without its flavour."""
        type = btf.type(id)
        if type.kind == kinds.BTF_KIND_TYPEDEF:
            return self.btf.add(kinds.BTF_KIND_TYPEDEF, name, self._member(btf, type.type))
        if type.kind in COMPOSITE:
            return self._write_struct(self._struct(btf, type, name))
        return self.shape(btf, id)

    def _write_struct(self, struct: _Struct) -> int:
        if struct.id == _BEGUN:
            raise DecodeError(f"the type {struct.name or struct.size} holds itself", "its BTF is broken", rule="btf")
        if not struct.id:
            struct.id = _BEGUN
            flag = any(bits for _, bits, _, _ in struct.members.values())
            rest = []
            for name in struct.order:
                offset, bits, btf, type = struct.members[name]
                place = offset | bits << 24 if flag else offset
                rest.append(self.btf.words(self.btf.string(name), self._member(btf, type), place))
            struct.id = self.btf.add(
                struct.kind, struct.name, struct.size, b"".join(rest), count=len(rest), flag=flag
            )
        return struct.id

    def _write_enum(self, enum: _Enum) -> int:
        if not enum.id:
            rest = [self._enumerator(enum.kind, name, value) for name, value in enum.values.items()]
            enum.id = self.btf.add(enum.kind, enum.name, enum.size, b"".join(rest), count=len(rest), flag=enum.signed)
        return enum.id

    def _enumerator(self, kind: int, name: str, value: int) -> bytes:
        low, high = value & 0xFFFF_FFFF, value >> 32 & 0xFFFF_FFFF
        string = self.btf.string(name)
        return self.btf.words(string, low, high) if kind == kinds.BTF_KIND_ENUM64 else self.btf.words(string, low)

    def _member(self, btf: Btf, id: int) -> int:
        """Return the type of a member: of a pointer only that it is one."""
        type = btf.resolve(id)
        if type.kind in COMPOSITE:
            return self._write_struct(self._struct(btf, type, type.name))
        if type.kind == kinds.BTF_KIND_ARRAY:
            return self.btf.add_array(self._member(btf, type.type), type.detail)
        if type.kind == kinds.BTF_KIND_PTR:
            return self.btf.add(kinds.BTF_KIND_PTR)
        return self.shape(btf, id)

    def shape(self, btf: Btf, id: int, depth: int = 0) -> int:
        """Return a type whose structs and enums are names alone: what loaders compare of a function's arguments."""
        type = btf.resolve(id)
        if not type.id or depth > MOST_DEEP:
            return 0
        add, kind = self.btf.add, type.kind
        if kind == kinds.BTF_KIND_INT:
            return add(kind, type.name, type.size, self.btf.words(type.detail))
        if kind == kinds.BTF_KIND_PTR:
            return add(kind, third=self.shape(btf, type.type, depth + 1))
        if kind == kinds.BTF_KIND_ARRAY:
            return self.btf.add_array(self.shape(btf, type.type, depth + 1), type.detail)
        if kind == kinds.BTF_KIND_FUNC_PROTO:
            rest = [
                self.btf.words(self.btf.string(each.name), self.shape(btf, each.type, depth + 1))
                for each in type.members
            ]
            result = self.shape(btf, type.type, depth + 1)
            return add(kind, third=result, rest=b"".join(rest), count=len(rest))
        if kind in ENUMS:
            known = self._enums.get(type.name)
            first = [self._enumerator(kind, each.name, each.value) for each in type.members[:1]]
            if known:
                return self._write_enum(known)
            return add(kind, type.name, type.size, b"".join(first), count=len(first), flag=type.flag)
        if kind in COMPOSITE:
            return add(kind, type.name, 0)
        return add(kind, type.name, type.size, flag=type.flag)


#: What asks for a thing itself, by what asks whether it is there.
_ASKED = {
    bpf.BPF_CORE_FIELD_EXISTS: bpf.BPF_CORE_FIELD_BYTE_OFFSET,
    bpf.BPF_CORE_ENUMVAL_EXISTS: bpf.BPF_CORE_ENUMVAL_VALUE,
}
