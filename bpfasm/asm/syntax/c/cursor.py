"""A list of C's tokens as it is read: what is next, what has to be there, and what is said where it is not."""

from __future__ import annotations

from bpfasm.asm.syntax.c.tokens import Token
from bpfasm.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from bpfasm.asm.syntax.c.scope import Scope

#: How deep brackets may be: reading is recursive.
_DEEPEST = 100


class Cursor:
    """A place in a list of tokens, and how many brackets are open there."""

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

    def deeper(self, what: str) -> None:
        """Go a level down, where ``what`` may be nested; who comes up again takes 1 off ``depth``."""
        self.depth += 1
        if self.depth > _DEEPEST:
            self.wrong(f"{what} are too deep", "write it in steps")

    def error(self, what: str, do: str, rule: str, token: Token) -> DecodeError:
        """Return what is wrong at a token."""
        met = f"{token.text!r}: " if token.kind != "end" else "the text ends here: "
        do = do or "a bracket or comma may be missing before it"
        return DecodeError(met + what, do, source=(self.file, token.line), column=token.column, rule=rule)

    def skip(self, *until: str) -> None:
        """Go on to a sign outside brackets, or to the brace that closes those around; stray brackets are passed."""
        depth = 0
        while self.token.kind != "end":
            text = self.token.text if self.token.kind == "sign" else ""
            if depth == 0 and (text in until or text == "}"):
                return
            depth = max(0, depth + (text in ("(", "[", "{")) - (text in (")", "]", "}")))
            self.at += 1

    def pass_over(self, opening: str, closing: str) -> None:
        """Pass over brackets, and what is in them."""
        depth = 0
        while self.token.kind != "end":
            depth += (self.token.text == opening) - (self.token.text == closing)
            self.at += 1
            if depth == 0:
                return
