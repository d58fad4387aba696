"""A line held against a template, token by token: the plan that comes of it, or how far it fits."""

from __future__ import annotations

from difflib import get_close_matches

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.syntax.dialect import HELPERS, NUMBER_OF_HELPER, REFERRING, is_kfunc
from bpfasm.asm.syntax.plan import (
    AGAIN,
    CODE,
    CONSTANT,
    CUT,
    DST,
    EMPTY,
    FROM,
    IMM2,
    IMM_AT,
    OFF,
    SRC,
    TO,
    WIDE,
    Plan,
)
from bpfasm.asm.syntax.templates import REGISTER, WORDS, Miss, Token
from bpfasm.asm.types import raw as raw_type
from bpfasm.asm.variables import Global
from bpfasm.errors import OperandError
from bpfasm.isa.form import ROLES as FIELDS_OF
from bpfasm.isa.insn import FIELDS
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bpfasm.asm.syntax.dialect import Dialect
    from bpfasm.asm.syntax.templates import Candidate, Element

S16, S32 = (-(1 << 15), (1 << 15) - 1), (-(1 << 31), (1 << 31) - 1)
#: With a sign, or as what the bits are without one.
IMM, ANY64 = (-(1 << 31), (1 << 32) - 1), (-(1 << 63), (1 << 64) - 1)

#: What each role takes: where its number goes, and its range.
_TAKES = {
    "off": (OFF, S16),
    "jump": (OFF, S16),
    "jump32": (IMM_AT, S32),
    "callee": (IMM_AT, S32),
    "func": (IMM_AT, IMM),
    "imm": (IMM_AT, IMM),
    "cmp": (IMM_AT, IMM),
    "imm64": (WIDE, ANY64),
    "map": (IMM_AT, IMM),
    "map_idx": (IMM_AT, IMM),
    "btf_id": (IMM_AT, IMM),
    "value_off": (IMM2, IMM),
    "btf_fd": (IMM2, IMM),
    "helper": (IMM_AT, IMM),
    "kfunc": (IMM_AT, IMM),
}

#: Roles that a label may stand for.
_LABELS = ("jump", "jump32", "callee", "func", "label")


class Names:
    """What the words of one text may stand for: its labels, and objects by name that the caller has."""

    def __init__(self, labels: frozenset[str] = frozenset(), objects: Mapping[str, Any] | None = None) -> None:
        self.labels, self.objects = labels, objects or {}

    def map(self, name: str) -> Any:
        """Return the map of a name; one that nobody has declared stands for itself."""
        return self.objects.get(name) or MapSpec.as_is(
            name=name, type=bpf.BPF_MAP_TYPE_UNSPEC, key=0, value=0, max_entries=0
        )

    def variable(self, name: str) -> Any:
        """Return the variable of a name; of one that nobody has declared, any offset is taken."""
        if name in self.objects:
            return self.objects[name]
        variable = Global.__new__(Global)
        variable._set(name=name, type=raw_type((1 << 31) - 1), init=None, const=False)
        return variable


