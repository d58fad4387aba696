"""C text to tokens, through a preprocessor of the size that arrays of instructions need.

``#define`` with and without arguments, ``#undef``, ``#if`` and its kin, lines joined by a backslash, ``##``;
``#include`` is passed over, as what the kernel's headers define is known (``bpfasm.asm.syntax.c.scope``).
"""

from __future__ import annotations

import re

from bpfasm.asm.syntax.c.names import FUNCTIONS
from bpfasm.errors import DecodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_LEXER = re.compile(
    r"""(?P<space>[ \t\f\v]+|//[^\n]*|/\*.*?\*/)|(?P<line>\n)|(?P<directive>\#(?!\#))
    |(?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
    |(?P<word>[A-Za-z_$][\w$]*)|(?P<string>L?"(?:[^"\\\n]|\\.)*")|(?P<char>L?'(?:[^'\\\n]|\\.)+')
    |(?P<sign>\#\#|\.\.\.|<<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[^\s\w])""",
    re.X | re.S,
)

#: A file's tokens after all its macros are expanded; what makes more is no array of instructions.
MOST_TOKENS = 4_000_000
_MOST_EXPANSIONS = 200_000
_DEEPEST = 64


class Token:
    """A token: ``kind`` is number, word, string, char, sign or end; where it is written."""

    __slots__ = ("column", "kind", "line", "text")

    def __init__(self, kind: str, text: str, line: int, column: int) -> None:
        self.kind, self.text, self.line, self.column = kind, text, line, column

    def __repr__(self) -> str:
        return self.text


class Macro:
    """A ``#define``: its parameters, None where it takes none, and its tokens."""

    __slots__ = ("body", "name", "parameters", "variadic")

    def __init__(self, name: str, parameters: list[str] | None, body: list[Token], variadic: bool) -> None:
        self.name, self.parameters, self.body, self.variadic = name, parameters, body, variadic


def lex(text: str, file: str, *, hashes: bool = False, line: int = 1) -> list[list[Token]]:
    """Return the tokens of each line; a ``#`` that begins a directive is a token. Raises DecodeError.

    ``hashes`` makes ``#`` start a comment, as in Python. ``line`` is the first one's number.
    """
    # A NUL of the file is a blank, as to gcc; those here stand for joined lines.
    text = text.replace("\r", "").replace("\x00", " ").replace("\\\n", " \x00")
    lines: list[list[Token]] = [[]]
    at = start = 0
    match = _LEXER.match
    while at < len(text):
        if text[at] == "\x00":
            line, start, at = line + 1, at + 1, at + 1
            continue
        found = match(text, at)
        if found is None:
            broken(
                file, line, at - start + 1, f"{text[at]!r} begins nothing that C knows", "a quote or comment is open?"
            )
        kind, piece = str(found.lastgroup), found[0]
        end = found.end()
        if kind == "line":
            lines.append([])
            line, start = line + 1, end
        elif kind == "space":
            if hashes and piece.startswith("//"):
                lines[-1].append(Token("sign", "//", line, at - start + 1))
                end = at + 2
            else:
                count = piece.count("\n") + piece.count("\x00")
                if count:
                    # A comment of several lines is a blank: what follows is still on the first one's line.
                    line, start = line + count, at + max(piece.rfind("\n"), piece.rfind("\x00")) + 1
        elif kind == "directive":
            if hashes:
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
            else:
                lines[-1].append(Token("directive" if not lines[-1] else "sign", "#", line, at - start + 1))
        else:
            lines[-1].append(Token(kind, piece, line, at - start + 1))
            line += piece.count("\x00")
        at = end
    return lines


def broken(file: str, line: int, column: int, what: str, do: str, rule: str = "c-syntax") -> NoReturn:
    """Raise what is wrong at a place."""
    raise DecodeError(what, do, source=(file, line), column=column, rule=rule)


