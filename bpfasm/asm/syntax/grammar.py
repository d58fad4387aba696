"""How a syntax is read: by the same templates that it is printed with.

A line is cut at its numbers. What is left of it is its shape, and all lines of one shape are read alike: the first of
them is matched with the templates, token by token, which gives a plan of what its numbers are; the others are found
by their shape, and cost a look-up and the conversion of their numbers.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from bpfasm.asm.syntax.dialect import example
from bpfasm.asm.syntax.matching import Match, Names
from bpfasm.asm.syntax.plan import CONSTANT, Shape, cut
from bpfasm.asm.syntax.templates import REGISTER, Candidate, Miss, tokens_of
from bpfasm.errors import DecodeError
from bpfasm.isa.insn import decode
from bpfasm.isa.table import FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from bpfasm.asm.syntax.dialect import Dialect
    from bpfasm.asm.syntax.plan import Make, Plan
    from bpfasm.asm.syntax.templates import Token
    from bpfasm.errors import Source
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

_MACRO = re.compile(r"\bBPF_\w+\s*\(")

#: What is remembered of shapes has an end.
_MOST_SHAPES = 20_000

#: How advice begins that names what comes near a line.
NEAR = ("did you mean ", "the nearest are ")


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
        register = REGISTER.fullmatch(first)
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
                return Match(self.dialect, candidate, line, tokens, names, opcode).plan()
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
                Match(self.dialect, candidate, "", tokens, names, opcode).plan()
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
