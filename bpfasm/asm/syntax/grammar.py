"""How a syntax is read: by the same templates that it is printed with.

A line is cut at its numbers. What is left of it is its shape, and all lines of one shape are read alike: the first of
them is matched with the templates, token by token, which gives a plan of what its numbers are; the others are found
by their shape, and cost a look-up and the conversion of their numbers.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from operator import itemgetter

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.syntax.dialect import HELPERS, NUMBER_OF_HELPER, REFERRING, Dialect, example, is_kfunc
from bpfasm.asm.types import raw as raw_type
from bpfasm.asm.variables import Global
from bpfasm.errors import DecodeError, OperandError
from bpfasm.isa.form import ROLES as FIELDS_OF
from bpfasm.isa.insn import FIELDS, Insn, decode
from bpfasm.isa.match import MAX_REG
from bpfasm.isa.table import FORMS
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from bpfasm.errors import Source
    from bpfasm.isa.form import Form

    #: What reads a line from its numbers and its place: None where a number is out of range.
    Make = Callable[[list[str], Source], Insn | None]

NoneType = type(None)

#: The numbers of a line, those of its registers, and those in words (``u32``, ``be16``).
CUT = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+)")
#: What stands for them in a shape: whether a number is in hex belongs to it.
_NUMBER, _HEX = "0", "\1"

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+(?!\w)|[0-9]+(?!\w))|(?P<word>[A-Za-z_.$][\w.$]*)"
    r"|(?P<sign>s(?:>>=|/=|%=|<=|>=|<|>)(?!\w)|<<=|>>=|[-+*/%&|^=!<>]=|\S))"
)
_SIGNED_WORD = re.compile(r"\s*(?P<sign>s(?:>>=|/=|%=|<=|>=|<|>))")
_MACRO = re.compile(r"\bBPF_\w+\s*\(")
_REGISTER = re.compile(r"[rwR]([0-9]+)")

S16, S32, IMM, S64 = (-(1 << 15), (1 << 15) - 1), (-(1 << 31), (1 << 31) - 1), (-(1 << 31), (1 << 32) - 1), (
    -(1 << 63),
    (1 << 64) - 1,
)  # fmt: skip

#: The places of an instruction's fields while it is read, and behind them what is no field itself.
CODE, DST, SRC, OFF, IMM_AT, OFF2, IMM2, WHERE, CONSTANT, WIDE, TO, FROM, AGAIN = range(13)
_EMPTY: list[Any] = [0, 0, 0, 0, 0, None, None, None, 0, None, None, 0, 0]

#: What each role takes: where its number goes, and its range.
_TAKES = {
    "off": (OFF, S16),
    "jump": (OFF, S16),
    "jump32": (IMM_AT, S32),
    "callee": (IMM_AT, S32),
    "func": (IMM_AT, IMM),
    "imm": (IMM_AT, IMM),
    "cmp": (IMM_AT, IMM),
    "imm64": (WIDE, S64),
    "map": (IMM_AT, IMM),
    "map_idx": (IMM_AT, IMM),
    "btf_id": (IMM_AT, IMM),
    "value_off": (IMM2, IMM),
    "btf_fd": (IMM2, IMM),
    "helper": (IMM_AT, IMM),
    "kfunc": (IMM_AT, IMM),
}

#: What a role is called where it is missing.
_WORDS = {
    "dst": "a register",
    "src": "a register",
    "off": "an offset",
    "jump": "a label or a distance",
    "jump32": "a label or a distance",
    "callee": "a function or a distance",
    "label": "a label",
    "map_name": "the name of a map",
    "variable": "the name of a variable",
    "helper": "a helper",
    "kfunc": "a kernel function",
}
_LABELS = ("jump", "jump32", "callee", "func", "label")

#: A helper of 1.3 million lines is enough for any program; what is remembered of shapes has an end.
_MOST_SHAPES = 20_000


#: Digits become one, and the rest blanks.
_TO_NUMBERS = {ord(digit): _NUMBER for digit in "123456789"}
_TO_BLANKS = {code: " " for code in range(128) if chr(code) not in "0123456789"}


def cut(text: str) -> tuple[list[str], list[str]]:
    """Return the shapes of a text's lines, and all its numbers one after the other."""
    if text.isascii() and "0x" not in text and "0X" not in text:
        # Without a regular expression it takes a third of the time.
        shapes = text.translate(_TO_NUMBERS)
        while "00" in shapes:
            shapes = shapes.replace("00", _NUMBER)
        return shapes.split("\n"), text.translate(_TO_BLANKS).split()
    pieces = CUT.split(text)
    numbers = pieces[1::2]
    pieces[1::2] = [_HEX if number[:2] in ("0x", "0X") else _NUMBER for number in numbers]
    return "".join(pieces).split("\n"), numbers


