"""Constant expressions of C, with the types and structs that a file has: what stands in the slots of a macro.

Integers are converted as C does on a 64-bit machine: ``~0U >> 1`` is 0x7fffffff. Names are those of the file (enums,
constants) and of the headers that ``bpfasm.uapi`` has; an operation or a register keeps its kind, so that a macro can
say what is wrong with it.
"""

from __future__ import annotations

from bpfasm.asm.syntax.cnames import NUMBERS
from bpfasm.asm.syntax.ctokens import Token, broken
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

_QUALIFIERS = {"const", "volatile", "static", "extern", "register", "inline", "__user", "__rcu", "__percpu",
               "__restrict", "restrict", "__maybe_unused", "auto", "__always_inline"}  # fmt: skip
_WORDS_OF_INTS = {"unsigned", "signed", "char", "short", "int", "long", "__signed__"}

_PRECEDENCE = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7, "<<": 8, ">>": 8,
    "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip

#: How deep brackets may be: the parser is recursive.
_DEEPEST = 100


class Struct:
    """A struct or union that a file or a header has: its bytes, their alignment, and its members.

    A member is (offset, bytes, the struct it is, bytes of an element where it is an array).
    """

    def __init__(self, size: int, align: int, members: dict[str, tuple[int, int, Struct | None, int]]) -> None:
        self.size, self.align, self.members = size, align, members


#: A member of a struct before it is laid out: its name, bytes, alignment, the struct it is, bytes of an element.
Field = tuple[str, int, int, "Struct | None", int]


