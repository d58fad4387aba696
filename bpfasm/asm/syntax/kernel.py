"""The kernel's text: what the verifier's log and ``bpftool prog dump xlated`` print (kernel/bpf/disasm.c)."""

from __future__ import annotations

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.symbols import Symbol
from bpfasm.asm.syntax import data, printer, symbolic
from bpfasm.asm.variables import Global
from bpfasm.uapi import bpf, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.syntax import Roles
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

U32 = 0xFFFF_FFFF

HELPERS = {number: name.replace("BPF_FUNC_", "bpf_", 1) for number, name in names(bpf, "bpf_func_id").items()}


def _imm64(insn: Insn) -> str:
    """Return both halves as one number, or the map or variable that stands there before the program is linked."""
    imm, high = insn.imm, insn.imm2
    if isinstance(imm, Global):
        return f"{imm.name}+{high}"
    if isinstance(imm, Symbol) and imm.numeric:
        return str(imm)
    if isinstance(imm, MapSpec):
        return f"map[{imm.name}][0]+{high}" if insn.src_reg == bpf.BPF_PSEUDO_MAP_VALUE else f"map[{imm.name}]"
    return f"{(high & U32) << 32 | (imm & U32):#x}"


ROLES: Roles = {
    "dst": ("%d", 1),
    "src": ("%d", 2),
    "off": ("%+d", 3),
    "jump": ("%+d", 3),
    "jump32": ("%+d", 4),
    "callee": ("%+d", 4),
    "imm": ("%d", 4),
    "cmp": ("0x%x", lambda insn: insn.imm & U32),
    "cast": ("%s", lambda insn: f"{insn.imm >> 16 & 0xFFFF}, {insn.imm & 0xFFFF}"),
    "imm64": ("%s", _imm64),
    "helper": ("%s", lambda insn: f"{HELPERS.get(insn.imm, 'unknown')}#{insn.imm}"),
    "kfunc": ("%s", lambda insn: insn.imm.name if isinstance(insn.imm, Kfunc) else insn.imm),
}

_printers: dict[str, Callable[[Insn], str]] = {}
_symbolic: dict[str, Callable[[Insn], str]] = {}


def text(insn: Insn, form: Form | None) -> str:
    """Return an instruction as the kernel prints it, from its opcode in parentheses on.

    The kernel's own forms that its disassembler does not know come out as it has them: ``BUG_ldx_21``.
    """
    if form is None:
        return f"({insn.code:02x}) {data(insn)}"
    try:
        return _printers[form.name](insn)
    except KeyError:
        opcode = "" if form.kernel.startswith("BUG_") else f"({form.code:02x}) "
        _printers[form.name] = printer(opcode + form.kernel, ROLES)
        return text(insn, form)
    except TypeError:
        # What is not linked has no number yet.
        return symbolic(insn, form, f"({form.code:02x}) {form.kernel}", ROLES, _symbolic, str)
