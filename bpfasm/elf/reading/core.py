"""CO-RE records of objects as operands: an instruction's number that the target's types decide.

The compiler has put its own number there. It stays visible as ``local``, and is what bytes without a target hold.
"""

from __future__ import annotations

from bpfasm.asm.fields import Core
from bpfasm.asm.symbols import Symbol
from bpfasm.btf.core import ENUM_KINDS, measure, recorded, resolve
from bpfasm.errors import DecodeError, LinkError
from bpfasm.isa.insn import LD_IMM64
from bpfasm.uapi import bpf, bpf_common, btf as kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from bpfasm.asm.linker import Target
    from bpfasm.btf.core import Number, Resolved, Sought
    from bpfasm.btf.read import Btf
    from bpfasm.elf.reading.btf_ext import CoreRecord
    from bpfasm.isa.insn import Insn

#: The size operand of a load or store, by its bytes.
_SIZES = {1: bpf_common.BPF_B, 2: bpf_common.BPF_H, 4: bpf_common.BPF_W, 8: bpf.BPF_DW}
_SIZE_BITS = 0x18

_MEMORY = (bpf_common.BPF_LDX, bpf_common.BPF_ST, bpf_common.BPF_STX)


class Recorded(Symbol):
    """What a record of .BTF.ext asks for, in the slot of its instruction. ``local`` is the compiler's number."""

    told = "btf"
    slots = ("off", "imm")
    numeric = True

    sought: Sought
    local: int = 0

    @property
    def word(self) -> str:
        """What it is called in messages."""
        return "field"

    @property
    def title(self) -> str:
        """What it is about, as in C: ``task_struct.comm``."""
        return str(self.sought)

    @property
    def untold(self) -> int:
        """The compiler's number, of 64 bits the lower half."""
        return _signed32(self.local)

    def filled(self, insn: Insn, slot: str, target: Target) -> Insn | None:
        """Return the instruction with the target's number, None where there is none.

        Of a load or store, the size follows the field's. Raises LinkError where no number fits.
        (tools/lib/bpf/relo_core.c bpf_core_patch_insn())
        """
        number = resolve(self.sought, _types(target)).number
        if number is None:
            return None
        if insn.code == LD_IMM64:
            return insn.replace(imm=_signed32(number.value), imm2=_signed32(number.value >> 32))
        if slot == "imm":
            return insn.replace(imm=self._checked(number.value, 32, insn))
        changed = insn.replace(off=self._checked(number.value, 16, insn))
        if not number.size:
            return changed
        return _resized(changed, number, self.sought, target)

    def _checked(self, value: int, bits: int, insn: Insn) -> int:
        if bits == 16 and not -(1 << 15) <= value < 1 << 15:
            raise LinkError(
                f"{self.title} is at {value}, and an offset has 16 bits",
                "add it to the register instead",
                source=insn.source,
                rule="core-range",
            )
        return value if bits == 16 else _signed32(value)

    def missing(self, insn: Insn, target: Target) -> LinkError:
        """Return the error that names what is missing, and what the target has of that name."""
        what, do = self.why(resolve(self.sought, _types(target)))
        return LinkError(what, do, source=insn.source, rule="core-missing")

    def why(self, resolved: Resolved) -> tuple[str, str]:
        """Return what is missing, which candidates there were, and what is there instead."""
        sought = self.sought
        if not resolved.candidates:
            return f"the target has no {_words(sought)}", f"no type there is called {sought.root}"
        looked = f"it was looked for in {', '.join(_candidate(btf, id) for btf, id in resolved.candidates[:8])}"
        from bpfasm.btf import core_missing

        _, do = core_missing.why(sought, resolved.candidates[0][0])
        return f"the target has no {_words(sought)}", looked if do.startswith("see ") else f"{looked}; {do}"

    def asked(self, others: Iterable[Symbol]) -> bool:
        """Tell that a program can do without: the compiler knows which code is reached, and so does the verifier."""
        return True

    def _core(self) -> Core:
        """Return the operand by which a program in Python asks for it."""
        sought = self.sought
        if sought.kind in ENUM_KINDS:
            return Core(sought.kind, sought.root, sought.steps[0].name)
        path = "".join(f".{step.name}" if step.name else f"[{step.index}]" for step in sought.steps)
        return Core(sought.kind, sought.root + (f"[{sought.first}]" if sought.first else ""), path.removeprefix("."))

    def __str__(self) -> str:
        return str(self._core())

    def __repr__(self) -> str:
        return repr(self._core())