class Preprocessor:
    """Expands a file's macros; ``evaluate`` gives the value of the condition of an ``#if``.

    ``predefined`` gives the numbers of the macros that no file has to define, or None.
    """

    def __init__(
        self,
        file: str,
        evaluate: Callable[[list[Token]], int],
        predefined: Callable[[str], int | None] = lambda name: None,
    ) -> None:
        self.file, self.evaluate, self.predefined = file, evaluate, predefined
        self.macros: dict[str, Macro] = {}
        self.made = self.expansions = 0

    def run(self, lines: list[list[Token]]) -> list[Token]:
        """Return the tokens of a file, expanded. Raises DecodeError."""
        out: list[Token] = []
        pending: list[Token] = []
        #: For each open #if: whether its lines count, and whether one of its branches did.
        open_ifs: list[list[bool]] = []
        for line in lines:
            if line and line[0].kind == "directive":
                out += self.expand(pending)
                pending = []
                self._directive(line[0], line[1:], open_ifs)
            elif all(each[0] for each in open_ifs):
                pending += line
        out += self.expand(pending)
        return out

    def _directive(self, hash: Token, words: list[Token], open_ifs: list[list[bool]]) -> None:
        name = words[0].text if words else ""
        rest = words[1:]
        live = all(each[0] for each in open_ifs)
        if name in ("if", "ifdef", "ifndef"):
            if not live:
                open_ifs.append([False, True])
                return
            if name == "if":
                taken = bool(self.condition(rest, hash))
            else:
                taken = (bool(rest) and self.defined(rest[0].text)) == (name == "ifdef")
            open_ifs.append([taken, taken])
        elif name in ("elif", "else", "endif"):
            if not open_ifs:
                broken(self.file, hash.line, hash.column, f"#{name} without #if", "an #if before it is missing")
            last = open_ifs[-1]
            if name == "endif":
                open_ifs.pop()
            elif last[1]:
                last[0] = False
            else:
                last[0] = last[1] = name == "else" or bool(self.condition(rest, hash))
        elif live and name == "define":
            self._define(hash, rest)
        elif live and name == "undef" and rest:
            self.macros.pop(rest[0].text, None)
        elif live and name == "error":
            said = " ".join(word.text for word in rest)
            broken(
                self.file, hash.line, hash.column, f"#error {said}".strip(), "a #define or an #if before it decides"
            )

    def defined(self, name: str) -> bool:
        """Tell whether a macro has been defined."""
        return name in self.macros or self.predefined(name) is not None

    def condition(self, words: list[Token], hash: Token) -> int:
        """Return the value of an ``#if``'s condition; a name that is not defined is 0 there."""
        tokens: list[Token] = []
        at = 0
        while at < len(words):
            word = words[at]
            if word.text == "defined":
                at += 1
                bracket = at < len(words) and words[at].text == "("
                at += bracket
                name = words[at].text if at < len(words) else ""
                at += 1 + bracket
                tokens.append(Token("number", str(int(self.defined(name))), word.line, word.column))
                continue
            tokens.append(word)
            at += 1
        expanded = self.expand(tokens)
        for at, (word, behind) in enumerate(zip(expanded, [*expanded[1:], hash], strict=False)):
            # What a macro of the headers makes, KERNEL_VERSION(5, 12, 0), is for the evaluation to know.
            if word.kind == "word" and not (word.text in FUNCTIONS and behind.text == "("):
                expanded[at] = Token("number", str(self.predefined(word.text) or 0), word.line, word.column)
        if not expanded:
            broken(self.file, hash.line, hash.column, "an #if without a condition", "write #if 1, or #ifdef NAME")
        return self.evaluate(expanded)

    def _define(self, hash: Token, words: list[Token]) -> None:
        if not words or words[0].kind != "word":
            broken(self.file, hash.line, hash.column, "#define without a name", "write #define NAME VALUE")
        name, body = words[0], words[1:]
        parameters: list[str] | None = None
        variadic = False
        # Arguments are those in a bracket that stands right behind the name.
        if body and body[0].text == "(" and body[0].column == name.column + len(name.text):
            parameters = []
            at = 1
            while at < len(body) and body[at].text != ")":
                if body[at].text == "...":
                    variadic = True
                    # GNU C has a name before it, and then no comma: ``args...``.
                    if at == 1 or body[at - 1].text == ",":
                        parameters.append("__VA_ARGS__")
                elif body[at].kind == "word":
                    parameters.append(body[at].text)
                at += 1
            body = body[at + 1 :]
        self.macros[name.text] = Macro(name.text, parameters, body, variadic)

    # Expanding

    def expand(self, tokens: list[Token], hidden: frozenset[str] = frozenset(), depth: int = 0) -> list[Token]:
        """Return tokens with the macros in them expanded, but those that are ``hidden``: they are being expanded."""
        if not self.macros:
            return tokens
        out: list[Token] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            macro = self.macros.get(token.text) if token.kind == "word" else None
            if macro is None or token.text in hidden:
                out.append(token)
                at += 1
                continue
            at += 1
            arguments: list[list[Token]] = []
            if macro.parameters is not None:
                if at >= len(tokens) or tokens[at].text != "(":
                    out.append(token)
                    continue
                arguments, at = self._arguments(tokens, at)
            self.expansions += 1
            if depth > _DEEPEST or self.expansions > _MOST_EXPANSIONS:
                broken(
                    self.file, token.line, token.column, f"{token.text} expands without end", "look at its #define"
                )
            body = self._substitute(macro, token, arguments, hidden, depth)
            self.made += len(body)
            if self.made > MOST_TOKENS:
                broken(self.file, token.line, token.column, f"{token.text} becomes too much", "look at its #define")
            out += self.expand(body, hidden | {token.text}, depth + 1)
        return out

    def _arguments(self, tokens: list[Token], at: int) -> tuple[list[list[Token]], int]:
        found: list[list[Token]] = [[]]
        depth, first = 0, tokens[at]
        while at < len(tokens):
            text = tokens[at].text
            depth += (text in "([{") - (text in ")]}") if tokens[at].kind == "sign" else 0
            if depth == 0:
                return found, at + 1
            if text == "," and depth == 1:
                found.append([])
            elif not (depth == 1 and text == "(" and tokens[at] is first):
                found[-1].append(tokens[at])
            at += 1
        broken(self.file, first.line, first.column, "this bracket is not closed", "write ) where its arguments end")

    def _substitute(
        self, macro: Macro, token: Token, arguments: list[list[Token]], hidden: frozenset[str], depth: int
    ) -> list[Token]:
        given: dict[str, list[Token]] = {}
        if macro.parameters is not None:
            parameters = macro.parameters
            if macro.variadic:
                fixed = len(parameters) - 1
                rest: list[Token] = []
                for number, argument in enumerate(arguments[fixed:]):
                    if number:
                        rest.append(Token("sign", ",", token.line, token.column))
                    rest += argument
                arguments = [*arguments[:fixed], rest]
            elif arguments == [[]] and not parameters:
                arguments = []
            if len(arguments) != len(parameters):
                broken(
                    self.file,
                    token.line,
                    token.column,
                    f"{macro.name} takes {len(parameters)} arguments, and these are {len(arguments)}",
                    f"#define {macro.name}({', '.join(parameters)})",
                )
            given = dict(zip(parameters, arguments, strict=True))
        body: list[Token] = []
        at = 0
        while at < len(macro.body):
            each = macro.body[at]
            if each.text == "##" and body and at + 1 < len(macro.body):
                following = macro.body[at + 1]
                right = given.get(following.text, [following])
                left = body.pop()
                if left.text == "," and following.text in given:  # GNU C: no comma where nothing follows
                    body += [left, *right] if right else []
                    at += 2
                    continue
                glued = left.text + (right[0].text if right else "")
                kind = "word" if re.fullmatch(r"[A-Za-z_$][\w$]*", glued) else left.kind
                body.append(Token(kind, glued, token.line, token.column))
                body += right[1:]
                at += 2
                continue
            if each.kind == "word" and each.text in given:
                glue = at + 1 < len(macro.body) and macro.body[at + 1].text == "##"
                # An argument is expanded before it is put in, but not where it is glued to something.
                value = given[each.text] if glue else self.expand(given[each.text], hidden, depth + 1)
                self.made += len(value)
                body += value
            else:
                body.append(Token(each.kind, each.text, token.line, token.column))
            at += 1
        return body
