"""C: programs as ``struct bpf_insn NAME[] = { ... }``, read as people have them, and printed with the same macros.

Reading takes a whole file of a blog, of the kernel's selftests or samples: its macros, constants, enums and structs,
several arrays, ``struct sock_filter`` as well. What is not an array is passed over. A map's fd, which no file has as
a number, is the map of that name. Printing keeps to the macros of the kernel's tools/include/linux/filter.h, so that
what is printed compiles.
"""

from __future__ import annotations

from bpfasm.asm import symbols as operands
from bpfasm.asm.checks import MOST_SLOTS
from bpfasm.asm.classic import SockFilter
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program, Subprog
from bpfasm.asm.symbols import Mark
from bpfasm.asm.syntax import data, macro, references
from bpfasm.asm.syntax.c import tokens
from bpfasm.asm.syntax.c.layout import Type, array
from bpfasm.asm.syntax.c.parser import Parser
from bpfasm.asm.syntax.c.scope import Scope, Symbol, Value
from bpfasm.asm.syntax.c.tokens import Token, broken
from bpfasm.errors import BpfasmError, DecodeError
from bpfasm.isa.insn import LD_IMM64, Insn
from bpfasm.isa.operands import ALU_OPS, JMP_OPS, SIZES, AluOp, JmpOp, Named, Reg, Size
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from bpfasm.asm.program import Item
    from bpfasm.isa.form import Form

#: Macros that the kernel has, and its tools/include/linux/filter.h has not.
_KERNEL_ONLY = (
    "BPF_ALU64_REG_OFF", "BPF_ALU32_REG_OFF", "BPF_ALU64_IMM_OFF", "BPF_ALU32_IMM_OFF", "BPF_BSWAP", "BPF_LDX_MEMSX",
    "BPF_ZEXT_REG", "BPF_ST_NOSPEC", "BPF_CALL_KFUNC", "BPF_MOV64_PERCPU_REG", "BPF_JMP32_A", "BPF_MOVSX64_REG",
    "BPF_MOVSX32_REG",
)  # fmt: skip

_ALU = {int(op): op for op in ALU_OPS}
_JMP = {int(op): op for op in JMP_OPS}
_SIZES = {int(size): size for size in SIZES}
_KINDS = ("bpf_insn", "sock_filter")
_FIELDS = ("code", "dst_reg", "src_reg", "off", "imm")


def text(insn: Insn, form: Form | None) -> str:
    """Return an instruction as C has it: the macro call, or field by field where the user's header has no macro."""
    said = macro.text(insn, form)
    if form is not None and (form.dialect == "xlated" or said.startswith(_KERNEL_ONLY)):
        numbers = isinstance(insn.imm, int) and isinstance(insn.off, int)
        return f"{data(insn)} /* {said} */" if numbers else data(insn)
    return said


class Operand(Token):
    """What has no number: the word it goes by, and an identifier made of the whole expression."""

    __slots__ = ("name",)

    def __init__(self, token: Token, name: str) -> None:
        super().__init__(token.kind, token.text, token.line, token.column)
        self.name = name


