"""The kernel's text: what the verifier's log and ``bpftool prog dump xlated`` print (kernel/bpf/disasm.c).

``words`` is what the kernel prints, word for word; ``text`` is that where it says every bit, else a raw word. The two
differ in what only the kernel writes: a zero extension prints as a move. A program's own numbers of maps, types and
functions have the words of bpftool: ``map[fd:3]``, ``subprog[+5]``; by name, ``map[counts]``, ``subprog[f]``.
"""

from __future__ import annotations

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.syntax import data, printer
from bpfasm.asm.syntax.dialect import HELPERS, U32, Dialect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.syntax import Roles
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

ROLES: Roles = {
    "dst": ("%d", 1),
    "src": ("%d", 2),
    "off": ("%+d", 3),
    "jump": ("%+d", 3),
    "jump32": ("%+d", 4),
    "callee": ("%+d", 4),
    "func": ("%+d", 4),
    "imm": ("%d", 4),
    "cmp": ("0x%x", lambda insn: insn.imm & U32),
    "cast": ("%s", lambda insn: f"{insn.imm >> 16 & 0xFFFF}, {insn.imm & 0xFFFF}"),
    "imm64": ("0x%x", lambda insn: (insn.imm2 & U32) << 32 | (insn.imm & U32)),
    "map": ("%d", 4),
    "map_idx": ("%d", 4),
    "value_off": ("%d", 6),
    "btf_id": ("%d", 4),
    "btf_fd": ("%d", 6),
    "helper": ("%s", lambda insn: f"{HELPERS.get(insn.imm, 'unknown')}#{insn.imm}"),
    "kfunc": ("%s", lambda insn: insn.imm.name if isinstance(insn.imm, Kfunc) else insn.imm),
}


def _raw(insn: Insn) -> str:
    return f"({insn.code:02x}) {data(insn)}"


def _aliases(form: Form) -> tuple[str, ...]:
    """Return other texts of a form: by name, and by id, as in a translated program."""
    named = {
        "ld_map_fd": ("r{dst} = map[{map_name}]", "r{dst} = map[id:{map}]"),
        "ld_map_value": (
            "r{dst} = map[{map_name}][0]+{value_off}",
            "r{dst} = var[{variable}]+{value_off}",
            "r{dst} = map[id:{map}][0]+{value_off}",
        ),
        "call_rel": ("call subprog[{callee}]", "call {label}"),
    }
    return named.get(form.name, ())


DIALECT = Dialect(
    "kernel", ROLES, raw=_raw, comment=";", max_reg=12, callee="subprog[{}]", aliases=_aliases, opcodes=True
)
text = DIALECT.text

_words: dict[str, Callable[[Insn], str]] = {}


def words(insn: Insn, form: Form | None) -> str:
    """Return an instruction as the kernel prints it, from its opcode in parentheses on.

    The kernel's own forms that its disassembler does not know come out as it has them: ``BUG_ldx_21``.
    """
    if form is None:
        return _raw(insn)
    try:
        return _words[form.name](insn)
    except KeyError:
        prefix = "" if form.kernel.startswith("BUG_") else DIALECT.prefix(form)
        _words[form.name] = printer(prefix + form.kernel, ROLES)
        return words(insn, form)
    except TypeError:
        return text(insn, form)
