"""How a syntax prints: its templates from the instruction table, and what it does with the operands.

A syntax prints a form where its text says every bit of the instruction. What it cannot say, it says as a raw word, so
that no text stands for another instruction than the one it was printed from. Which forms those are is not written
down: the first time a form is printed, the text of an example is read back, and has to be the example.
"""

from __future__ import annotations

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Subprog
from bpfasm.asm.symbols import Label, Symbol
from bpfasm.asm.syntax import data, printer
from bpfasm.asm.variables import Global
from bpfasm.isa.form import ROLES as FIELDS_OF
from bpfasm.isa.insn import FIELDS, Insn
from bpfasm.uapi import bpf, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.asm.syntax import Roles
    from bpfasm.asm.syntax.grammar import Grammar
    from bpfasm.isa.form import Form

U32 = 0xFFFF_FFFF

#: What stands before a number that says where something is, and not before its name.
_BEFORE_NUMBERS = {"jump": "pc", "jump32": "pc", "callee": "pc", "map": "fd:"}

#: What may stand in a role by name.
_PLACES = (str, Label)
_NAMED_BY: dict[str, tuple[type, ...]] = {
    "jump": _PLACES,
    "jump32": _PLACES,
    "callee": (*_PLACES, Subprog),
    "func": (*_PLACES, Subprog),
    "map": (MapSpec,),
    "kfunc": (Kfunc,),
}

#: The roles in which a number may stand that only a target's types or symbols tell.
REFERRING = ("off", "imm", "cmp", "imm64")

#: Helpers by number, as the kernel prints them.
HELPERS = {number: name.replace("BPF_FUNC_", "bpf_", 1) for number, name in names(bpf, "bpf_func_id").items()}
NUMBER_OF_HELPER = {name: number for number, name in HELPERS.items()}


class Dialect:
    """A syntax of one line an instruction.

    ``roles`` print numbers; ``callee`` is how a function is called by name, ``value`` how a place in a map's
    value is written and ``kfunc`` how a kernel's function is called where a symbol says all; ``named`` are templates
    that another one takes the place of where an operand is a name; ``aliases`` gives texts of a form that are only
    read. ``max_reg`` is the highest register that it has a name for, ``opcodes`` says that a text begins with its
    opcode.
    """

    def __init__(
        self,
        name: str,
        roles: Roles,
        *,
        raw: Callable[[Insn], str],
        comment: str,
        max_reg: int,
        callee: str = "{}",
        value: str = "",
        kfunc: str = "",
        named: dict[str, str] | None = None,
        aliases: Callable[[Form], tuple[str, ...]] = lambda form: (),
        opcodes: bool = False,
    ) -> None:
        self.name, self.roles, self.raw, self.comment, self.max_reg = name, roles, raw, comment, max_reg
        self.callee, self.named, self.aliases, self.opcodes = callee, named or {}, aliases, opcodes
        self.value, self.kfunc = value, kfunc
        self._printers: dict[str, Callable[[Insn], str]] = {}
        self._grammar: Grammar | None = None

    def template(self, form: Form) -> str:
        """Return the template of a form, empty where this syntax has none."""
        text: str = getattr(form, self.name)
        return text

    def text(self, insn: Insn, form: Form | None) -> str:
        """Return an instruction in this syntax, or as a raw word."""
        if form is None:
            return self.raw(insn)
        try:
            return self._printers[form.name](insn)
        except KeyError:
            self._printers[form.name] = self._compile(form)
            return self.text(insn, form)
        except TypeError:
            return self._symbolic(insn, form)

    @property
    def grammar(self) -> Grammar:
        """What reads this syntax, made when it is first asked for."""
        if self._grammar is None:
            from bpfasm.asm.syntax.grammar import Grammar

            self._grammar = Grammar(self)
        return self._grammar

    def _compile(self, form: Form) -> Callable[[Insn], str]:
        template = self.template(form)
        if not template or "BUG_" in template:
            return self._word
        said = _fields(template)
        unsaid = [FIELDS.index(field) for role in form.operands for field in FIELDS_OF[role] if field not in said]
        plain = printer(self.prefix(form) + template, self.roles)
        # The kernel's own rewriting has registers up to R12; a syntax that has no name for one cannot say it.
        wide = self.max_reg < 12
        if not self._reads_back(form, plain):
            return self._word
        if not unsaid and not wide:
            return plain

        def checked(insn: Insn) -> str:
            if any(insn[at] for at in unsaid) or insn[1] > self.max_reg or insn[2] > self.max_reg:
                return self._word(insn)
            return plain(insn)

        return checked

    def _word(self, insn: Insn) -> str:
        """Return a raw word; what refers to something by name is none yet."""
        if insn.off.__class__ is not int or insn.imm.__class__ is not int:
            raise TypeError
        return self.raw(insn)

    def prefix(self, form: Form) -> str:
        """Return what stands before every text of a form: the kernel has the opcode there."""
        return f"({form.code:02x}) " if self.opcodes else ""

    def _reads_back(self, form: Form, plain: Callable[[Insn], str]) -> bool:
        insn = example(form, self.template(form))
        try:
            return self.grammar.one(plain(insn)) == insn
        except Exception:
            return False

    def _symbolic(self, insn: Insn, form: Form) -> str:
        """Return an instruction that refers to something by name."""
        template, operand = self.template(form), insn.imm
        if not template:
            return self._by_name(insn, form) or self.prefix(form) + data(insn)
        template = self.named.get(form.name, template)
        text = self.prefix(form) + template
        if isinstance(operand, Global):
            text = self._value(text, operand.name, f"var[{operand.name}]")
        elif isinstance(operand, MapSpec) and form.name == "ld_map_value":
            text = self._value(text, operand.name, f"map[{operand.name}][0]")
        for role in dict.fromkeys(_roles(text)):
            taken = insn[FIELDS.index(FIELDS_OF[role][0])]
            if isinstance(taken, int | None):
                if role in self.roles:
                    spec, take = self.roles[role]
                    text = text.replace(f"{{{role}}}", spec % (insn[take] if isinstance(take, int) else take(insn)))
                continue
            if isinstance(taken, Symbol) and role in REFERRING and (taken.numeric or role == "imm64"):
                shown = self._sign(role, insn) + _reference(taken, role)
            elif isinstance(taken, _NAMED_BY.get(role, ())):
                shown = name_of(taken)
            else:
                return self.prefix(form) + data(insn)
            if role == "callee":
                shown = self.callee.format(shown)
            text = text.replace(f"{_BEFORE_NUMBERS.get(role, '')}{{{role}}}", shown).replace(f"{{{role}}}", shown)
        return self.prefix(form) + data(insn) if "{" in text else text

    def _sign(self, role: str, insn: Insn) -> str:
        """Return what stands before a number that is not negative: a name takes the number's place."""
        spec, take = self.roles[role]
        one = insn.replace(**{FIELDS_OF[role][0]: 1})
        number: str = spec % (one[take] if isinstance(take, int) else take(one))
        return number.removesuffix("1").removesuffix("0x")

    def _value(self, text: str, name: str, place: str) -> str:
        """Put a place in a map's value, by name, into a text that has a place for it."""
        if not self.value:
            return text.replace("map[fd:{map}][0]", place)
        register = name[:1] in "rwR" and name[1:].isdigit()
        return self.value.format(place if register else name)

    def _by_name(self, insn: Insn, form: Form) -> str:
        """Return the call of a kernel function, for which a syntax may have no number."""
        if form.name != "call_kfunc" or not isinstance(insn.imm, Kfunc) or insn.off:
            return ""
        name = insn.imm.name
        return self.kfunc.format(name) if self.kfunc and is_kfunc(name) else f"call kernel-function#{name}"


