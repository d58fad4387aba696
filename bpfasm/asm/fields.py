"""Operands that the kernel's types say: offsets and sizes of fields, values of enums, types that are there or not.

They stand where a number stands, and become one when the program is linked for a kernel, so that one program fits
kernels whose structs differ. (CO-RE: Documentation/bpf/llvm_reloc.rst, enum bpf_core_relo_kind)

>>> from bpfasm.asm import *
>>> tgid = field("task_struct", "tgid")
>>> BPF_LDX_MEM(BPF_W, R1, R0, tgid).off
field("task_struct", "tgid")
>>> tgid.size, tgid.exists
(field("task_struct", "tgid").size, field("task_struct", "tgid").exists)
"""

from __future__ import annotations

from bpfasm.asm.symbols import Symbol
from bpfasm.errors import OperandError
from bpfasm.isa.insn import LD_IMM64
from bpfasm.isa.where import outside
from bpfasm.uapi import bpf, bpf_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from bpfasm.asm.linker import Target
    from bpfasm.isa.insn import Insn

#: What each kind is written as: of a field, by attribute, and of the others by the function's name.
_ASPECTS = {
    bpf.BPF_CORE_FIELD_BYTE_OFFSET: "",
    bpf.BPF_CORE_FIELD_BYTE_SIZE: "size",
    bpf.BPF_CORE_FIELD_EXISTS: "exists",
    bpf.BPF_CORE_FIELD_SIGNED: "signed",
    bpf.BPF_CORE_FIELD_LSHIFT_U64: "lshift",
    bpf.BPF_CORE_FIELD_RSHIFT_U64: "rshift",
}
_FUNCTIONS = {
    bpf.BPF_CORE_TYPE_ID_TARGET: "type_id",
    bpf.BPF_CORE_TYPE_EXISTS: "type_exists",
    bpf.BPF_CORE_TYPE_SIZE: "type_size",
    bpf.BPF_CORE_ENUMVAL_EXISTS: "enum_exists",
    bpf.BPF_CORE_ENUMVAL_VALUE: "enum_value",
}


class Known(Symbol):
    """What the target's BTF turns into a number."""

    told = "btf"
    slots = ("off", "imm")
    numeric = True

    def _of(self, kind: int) -> Any:
        raise NotImplementedError

    @property
    def size(self) -> Any:
        """The bytes of the field; of a bit field, those of the load that has it."""
        return self._of(bpf.BPF_CORE_FIELD_BYTE_SIZE)

    @property
    def exists(self) -> Any:
        """1 where the target has it, else 0."""
        return self._of(bpf.BPF_CORE_FIELD_EXISTS)

    @property
    def signed(self) -> Any:
        """1 where it is a signed number, else 0."""
        return self._of(bpf.BPF_CORE_FIELD_SIGNED)

    @property
    def lshift(self) -> Any:
        """How far to shift the loaded 64 bits to the left, so that what is above the field is gone."""
        return self._of(bpf.BPF_CORE_FIELD_LSHIFT_U64)

    @property
    def rshift(self) -> Any:
        """How far to shift them to the right after that, with BPF_RSH or, of a signed one, BPF_ARSH."""
        return self._of(bpf.BPF_CORE_FIELD_RSHIFT_U64)

    def number(self, target: Target) -> int | None:
        """Return what it is in a target whose ``btf`` is known, None where that lacks it."""
        raise NotImplementedError

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn | None:
        """Return the instruction with the number, None where the target lacks it.

        Raises LinkError for a number that the field of the instruction cannot hold.
        """
        number = self.number(target)
        if number is None:
            return None
        if insn.code != LD_IMM64 and not fits(number, insn, slot):
            from bpfasm.asm.fields_refused import too_large

            raise too_large(self, number, insn, slot)
        return with_number(insn, slot, number)

    def missing(self, insn: Insn, target: Target) -> Exception:
        """Return the error that says what the target has instead."""
        from bpfasm.asm.fields_refused import missing

        return missing(self, insn, target)

    def asked(self, others: Iterable[Symbol]) -> bool:
        """Tell whether a program asks for it itself, and so can do without."""
        asking = [
            each
            for other in others
            for each in (other.choices if isinstance(other, FirstOf) else (other,))
            if isinstance(each, Core) and each.kind in _ANSWERS
        ]
        return all(any(each.covers(part) for each in asking) for part in self.parts)

    @property
    def parts(self) -> tuple[Core, ...]:
        """The single operands that it is made of."""
        raise NotImplementedError


