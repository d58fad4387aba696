"""Templates of instructions as they are read: their elements, and the tokens of a line to hold against them."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.isa.form import Form

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+(?!\w)|[0-9]+(?!\w))|(?P<word>[A-Za-z_.$][\w.$]*)"
    r"|(?P<sign>s(?:>>=|/=|%=|<=|>=|<|>)(?!\w)|<<=|>>=|[-+*/%&|^=!<>]=|\S))"
)
_SIGNED_WORD = re.compile(r"\s*(?P<sign>s(?:>>=|/=|%=|<=|>=|<|>))")

#: A register's name, and its number.
REGISTER = re.compile(r"[rwR]([0-9]+)")

#: What a role is called where it is missing.
WORDS = {
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


class Token:
    """A token of a line: ``kind`` is number, word or sign; ``at`` is where it starts."""

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
        return WORDS.get(self.role, "a number")


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
        return first.letters or (first.text[0] if REGISTER.fullmatch(first.text) else first.text)


class Miss(Exception):
    """A template does not fit: the number of the token where that shows, what belongs there, and other words."""

    def __init__(self, at: int, wanted: str, rule: str = "text-syntax", do: str = "") -> None:
        super().__init__(wanted)
        self.at, self.wanted, self.rule, self.do = at, wanted, rule, do