class Match:
    """A line held against one template."""

    def __init__(
        self,
        dialect: Dialect,
        candidate: Candidate,
        line: str,
        tokens: list[Token],
        names: Names,
        opcode: int | None,
    ) -> None:
        self.dialect, self.form, self.elements = dialect, candidate.form, candidate.elements
        self.line, self.tokens, self.names, self.opcode = line, tokens, names, opcode
        self.taken: dict[int, tuple[int, int, int, int, int]] = {}
        fields = EMPTY[:]
        fields[CODE] = self.form.code
        for name, value in self.form.fixed.items():
            if not isinstance(value, str):
                fields[FIELDS.index(name)] = value
        said = {field for element in self.elements if element.role in FIELDS_OF for field in FIELDS_OF[element.role]}
        for role in self.form.operands:
            for field in FIELDS_OF[role]:
                if field not in said:
                    fields[FIELDS.index(field)] = 0
        self.result = Plan(fields)
        self.seen: dict[str, int] = {}

    def plan(self) -> Plan:
        """Return the plan. Raises Miss."""
        at = 0
        for element in self.elements:
            at = self._take(element, at)
        at = self._beside(at)
        if at < len(self.tokens):
            raise Miss(at, "the end of the line")
        self._order()
        return self.result

    def _token(self, at: int) -> Token:
        if at < len(self.tokens):
            return self.tokens[at]
        return Token("end", "", len(self.line))

    def _take(self, element: Element, at: int) -> int:
        """Take an element off the tokens at a place; return the place behind it."""
        if element.text:
            if self._token(at).text != element.text:
                raise Miss(at, element.words())
            return at + 1
        role = element.role
        if role in ("dst", "src"):
            return self._register(element, at)
        if role in _LABELS and self._label(role, at):
            return at + 1
        if role == "label":
            raise Miss(at, element.words())
        if role in ("map_name", "variable"):
            return self._named(role, at)
        if role == "helper" and self._token(at).kind == "word":
            return self._helper(at)
        if role == "kfunc" and self._token(at).kind == "word":
            name = self._token(at).text
            if len(self.elements) == 2 and (name in self.names.labels or not is_kfunc(name)):
                raise Miss(at, element.words())
            self.result.fields[IMM_AT] = Kfunc(self._token(at).text)
            self.result.local = True
            return at + 1
        if role == "cast":
            at = self._number(at, "to", TO, (0, 0xFFFF))
            if self._token(at).text != ",":
                raise Miss(at, "','")
            return self._number(at + 1, "from", FROM, (0, 0xFFFF))
        if role == "off" and self._token(at).text not in ("+", "-"):
            # The offset may be left out, where nothing but the bracket follows.
            if self._token(at).text in ("]", ")", ","):
                self.result.fields[OFF] = 0
                return at
            raise Miss(at, "an offset (+4, -8)")
        if role in ("jump", "jump32", "callee") and self._token(at).text == "pc":
            at += 1
        place, limits = _TAKES[role]
        return self._number(at, role, place, limits)

    def _register(self, element: Element, at: int) -> int:
        start = at
        if self._token(at).text == "%":
            at += 1
        token = self._token(at)
        match = REGISTER.fullmatch(token.text)
        if token.kind != "word" or not match or (element.letters and token.text[0] not in element.letters):
            half = {"r": "a 64-bit register (r0 to r10)", "w": "a 32-bit register (w0 to w10)"}
            raise Miss(start, half.get(element.letters, "a register"))
        most = max(self.dialect.max_reg, 10)
        if int(match[1][:9]) > most or (len(match[1]) > 1 and match[1][0] == "0"):
            raise Miss(start, f"there is no register {token.text}", "text-register", "registers are r0 to r10")
        place = DST if element.role == "dst" else SRC
        if element.role in self.seen:
            self.result.again = place
            place = AGAIN
        self.seen[element.role] = at
        self.taken[token.at + 1] = (place, 10, 1, 0, most)
        return at + 1

    def _label(self, role: str, at: int) -> bool:
        """Take a label; ``pc`` and what is spelled like a register are none."""
        token = self._token(at)
        if token.kind != "word" or (token.text == "pc" and self._token(at + 1).text in ("+", "-")):
            return False
        if role in ("callee", "label") and token.text not in self.names.labels:
            if self.elements[-1].text == "]" or self.dialect.name == "ubpf":
                pass  # subprog[f] and `call local f` name nothing else
            else:
                return False
        if REGISTER.fullmatch(token.text):
            return False
        place = OFF if role == "jump" else IMM_AT
        self.result.fields[place] = token.text
        self.result.local = True
        return True

    def _named(self, role: str, at: int) -> int:
        token = self._token(at)
        bare = role == "variable" and self._token(at - 1).text != "["
        if token.kind != "word" or token.text in ("fd", "idx", "id") or (bare and REGISTER.fullmatch(token.text)):
            raise Miss(at, WORDS[role])
        if self.elements[-1].text == "ll" and at == len(self.tokens) - 2 and token.text in self.names.labels:
            raise Miss(at, WORDS[role])  # LLVM has the same words for a map and for a function of the text
        if role == "map_name" and len(token.text.replace("_", "").replace(".", "")) > 64:
            raise Miss(at, "a map's name is shorter", "text-range", "the kernel takes 15 characters")
        known = self.names.map(token.text) if role == "map_name" else self.names.variable(token.text)
        self.result.fields[IMM_AT] = known
        if self.result.fields[IMM2] is None:
            self.result.fields[IMM2] = 0
        self.result.local = True
        return at + 1

    def _helper(self, at: int) -> int:
        """Take a helper by name, with its number behind it or without."""
        token = self._token(at)
        number = NUMBER_OF_HELPER.get(token.text)
        if token.text == "unknown" and self._token(at + 1).text == "#":
            return self._number(at + 2, "helper", IMM_AT, IMM)
        minus = self._token(at + 2).text == "-"
        if self._token(at + 1).text == "#" and self._token(at + 2 + minus).kind == "number":
            given = int(self._token(at + 2 + minus).text[:12], 0) * (-1 if minus else 1)
            if given not in HELPERS and self.opcode is not None:
                # A translated program's: the number is how far an address is, and the name may be one that we know.
                if number is None:
                    return self._number(at + 2, "helper", IMM_AT, IMM)
                self.result.fields[IMM_AT] = number
                return at + 3 + minus
            if given != number:
                do = f"helper {given} is {HELPERS.get(given, 'not known')}; a kernel function is kernel-function#ID"
                raise Miss(at, f"{token.text} is not the name of helper {given}", "text-helper", do)
            return self._number(at + 2, "helper", IMM_AT, (given, given))
        if number is None:
            close = get_close_matches(token.text, NUMBER_OF_HELPER, n=1)
            do = f"did you mean {close[0]}?" if close else "write its number, or label the function"
            raise Miss(at, f"there is no helper and no label {token.text}", "text-helper", do)
        self.result.fields[IMM_AT] = number
        return at + 1

    def _number(self, at: int, role: str, place: int, limits: tuple[int, int]) -> int:
        start, sign = at, 1
        if self._token(at).text in ("+", "-"):
            sign = -1 if self._token(at).text == "-" else 1
            at += 1
        token = self._token(at)
        if token.kind == "word" and sign > 0 and role in REFERRING and (behind := self._reference(at, place)):
            return behind
        if token.kind != "number":
            # What comes after a sign belongs to it.
            raise Miss(at if at > start and token.kind != "end" else start, WORDS.get(role, "a number"))
        base = 16 if token.text[:2] in ("0x", "0X") else 10
        if role == "imm64" and self.dialect.opcodes and self.opcode is None and (base == 10 or sign < 0):
            raise Miss(at, "a number in hex")
        low, high = limits
        if base == 10 and high == IMM[1] and self.dialect.name == "ubpf" and role in ("imm", "cmp"):
            high = S32[1]
        digits = token.text[2:] if base == 16 else token.text
        value = sign * int(digits[:40], base)
        if not low <= value <= high:
            raise Miss(at, *_out_of_range(role, token.text, sign, low, high))
        self.taken[token.at] = (place, base, sign, low, high)
        return at + 1

    def _reference(self, at: int, place: int) -> int:
        """Take what only a target tells, ``size(task_struct.comm)``; return the place behind it, 0 for none."""
        from bpfasm.asm.syntax import references

        end = self._referred(at, references.SPOKEN)
        while end > at and self._token(end).text == "or":
            minus = self._token(end + 1).text == "-"
            number = self._token(end + 1 + minus).kind == "number"
            end = end + 2 + minus if number else self._referred(end + 1, references.SPOKEN)
        if end <= at:
            return 0
        words = ""
        for before, token in zip(self.tokens[at - 1 : end], self.tokens[at:end], strict=False):
            both = before.kind == "word" or before.text in ")]"
            words += " " * bool(words and both and token.kind == "word" and token.text[0] != ".") + token.text
        try:
            found = references.spoken(words.replace(" or", " or ").replace("  ", " "))
        except OperandError as error:
            raise Miss(at, error.what, error.rule, error.do) from None
        self.result.fields[IMM_AT if place == WIDE else place] = found
        if place == WIDE:
            self.result.fields[IMM2] = 0
        self.result.local = True
        return end

    def _referred(self, at: int, functions: frozenset[str]) -> int:
        """Return the place behind a single reference, 0 where none begins: a call, or the path to a field."""
        token = self._token(at)
        if token.text in functions and self._token(at + 1).text == "(":
            depth, at = 1, at + 2
            while depth and at < len(self.tokens):
                depth += (self.tokens[at].text == "(") - (self.tokens[at].text == ")")
                at += 1
            return 0 if depth else at
        if token.text in ("struct", "union", "enum") and self._token(at + 1).kind == "word":
            at += 1
        if self._token(at).kind != "word" or "." not in self._token(at).text.strip("."):
            return 0
        at += 1
        while (
            self._token(at).text == "[" and self._token(at + 1).kind == "number" and self._token(at + 2).text == "]"
        ):
            at += 4 if self._token(at + 3).text[:1] == "." else 3
        return at

    def _beside(self, at: int) -> int:
        """Pass over what disassemblers write behind an instruction: ``<LBB0_2>``, ``#f``."""
        if self._token(at).text == "<" and self.tokens[-1].text == ">":
            return len(self.tokens)
        if self.form.name == "call_rel" and self._token(at).text == "#" and self._token(at + 1).kind == "word":
            return at + 2
        return at

    def _order(self) -> None:
        """Give each number of the line what is done with it; one that is no operand has to stay as it is."""
        for cut in CUT.finditer(self.line):
            self.result.ops.append(self.taken.get(cut.start(), (CONSTANT, 10, 1, 0, 0)))


def _out_of_range(role: str, text: str, sign: int, low: int, high: int) -> tuple[str, str, str]:
    shown = f"-{text}" if sign < 0 else text
    if role == "off":
        return (
            f"an offset of {shown} bytes does not fit 16 bits ({low} to {high})",
            "text-range",
            "add it to the base register first",
        )
    if role == "jump":
        return f"a jump of {shown} slots does not fit 16 bits ({low} to {high})", "text-range", "gotol jumps further"
    if role == "helper" and low == high:
        return f"{shown} is not the number of this helper", "text-helper", f"its number is {low}"
    bits = {ANY64: 64, (0, 0xFFFF): 16}.get((low, high), 32)
    do = "load 64 bits at once with ld_imm64 (lddw, ll)" if bits == 32 else "split it"
    if high == S32[1] and role in ("imm", "cmp"):
        do = f"it would be negative; write it in hex to mean the bits, or {low} to {high}"
    return f"{shown} does not fit {bits} bits", "text-range", do
