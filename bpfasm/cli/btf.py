"""``bpfasm btf``: the types in the kernel, of itself, its modules, programs and maps; and what one of them is."""

from __future__ import annotations

import sys

from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text
from bpfasm.errors import UsageError
from bpfasm.kernel.btf.info import btf_infos
from bpfasm.kernel.objects import select
from bpfasm.views import object_documents, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable

    from bpfasm.btf.read import Btf
    from bpfasm.place import Place
    from bpfasm.views.btf_types import Shown


def main(argv: list[str]) -> int:
    """Run ``bpfasm btf``."""
    parser = ObjectParser(
        "btf",
        "List the BTF objects in the kernel, and the programs and maps that use them; show a type, or a field.",
        """
  bpfasm btf list
  bpfasm btf dump id 1 format raw
  bpfasm btf dump file /sys/kernel/btf/vmlinux format c --out vmlinux.h
  bpfasm btf show task_struct
  bpfasm btf show task_struct.se.sum_exec_runtime --on 5.10,7
  bpfasm btf show bpf_iter_num --to record
""",
        "  bpfasm btf {list|show} [BTF]\n"
        "  bpfasm btf dump {BTF | file FILE} [format {c|raw}]      all of its types\n"
        "  bpfasm btf show TYPE[.FIELD]      a struct, enum, typedef, function",
    )
    parser.add_argument("--btf", metavar="WHERE", help="types of a FILE (BTF or ELF), or of module:NAME, or id:N")
    parser.add_argument("--to", choices=("c", "record"), default="c", help="print a type in C, or as a Record")
    parser.add_argument("--on", action="append", default=[], metavar="V", help="ask a kernel of the lab, or several")
    args, command, words = parse(parser, argv)
    if command == "dump":
        if args.on:
            from bpfasm import place

            files = words[1:2] if words[:1] == ["file"] else []
            return place.run(["btf", *argv], args.on, [], lambda: _dump(args, parser, words), files=files)
        return _dump(args, parser, words)
    if command != "show":
        raise parser.refuse(f"btf has no command {command!r}: it has list, show and dump")
    if args.on:
        from bpfasm import place

        if words and not args.btf and not _is_selector(words):
            places = place.choose(args.on, [])
            types = {each.kernel: found for each in places if (found := _types_on(each)) is not None}
            if len(types) == len(places):
                return _show_on(args, " ".join(words), places, types)
        files = [args.btf] if args.btf and not args.btf.startswith(("module:", "id:")) else []
        here = [word for word in argv if word]
        return place.run(["btf", *here], args.on, [], lambda: _show(args, parser, words), files=files)
    return _show(args, parser, words)


def _show(args: Namespace, parser: ObjectParser, words: list[str]) -> int:
    if words and not _is_selector(words):
        return _show_type(args, " ".join(words))
    found = btf_infos(chosen(parser, words))
    if args.json:
        return put_json(object_documents.btfs(found), args)
    return put_text((line for info in found for line in objects.btf_lines(info)), args)


def _dump(args: Namespace, parser: ObjectParser, words: list[str]) -> int:
    """Print all types of a BTF object or file."""
    from bpfasm.btf.dump import raw_lines, rows

    in_c = False
    if words[-2:-1] == ["format"]:
        if words[-1] not in ("c", "raw"):
            raise parser.refuse(f"btf dump has no format {words[-1]!r}: it has c and raw")
        words, in_c = words[:-2], words[-1] == "c"
    how, _, what = " ".join(words).replace(" ", ":", 1).partition(":")
    if how not in ("id", "file") or not what or (how == "id" and not what.isdecimal()):
        raise parser.refuse("btf dump takes id N or file FILE, and then format c or raw")
    types = _types(f"id:{what}" if how == "id" else what)
    if args.json:
        return put_json({"schema": "bpfasm/btf-dump/1", "types": [*rows(types)]}, args)
    if in_c:
        from bpfasm.btf.ordered import ordered_lines

        return put_text(ordered_lines(types), args)
    return put_text(raw_lines(types), args)


def _is_selector(words: list[str]) -> bool:
    return words[0].partition(":")[0] in select.SELECTORS["btf"]


def _types_on(where: Place) -> Btf | None:
    """Return the types of a kernel without starting it, None where only the kernel itself can say."""
    if where.live:
        return _types(None)
    from bpfasm import lab
    from bpfasm.lab.kernel.types import types_of

    return types_of(lab.find(where.kernel))


def _show_on(args: Namespace, name: str, places: list[Place], types: dict[str, Btf]) -> int:
    """Show a type or field of one or several kernels; return 1 where one does not have it."""
    from bpfasm import place
    from bpfasm.cli import report
    from bpfasm.errors import DecodeError
    from bpfasm.views.btf_kernels import document, looked_up, summary

    found = looked_up(types, name)
    lacking = int(any(isinstance(shown, DecodeError) for shown in found.values()))
    if args.json and len(places) > 1:
        put_json(document(found), args)
        return lacking
    lines: list[str] = []

    def show(where: Place) -> int:
        shown = found[where.kernel]
        if isinstance(shown, DecodeError):
            report(shown, as_json=args.json)
        elif args.out and len(places) > 1:
            # One file for all, in which each kernel has its heading.
            lines.extend((f"/* {where} */" if args.to == "c" else f"# {where}", *_lines(args, shown), ""))
        else:
            _put(args, shown)
        return lacking

    place.each(places, show)
    if lines:
        put_text(lines[:-1], args)
    if (told := summary(found)) and not args.json:
        print(f"{name}: {told}", file=sys.stderr)
    return lacking


def _show_type(args: Namespace, name: str) -> int:
    from bpfasm.views.btf_types import Shown

    if not name.rpartition(" ")[2].strip("."):
        raise UsageError(f"{name!r} names no type", "bpfasm btf show task_struct", rule="usage")
    return _put(args, Shown(_types(args.btf), name))


def _put(args: Namespace, shown: Shown) -> int:
    if args.json:
        return put_json(shown.document(), args)
    return put_text(_lines(args, shown), args)


def _lines(args: Namespace, shown: Shown) -> Iterable[str]:
    return shown.record() if args.to == "record" else shown.lines()


def _types(where: str | None) -> Btf:
    """Return the types that ``--btf`` names. Raises InputError, FeatureMissing."""
    from bpfasm.errors import InputError
    from bpfasm.kernel.btf import kernel as kernel_btf

    if not where:
        return kernel_btf.vmlinux()
    how, colon, what = where.partition(":")
    try:
        if colon and how == "module":
            return kernel_btf.module(what)
        if colon and how == "id" and what.isdecimal():
            from bpfasm.kernel.btf.targets import read

            found = read(int(what))
            if found is None:
                raise FileNotFoundError(2, "there is no such BTF")
            return found
        from bpfasm.btf.files import btf_of

        with open(where, "rb") as file:
            return btf_of(file.read())
    except OSError as error:
        raise InputError(
            f"{where}: {error.strerror}",
            "--btf takes a file of BTF, an ELF file with a .BTF section, module:NAME, or id:N",
            rule="input-file",
        ) from None