class Core(Known):
    """One number about a type or field: ``kind`` is BPF_CORE_*, ``root`` the type's name, ``path`` leads to a field.

    A ``path`` names members with dots between, ``se.sum_exec_runtime``, and elements of arrays, ``comm[0]``; unnamed
    members need no mention. Of an enum it is the enumerator. What :func:`field` and its kin return.
    """

    kind: int
    root: str
    path: str = ""

    @property
    def title(self) -> str:
        """What it is about, as in C: ``task_struct.comm``."""
        if self.kind in (bpf.BPF_CORE_ENUMVAL_EXISTS, bpf.BPF_CORE_ENUMVAL_VALUE):
            return self.path
        return f"{self.root}.{self.path}" if self.path else self.root

    @property
    def word(self) -> str:
        """What it is called in messages."""
        return "field" if self.kind in _ASPECTS else "type" if not self.path else "enumerator"

    def _of(self, kind: int) -> Core:
        if self.kind not in _ASPECTS:
            raise OperandError(
                f"{self!r} has no {_ASPECTS[kind]}: fields have one",
                'write field("task_struct", "comm").size, or type_size("task_struct")',
                source=outside(),
                rule="core-operand",
            )
        return self.replace(kind=kind)

    def number(self, target: Target) -> int | None:
        """Return what it is in a target whose ``btf`` is known, None where that lacks it."""
        from bpfasm.btf.core import named, resolve

        assert target.btf is not None
        found = resolve(named(self.kind, self.root, self.path), _types(target))
        return found.number.value if found.number else None

    @property
    def parts(self) -> tuple[Core, ...]:
        """Itself."""
        return (self,)

    def covers(self, other: Core) -> bool:
        """Tell whether what this one asks for is needed for another: its type, the struct around it, or itself."""
        if self.root != other.root or self.kind == bpf.BPF_CORE_TYPE_EXISTS:
            return self.root == other.root
        return other.path == self.path or other.path.startswith((f"{self.path}.", f"{self.path}["))

    def __str__(self) -> str:
        """Return it as it stands in lines of text."""
        shown = _ASPECTS.get(self.kind) or _FUNCTIONS.get(self.kind)
        place = f"{self.root}.{self.path}" if self.path else self.root
        return f"{shown}({place})" if shown else place

    def __repr__(self) -> str:
        function = _FUNCTIONS.get(self.kind, "field")
        path = f', "{self.path}"' if self.path else ""
        aspect = _ASPECTS.get(self.kind)
        return f'{function}("{self.root}"{path}){f".{aspect}" if aspect else ""}'


class FirstOf(Known):
    """The first of some operands that the target has; the last may be a plain number. See :func:`first_of`."""

    choices: tuple[Core | int, ...]

    word = "field"

    @property
    def title(self) -> str:
        """The names of all."""
        return " or ".join(str(each) if isinstance(each, int) else each.title for each in self.choices)

    def _of(self, kind: int) -> FirstOf:
        return FirstOf(tuple(each if isinstance(each, int) else each._of(kind) for each in self.choices))

    def number(self, target: Target) -> int | None:
        """Return the number of the first that is there."""
        for each in self.choices:
            if isinstance(each, int):
                return each
            there = each.replace(kind=_EXISTS.get(each.kind, each.kind)).number(target)
            if there:
                return each.number(target)
        return 0 if all(each.kind in _ANSWERS for each in self.choices if isinstance(each, Core)) else None

    @property
    def parts(self) -> tuple[Core, ...]:
        """The choices that are no plain number."""
        return tuple(each for each in self.choices if isinstance(each, Core))

    def __str__(self) -> str:
        return " or ".join(map(str, self.choices))

    def __repr__(self) -> str:
        return f"first_of({', '.join(map(repr, self.choices))})"


#: What asks whether there is something at all, by what is asked of it.
_EXISTS = {
    **dict.fromkeys(_ASPECTS, bpf.BPF_CORE_FIELD_EXISTS),
    bpf.BPF_CORE_TYPE_ID_TARGET: bpf.BPF_CORE_TYPE_EXISTS,
    bpf.BPF_CORE_TYPE_SIZE: bpf.BPF_CORE_TYPE_EXISTS,
    bpf.BPF_CORE_ENUMVAL_VALUE: bpf.BPF_CORE_ENUMVAL_EXISTS,
}
#: What has an answer also where there is nothing.
_ANSWERS = {bpf.BPF_CORE_FIELD_EXISTS, bpf.BPF_CORE_TYPE_EXISTS, bpf.BPF_CORE_ENUMVAL_EXISTS}