def numbers_in(shape: str) -> int:
    """Return how many numbers the lines of a shape have."""
    return shape.count(_NUMBER) + shape.count(_HEX)


#: How advice begins that names what comes near a line.
NEAR = ("did you mean ", "the nearest are ")


class Token:
    """A token of a line: ``kind`` is number, word or sign; ``at`` is where it starts, ``mark`` its first digit."""

    __slots__ = ("at", "kind", "text")

    def __init__(self, kind: str, text: str, at: int) -> None:
        self.kind, self.text, self.at = kind, text, at


def tokens_of(line: str, start: int = 0) -> list[Token]:
    """Return the tokens of a line from a column on."""
    found, at, end = [], start, len(line)
    while at < end:
        # ``s>=`` is one sign where a word cannot begin with it.
        match = _SIGNED_WORD.match(line, at) or _TOKEN.match(line, at)
        if match is None:
            break
        kind = str(match.lastgroup)
        found.append(Token(kind, match[kind], match.start(kind)))
        at = match.end()
    return found


class Element:
    """An element of a template: a literal token, or a role that stands behind a register's letter or alone."""

    __slots__ = ("letters", "role", "text")

    def __init__(self, text: str = "", role: str = "", letters: str = "") -> None:
        self.text, self.role, self.letters = text, role, letters

    def words(self) -> str:
        """Say what it is, in an error."""
        if self.text:
            return f"{self.text!r}"
        return _WORDS.get(self.role, "a number")


def elements_of(template: str) -> list[Element]:
    """Return the elements of a template."""
    found: list[Element] = []
    pieces = re.split(r"(?:pc(?=\{jump|\{callee))?(?:(%?[rw])(?=\{dst|\{src))?\{(\w+)\}", template)
    for number in range(0, len(pieces), 3):
        found += [Element(text=token.text) for token in tokens_of(pieces[number])]
        if number + 2 < len(pieces):
            letters = (pieces[number + 1] or "").removeprefix("%")
            found.append(Element(role=pieces[number + 2], letters=letters))
    return found


class Candidate:
    """A template of a form, ready to be matched."""

    __slots__ = ("elements", "form", "template")

    def __init__(self, form: Form, template: str) -> None:
        self.form, self.template, self.elements = form, template, elements_of(template)

    @property
    def first(self) -> str:
        """What its lines begin with."""
        first = self.elements[0]
        return first.letters or (first.text[0] if _REGISTER.fullmatch(first.text) else first.text)


class Miss(Exception):
    """A template does not fit: the number of the token where that shows, what belongs there, and other words."""

    def __init__(self, at: int, wanted: str, rule: str = "text-syntax", do: str = "") -> None:
        super().__init__(wanted)
        self.at, self.wanted, self.rule, self.do = at, wanted, rule, do