def is_kfunc(name: str) -> bool:
    """Tell whether the call of a bare name is of a kernel's function, not a slip in the name of a helper or label."""
    from difflib import get_close_matches

    return "bpf_" in name and not get_close_matches(name, NUMBER_OF_HELPER, n=1, cutoff=0.96)


def _reference(operand: Symbol, role: str) -> str:
    """Return what only a target tells as it is written; LLVM's 64 bits have the words of a map's name."""
    if role != "imm64":
        return str(operand)
    bare = [each for each in str(operand).split(" or ") if "(" not in each and "." in each]
    return " or ".join(f"field({each})" if each in bare else each for each in str(operand).split(" or "))


def _roles(template: str) -> list[str]:
    return [part.split("}")[0] for part in template.split("{")[1:]]


def _fields(template: str) -> set[str]:
    return {field for role in _roles(template) for field in FIELDS_OF[role]}


def example(form: Form, template: str) -> Insn:
    """Return an instruction of a form whose operands all differ; what the template leaves out is 0."""
    values: dict[str, Any] = {"dst_reg": 1, "src_reg": 2, "off": 4, "imm": 5, "imm2": 6}
    said = _fields(template)
    fields = {field: values[field] if field in said else 0 for role in form.operands for field in FIELDS_OF[role]}
    fields |= {name: fields[value] if isinstance(value, str) else value for name, value in form.fixed.items()}
    dst, src, off, imm, off2, imm2 = (fields[field] for field in FIELDS[1:])
    return Insn(form.code, dst, src, off, imm, off2, imm2)


def name_of(operand: Any) -> str:
    """Return what a label, function, map, variable or kernel function is called."""
    if isinstance(operand, Subprog | MapSpec | Global | Kfunc | Label):
        return operand.name
    return str(operand)


def word(insn: Insn) -> str:
    """Return an instruction as 64-bit numbers, one a slot, as a little-endian machine reads its bytes."""
    from bpfasm.isa.insn import encode

    code = encode([insn], "little")
    return ".8byte " + ", ".join(f"0x{code[at : at + 8][::-1].hex()}" for at in range(0, len(code), 8))
