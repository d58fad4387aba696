"""Why a field, a type or an enumerator is not to be had in a target, in words: what is there instead."""

from __future__ import annotations

from bpfasm.errors import LinkError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.fields import Core, Known
    from bpfasm.asm.linker import Target
    from bpfasm.isa.insn import Insn


def missing(operand: Known, insn: Insn, target: Target) -> LinkError:
    """Return what is wrong with an operand that the target does not have."""
    from bpfasm.btf.core import named
    from bpfasm.btf.core_missing import why

    assert target.btf is not None
    what, do = why(named(*_fields(operand.parts[0])), target.btf)
    if len(operand.parts) > 1:
        what = f"the target has none of {operand.title}: {what}"
    return LinkError(what, do, source=insn.source, rule="core-missing")


def _fields(operand: Core) -> tuple[int, str, str]:
    return operand.kind, operand.root, operand.path


def too_large(operand: Known, number: int, insn: Insn, slot: str) -> LinkError:
    """Return what is wrong with a number that the field of an instruction cannot hold."""
    if slot == "off":
        do = "add it to the base register first, with BPF_ALU64_IMM(BPF_ADD, ...)"
        return LinkError(
            f"{operand!r} is {number} in the target, and an offset has 16 bits",
            do,
            source=insn.source,
            rule="core-range",
        )
    return LinkError(
        f"{operand!r} is {number:#x} in the target, which a 32-bit immediate cannot hold here",
        "load it with BPF_LD_IMM64 into a register",
        source=insn.source,
        rule="core-range",
    )
