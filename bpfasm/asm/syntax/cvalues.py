"""Constant expressions of C, with the types and structs that a file has: what stands in the slots of a macro.

Integers are converted as C does on a 64-bit machine: ``~0U >> 1`` is 0x7fffffff. Names are those of the file (enums,
constants) and of the headers that ``bpfasm.uapi`` has; an operation or a register keeps its kind, so that a macro can
say what is wrong with it.
"""

from __future__ import annotations

from bpfasm.asm.syntax.clayout import Field, Type, array, laid_out, of_header, pointer
from bpfasm.asm.syntax.cnames import FUNCTIONS, NUMBERS, OF_MACHINE, PREDEFINED, SHIFTS, SWAPPED
from bpfasm.asm.syntax.ctokens import Token, broken
from bpfasm.errors import BpfasmError, DecodeError
from bpfasm.isa.operands import Named, Reg

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

#: Bytes and signedness of C's integer types on 64-bit machines, and of the kernel's.
_TYPES: dict[str, tuple[int, bool]] = {
    "_Bool": (1, False), "bool": (1, False), "char": (1, True), "short": (2, True), "int": (4, True),
    "long": (8, True), "size_t": (8, False), "ssize_t": (8, True), "uintptr_t": (8, False), "intptr_t": (8, True),
    "ptrdiff_t": (8, True), "pid_t": (4, True), "uid_t": (4, False), "gid_t": (4, False), "off_t": (8, True),
    "loff_t": (8, True), "dev_t": (4, False), "umode_t": (2, False), "be16": (2, False), "be32": (4, False),
    "be64": (8, False), "unsigned": (4, False), "signed": (4, True), "float": (4, True), "double": (8, True),
}  # fmt: skip
for _bits in (8, 16, 32, 64):
    for _name in (f"u{_bits}", f"__u{_bits}", f"uint{_bits}_t", f"__be{_bits}", f"__le{_bits}", f"u_int{_bits}_t"):
        _TYPES[_name] = (_bits // 8, False)
    for _name in (f"s{_bits}", f"__s{_bits}", f"int{_bits}_t"):
        _TYPES[_name] = (_bits // 8, True)
_TYPES["__sum16"] = (2, False)
_TYPES["__wsum"] = (4, False)
for _name, _bits in (("char", 8), ("short", 16), ("int", 32), ("long", 64)):
    _TYPES[f"u_{_name}"] = _TYPES[f"u{_name}"] = (_bits // 8, False)
_TYPES |= {"in_addr_t": (4, False), "in_port_t": (2, False), "socklen_t": (4, False), "sa_family_t": (2, False),
           "time_t": (8, True), "mode_t": (4, False), "ino_t": (8, False), "caddr_t": (8, False)}  # fmt: skip

_QUALIFIERS = {"const", "volatile", "static", "extern", "register", "inline", "__user", "__rcu", "__percpu",
               "__restrict", "restrict", "__maybe_unused", "auto", "__always_inline"}  # fmt: skip
_WORDS_OF_INTS = {"unsigned", "signed", "char", "short", "int", "long", "__signed__"}

_PRECEDENCE = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7, "<<": 8, ">>": 8,
    "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip

#: How deep brackets may be: the parser is recursive.
_DEEPEST = 100


#: What asks for the place or size of a member.
_PLACES = ("offsetof", "__builtin_offsetof", "offsetofend", "sizeof_field", "FIELD_SIZEOF")


#: The bits and signedness of what a number of so many bytes is, once its order is changed.
_WIDTHS = {2: (32, False), 4: (32, True), 8: (64, True)}


class Value:
    """A value of C: a number with its width and signedness, and the thing of ours that it is a name of."""

    __slots__ = ("bits", "thing", "unsigned", "value")

    def __init__(self, value: int, bits: int = 32, unsigned: bool = False, thing: Any = None) -> None:
        mask = (1 << bits) - 1
        value &= mask
        if not unsigned and value >> (bits - 1):
            value -= 1 << bits
        self.value, self.bits, self.unsigned, self.thing = value, bits, unsigned, thing


def of(thing: Any) -> Value:
    """Return something of ours as a value of C: a number, a register, an operation."""
    if isinstance(thing, Reg):
        return Value(thing.number, thing=thing)
    number = int(thing)
    if -(1 << 31) <= number < 1 << 31:
        return Value(number, thing=thing if isinstance(thing, Named) else None)
    if number < 1 << 32 and number > 0:
        return Value(number, 32, True)
    return Value(number, 64, number >= 1 << 63)


class Symbol(Exception):
    """A name that no number is known for."""

    def __init__(self, token: Token) -> None:
        super().__init__(token.text)
        self.token = token


_HEADERS = (
    *("bpf", "bpf_common", "filter", "if_ether", "in_", "pkt_cls", "unistd", "perf_event", "if_link", "ptrace"),
    *("seccomp", "audit", "errno_base", "errno", "ip", "ipv6", "tcp", "udp", "netfilter"),
)
#: The struct of a kprobe's registers, by machine: ``bpf_user_pt_regs_t``.
_REGISTERS = {"x86_64": "pt_regs", "aarch64": "user_pt_regs"}


class Scope:
    """What names mean: those of a file, then those of the notation and the headers."""

    def __init__(self, machine: str = "x86_64") -> None:
        self.machine = machine
        self.constants: dict[str, Any] = {}
        self.structs: dict[str, Type] = {}
        self.typedefs: dict[str, Type] = {}
        self.variables: dict[str, Type] = {}
        #: Where an array that does not say its length begins, among the tokens.
        self.initials: dict[str, int] = {}
        self._looked_up: dict[str, Any] = {}

    def constant(self, name: str) -> Any:
        """Return what a name is, or None. Raises what kept its value from being known."""
        if name in self.constants:
            found = self.constants[name]
            if isinstance(found, BpfasmError):
                raise found
            return found
        if name not in self._looked_up:
            self._looked_up[name] = self._of_a_header(name)
        return self._looked_up[name]

    def _of_a_header(self, name: str) -> Any:
        import bpfasm.asm

        found = getattr(bpfasm.asm, name, None) if name[0].isupper() else None
        if isinstance(found, int | Reg):
            return found
        from importlib import import_module

        # What has no capital is no constant of a header, but a variable or a map.
        for header in () if name.islower() else _HEADERS:
            found = getattr(import_module(f"bpfasm.uapi.{header}"), name, None)
            if isinstance(found, int):
                return found
        found = NUMBERS.get(name)
        return self.predefined(name) if found is None else found

    def predefined(self, name: str) -> int | None:
        """Return the number of a macro that the compiler has, unistd.h or version.h; None where it is not defined."""
        if name.startswith("__NR_"):
            from bpfasm.uapi.unistd_all import all_syscalls

            return all_syscalls.get(self.machine, all_syscalls["generic"]).get(name)
        if name == "LINUX_VERSION_CODE":
            from bpfasm.uapi import version

            return version.LINUX_VERSION_CODE
        return 1 if name in OF_MACHINE.get(self.machine, ()) else PREDEFINED.get(name)

    def struct(self, name: str) -> Type | None:
        """Return a struct by its tag."""
        if name in self.structs:
            return self.structs[name]
        if name == _REGISTERS.get(self.machine):
            from bpfasm.uapi import ptrace

            size = ptrace.sizeof_bpf_user_pt_regs_t[self.machine]
            return of_header(size, ptrace.bpf_user_pt_regs_t[self.machine], name)
        from importlib import import_module

        for header in _HEADERS:
            module = import_module(f"bpfasm.uapi.{header}")
            layout = getattr(module, f"struct_{name}", None)
            if layout is not None:
                size = getattr(module, f"sizeof_struct_{name}")
                found = self.structs[name] = of_header(size, layout, name)
                return found
        return None


class Parser:
    """Reads expressions and declarations off a list of tokens."""

    def __init__(self, tokens: list[Token], file: str, scope: Scope) -> None:
        last = tokens[-1] if tokens else Token("end", "", 1, 1)
        self.tokens = tokens
        self.end = Token("end", "", last.line, last.column + len(last.text))
        self.file, self.scope = file, scope
        self.at = self.depth = 0

    @property
    def token(self) -> Token:
        """The token that is next."""
        return self.tokens[self.at] if self.at < len(self.tokens) else self.end

    def peek(self, ahead: int = 1) -> Token:
        """Return a token further on."""
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else self.end

    def place(self) -> tuple[int, int]:
        """Return where the parser is, to go back to."""
        return self.at, self.depth

    def back(self, place: tuple[int, int]) -> None:
        """Go back to a place, out of the brackets that were open where an error ended the reading."""
        self.at, self.depth = place

    def take(self, text: str) -> bool:
        """Take the next token if it is this one."""
        if self.token.text == text and self.token.kind != "string":
            self.at += 1
            return True
        return False

    def need(self, text: str, do: str = "") -> None:
        """Take a token that has to be there."""
        if not self.take(text):
            self.wrong(f"{text!r} belongs here", do)

    def wrong(self, what: str, do: str = "", rule: str = "c-syntax", token: Token | None = None) -> NoReturn:
        """Raise what is wrong at the next token."""
        raise self.error(what, do, rule, token or self.token)

    def error(self, what: str, do: str, rule: str, token: Token) -> DecodeError:
        """Return what is wrong at a token."""
        met = f"{token.text!r}: " if token.kind != "end" else "the text ends here: "
        do = do or "a bracket or comma may be missing before it"
        return DecodeError(met + what, do, source=(self.file, token.line), column=token.column, rule=rule)

    # Expressions

    def expression(self) -> Value:
        """Return the value of a conditional expression. Raises Symbol for a name that has no value."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self.wrong("brackets are too deep", "write it in steps")
        condition = self._binary(1)
        if self.take("?"):
            first = self.expression()
            self.need(":")
            second = self.expression()
            chosen = first if condition.value else second
            bits, unsigned = _common(first, second)
            condition = chosen if chosen.thing is not None else Value(chosen.value, bits, unsigned)
        self.depth -= 1
        return condition

    def _binary(self, least: int) -> Value:
        left = self._unary()
        while (precedence := _PRECEDENCE.get(self.token.text, 0)) >= least and self.token.kind == "sign":
            sign = self.token
            self.at += 1
            right = self._binary(precedence + 1)
            left = self._combine(sign, left, right)
        return left

    def _combine(self, sign: Token, a: Value, b: Value) -> Value:
        op = sign.text
        if op in ("&&", "||"):
            return Value(int(bool(a.value and b.value) if op == "&&" else bool(a.value or b.value)))
        if op in ("<<", ">>"):
            bits, unsigned = max(a.bits, 32), a.unsigned and a.bits >= 32
            shift = b.value & (bits - 1)
            return Value(a.value << shift if op == "<<" else a.value >> shift, bits, unsigned)
        bits, unsigned = _common(a, b)
        x, y = Value(a.value, bits, unsigned).value, Value(b.value, bits, unsigned).value
        if op in ("==", "!=", "<", ">", "<=", ">="):
            results = {"==": x == y, "!=": x != y, "<": x < y, ">": x > y, "<=": x <= y, ">=": x >= y}
            return Value(int(results[op]))
        if op in ("/", "%"):
            if y == 0:
                self.wrong("a division by zero", "look at what is on its right", token=sign)
            quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)
            return Value(quotient if op == "/" else x - y * quotient, bits, unsigned)
        result = {"+": x + y, "-": x - y, "*": x * y, "&": x & y, "|": x | y, "^": x ^ y}[op]
        return Value(result, bits, unsigned)

    def _unary(self) -> Value:
        token = self.token
        if token.kind == "sign" and token.text in "+-~!":
            self.at += 1
            self.depth += 1
            if self.depth > _DEEPEST:
                self.wrong("signs are too deep", "write it in steps")
            value = self._unary()
            self.depth -= 1
            bits, unsigned = max(value.bits, 32), value.unsigned and value.bits >= 32
            if token.text == "!":
                return Value(int(not value.value))
            number = {"+": value.value, "-": -value.value, "~": ~value.value}[token.text]
            return Value(number, bits, unsigned)
        if token.text == "(" and self.starts_type(1):
            self.at += 1
            type = self.type_name().known()
            self.need(")")
            value = self._unary()
            return Value(value.value, 8 * (type.size or 8), not type.signed)
        return self._primary()

    def _primary(self) -> Value:
        token = self.token
        if token.kind == "number":
            self.at += 1
            return self._number(token)
        if token.kind == "char":
            self.at += 1
            return self._char(token)
        if self.take("("):
            value = self.expression()
            self.need(")")
            return value
        if token.kind != "word":
            self.wrong("a number belongs here", rule="c-syntax")
        if token.text in ("sizeof", "_Alignof"):
            return self._sizeof()
        if token.text in _PLACES:
            return self._offsetof()
        if self.peek().text == "(":
            if token.text == "ARRAY_SIZE":
                return self._array_size()
            swapped = SWAPPED.get(token.text)
            if swapped:
                (number,) = self._arguments(token, 1)
                return Value(
                    int.from_bytes((number % 256**swapped).to_bytes(swapped, "big"), "little"), *_WIDTHS[swapped]
                )
            if token.text in FUNCTIONS:
                count, bits, function = FUNCTIONS[token.text]
                return Value(function(*self._arguments(token, count)), bits, bits == 64)
        self.at += 1
        found = self.scope.constant(token.text)
        if found is None:
            raise Symbol(token)
        return found if isinstance(found, Value) else of(found)

    def _arguments(self, called: Token, count: int) -> list[int]:
        """Read the numbers that a macro of a header is given."""
        self.at += 1
        self.need("(")
        found: list[int] = []
        while not self.take(")"):
            found.append(self.expression().value)
            if not self.take(",") and self.token.text != ")":
                self.wrong("a comma belongs here")
        if len(found) != count or not all(0 <= each < 64 for each in found if called.text in SHIFTS):
            self.wrong(f"this macro takes {count} of other numbers", "look at its #define", "c-macro", called)
        return found

    def _array_size(self) -> Value:
        """Read ARRAY_SIZE(NAME)."""
        self.at += 1
        start = self.peek()
        type = self._operand()
        if type.count is None:
            self.wrong("this is no array", "write ARRAY_SIZE(NAME)", "c-type", start)
        return Value(type.count, 64, True)

    def _number(self, token: Token) -> Value:
        text = token.text.lower()
        digits = text.rstrip("ul") if not text.startswith("0x") else "0x" + text[2:].rstrip("ul")
        suffix = text[len(digits) :]
        try:
            if len(digits) > 40:
                raise ValueError
            octal = len(digits) > 1 and digits[0] == "0" and digits.isdecimal()
            value = int(digits, 8) if octal else int(digits, 0)
        except ValueError:
            self.wrong("this is no whole number of C", "write 42, 0x2a, 42UL", token=token)
        if value >= 1 << 64:
            self.wrong("more than 64 bits", "split it", "text-range", token)
        decimal = digits.isdecimal() and not octal
        for bits, unsigned in ((32, False), (32, True), (64, False), (64, True)):
            if ("l" in suffix and bits == 32) or ("u" in suffix and not unsigned):
                continue
            if decimal and unsigned and "u" not in suffix and not (bits == 64 and value >> 63):
                continue
            if value < 1 << (bits - (not unsigned)):
                return Value(value, bits, unsigned)
        return Value(value, 64, True)

    def _char(self, token: Token) -> Value:
        from ast import literal_eval

        try:
            text = literal_eval(token.text.removeprefix("L"))
        except (ValueError, SyntaxError):
            text = ""
        if len(text) != 1 or ord(text) > 0x7F:
            self.wrong("a character is one letter", "write 'a'", token=token)
        return Value(ord(text))

    # Types

    def starts_type(self, ahead: int = 0) -> bool:
        """Tell whether a type begins at a token."""
        token = self.peek(ahead)
        return token.kind == "word" and (
            token.text in ("struct", "union", "enum")
            or token.text in _TYPES
            or token.text in _QUALIFIERS
            or token.text in self.scope.typedefs
            or token.text in ("void", "__signed__")
        )

    def type_name(self) -> Type:
        """Read the name of a type, with what makes it a pointer."""
        return self.pointers(self.specifiers())

    def pointers(self, type: Type) -> Type:
        """Read the stars behind a type."""
        while True:
            if self.take("*"):
                type = pointer(type)
            elif self.token.kind == "word" and self.token.text in _QUALIFIERS:
                self.at += 1
            else:
                return type

    def specifiers(self, *, declares: bool = False) -> Type:
        """Read the words of a type; in a declaration, a word that is no known type is one that is not known."""
        found: Type | None = None
        words: list[str] = []
        start = self.at
        while self.token.kind == "word":
            text = self.token.text
            if text in _QUALIFIERS:
                self.at += 1
            elif text == "__attribute__":
                self.attribute()
            elif text in _WORDS_OF_INTS:
                words.append(text)
                self.at += 1
            elif found or words:
                break
            elif text in ("struct", "union", "enum"):
                found = self._tagged()
            elif text in self.scope.typedefs or text in _TYPES or text == "void":
                found = self.scope.typedefs.get(text) or (_plain(*_TYPES[text]) if text in _TYPES else Type(1))
                self.at += 1
            elif declares and self.peek().text not in ("=", "[", ";", ",", "("):
                found = self._unknown("this type is not known here", self.token)
                self.at += 1
            else:
                break
        if words:
            size = 1 if "char" in words else 2 if "short" in words else 8 if "long" in words else 4
            return Type(size, signed="unsigned" not in words)
        if found is None and declares and self.at > start:
            return Type(4, signed=True)  # C's first years: static x;
        if found is None:
            self.wrong("a type belongs here", "write int, __u32, struct NAME", "c-type")
        return found

    def _unknown(self, what: str, token: Token) -> Type:
        """Return a type of which nothing is known, with what is said where its size is asked for."""
        return Type(0, unknown=self.error(what, "put its declaration into the file", "c-type", token))

    def _tagged(self) -> Type:
        kind = self.token.text
        self.at += 1
        packed, align = self._attributes()
        tag = self.token
        if tag.kind == "word":
            self.at += 1
        name = tag.text if tag.kind == "word" else ""
        if self.token.text == "{" and self.token.kind == "sign":
            if kind == "enum":
                self._enumerators()
                return Type(4, signed=True)
            found = self._members(kind, name, packed, align)
            if name:
                self.scope.structs[name] = found
            return found
        if kind == "enum":
            return Type(4, signed=True)
        return self.scope.struct(name) or self._unknown(f"this {kind} is not known here", tag)

    def _attributes(self) -> tuple[bool, int]:
        """Pass over attributes; return whether one packs, and the alignment that one asks for."""
        packed, align = False, 1
        while self.token.text in ("__attribute__", "__packed", "__aligned"):
            if self.take("__packed"):
                packed = True
                continue
            said = self.attribute().split()
            packed |= "packed" in said or "__packed__" in said
            for word, bracket, number in zip(said, said[1:], said[2:], strict=False):
                if word.strip("_") == "aligned" and bracket == "(" and number.isdecimal() and len(number) < 6:
                    align = max(align, int(number))
        return packed, align

    def attribute(self) -> str:
        """Pass over ``__attribute__((...))``; return its words."""
        words = [self.token.text]
        self.at += 1
        if self.token.text == "(":
            depth = 0
            while self.token.kind != "end":
                words.append(self.token.text)
                depth += (self.token.text == "(") - (self.token.text == ")")
                self.at += 1
                if depth == 0:
                    break
        return " ".join(words)

    def _enumerators(self) -> None:
        """Take the constants of an enum; one whose value is not known keeps the error, and so do those behind it."""
        self.need("{")
        value: Any = -1
        while not self.take("}"):
            token = self.token
            if token.kind == "end":
                self.wrong("the enum is not closed", "write } and ;")
            start = self.place()
            try:
                if token.kind != "word":
                    self.wrong("the name of a constant belongs here", "write NAME or NAME = 5")
                self.at += 1
                if self.take("="):
                    value = self.number()
                elif not isinstance(value, BpfasmError):
                    value += 1
                if self.token.text not in (",", "}"):
                    self.wrong("a comma belongs here")
            except BpfasmError as error:
                value = error
                self.back(start)
                self.skip(",")
            if token.kind == "word":
                self.scope.constants[token.text] = value
            self.take(",")

    def skip(self, *until: str) -> None:
        """Go on to a sign outside brackets, or to the brace that closes those around; stray brackets are passed."""
        depth = 0
        while self.token.kind != "end":
            text = self.token.text if self.token.kind == "sign" else ""
            if depth == 0 and (text in until or text == "}"):
                return
            depth = max(0, depth + (text in ("(", "[", "{")) - (text in (")", "]", "}")))
            self.at += 1

    def number(self) -> int:
        """Return the value of an expression that has to be known."""
        try:
            return self.expression().value
        except Symbol as unknown:
            self.unknown(unknown.token)

    def unknown(self, token: Token) -> NoReturn:
        """Raise that a name has no value."""
        from difflib import get_close_matches

        import bpfasm.asm

        close = get_close_matches(token.text, [*vars(bpfasm.asm), *self.scope.constants], n=1, cutoff=0.8)
        do = f"did you mean {close[0]}?" if close else f"put #define {token.text} and its value before it"
        broken(self.file, token.line, token.column, f"{token.text} is not known here", do, "c-name")

    def _members(self, kind: str, tag: str, packed: bool, align: int) -> Type:
        """Read the members of a struct or union, and lay them out."""
        self.need("{")
        self.depth += 1
        if self.depth > _DEEPEST:
            self.wrong("structs are too deep", "write it in steps")
        fields: list[Field] = []
        while not self.take("}"):
            if self.token.kind == "end":
                self.wrong("the struct is not closed", "write } and ;")
            if self.take(";"):
                continue
            start = self.place()
            try:
                fields += self._declaration()
            except BpfasmError as error:
                fields.append(("", Type(0, unknown=error), None))
                self.back(start)
                self.skip(";")
        behind = self._attributes()
        self.depth -= 1
        return laid_out(kind, fields, packed=packed or behind[0], align=max(align, behind[1]), tag=tag)

    def _declaration(self) -> list[Field]:
        """Read the members of one declaration: ``__u32 a, b[4], *c;``, or a struct without a name."""
        base = self.specifiers(declares=True)
        if self.take(";"):
            return [("", base, None)] if base.members is not None and not base.tag else []
        fields: list[Field] = []
        while True:
            if self.token.text == ":":
                name, type = "", base
            else:
                token, type = self.declarator(base)
                name = token.text
            width = self.number() if self.take(":") else None
            if width is not None and not 0 <= width <= 8 * type.known().size:
                self.wrong("a bit field has at most the bits of its type", "write its number of bits", "c-type")
            fields.append((name, self._with_attributes(type), width))
            if not self.take(","):
                break
        self.need(";")
        return fields

    def _with_attributes(self, type: Type) -> Type:
        """Return a member's type with the alignment that its attributes ask for."""
        packed, align = self._attributes()
        align = max(align, 1 if packed else type.align)
        if align == type.align:
            return type
        return Type(
            type.size, align=align, signed=type.signed, tag=type.tag, members=type.members, element=type.element,
            count=type.count, unknown=type.unknown,
        )  # fmt: skip

    def declarator(self, base: Type) -> tuple[Token, Type]:
        """Read a name that is declared, and what makes it a pointer or an array."""
        type = self.pointers(base)
        if self.take("("):  # a pointer to a function, or to an array
            type = self.pointers(type)
            name = self.token
            self.at += 1
            lengths = self._lengths()
            self.need(")")
            if self.token.text == "(":
                self.pass_over("(", ")")
            elif self.token.text == "[":
                self._lengths()
        else:
            name = self.token
            if name.kind != "word":
                self.wrong("a name belongs here", "write TYPE NAME;", "c-type")
            self.at += 1
            lengths = self._lengths()
        for length in reversed(lengths):
            type = array(type, length)
        return name, type

    def _lengths(self) -> list[int]:
        """Read the lengths of an array; one that is not said is 0."""
        found: list[int] = []
        while self.take("["):
            found.append(0 if self.token.text == "]" else self.number())
            if not 0 <= found[-1] < 1 << 32:
                self.wrong("an array of so many elements", "write its size", "c-type")
            self.need("]")
        return found

    def pass_over(self, opening: str, closing: str) -> None:
        depth = 0
        while self.token.kind != "end":
            depth += (self.token.text == opening) - (self.token.text == closing)
            self.at += 1
            if depth == 0:
                return

    def _sizeof(self) -> Value:
        token = self.token
        self.at += 1
        if self.token.text == "(" and self.starts_type(1):
            self.at += 1
            type = self.type_name().known()
            for length in reversed(self._lengths()):
                type = array(type, length)
            self.need(")")
        else:
            type = self._operand().known()
            self._no_bit_field(type)
        return Value(type.align if token.text == "_Alignof" else type.size, 64, True)

    def _operand(self) -> Type:
        """Read what sizeof is asked of: a variable, its member, its element, what it points to."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self.wrong("brackets are too deep", "write it in steps")
        start = self.token
        if self.take("*"):
            type = self._within(self._operand(), start)
        elif self.take("&"):
            type = pointer(self._operand())
        elif self.take("("):
            if self.starts_type():
                type = self.type_name()
                self.need(")")
                self._unary_passed()
            else:
                type = self._operand()
                self.need(")")
            type = self._postfix(type)
        elif start.kind == "word":
            self.at += 1
            known = self._variable(start.text)
            if known is None:
                self.wrong(
                    "neither a type nor a variable of the file", "write sizeof(struct NAME) or sizeof(__u32)",
                    "c-type", start,
                )  # fmt: skip
            type = self._postfix(known)
        else:
            self.wrong("sizeof of what is no type", "write sizeof(struct NAME) or sizeof(__u32)", "c-type")
        self.depth -= 1
        return type

    def _variable(self, name: str) -> Type | None:
        """Return the type of a variable; an array is as long as what it begins with."""
        found = self.scope.variables.get(name)
        begins = self.scope.initials.pop(name, None)
        if found is not None and found.element is not None and begins is not None:
            at, count = self.at, 0
            self.at = begins
            if self.token.text != "{":
                self.wrong("an array whose length is not said", "write its length", "c-type")
            self.at += 1
            while self.token.text != "}" and self.token.kind != "end":
                if self.token.text == "[":
                    self.wrong("an array whose elements are numbered", "write its length", "c-type")
                count += 1
                self.skip(",")
                self.take(",")
            self.at = at
            found = self.scope.variables[name] = array(found.element, count)
        return found

    def _unary_passed(self) -> None:
        """Pass over what a cast converts: a number, a variable, an expression in brackets."""
        while self.token.text in ("*", "&", "-", "~"):
            self.at += 1
        if self.token.text == "(":
            self.pass_over("(", ")")
        else:
            self.at += 1

    def _postfix(self, type: Type) -> Type:
        while True:
            token = self.token
            if self.take("["):
                self.skip("]")
                self.need("]")
                type = self._within(type, token)
            elif self.take("->"):
                type = self._member(self._within(type, token))[1]
            elif self.take("."):
                type = self._member(type)[1]
            else:
                return type

    def _within(self, type: Type, token: Token) -> Type:
        if type.element is None:
            self.wrong("this is no pointer and no array", "write sizeof(struct NAME)", "c-type", token)
        return type.element

    def _member(self, struct: Type) -> tuple[int, Type]:
        """Read the name of a struct's member; return its place and its type."""
        token = self.token
        if struct.members is None or token.kind != "word":
            struct.known()
            self.wrong("a member's name belongs here", "write offsetof(struct NAME, member)", "c-type")
        if token.text not in struct.members:
            struct.known()
            known = ", ".join([*struct.members][:12])
            self.wrong("there is no such member", f"its members are {known}", "c-type", token)
        self.at += 1
        return struct.members[token.text]

    def _offsetof(self) -> Value:
        """Read offsetof(TYPE, MEMBER), and its kin that add the member's size or are it."""
        called = self.token.text
        self.at += 1
        self.need("(", "write offsetof(struct NAME, member)")
        type = self.type_name()
        self.need(",")
        offset, type = self._member(type)
        while not self.take(")"):
            token = self.token
            if self.take("["):
                element = self._within(type, token).known()
                offset += self.number() * element.size
                self.need("]")
                type = element
            elif self.take("."):
                at, type = self._member(type)
                offset += at
            else:
                self.wrong("')' belongs here")
        self._no_bit_field(type)
        if called in ("sizeof_field", "FIELD_SIZEOF"):
            return Value(type.known().size, 64, True)
        return Value(offset + (type.known().size if called == "offsetofend" else 0), 64, True)

    def _no_bit_field(self, type: Type) -> None:
        if type.bit_field:
            self.wrong("a bit field has no byte of its own", "ask for the member before it", "c-type")


def _common(a: Value, b: Value) -> tuple[int, bool]:
    """Return the type that C converts two numbers to."""
    a_bits, b_bits = max(a.bits, 32), max(b.bits, 32)
    a_unsigned, b_unsigned = a.unsigned and a.bits >= 32, b.unsigned and b.bits >= 32
    bits = max(a_bits, b_bits)
    return bits, (a_unsigned and a_bits == bits) or (b_unsigned and b_bits == bits)


def _plain(size: int, signed: bool) -> Type:
    return Type(size, signed=signed)
