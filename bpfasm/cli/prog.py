"""``bpfasm prog``: the programs in the kernel, whoever loaded them."""

from __future__ import annotations

from bpfasm.cli.native import native, not_jited
from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text, selector
from bpfasm.cli.options import write
from bpfasm.errors import InputError
from bpfasm.kernel.links.attached import attached
from bpfasm.kernel.objects import select
from bpfasm.kernel.programs.dump import assembled_of, dump, full_name
from bpfasm.kernel.programs.info import jited, prog_info
from bpfasm.views import documents, object_documents, objects
from bpfasm.views.dump import xlated_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any

    from bpfasm.kernel.programs.dump import Dump


def main(argv: list[str]) -> int:
    """Run ``bpfasm prog``."""
    parser = ObjectParser(
        "prog",
        "List the programs in the kernel, or dump one: as the verifier left it (xlated), or native (jited).",
        """
  bpfasm prog list
  bpfasm prog dump xlated id 12
""",
        """
  bpfasm prog {list|show} [PROG]
  bpfasm prog dump {xlated|jited} PROG [opcodes] [linum] [file FILE]
""",
    )
    args, command, words = parse(parser, argv)
    if command == "show":
        found = [prog_info(opened.fd) for opened in chosen(parser, words)]
        places = attached({info.type for info in found})
        shown = [(info, full_name(info), places.get(info.id, [])) for info in found]
        if args.json:
            return put_json(object_documents.progs(shown), args)
        return put_text((line for each in shown for line in objects.prog_lines(*each)), args)
    if command == "dump":
        return _dump(parser, words, args)
    raise parser.refuse(f"prog has no command {command!r}: it has list, show and dump")


def _dump(parser: ObjectParser, words: list[str], args: Namespace) -> int:
    """Dump a program, translated or native."""
    what = words.pop(0) if words else ""
    if what not in ("xlated", "jited"):
        raise parser.refuse(f"dump {what or 'nothing'}: it dumps xlated or jited")
    wanted = selector(parser, words)
    if wanted is None:
        raise parser.refuse("dump needs a program: id N, tag HEX, name NAME or pinned PATH")
    options = {"opcodes": False, "linum": False}
    file = None
    while words:
        word = words.pop(0)
        if word == "file" and words:
            file = words.pop(0)
        elif word in options:
            options[word] = True
        else:
            raise parser.refuse(f"{word!r} is no part of a dump: it takes opcodes, linum, file FILE")
    lines: list[str] = []
    found: list[Any] = []
    for number, opened in enumerate(select.matching("prog", *wanted)):
        if file is not None and number:
            raise _several(*wanted)
        each = dump(opened.fd)
        if number:
            lines.append("")
        if what == "xlated":
            if file is not None:
                write(each.code, file)
            found.append(each)
            lines += xlated_lines(each, **options)
        else:
            document, text = _native(each, jited(opened.fd), options, file)
            found.append(document)
            lines += text
    if file is not None:
        return 0
    if args.json and what == "xlated":
        return put_json(documents.programs(map(assembled_of, found), [each.names for each in found]), args)
    if args.json and len(found) > 1:
        raise _several(*wanted)
    return put_json(found[0], args) if args.json else put_text(lines, args)


def _several(how: str, what: str) -> InputError:
    return InputError(f"several programs have the {how} {what}", "take one by its id", rule="several-programs")


def _native(each: Dump, code: bytes, options: dict[str, bool], file: str | None) -> tuple[dict[str, Any], list[str]]:
    """Return native code as a document and as lines, or write its bytes to a file."""
    if file is None:
        return native(each, code, **options)
    if not code:
        raise not_jited(each)
    write(code, file)
    return {}, []
