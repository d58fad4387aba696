"""Types of C and what is declared of them: structs laid out, enums with their numbers, arrays, pointers.

A type that is not known is an error where its size is asked for, and nowhere else.
"""

from __future__ import annotations

from bpfasm.asm.syntax.c.cursor import Cursor
from bpfasm.asm.syntax.c.layout import Type, array, laid_out, pointer
from bpfasm.errors import BpfasmError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.syntax.c.layout import Field
    from bpfasm.asm.syntax.c.tokens import Token

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


class Declarations(Cursor):
    """Reads types and declarations off a list of tokens."""

    def number(self) -> int:
        """Return the value of an expression that has to be known: a length, a width, a constant of an enum."""
        raise NotImplementedError

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
                size, signed = _TYPES.get(text, (1, False))  # void is of one byte, as to GNU C
                found = self.scope.typedefs.get(text) or Type(size, signed=signed)
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

    def _members(self, kind: str, tag: str, packed: bool, align: int) -> Type:
        """Read the members of a struct or union, and lay them out."""
        self.need("{")
        self.deeper("structs")
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
