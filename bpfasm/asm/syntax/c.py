"""C: programs as ``struct bpf_insn NAME[] = { ... }``, read as people have them, and printed with the same macros.

Reading takes a whole file of a blog, of the kernel's selftests or samples: its macros, constants, enums and structs,
several arrays, ``struct sock_filter`` as well. What is not an array is passed over. A map's fd, which no file has as
a number, is the map of that name. Printing keeps to the macros of the kernel's tools/include/linux/filter.h, so that
what is printed compiles.
"""

from __future__ import annotations

from bpfasm.asm import symbols as operands
from bpfasm.asm.classic import SockFilter
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program, Subprog
from bpfasm.asm.symbols import Mark
from bpfasm.asm.syntax import ctokens, data, macro, references
from bpfasm.asm.syntax.ctokens import Token, broken
from bpfasm.asm.syntax.cvalues import Parser, Scope, Symbol, Value
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
_FIELDS = ("code", "dst_reg", "src_reg", "off", "imm")


def text(insn: Insn, form: Form | None) -> str:
    """Return an instruction as C has it: the macro call, or field by field where the user's header has no macro."""
    said = macro.text(insn, form)
    if form is not None and (form.dialect == "xlated" or said.startswith(_KERNEL_ONLY)):
        numbers = isinstance(insn.imm, int) and isinstance(insn.off, int)
        return f"{data(insn)} /* {said} */" if numbers else data(insn)
    return said


class CFile:
    """A file of C while it is read: its arrays become programs."""

    def __init__(self, file: str, *, notation: bool = False, objects: Mapping[str, Any] | None = None) -> None:
        self.file, self.notation, self.objects = file, notation, objects or {}
        self.scope = Scope()
        self.parser = Parser([], file, self.scope)
        self.found: list[tuple[str, list[Item]]] = []
        self.classic: list[tuple[str, list[SockFilter]]] = []
        self.functions: frozenset[str] = frozenset()

    def tokens(self, source: str) -> list[Token]:
        """Return the tokens of a file, its macros expanded."""
        lines = ctokens.lex(source, self.file, hashes=self.notation)
        if self.notation:
            return [token for line in lines for token in line]
        return ctokens.Preprocessor(self.file, self._condition).run(lines)

    def _condition(self, tokens: list[Token]) -> int:
        return Parser(tokens, self.file, self.scope).number()

    # Where the arrays are

    def read(self, source: str) -> None:
        """Read a whole file of C."""
        self.parser = p = Parser(self.tokens(source), self.file, self.scope)
        title = ""
        while p.token.kind != "end":
            token = p.token
            if token.kind == "string":
                title = token.text.strip('"')
                p.at += 1
            elif token.text == "struct" and p.peek().text in ("bpf_insn", "sock_filter"):
                self._array()
            elif token.text in ("struct", "union", "enum") and (p.peek().text == "{" or p.peek(2).text == "{"):
                p.type_name()
            elif token.text == "typedef":
                self._typedef()
            elif token.text == "." and p.peek().text == "insns" and p.peek(2).text == "=":
                p.at += 3
                self._body(title or "insns", "bpf_insn")
            elif token.text in ("const", "constexpr") and self._constant():
                continue
            else:
                p.at += 1

    def _typedef(self) -> None:
        p = self.parser
        p.at += 1
        size, signed, struct = p.type_name()
        if p.token.kind == "word" and p.peek().text == ";":
            self.scope.typedefs[p.token.text] = (size, signed, struct)
            p.at += 1

    def _constant(self) -> bool:
        """Take ``const int NAME = VALUE;`` where the value is known."""
        p, start = self.parser, self.parser.at
        try:
            size, signed, struct = p.type_name()
            name = p.token
            p.at += 1
            if struct is None and name.kind == "word" and p.take("="):
                value = p.expression()
                if p.token.text in (";", ","):
                    self.scope.constants[name.text] = Value(value.value, 8 * size, not signed)
                    return True
        except (BpfasmError, Symbol):
            pass
        p.at = start
        return False

    def _array(self) -> None:
        """Take ``struct bpf_insn NAME[...] = {...}`` and its kin; what is no definition is passed over."""
        p = self.parser
        kind = p.peek().text
        p.at += 2
        if p.token.text == "{":  # the struct itself
            p.at -= 2
            p.type_name()
            return
        while p.token.text in ("const", "__attribute__", "*"):
            if p.token.text == "__attribute__":
                p.attribute()
            else:
                p.at += 1
        name = p.token
        if name.kind != "word":
            return
        p.at += 1
        while p.token.text == "[":
            p.pass_over("[", "]")
        while p.token.text == "__attribute__":
            p.attribute()
        if p.take("=") and p.token.text == "{":
            self._body(name.text, kind)

    def _body(self, name: str, kind: str) -> None:
        p = self.parser
        while p.token.text == "(" and p.token.kind == "sign":  # (struct bpf_insn[]) {
            p.pass_over("(", ")")
        if p.token.text != "{":
            return
        p.at += 1
        if kind == "sock_filter":
            self.classic.append((name, self._classic_items()))
        else:
            self.found.append((name, self.items("}")))

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
            at = None
            if p.token.text == "[":
                p.at += 1
                at = p.number()
                p.need("]")
                p.need("=")
            item = self.item()
            if at is not None and at != _slots(found):
                p.wrong(f"element {at} is said at slot {_slots(found)}", "write the instructions in their order")
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
        at = p.at
        try:
            return p.expression()
        except Symbol as unknown:
            p.at = at
            depth, name = 0, unknown.token
            # ``skel->maps.counts``, ``fds[0]``, ``bpf_map__fd(map)``: what it goes by.
            while p.token.kind != "end":
                text = p.token.text
                if depth == 0 and text in (",", ")", "}"):
                    break
                depth += (text in "([{") - (text in ")]}") if p.token.kind == "sign" else 0
                if p.token.kind == "word" and depth == 0:
                    name = p.token
                p.at += 1
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


def _macros() -> dict[str, Callable[..., Any]]:
    from bpfasm.asm import macros

    return {
        name: getattr(macros, name)
        for name in macros.__all__
        if name not in ("BPF_CLASS", "BPF_SIZE", "BPF_MODE", "BPF_OP", "BPF_SRC", "BPF_LDST_BYTES")
    }


def read(source: str, file: str, objects: Mapping[str, Any] | None = None) -> CFile:
    """Return a file of C that has been read: ``programs`` and ``classic``. Raises DecodeError, OperandError."""
    found = CFile(file, objects=objects)
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