class CFile:
    """A file of C while it is read: its arrays become programs."""

    def __init__(
        self, file: str, *, notation: bool = False, objects: Mapping[str, Any] | None = None, machine: str = "x86_64"
    ) -> None:
        self.file, self.notation, self.objects = file, notation, objects or {}
        self.scope = Scope(machine)
        self.parser = Parser([], file, self.scope)
        self.found: list[tuple[str, list[Item]]] = []
        self.classic: list[tuple[str, list[SockFilter]]] = []
        #: Expressions that have no number, by what each is called.
        self.expressions: dict[str, str] = {}
        #: What a program is called that has no name of its own: the string before it, or the variable it is in.
        self.title = ""

    def tokens(self, source: str, line: int = 1) -> list[Token]:
        """Return the tokens of a file, or of a piece that begins on a line of it, its macros expanded."""
        lines = tokens.lex(source, self.file, hashes=self.notation, line=line)
        if self.notation:
            return [token for line in lines for token in line]
        return tokens.Preprocessor(self.file, self._condition, self.scope.predefined).run(lines)

    def _condition(self, tokens: list[Token]) -> int:
        return Parser(tokens, self.file, self.scope).number()

    # Where the arrays are

    def read(self, source: str) -> None:
        """Read a whole file of C."""
        self.parser = p = Parser(self.tokens(source), self.file, self.scope)
        while p.token.kind != "end":
            token = p.token
            if token.kind == "string":
                self.title = token.text.strip('"')
                p.at += 1
            elif token.text == "typedef":
                self._typedef()
            elif p.starts_type():
                self._declaration()
            elif token.text == "{" and self._kind_within():
                self._body(self.title or "insns", self._kind_within())
            elif token.text == "." and p.peek().text == "insns" and p.peek(2).text == "=":
                p.at += 3
                self._body(self.title or "insns", self._kind_within() or "bpf_insn")
            else:
                self.title = "" if token.text == ";" else self.title
                p.at += 1

    def _kind_within(self) -> str:
        """Return the struct of the instructions that the brace which is next begins with; none where it does not."""
        p, ahead = self.parser, 1
        if p.peek().text == "[" and p.peek(3).text == "]":  # [0] =
            ahead = 5
        called = p.peek(ahead).text.lstrip("_") if p.peek(ahead + 1).text == "(" else ""
        if called in ("BPF_STMT", "BPF_JUMP"):
            return "sock_filter"
        return "bpf_insn" if called in _macros() else ""

    def _typedef(self) -> None:
        """Take ``typedef TYPE NAME;``, be the type known or not."""
        p = self.parser
        p.at += 1
        start = p.place()
        try:
            name, type = p.declarator(p.specifiers(declares=True))
        except DecodeError:
            p.back(start)
            return
        if p.take(";"):
            self.scope.typedefs[name.text] = type

    def _declaration(self) -> None:
        """Take what a type begins: variables, whose arrays may be programs; what is no declaration is passed over."""
        p, start = self.parser, self.parser.at
        base = p.specifiers(declares=True)
        constant = any(token.text in ("const", "constexpr") for token in p.tokens[start : p.at])
        while not p.starts_type():  # the parameters of a function
            behind = p.place()
            try:
                name, type = p.declarator(base)
            except DecodeError:
                p.back(behind)
                self._literal(base)
                return
            while p.token.text == "__attribute__":
                p.attribute()
            self.scope.variables[name.text] = type
            self.scope.initials.pop(name.text, None)
            begins = p.take("=")
            if type.count == 0:
                self.scope.initials[name.text] = p.at
            if begins:
                self._initial(name.text, type, constant)
            if not p.take(","):
                return

    def _literal(self, base: Type) -> None:
        """Take ``(struct bpf_insn[]) {...}``, behind whose type the parser is."""
        p = self.parser
        if base.tag in _KINDS and p.token.text == "[":
            p.pass_over("[", "]")
            if p.take(")"):
                self._body(self.title or "insns", base.tag)

    def _initial(self, name: str, type: Type, constant: bool) -> None:
        """Take what a variable begins with: a program, a constant; else pass over it."""
        p, start = self.parser, self.parser.place()
        if type.tag in _KINDS and type.element and not type.element.element:
            self._body(name, type.tag)
            return
        self.title = name
        if constant and type.members is None and type.element is None:
            try:
                value = p.expression()
                if p.token.text in (";", ","):
                    self.scope.constants[name] = Value(value.value, 8 * type.known().size, not type.signed)
                    return
            except (BpfasmError, Symbol):
                pass
            p.back(start)
        while p.token.kind != "end" and p.token.text not in (",", ";", "{", "}", ")"):
            if p.token.text == "(":
                return
            p.at += 1

    def _body(self, name: str, kind: str) -> None:
        p = self.parser
        while p.token.text == "(" and p.token.kind == "sign":  # (struct bpf_insn[]) {
            p.pass_over("(", ")")
        if p.token.text != "{":
            return
        p.at += 1
        if kind == "sock_filter":
            insns = self._classic_items()
            self.classic.append((name, insns))
            slots = len(insns)
        else:
            items = self.items("}")
            self.found.append((name, items))
            slots = _slots(items)
        self.scope.variables[name] = array(Type(8, align=4), slots)
        self.scope.initials.pop(name, None)

    # What is in them

    def items(self, closing: str) -> list[Item]:
        """Return the items up to a closing bracket, or to the end."""
        p = self.parser
        found: list[Item] = []
        while p.token.text != closing or p.token.kind == "string":
            if p.token.kind == "end":
                if closing:
                    p.wrong("the array is not closed", "write }; behind its last instruction")
                break
            if p.take(",") or (self.notation and p.token.text in ("[", "]") and p.take(p.token.text)):
                continue
            many = self._element(found) if p.token.text == "[" else 1
            item = self.item()
            if many > 1 and isinstance(item, Insn) and item.width == 1:
                found += [item] * (many - 1)
            if isinstance(item, Insn) and _second_half(found, item):
                first = found.pop()
                assert isinstance(first, Insn)
                item = first.replace(off2=item.off, imm2=item.imm)
            found.append(item)
            if p.token.text not in (",", closing) and p.token.kind != "end" and not self.notation:
                p.wrong("a comma belongs here", "instructions are set apart by commas")
        if closing:
            p.at += 1
        return found

    def _element(self, found: list[Item]) -> int:
        """Take ``[3] =`` or ``[3 ... 5] =``, which have to be in their order; return how many elements it is."""
        p = self.parser
        p.at += 1
        first = p.number()
        last = p.number() if p.take("...") else first
        p.need("]")
        p.need("=")
        if first != _slots(found):
            p.wrong(f"element {first} is said at slot {_slots(found)}", "write the instructions in their order")
        if not first <= last < MOST_SLOTS:
            p.wrong(f"elements {first} to {last} are none", "write [0 ... 3] =")
        return last - first + 1

    def item(self) -> Item:
        """Return the instruction that is next: a macro call, or a struct."""
        p = self.parser
        token = p.token
        where = (self.file, token.line)
        if token.text == "(" and token.kind == "sign":
            return self._in_brackets()
        if token.text == "{":
            return self._struct(token)
        if token.kind == "word" and p.peek().text == "(":
            if self.notation and token.text == "label":
                p.at += 2
                name = p.token
                if name.kind != "string":
                    p.wrong("a label is a string", 'write label("out")')
                p.at += 1
                p.need(")")
                return Mark(name.text.strip('"'), where)
            function = _macros().get(token.text)
            if function is not None:
                return self._call(token, function)
            self._unknown_macro(token)
        p.wrong("an instruction belongs here", "write a macro, BPF_MOV64_IMM(BPF_REG_0, 0), or a struct in braces")

    def _unknown_macro(self, token: Token) -> None:
        from difflib import get_close_matches

        close = get_close_matches(token.text, _macros(), n=1)
        do = f"did you mean {close[0]}?" if close else f"put #define {token.text}(...) into the file"
        broken(self.file, token.line, token.column, f"there is no macro {token.text}", do, "c-macro")

    def _in_brackets(self) -> Item:
        """Take ``(struct bpf_insn) {...}``, also in more brackets."""
        p = self.parser
        p.depth += 1
        if p.depth > 50:
            p.wrong("brackets are too deep", "leave some out")
        p.at += 1
        if p.token.text == "struct":
            p.at += 2
            p.need(")")
            found: Item = self._struct(p.token) if p.token.text == "{" else self.item()
        else:
            found = self.item()
            p.need(")")
        p.depth -= 1
        return found

    def _struct(self, token: Token) -> Insn:
        """Take a struct in braces: by its members' names, or in their order."""
        p = self.parser
        p.need("{")
        fields: dict[str, Any] = {}
        number = 0
        while not p.take("}"):
            start = p.token
            if p.take("."):
                name = p.token.text
                if name not in _FIELDS:
                    p.wrong("struct bpf_insn has no such member", f"its members are {', '.join(_FIELDS)}")
                p.at += 1
                p.need("=")
                number = _FIELDS.index(name)
            elif number >= len(_FIELDS):
                p.wrong("struct bpf_insn has five members", f"they are {', '.join(_FIELDS)}")
            fields[_FIELDS[number]] = self._member(_FIELDS[number], start)
            number += 1
            if not p.take(",") and p.token.text != "}":
                p.wrong("a comma belongs here")
        return Insn(**{"code": 0, **fields}, where=(self.file, token.line))

    def _member(self, name: str, start: Token) -> Any:
        value = self._value(start)
        bits = {"code": 8, "dst_reg": 4, "src_reg": 4, "off": 16, "imm": 32}[name]
        if not isinstance(value, Value):
            if name in ("off", "imm") and isinstance(value, operands.Symbol):
                return value
            if name == "imm" and value is not None:
                return self._map(value)
            self.parser.wrong("a number belongs here", token=start)
        return self._fitted(value, bits, name, start, unsigned=name in ("code", "dst_reg", "src_reg"))

    def _fitted(self, value: Value, bits: int, slot: str, token: Token, *, unsigned: bool = False) -> int:
        """Convert a number to a field as C does; refuse what would lose more than a sign."""
        number = value.value
        low, high = -(1 << (bits - 1)), (1 << bits) - 1
        if number > high and value.unsigned and number - (1 << value.bits) >= low:
            number -= 1 << value.bits
        if not low <= number <= high or (bits == 16 and number > 0x7FFF):
            broken(
                self.file, token.line, token.column, f"{value.value:#x} does not fit the {bits} bits of {slot}",
                "C would cut it without a word; write the number that you mean", "text-range",
            )  # fmt: skip
        if unsigned:
            return number & high
        return number - (1 << bits) if number >> (bits - 1) == 1 else number

    def _value(self, start: Token) -> Any:
        """Return what an argument is: a Value, a str for a label, a Token for a name that has no value."""
        p = self.parser
        if p.token.kind == "string":
            p.at += 1
            return p.tokens[p.at - 1].text.strip('"')
        if p.token.text == "kfunc" and p.peek().text == "(":
            return self._kfunc()
        if p.token.text in references.CALLED and p.peek().text == "(":
            return references.called(p)
        place = p.place()
        try:
            return p.expression()
        except Symbol as unknown:
            p.back(place)
            depth, name = 0, unknown.token
            words: list[str] = []
            # ``skel->maps.counts``, ``fds[0]``, ``bpf_map__fd(map)``: what it goes by.
            while p.token.kind != "end":
                text = p.token.text
                if depth == 0 and text in (",", ")", "}"):
                    break
                depth += (text in "([{") - (text in ")]}") if p.token.kind == "sign" else 0
                if p.token.kind == "word" and depth == 0:
                    name = p.token
                if p.token.kind in ("word", "number"):
                    words.append(text)
                p.at += 1
            return Operand(name, self._name_of("_".join(words), p.tokens[place[0] : p.at]))

    def _name_of(self, words: str, tokens: list[Token]) -> str:
        """Return an identifier that no other expression has."""
        whole = " ".join(token.text for token in tokens)
        name, number = words, 2
        while self.expressions.setdefault(name, whole) != whole:
            name, number = f"{words}_{number}", number + 1
        return name

    def _kfunc(self) -> Kfunc:
        p = self.parser
        p.at += 2
        names = []
        while p.token.kind == "string":
            names.append(p.token.text.strip('"'))
            p.at += 1
            p.take(",")
        if not names:
            p.wrong("the name of a kernel function belongs here", 'write kfunc("bpf_rcu_read_lock")')
        p.need(")")
        return Kfunc(names[0], names[1] if names[1:] else "")

    def _map(self, operand: Any) -> Any:
        name = operand.text if isinstance(operand, Token) else str(operand)
        if name in self.objects:
            return self.objects[name]
        name = operand.name if isinstance(operand, Operand) else name
        return MapSpec.as_is(name=name, type=bpf.BPF_MAP_TYPE_UNSPEC, key=0, value=0, max_entries=0)

    def _call(self, token: Token, function: Callable[..., Any]) -> Insn:
        """Call a macro of the notation with the arguments of a call in C."""
        p = self.parser
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        p.at += 2
        given: list[tuple[Any, Token]] = []
        while not p.take(")"):
            start = p.token
            if start.kind == "end":
                p.wrong("the macro's bracket is not closed", "write ) behind its last argument")
            given.append((self._value(start), start))
            if not p.take(",") and p.token.text != ")":
                p.wrong("a comma belongs here", f"{token.text}({', '.join(names)})")
        if len(given) != len(names):
            broken(
                self.file, token.line, token.column,
                f"{token.text} takes {len(names)} arguments, and these are {len(given)}",
                f"{token.text}({', '.join(names)})", "c-macro",
            )  # fmt: skip
        where = (self.file, token.line)
        try:
            arguments = [
                self._argument(token.text, name, value, start)
                for name, (value, start) in zip(names, given, strict=True)
            ]
            made: Insn = function(*arguments)
        except BpfasmError as error:
            error.source, error.column = where, error.column or token.column
            raise
        return tuple.__new__(Insn, (*made[:7], where))

    def _argument(self, called: str, name: str, value: Any, start: Token) -> Any:
        """Return an argument of C as the notation takes it."""
        if isinstance(value, str | operands.Symbol):
            return value
        if isinstance(value, Token):
            return self._symbol(called, name, value)
        if self.notation:
            return value.thing if value.thing is not None else value.value
        if name in ("dst", "src"):
            return value.thing if isinstance(value.thing, Reg) else value.value
        if name == "op" and called not in ("BPF_ATOMIC_OP",):
            if isinstance(value.thing, AluOp | JmpOp):
                return value.thing
            return (_JMP if "JMP" in called else _ALU).get(value.value, value.value)
        if name == "size":
            return value.thing if isinstance(value.thing, Size) else _SIZES.get(value.value, value.value)
        if name in ("off", "off1", "off2") and called != "BPF_JMP32_A":
            return self._fitted(value, 16, name, start)
        if name == "imm" and called in ("BPF_LD_IMM64", "BPF_LD_IMM64_RAW"):
            return Value(value.value, 64, True).value
        if name in ("code", "type", "len", "map_fd") or isinstance(value.thing, Reg):
            return value.thing if isinstance(value.thing, Named | Reg) else value.value
        return self._fitted(value, 32, name, start)

    def _symbol(self, called: str, name: str, token: Token) -> Any:
        """Return what a name without a number stands for: a map where one may be, a function where one is called."""
        if name == "map_fd" or (called, name) == ("BPF_LD_IMM64_RAW", "imm"):
            known = self._map(token)
            if called == "BPF_LD_IMM64_RAW":
                self.parser.unknown(token)
            return known
        if self.notation and (name in ("tgt", "imm1") or (called == "BPF_RAW_INSN" and name == "imm")):
            known = self.objects.get(token.text)
            return known if isinstance(known, Subprog) else token.text
        self.parser.unknown(token)

    # Classic programs

    def _classic_items(self) -> list[SockFilter]:
        p = self.parser
        found: list[SockFilter] = []
        while not p.take("}"):
            if p.take(","):
                continue
            token = p.token
            while p.token.text == "(" and p.peek().text == "struct":
                p.pass_over("(", ")")
            if p.token.kind == "word" and p.peek().text == "(":
                name = p.token.text.lstrip("_")
                if name not in ("BPF_STMT", "BPF_JUMP"):
                    self._unknown_macro(p.token)
                p.at += 2
                numbers = self._numbers(")")
                if len(numbers) != (2 if name == "BPF_STMT" else 4):
                    broken(
                        self.file, token.line, token.column, f"{name} has {len(numbers)} arguments",
                        "BPF_STMT(code, k), BPF_JUMP(code, k, jt, jf)", "c-macro",
                    )  # fmt: skip
                code, k, jt, jf = (*numbers, 0, 0)[:4]
            elif p.take("{"):
                numbers = self._numbers("}")
                if len(numbers) > 4:
                    p.wrong("struct sock_filter has four members", "they are code, jt, jf, k", token=token)
                code, jt, jf, k = (*numbers, 0, 0, 0, 0)[:4]
            else:
                p.wrong("a classic instruction belongs here", "write BPF_STMT(...), BPF_JUMP(...), {code, jt, jf, k}")
            if not (0 <= code <= 0xFFFF and 0 <= jt <= 0xFF and 0 <= jf <= 0xFF and -(1 << 31) <= k <= 0xFFFF_FFFF):
                broken(
                    self.file, token.line, token.column, "this does not fit struct sock_filter",
                    "code has 16 bits, jt and jf have 8, k has 32", "text-range",
                )  # fmt: skip
            found.append(SockFilter(code, jt, jf, k & 0xFFFF_FFFF))
        return found

    def _numbers(self, closing: str) -> list[int]:
        p = self.parser
        numbers: list[int] = []
        order = ("code", "jt", "jf", "k")
        named: dict[str, int] = {}
        while not p.take(closing):
            if p.token.kind == "end":
                p.wrong("the bracket is not closed", f"write {closing}")
            if p.take("."):
                name = p.token.text
                if name not in order:
                    p.wrong("struct sock_filter has no such member", "they are code, jt, jf, k")
                p.at += 1
                p.need("=")
                named[name] = p.number()
            else:
                numbers.append(p.number())
            if not p.take(",") and p.token.text != closing:
                p.wrong("a comma belongs here")
        return [named.get(name, 0) for name in order] if named else numbers