def operand_of(btf: Btf, record: CoreRecord, insn: Insn, known: dict[tuple[int, int, str], Sought]) -> Insn:
    """Return an instruction with what its record asks for in the slot that holds the number. Raises DecodeError.

    What was asked for before is ``known``: the same fields are read again and again.
    """
    key = record.kind, record.type, record.access
    if key not in known:
        known[key] = recorded(btf, *key)
    sought, kind = known[key], insn.code & 7
    if not (isinstance(insn.off, int) and isinstance(insn.imm, int)):
        raise DecodeError(
            f"two CO-RE records are about one instruction: {sought}",
            "the object's .BTF.ext is broken: build it again",
            rule="core-record",
        )
    if insn.code == LD_IMM64:
        whole = (insn.imm & 0xFFFFFFFF) | (insn.imm2 & 0xFFFFFFFF) << 32
        return insn.replace(imm=Recorded(sought, whole))
    if kind in _MEMORY:
        return insn.replace(off=Recorded(sought, insn.off))
    if kind in (bpf_common.BPF_ALU, bpf.BPF_ALU64) and insn.code & 8 == bpf_common.BPF_K:
        return insn.replace(imm=Recorded(sought, insn.imm))
    raise DecodeError(
        f"a CO-RE record for {sought} is about an instruction of code {insn.code:#x}",
        "it can be about a load or store, an operation with a number, and BPF_LD_IMM64",
        rule="core-record",
    )


def _resized(insn: Insn, number: Number, sought: Sought, target: Target) -> Insn | None:
    """Return a load or store that moves as many bytes as the field has now, None where that would not be the same.

    Pointers and unsigned numbers may be wider or narrower. (relo_core.c bpf_core_calc_relo())
    """
    assert sought.local is not None
    before = measure(sought.kind, sought.local)
    if before is None or before.size == number.size:
        return insn
    found = resolve(sought, _types(target)).found[0]
    ours, theirs = sought.local.btf.resolve(before.type), found.btf.resolve(number.type)
    pointers = ours.kind == theirs.kind == kinds.BTF_KIND_PTR
    numbers = ours.kind == theirs.kind == kinds.BTF_KIND_INT
    signed = (ours.detail | theirs.detail) >> 24 & kinds.BTF_INT_SIGNED if numbers else 0
    if not (pointers or (numbers and not signed)) or number.size not in _SIZES:
        return None
    return insn.replace(code=insn.code & ~_SIZE_BITS | _SIZES[number.size])


def _words(sought: Sought) -> str:
    if sought.steps:
        return str(sought)
    return f"type {sought.root}"


def _candidate(btf: Btf, id: int) -> str:
    found = btf.type(id)
    words = {
        kinds.BTF_KIND_STRUCT: "struct", kinds.BTF_KIND_UNION: "union", kinds.BTF_KIND_ENUM: "enum",
        kinds.BTF_KIND_ENUM64: "enum", kinds.BTF_KIND_TYPEDEF: "typedef",
    }  # fmt: skip
    return f"{words.get(found.kind, 'type')} {found.name} (id {id})"


def _types(target: Target) -> Iterator[Any]:
    yield target.btf
    yield from target.modules


def _signed32(number: int) -> int:
    number &= 0xFFFFFFFF
    return number - (number >> 31 << 32)