def field(struct: str, path: str) -> Core:
    """Return the offset of a field in bytes; its ``.size``, ``.exists``, ``.signed``, ``.lshift``, ``.rshift`` too.

    ``path`` leads to it through structs within structs, ``field("task_struct", "se.sum_exec_runtime")``, and into
    arrays, ``"comm[3]"``; unnamed structs and unions need no mention. What is behind a pointer is another struct, and
    takes another load.
    """
    return _checked(bpf.BPF_CORE_FIELD_BYTE_OFFSET, struct, path)


def type_size(name: str) -> Core:
    """Return the size of a type in bytes: of a struct, union, enum or typedef."""
    return _checked(bpf.BPF_CORE_TYPE_SIZE, name)


def type_exists(name: str) -> Core:
    """Return 1 where the target has a type, else 0."""
    return _checked(bpf.BPF_CORE_TYPE_EXISTS, name)


def type_id(name: str) -> Core:
    """Return the id of a type in the target's BTF, as helpers such as bpf_snprintf_btf take it."""
    return _checked(bpf.BPF_CORE_TYPE_ID_TARGET, name)


def enum_value(enum: str, name: str) -> Core:
    """Return the value of an enumerator: ``enum_value("bpf_cgroup_iter_order", "BPF_CGROUP_ITER_SELF_ONLY")``."""
    return _checked(bpf.BPF_CORE_ENUMVAL_VALUE, enum, name)


def enum_exists(enum: str, name: str) -> Core:
    """Return 1 where the target's enum has an enumerator, else 0."""
    return _checked(bpf.BPF_CORE_ENUMVAL_EXISTS, enum, name)


def first_of(*choices: Core | int) -> FirstOf:
    """Return the first of some operands that the target has: what has changed its name, or its place.

    >>> first_of(field("task_struct", "__state"), field("task_struct", "state")).size
    first_of(field("task_struct", "__state").size, field("task_struct", "state").size)
    """
    plain = [each for each in choices if not isinstance(each, Core)]
    if not choices or (plain and (len(plain) > 1 or plain[0] is not choices[-1] or not isinstance(plain[0], int))):
        raise OperandError(
            f"first_of({', '.join(map(repr, choices))}): it takes fields, types, enumerators, and last a number",
            'write first_of(field("task_struct", "__state"), field("task_struct", "state"))',
            source=outside(),
            rule="core-operand",
        )
    return FirstOf(choices)


def _checked(kind: int, root: str, path: str = "") -> Core:
    """Return an operand whose names could be some."""
    words = root.split(" ") if isinstance(root, str) else []
    takes_path = kind in _ASPECTS or kind in (bpf.BPF_CORE_ENUMVAL_EXISTS, bpf.BPF_CORE_ENUMVAL_VALUE)
    plain = isinstance(path, str) and all(c.isalnum() or c in "_.[]" for c in path) and not path[:1].isdigit()
    if (
        not 1 <= len(words) <= 2
        or not words[-1].isidentifier()
        or (words[1:] and words[0] not in ("struct", "union", "enum"))
    ):
        what, do = f"{root!r} is no name of a type", 'write "task_struct", or with its kind "struct task_struct"'
    elif not plain or takes_path != bool(path):
        what = f"{path!r} is no name of {'an enumerator' if kind not in _ASPECTS else 'a field'}"
        do = 'write names with dots between, and indices: "se.sum_exec_runtime", "comm[0]"'
        if isinstance(path, str) and "->" in path:
            do = "what is behind a pointer takes a load of its own, with a field of the struct there"
    else:
        return Core(kind, root, path)
    raise OperandError(what, do, source=outside(), rule="core-operand")


def _types(target: Target) -> Any:
    """Yield the types of the target, and of its modules where it comes to them."""
    yield target.btf
    yield from target.modules


def with_number(insn: Insn, slot: str, number: int) -> Insn:
    """Return an instruction with a number in one of its fields, or in the 64 bits of BPF_LD_IMM64."""
    if insn.code == LD_IMM64:
        return insn.replace(imm=_signed(number, 32), imm2=_signed(number >> 32, 32))
    return insn.replace(**{slot: _signed(number, 32) if slot == "imm" else number})


def fits(number: int, insn: Insn, slot: str) -> bool:
    """Tell whether a slot of an instruction can hold a number: operations on 64 bits extend its sign."""
    if slot == "off":
        return -(1 << 15) <= number < 1 << 15
    kind = insn.code & 7
    stores = kind == bpf_common.BPF_ST and insn.code & 0x18 == bpf.BPF_DW
    signed = kind in (bpf.BPF_ALU64, bpf_common.BPF_JMP) or stores
    return -(1 << 31) <= number < 1 << (31 if signed else 32)


def _signed(number: int, bits: int) -> int:
    number &= (1 << bits) - 1
    return number - (number >> (bits - 1) << bits)