def _slots(items: list[Item]) -> int:
    return sum(item.width for item in items if isinstance(item, Insn))


def _second_half(found: list[Item], item: Insn) -> bool:
    """Tell whether an instruction is the second slot of the one before, which C may write as two."""
    if not found or item.code or item.dst_reg or item.src_reg or item.width == 2:
        return False
    first = found[-1]
    return isinstance(first, Insn) and first.code == LD_IMM64 and first.width == 1


_known_macros: dict[str, Callable[..., Any]] = {}


def _macros() -> dict[str, Callable[..., Any]]:
    """Return the macros of instructions by name, those of the notation."""
    if not _known_macros:
        from bpfasm.asm import macros

        of_numbers = ("BPF_CLASS", "BPF_SIZE", "BPF_MODE", "BPF_OP", "BPF_SRC", "BPF_LDST_BYTES")
        _known_macros.update((name, getattr(macros, name)) for name in macros.__all__ if name not in of_numbers)
    return _known_macros


def read(source: str, file: str, objects: Mapping[str, Any] | None = None, machine: str = "x86_64") -> CFile:
    """Return a file of C that has been read: ``programs`` and ``classic``. Raises DecodeError, OperandError."""
    found = CFile(file, objects=objects, machine=machine)
    try:
        found.read(source)
    except RecursionError:
        raise too_deep(file) from None
    return found


def too_deep(file: str) -> DecodeError:
    """Return the error for text that is nested beyond reason."""
    return DecodeError("this is nested too deep", "write it in steps", source=(file, 1), rule="c-syntax")


def programs(found: CFile) -> list[Program]:
    """Return the programs of a file that has been read."""
    return [
        Program(name, bpf.BPF_PROG_TYPE_UNSPEC, items)
        for name, items in found.found
        if any(isinstance(item, Insn) for item in items)
    ]
