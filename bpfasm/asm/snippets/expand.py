"""What snippets are made with: the checks of their arguments, and their expansion."""

from __future__ import annotations

from bpfasm.asm.maps import MapSpec
from bpfasm.asm.symbols import Label, Mark
from bpfasm.errors import OperandError
from bpfasm.isa.filter_h import MAX_BPF_STACK
from bpfasm.isa.operands import REGS, Reg
from bpfasm.isa.where import caller_of, outside
from bpfasm.uapi import bpf, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.program import Item

_PACKAGE = "bpfasm.asm.snippets"


def expanded(*items: Item) -> list[Item]:
    """Return a snippet's items as written where the snippet was called.

    That is the line which the verifier's errors and listings name; the lines of the snippet say nothing to its user.
    """
    where = caller_of(_PACKAGE)
    return [Mark(item.label, where) if isinstance(item, Mark) else item.replace(where=where) for item in items]


def a_map(snippet: str, operand: Any, *types: int) -> MapSpec:
    """Check that an argument is a declared map of one of some types."""
    if isinstance(operand, MapSpec) and operand.type in types:
        return operand
    kinds = names(bpf, "bpf_map_type")
    what = f"{operand!r} is of type {kinds.get(operand.type)}" if isinstance(operand, MapSpec) else f"{operand!r}"
    raise refused(f"{snippet}: {what}, and a map of type {' or '.join(kinds[type] for type in types)} belongs there")


def a_label(snippet: str, operand: Any) -> str | Label:
    """Check that an argument is a label to go to."""
    if isinstance(operand, str | Label):
        return operand
    raise refused(
        f"{snippet}: {operand!r} is no label",
        f'it leaves: say where to, as in *{snippet}(..., "out", ...), and write label("out") there',
    )


def a_register(snippet: str, operand: Any) -> Reg:
    """Check that an argument is a register, or its number as C code has it."""
    if isinstance(operand, Reg):
        return operand
    if isinstance(operand, int) and 0 <= operand < bpf.MAX_BPF_REG:
        return REGS[operand]
    raise refused(f"{snippet}: {operand!r} is no register", "write R0 to R10")


def on_stack(snippet: str, operand: Any, size: int) -> int:
    """Check that an argument is the offset from R10 of some bytes on the stack."""
    if isinstance(operand, int) and -MAX_BPF_STACK <= operand <= -size:
        return operand
    raise refused(
        f"{snippet}: {operand!r} is no place for {size} bytes on the stack, which is from -{MAX_BPF_STACK} to -1",
        "name it in a StackLayout: stack = StackLayout(key=u32), and give stack.key",
    )


def refused(what: str, do: str = "") -> OperandError:
    """Return the error for an argument, at the line that called the snippet."""
    return OperandError(what, do or "see the snippet's docstring", source=outside(), rule="snippet-operand")
