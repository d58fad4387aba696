"""The notation itself as text: each instruction as the macro call that makes it, in Python as in C."""

from __future__ import annotations

from operator import itemgetter

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Subprog
from bpfasm.asm.symbols import Label, Mark, Symbol, label_text
from bpfasm.asm.syntax import data, printer
from bpfasm.asm.variables import Global
from bpfasm.isa.match import form_of
from bpfasm.uapi import bpf, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from bpfasm.asm.program import Item, Program
    from bpfasm.asm.syntax import Roles
    from bpfasm.errors import Source
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

U32 = 0xFFFF_FFFF

HELPERS = names(bpf, "bpf_func_id")


def _map(insn: Insn) -> Any:
    if isinstance(insn.imm, MapSpec | Global):
        return _identifier(insn.imm.name)
    if insn.imm < 0:
        raise ValueError
    return insn.imm


def _identifier(name: str) -> str:
    """Return a map's name as C and Python can have it: an object's ``prog.rodata`` is ``prog_rodata``."""
    kept = "".join(char if char.isalnum() or char == "_" else "_" for char in name)
    return f"_{kept}" if kept[:1].isdigit() else kept


def _target(operand: Any) -> Any:
    """Return where a jump or call goes, as it is written."""
    if isinstance(operand, Subprog):
        return operand.name
    return label_text(operand) if isinstance(operand, str | Label) else operand


def _kfunc(insn: Insn) -> Any:
    return repr(insn.imm) if isinstance(insn.imm, Kfunc) else insn.imm


ROLES: Roles = {
    "dst": ("BPF_REG_%d", 1),
    "src": ("BPF_REG_%d", 2),
    "off": ("%d", 3),
    "jump": ("%s", lambda insn: _target(insn.off)),
    "module": ("%d", 3),
    "jump32": ("%s", lambda insn: _target(insn.imm)),
    "callee": ("%s", lambda insn: _target(insn.imm)),
    "func": ("%d", 4),
    "imm": ("%d", 4),
    "cmp": ("%d", 4),
    "cast": ("0x%x", lambda insn: insn.imm & U32),
    "imm64": ("0x%x", lambda insn: (insn.imm2 & U32) << 32 | (insn.imm & U32)),
    "map": ("%s", _map),
    "map_idx": ("%d", 4),
    "value_off": ("%d", 6),
    "btf_id": ("%d", 4),
    "btf_fd": ("%d", 6),
    "helper": ("%s", lambda insn: HELPERS.get(insn.imm, insn.imm)),
    "kfunc": ("%s", _kfunc),
}

_printers: dict[str, Callable[[Insn], str]] = {}
_symbolic: dict[str, Callable[[Insn], str]] = {}


def text(insn: Insn, form: Form | None) -> str:
    """Return the macro call that makes an instruction."""
    if form is None or insn.dst_reg >= bpf.MAX_BPF_REG or insn.src_reg >= bpf.MAX_BPF_REG:
        return data(insn)
    try:
        return _printers[form.name](insn)
    except KeyError:
        _printers[form.name] = printer(form.macro, ROLES)
        return text(insn, form)
    except TypeError:
        # What is not linked has no number yet.
        return _by_name(insn, form)
    except ValueError:
        # A number that no fd has is none that BPF_LD_MAP_FD takes.
        return data(insn)


def _by_name(insn: Insn, form: Form) -> str:
    """Return the call of an instruction with operands that have no number yet: those of a target's types by name.

    What is symbolic in another way than a macro can say (a map in a raw instruction) is :func:`data`.
    """
    if form.name not in _symbolic:
        named: Roles = {role: ("%s", _naming(*spec)) for role, spec in ROLES.items()}
        _symbolic[form.name] = printer(form.macro, named)
    try:
        return _symbolic[form.name](insn)
    except TypeError:
        return data(insn)


def _naming(spec: str, take: int | Callable[[Insn], Any]) -> Callable[[Insn], str]:
    """Return what prints a role: a number by its format, an operand as it is written."""
    get = itemgetter(take) if isinstance(take, int) else take

    def text(insn: Insn) -> str:
        try:
            return str(spec % get(insn))
        except TypeError:
            value = insn[take] if isinstance(take, int) else insn.imm
            if not (isinstance(value, Symbol) and (value.numeric or value.wide)):
                raise
            return repr(value)

    return text


def one(call: str, where: Source) -> Insn:
    """Return the instruction of one macro call that stands in another syntax. Raises DecodeError, OperandError."""
    from bpfasm.asm.syntax.c import CFile
    from bpfasm.asm.syntax.c.parser import Parser

    reader = CFile(where[0], notation=True)
    tokens = reader.tokens(call, where[1])
    reader.parser = Parser(tokens, where[0], reader.scope)
    items = [item for item in reader.items("") if not isinstance(item, Mark)]
    if len(items) != 1:
        reader.parser.wrong("a line has one instruction", "write each on a line of its own")
    return items[0]


def read(source: str, file: str, name: str = "", objects: Mapping[str, Any] | None = None) -> Program:
    """Return the program of macro calls as they stand in the notation: with labels, commas, comments after ``#``.

    ``objects`` are maps, functions and variables by name. Raises DecodeError, OperandError, LabelError.
    """
    from bpfasm.asm.program import Program
    from bpfasm.asm.syntax.c import CFile, too_deep
    from bpfasm.asm.syntax.c.parser import Parser
    from bpfasm.errors import DecodeError

    reader = CFile(file, notation=True, objects=objects)
    reader.parser = Parser(reader.tokens(source), file, reader.scope)
    try:
        items = reader.items("")
    except RecursionError:
        raise too_deep(file) from None
    if not items:
        raise DecodeError(
            "there is no macro in it", "write BPF_MOV64_IMM(BPF_REG_0, 0), ...", source=(file, 1), rule="text-empty"
        )
    return Program(name or "text", bpf.BPF_PROG_TYPE_UNSPEC, items)


def body(items: Iterable[Item]) -> str:
    """Return a body as it is written, one macro or label a line, before it is linked."""
    return "\n".join(
        f"label({label_text(item.label)})" if isinstance(item, Mark) else text(item, form_of(item)) for item in items
    )
