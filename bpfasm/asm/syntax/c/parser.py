"""Constant expressions of C: what stands in the slots of a macro.

Integers are converted as C does on a 64-bit machine: ``~0U >> 1`` is 0x7fffffff.
"""

from __future__ import annotations

from bpfasm.asm.syntax.c.declarations import Declarations
from bpfasm.asm.syntax.c.layout import array, pointer
from bpfasm.asm.syntax.c.names import FUNCTIONS, SHIFTS, SWAPPED
from bpfasm.asm.syntax.c.scope import Symbol, Value, of
from bpfasm.asm.syntax.c.tokens import broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from bpfasm.asm.syntax.c.layout import Type
    from bpfasm.asm.syntax.c.tokens import Token

_PRECEDENCE = {
    "||": 1, "&&": 2, "|": 3, "^": 4, "&": 5, "==": 6, "!=": 6, "<": 7, ">": 7, "<=": 7, ">=": 7, "<<": 8, ">>": 8,
    "+": 9, "-": 9, "*": 10, "/": 10, "%": 10,
}  # fmt: skip


#: What asks for the place or size of a member.
_PLACES = ("offsetof", "__builtin_offsetof", "offsetofend", "sizeof_field", "FIELD_SIZEOF")


#: The bits and signedness of what a number of so many bytes is, once its order is changed.
_WIDTHS = {2: (32, False), 4: (32, True), 8: (64, True)}


class Parser(Declarations):
    """Reads expressions off a list of tokens, and the types and declarations in and around them."""

    def expression(self) -> Value:
        """Return the value of a conditional expression. Raises Symbol for a name that has no value."""
        self.deeper("brackets")
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
            self.deeper("signs")
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

    # Sizes and places

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
        self.deeper("brackets")
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
