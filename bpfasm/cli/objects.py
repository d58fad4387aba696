"""What prog, map, link and btf share: bpftool's word order, and where the output goes."""

from __future__ import annotations

import json

from bpfasm.cli.options import Parser, add_output, write
from bpfasm.kernel.objects import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Iterator
    from typing import Any

    from bpfasm.kernel.objects.select import Opened


class ObjectParser(Parser):
    """The parser of such a verb: words in bpftool's order, and ``--json``, ``--out``."""

    def __init__(self, kind: str, what: str, examples: str, forms: str) -> None:
        super().__init__(kind, f"{what}\n\n{_grammar(kind, forms)}", examples)
        self.kind = kind
        self.add_argument("words", metavar="WORDS", nargs="*", help="what to do, and with which")
        add_output(self)


#: What stands behind the words of a selector.
_VALUES = {"id": "N", "tag": "HEX", "name": "NAME", "pinned": "PATH"}


def _grammar(kind: str, forms: str) -> str:
    selectors = " | ".join(f"{how} {_VALUES[how]}" for how in select.SELECTORS[kind])
    lines = forms.strip("\n")
    return f"{lines}\n\n  {kind.upper()} is {selectors}"


def parse(parser: ObjectParser, argv: list[str]) -> tuple[Namespace, str, list[str]]:
    """Return the arguments, the command (``show`` for ``list`` too, and for nothing), and the words behind it."""
    args = parser.parse_args(argv)
    words = list(args.words) or ["list"]
    command = words.pop(0)
    return args, "show" if command == "list" else command, words


def selector(parser: ObjectParser, words: list[str]) -> tuple[str, str] | None:
    """Take the words that name an object off the front: ``id 12``, or ``id:12``. None where there are none."""
    if not words:
        return None
    allowed = select.SELECTORS[parser.kind]
    how, colon, what = words[0].partition(":")
    if how not in allowed:
        raise parser.refuse(f"{words[0]!r} names no {parser.kind}: it is {', '.join(allowed)}, and a value")
    words.pop(0)
    if not colon:
        if not words:
            raise parser.refuse(f"{how} needs a value")
        what = words.pop(0)
    return how, what


def chosen(parser: ObjectParser, words: list[str]) -> Iterator[Opened]:
    """Open the objects that all of the words name, one at a time; every one of the kind where there are no words."""
    wanted = selector(parser, words)
    if words:
        raise parser.refuse(f"{words[0]!r} is more than {parser.prog} takes")
    return select.every(parser.kind) if wanted is None else select.matching(parser.kind, *wanted)


def put_text(lines: Iterable[str], args: Namespace) -> int:
    """Write lines where ``--out`` says; return the status."""
    write("".join(f"{line}\n" for line in lines).encode(), args.out)
    return 0


def put_json(document: dict[str, Any], args: Namespace) -> int:
    """Write a document where ``--out`` says; return the status."""
    write(f"{json.dumps(document, indent=1)}\n".encode(), args.out)
    return 0