class Plan:
    """How lines of a shape are read: fixed ``fields``, and for each number of the line an operation.

    An operation is (place, base, sign, lowest, highest). ``local`` plans hold names of one text.
    """

    __slots__ = ("again", "fields", "local", "ops")

    def __init__(self, fields: list[Any]) -> None:
        self.fields = fields
        self.ops: list[tuple[int, int, int, int, int]] = []
        self.local = False
        self.again = 0

    def compile(self) -> Make:
        """Return the function that reads such a line. Registers are looked up, other numbers converted."""
        # What a name stands for is no literal.
        fields = [repr(f) if f.__class__ in (int, NoneType) else f"f[{at}]" for at, f in enumerate(self.fields)]
        given: set[int] = set()
        lines = ["".join(f"n{number}, " for number in range(len(self.ops))) + "= p"] if self.ops else []
        for number, (place, base, sign, low, high) in enumerate(self.ops):
            if place == CONSTANT:
                # Words of the template are what the plan is found by.
                continue
            given.add(place)
            value = fields[place] = f"n{number}"
            if place in (DST, SRC, AGAIN):
                fields[place] = f"r[{value}]"
                continue
            lines.append(f"{value} = {'-' if sign < 0 else ''}int({value}{', 16' if base == 16 else ''})")
            lines.append(f"if not {low} <= {value} <= {high}: return None")
            if high > 0x7FFF_FFFF and place != WIDE:
                lines.append(f"if {value} > 0x7fffffff: {value} -= 0x100000000")
        if self.again:
            lines.append(f"if {fields[AGAIN]} != {fields[self.again]}: return None")
        if WIDE in given:
            lines.append(f"low = {fields[WIDE]} & 0xffffffff; high = {fields[WIDE]} >> 32 & 0xffffffff")
            fields[IMM_AT], fields[IMM2] = ("(low ^ 0x80000000) - 0x80000000", "(high ^ 0x80000000) - 0x80000000")
        if TO in given:
            fields[IMM_AT] = f"(({fields[TO]} << 16 | {fields[FROM]}) ^ 0x80000000) - 0x80000000"
        lines.append(f"return new(Insn, ({', '.join(fields[:WHERE])}, w))")
        body = "\n  ".join(lines)
        source = f"def make(p, w):\n try:\n  {body}\n except (KeyError, ValueError): return None"
        scope: dict[str, Any] = {"f": self.fields, "r": _REGISTERS, "new": tuple.__new__, "Insn": Insn}
        exec(source, scope)
        make: Make = scope["make"]
        return make


#: Registers by the digits of their names.
_REGISTERS = {str(number): number for number in range(MAX_REG + 1)}


class Shape:
    """What is known of the lines of a shape, which have ``count`` numbers.

    ``words`` takes those that are words of the templates (``u32``, ``be16``), None where there are none; by them
    ``makes`` has what reads a line.
    """

    __slots__ = ("count", "makes", "places", "words")

    def __init__(self, count: int, places: tuple[int, ...]) -> None:
        self.count, self.places = count, places
        self.words: Callable[[list[str]], Any] | None = itemgetter(*places) if places else None
        self.makes: dict[Any, Make] = {}

    def read(self, numbers: list[str], where: Source) -> Insn | None:
        """Return the instruction of a line, from its numbers; None where they are not those of a known plan."""
        make = self.makes.get(self.words(numbers) if self.words else None)
        return make(numbers, where) if make else None


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


