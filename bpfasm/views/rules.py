"""What the docs say of a rule: its paragraph and its example, from the pages as they are shipped."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: The pages that have a paragraph for each rule, under its name.
PAGES = ("docs/rules.rst", "docs/lint.rst")


def paragraphs(page: str) -> dict[str, str]:
    """Return the paragraph of each rule on a page, as reStructuredText; a title may name several."""
    import re

    pieces = re.split(r"^(\S.*)\n\^+\n", page, flags=re.M)
    found: dict[str, str] = {}
    for title, text in zip(pieces[1::2], pieces[2::2], strict=True):
        own = re.split(r"^\S.*\n(?:-+|=+)\n", text, maxsplit=1, flags=re.M)[0].strip("\n")
        found |= dict.fromkeys(title.split(", "), own)
    return found


def facts(paragraph: str) -> Iterator[tuple[str, str]]:
    """Yield what a paragraph says and its examples, in plain text."""
    import re

    pieces = re.split(r"^\.\. code-block:: \w+\n\n((?:   .*\n|\n)+)", f"{paragraph}\n", flags=re.M)
    yield "means", "\n\n".join(each for piece in pieces[::2] if (each := _plain(piece.strip("\n"))))
    for code in pieces[1::2]:
        yield "example", "\n".join(line[3:] for line in code.strip("\n").split("\n"))


def _plain(text: str) -> str:
    """Return a text without the markup of words."""
    import re

    text = re.sub(r":\w+:`([^`<]*?)(?: <[^`>]*>)?`", r"\1", text)
    return re.sub(r"::$", ":", text.replace("``", ""), flags=re.M)