def _laid_out(kind: str, fields: list[Field], packed: bool) -> Struct:
    """Return a struct with each member at its place; a union has all of them at 0."""
    members: dict[str, tuple[int, int, Struct | None, int]] = {}
    at = most = 0
    for name, size, natural, inner, element in fields:
        align = 1 if packed else natural
        offset = 0 if kind == "union" else -(-at // align) * align
        if name:
            members[name] = (offset, size, inner, element)
        elif inner:
            for each, (within, bytes_, struct, part) in inner.members.items():
                members[each] = (offset + within, bytes_, struct, part)
        at = offset + size
        most = max(most, at)
    alignment = 1 if packed else max((natural for _, _, natural, _, _ in fields), default=1)
    return Struct(-(-most // alignment) * alignment, alignment, members)


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
    *("seccomp", "audit", "errno_base", "errno"),
)


class Scope:
    """What names mean: those of a file, then those of the notation and the headers."""

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self.structs: dict[str, Struct] = {}
        self.typedefs: dict[str, tuple[int, bool, Struct | None]] = {}
        self._looked_up: dict[str, Any] = {}

    def constant(self, name: str) -> Any:
        """Return what a name is, or None."""
        if name in self.constants:
            return self.constants[name]
        if name not in self._looked_up:
            self._looked_up[name] = self._of_a_header(name)
        return self._looked_up[name]

    def _of_a_header(self, name: str) -> Any:
        import bpfasm.asm

        found = getattr(bpfasm.asm, name, None) if name[0].isupper() else None
        if isinstance(found, int | Reg):
            return found
        from importlib import import_module

        for header in _HEADERS:
            found = getattr(import_module(f"bpfasm.uapi.{header}"), name, None)
            if isinstance(found, int):
                return found
        if name.startswith("__NR_"):
            from bpfasm.uapi.unistd import syscalls

            return syscalls["x86_64"].get(name)
        return NUMBERS.get(name)

    def struct(self, name: str) -> Struct | None:
        """Return a struct by its tag."""
        if name in self.structs:
            return self.structs[name]
        from importlib import import_module

        for header in _HEADERS:
            module = import_module(f"bpfasm.uapi.{header}")
            members = getattr(module, f"struct_{name}", None)
            if members is not None:
                return Struct(
                    getattr(module, f"sizeof_struct_{name}"),
                    8,
                    {
                        key: (offset, size, None, _element(size, format))
                        for key, (offset, size, format) in members.items()
                    },
                )
        return None


def _element(size: int, format: str) -> int:
    """Return the bytes of an element, from a format of ``struct``: ``5I`` are five of 4 bytes."""
    count = format.lstrip("<>=").partition(":")[0][:-1]
    return size // int(count) if count.isdecimal() and int(count) and format[-1] != "s" else size


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
        token = token or self.token
        met = f"{token.text!r}: " if token.kind != "end" else "the text ends here: "
        broken(
            self.file, token.line, token.column, met + what, do or "a bracket or comma may be missing before it", rule
        )

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
        if token.text == "(" and self._is_type(1):
            self.at += 1
            size, signed, _ = self.type_name()
            self.need(")")
            value = self._unary()
            return Value(value.value, 8 * (size or 8), not signed)
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
        if token.text in ("offsetof", "__builtin_offsetof"):
            return self._offsetof()
        if token.text in ("htons", "htonl", "bpf_htons", "bpf_htonl", "__constant_htons", "__constant_htonl", "ntohs",
                          "ntohl", "__bpf_htons", "__bpf_htonl", "__bpf_constant_htons"):  # fmt: skip
            self.at += 1
            self.need("(")
            value = self.expression()
            self.need(")")
            size = 2 if token.text.endswith("s") else 4
            return Value(int.from_bytes((value.value % 256**size).to_bytes(size, "big"), "little"), 32, size == 4)
        self.at += 1
        found = self.scope.constant(token.text)
        if found is None:
            raise Symbol(token)
        return found if isinstance(found, Value) else of(found)

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

    def _is_type(self, ahead: int) -> bool:
        token = self.peek(ahead)
        return token.kind == "word" and (
            token.text in ("struct", "union", "enum")
            or token.text in _TYPES
            or token.text in _QUALIFIERS
            or token.text in self.scope.typedefs
            or token.text in ("void", "__signed__")
        )

    def type_name(self) -> tuple[int, bool, Struct | None]:
        """Read the name of a type; return its bytes, whether it is signed, and the struct it is."""
        size, signed, struct = 4, True, None
        words: list[str] = []
        known = False
        while self.token.kind == "word":
            text = self.token.text
            if text in _QUALIFIERS:
                self.at += 1
            elif text == "__attribute__":
                self.attribute()
            elif text in ("struct", "union", "enum") and not known:
                size, signed, struct = self._tagged()
                known = True
            elif text in _WORDS_OF_INTS:
                words.append(text)
                self.at += 1
                known = True
            elif not known and text in self.scope.typedefs:
                size, signed, struct = self.scope.typedefs[text]
                self.at += 1
                known = True
            elif not known and text in _TYPES:
                size, signed = _TYPES[text]
                self.at += 1
                known = True
            elif not known and text == "void":
                size, known = 1, True
                self.at += 1
            else:
                break
        if not known:
            self.wrong("a type belongs here", "write int, __u32, struct NAME", "c-type")
        if words:
            signed = "unsigned" not in words
            size = 1 if "char" in words else 2 if "short" in words else 8 if "long" in words else 4
        while self.take("*") or (self.token.text in ("const", "volatile") and self.take(self.token.text)):
            size, signed, struct = 8, False, None
        return size, signed, struct

    def _tagged(self) -> tuple[int, bool, Struct | None]:
        kind = self.token.text
        self.at += 1
        while self.token.text == "__attribute__":
            self.attribute()
        tag = ""
        if self.token.kind == "word":
            tag = self.token.text
            self.at += 1
        if self.token.text == "{":
            if kind == "enum":
                self._enumerators()
                return 4, True, None
            struct = self._members(kind)
            if tag:
                self.scope.structs[tag] = struct
            return struct.size, False, struct
        if kind == "enum":
            return 4, True, None
        found = self.scope.struct(tag)
        return (found.size, False, found) if found else (-1, False, None)

    def attribute(self) -> str:
        """Pass over ``__attribute__((...))``; return what is in it."""
        self.at += 1
        words: list[str] = []
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
        self.need("{")
        value = -1
        while not self.take("}"):
            token = self.token
            if token.kind != "word":
                self.wrong("the name of a constant belongs here", "write NAME or NAME = 5")
            self.at += 1
            value = self.number() if self.take("=") else value + 1
            self.scope.constants[token.text] = value
            if not self.take(",") and self.token.text != "}":
                self.wrong("a comma belongs here")

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

    def _members(self, kind: str) -> Struct:
        """Read the members of a struct or union, and lay them out."""
        self.need("{")
        self.depth += 1
        if self.depth > _DEEPEST:
            self.wrong("structs are too deep", "write it in steps")
        fields: list[Field] = []
        while not self.take("}"):
            if self.token.kind == "end":
                self.wrong("the struct is not closed", "write } and ;")
            if not self.take(";"):
                fields += self._declaration()
        packed = False
        while self.token.text in ("__attribute__", "__packed"):
            if self.take("__packed"):
                packed = True
            else:
                packed |= "packed" in self.attribute()
        self.depth -= 1
        return _laid_out(kind, fields, packed)

    def _declaration(self) -> list[Field]:
        """Read the members of one declaration: ``__u32 a, b[4], *c;``, or a struct without a name."""
        size, _, struct = self.type_name()
        align = struct.align if struct else max(1, min(size, 8))
        if self.take(";"):
            return [("", size, align, struct, size)] if struct else []
        fields: list[Field] = []
        while True:
            fields.append(self._declarator(size, align, struct))
            if not self.take(","):
                break
        self.need(";")
        return fields

    def _declarator(self, size: int, align: int, struct: Struct | None) -> Field:
        """Read the name of a member, and what makes it a pointer or an array."""
        inner = struct
        if self.take("("):  # a pointer to a function, or to an array
            while self.token.text in ("*", "const"):
                self.at += 1
            name = self.token
            self.at += 1
            self.need(")")
            if self.token.text == "(":
                self.pass_over("(", ")")
            size, align, inner = 8, 8, None
        else:
            while self.take("*"):
                size, align, inner = 8, 8, None
            name = self.token
            if name.kind != "word":
                self.wrong("the name of a member belongs here", "write TYPE NAME;", "c-type")
            self.at += 1
        if size < 0:
            self.wrong("its type is not known here", "put the struct before it", "c-type", name)
        element = size
        while self.take("["):
            count = 0 if self.token.text == "]" else self.number()
            if not 0 <= count < 1 << 32:
                self.wrong("an array of so many elements", "write its size", "c-type")
            size *= count
            self.need("]")
        if self.take(":"):
            self.wrong("the places of bit fields are not known here", "offsetof knows none either", "c-type")
        while self.token.text == "__attribute__":
            self.attribute()
        return name.text, size, align, inner, element

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
        self.need("(", "write sizeof(TYPE)")
        if not self._is_type(0):
            self.wrong("sizeof of what is no type", "write sizeof(struct NAME) or sizeof(__u32)", "c-type")
        start = self.token
        size, _, _ = self.type_name()
        while self.take("["):
            size *= self.number()
            self.need("]")
        self.need(")")
        if size < 0:
            self.wrong("this struct is not known here", "put its declaration into the file", "c-type", start)
        return Value(1 if token.text == "_Alignof" else size, 64, True)

    def _offsetof(self) -> Value:
        self.at += 1
        self.need("(", "write offsetof(struct NAME, member)")
        start = self.token
        _, _, struct = self.type_name()
        if struct is None:
            self.wrong("this struct is not known here", "put its declaration into the file", "c-type", start)
        self.need(",")
        offset = 0
        element = 0
        prefix = ""
        while True:
            if self.take("["):
                offset += self.number() * element
                self.need("]")
            else:
                token = self.token
                if struct is None or token.kind != "word":
                    self.wrong("a member's name belongs here", "write offsetof(struct NAME, member)", "c-type")
                name = prefix + token.text
                if name not in struct.members:
                    known = ", ".join([*struct.members][:12])
                    self.wrong("there is no such member", f"its members are {known}", "c-type", token)
                self.at += 1
                at, _, inner, element = struct.members[name]
                if inner is None and any(key.startswith(f"{name}.") for key in struct.members):
                    prefix = f"{name}."  # a header's struct has the members of its members beside them
                    offset_here = at
                    if self.token.text == ".":
                        self.at += 1
                        continue
                    at = offset_here
                offset += at
                struct, prefix = inner, ""
            if self.take(")"):
                return Value(offset, 64, True)
            if not self.take(".") and self.token.text != "[":
                self.wrong("')' belongs here")


def _common(a: Value, b: Value) -> tuple[int, bool]:
    """Return the type that C converts two numbers to."""
    a_bits, b_bits = max(a.bits, 32), max(b.bits, 32)
    a_unsigned, b_unsigned = a.unsigned and a.bits >= 32, b.unsigned and b.bits >= 32
    bits = max(a_bits, b_bits)
    return bits, (a_unsigned and a_bits == bits) or (b_unsigned and b_bits == bits)