class Grammar:
    """What reads one syntax."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.shapes: dict[str, Shape] = {}
        self.by_first: dict[str, list[Candidate]] = {}
        for form in FORMS:
            template = dialect.template(form)
            if "BUG_" not in template:
                for each in filter(None, (template, *dialect.aliases(form))):
                    candidate = Candidate(form, each)
                    self.by_first.setdefault(candidate.first, []).append(candidate)
        # 64 bits in hex are the kernel's ld_imm64, and decimal a move: the form that is pickier comes first.
        for several in self.by_first.values():
            several.sort(key=lambda each: each.form.kind != "ld_imm64")

    def one(self, line: str, names: Names | None = None) -> Insn:
        """Return the instruction of a line. Raises DecodeError."""
        found = self.read(line, ("-", 1), names or Names(), {})
        if isinstance(found, list):
            return found[0]
        return found

    def read(self, line: str, where: Source, names: Names, local: dict[str, Shape]) -> Insn | list[Insn]:
        """Return the instruction of a line without comment, or those of a raw word. Raises DecodeError."""
        (shape,), numbers = cut(line)
        found = self.shapes.get(shape) or local.get(shape)
        if found is not None:
            insn = found.read(numbers, where)
            if insn is not None:
                return insn
        if ".8byte" in line or ("BPF_" in line and _MACRO.search(line)):
            return self.raw(line, where)
        # The first of its shape; or its numbers are those of another template, or of none: then this says so.
        plan = self._plan(line, where, names)
        make = plan.compile()
        insn = make(numbers, where)
        if insn is None:
            refuse(line, where, 0, "both registers have to be the same one here", "", "text-syntax")
        self._keep(shape, plan, make, numbers, local)
        return insn

    def _keep(self, shape: str, plan: Plan, make: Make, numbers: list[str], local: dict[str, Shape]) -> None:
        """Remember a plan by the shape of its line and the numbers that are words of its template."""
        kept = local if plan.local else self.shapes
        if len(kept) >= _MOST_SHAPES:
            kept.clear()
        places = tuple(number for number, op in enumerate(plan.ops) if op[0] == CONSTANT)
        known = kept.setdefault(shape, Shape(len(numbers), places))
        if known.places == places and len(known.makes) < _MOST_SHAPES:
            known.makes[known.words(numbers) if known.words else None] = make

    # What no template fits

    def raw(self, line: str, where: Source) -> list[Insn]:
        """Return the instructions of a raw word: ``.8byte 0x...``, or of the macro that is written field by field."""
        if ".8byte" not in line:
            from bpfasm.asm.syntax import macro

            return [macro.one(re.sub(r"^\s*\([0-9a-f]{2}\)", "", line), where)]
        head, _, rest = line.partition(".8byte")
        words = rest.split(",")
        data = b""
        for word in words:
            try:
                value = int(word.strip(), 0)
                data += value.to_bytes(8, "little")
            except (ValueError, OverflowError):
                at = line.index(word.strip(), len(head) + 6)
                refuse(
                    line, where, at, f"{word.strip()!r} is no number of 64 bits", "write .8byte 0x...", "text-range"
                )
        return [insn.replace(where=where) for insn in decode(data)]

    def _plan(self, line: str, where: Source, names: Names) -> Plan:
        """Match a line with the templates. Raises DecodeError where none fits."""
        tokens = tokens_of(line)
        opcode, tokens = _opcode(tokens)
        if not tokens:
            refuse(line, where, len(line), "nothing stands behind the opcode", "", "text-syntax")
        first = tokens[1].text if tokens[0].text == "%" and len(tokens) > 1 else tokens[0].text
        register = _REGISTER.fullmatch(first)
        candidates = self.by_first.get(first[0] if register else first, [])
        if not candidates:
            self._unknown(line, where, tokens[0])
        if opcode is not None:
            same = [each for each in candidates if each.form.code == opcode]
            if not same:
                candidates = [each for rows in self.by_first.values() for each in rows if each.form.code == opcode]
                self._other_opcode(line, where, opcode, candidates)
            candidates = same
        nearest: tuple[Miss, Candidate] | None = None
        for candidate in candidates:
            try:
                return _Match(self, candidate, line, tokens, names, opcode).plan()
            except Miss as missed:
                if nearest is None or _depth(missed) > _depth(nearest[0]):
                    nearest = missed, candidate
        assert nearest is not None
        miss, candidate = nearest
        token = tokens[miss.at] if miss.at < len(tokens) else None
        at = token.at if token else len(line.rstrip())
        if miss.rule == "text-syntax":
            wanted = self._wanted(candidates, tokens, names, opcode, miss.at)
            met = f"{line[at:].split(maxsplit=1)[0].rstrip(',')!r}" if token else "the end of the line"
            what = f"{met} where {wanted} belongs"
            refuse(line, where, at, what, f"write it like {self.sample(candidate.form)}", miss.rule)
        refuse(line, where, at, miss.wanted, miss.do, miss.rule)

    def _wanted(
        self, candidates: list[Candidate], tokens: list[Token], names: Names, opcode: int | None, at: int
    ) -> str:
        """Say what belongs at a token: what the templates that come this far have there."""
        wanted: dict[str, None] = {}
        for candidate in candidates:
            try:
                _Match(self, candidate, "", tokens, names, opcode).plan()
            except Miss as miss:
                if miss.at == at and miss.rule == "text-syntax":
                    wanted[miss.wanted] = None
            except DecodeError:
                continue
        several = [*wanted][:8]
        return several[0] if len(several) == 1 else f"one of {', '.join(several)}"

    def sample(self, form: Form) -> str:
        """Return an example of a form in this syntax."""
        insn = example(form, self.dialect.template(form))
        text = self.dialect.text(insn, form)
        if text.startswith(".8byte") or form.name == "call_rel":
            return (
                f"`{self.dialect.template(form).format(callee=self.dialect.callee.format('name')).replace('pc', '')}`"
            )
        return f"`{re.sub('^[(]..[)] ', '', text)}`"

    def _unknown(self, line: str, where: Source, token: Token) -> NoReturn:
        firsts = [word for word in self.by_first if len(word) > 1]
        close = get_close_matches(token.text, firsts, n=3, cutoff=0.5)
        do = f"{NEAR[1]}{', '.join(close)}" if close else f"it has {', '.join(sorted(firsts)[:12])} ..."
        if len(close) == 1:
            do = f"{NEAR[0]}{self.sample(self.by_first[close[0]][0].form)}?"
        what = f"no instruction of the {self.dialect.name} syntax begins with {token.text!r}"
        if any(each in self.by_first for each in "rw") and not close:
            do = f"write it like {self.sample(self.by_first['r'][0].form)}, or --from another syntax"
        refuse(line, where, token.at, what, do, "text-unknown")

    def _other_opcode(self, line: str, where: Source, opcode: int, candidates: list[Candidate]) -> NoReturn:
        what = f"this is no text of opcode {opcode:02x}"
        do = (
            f"({opcode:02x}) is {self.sample(candidates[0].form)}" if candidates else "no instruction has this opcode"
        )
        refuse(line, where, 0, what, do, "text-opcode")


def refuse(line: str, where: Source, at: int, what: str, do: str, rule: str) -> NoReturn:
    """Raise what is wrong at a column of a line, counted from 0."""
    raise DecodeError(what, do or f"the line is: {line.strip()[:80]}", source=where, column=at + 1, rule=rule)


def _depth(miss: Miss) -> float:
    """Return how far a template fits; one that fits but for a number or a name is nearer than its neighbours."""
    return miss.at + (0 if miss.rule == "text-syntax" else 1.5)


def _opcode(tokens: list[Token]) -> tuple[int | None, list[Token]]:
    """Take ``(b7)`` off the front of a line."""
    if len(tokens) > 2 and tokens[0].text == "(" and tokens[2].text == ")" and len(tokens[1].text) == 2:
        try:
            return int(tokens[1].text, 16), tokens[3:]
        except ValueError:
            pass
    # ``(7b)`` begins with a number that is followed by a letter, which makes two tokens.
    if len(tokens) > 3 and tokens[0].text == "(" and tokens[3].text == ")":
        try:
            return int(tokens[1].text + tokens[2].text, 16), tokens[4:]
        except ValueError:
            pass
    return None, tokens


class _Match:
    """A line held against one template."""

    def __init__(
        self,
        grammar: Grammar,
        candidate: Candidate,
        line: str,
        tokens: list[Token],
        names: Names,
        opcode: int | None,
    ) -> None:
        self.dialect, self.form, self.elements = grammar.dialect, candidate.form, candidate.elements
        self.line, self.tokens, self.names, self.opcode = line, tokens, names, opcode
        self.taken: dict[int, tuple[int, int, int, int, int]] = {}
        fields = _EMPTY[:]
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
        match = _REGISTER.fullmatch(token.text)
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
        if _REGISTER.fullmatch(token.text):
            return False
        place = OFF if role == "jump" else IMM_AT
        self.result.fields[place] = token.text
        self.result.local = True
        return True

    def _named(self, role: str, at: int) -> int:
        token = self._token(at)
        bare = role == "variable" and self._token(at - 1).text != "["
        if token.kind != "word" or token.text in ("fd", "idx", "id") or (bare and _REGISTER.fullmatch(token.text)):
            raise Miss(at, _WORDS[role])
        if self.elements[-1].text == "ll" and at == len(self.tokens) - 2 and token.text in self.names.labels:
            raise Miss(at, _WORDS[role])  # LLVM has the same words for a map and for a function of the text
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
            raise Miss(at if at > start and token.kind != "end" else start, _WORDS.get(role, "a number"))
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
    bits = {S64: 64, (0, 0xFFFF): 16}.get((low, high), 32)
    do = "load 64 bits at once with ld_imm64 (lddw, ll)" if bits == 32 else "split it"
    if high == S32[1] and role in ("imm", "cmp"):
        do = f"it would be negative; write it in hex to mean the bits, or {low} to {high}"
    return f"{shown} does not fit {bits} bits", "text-range", do
