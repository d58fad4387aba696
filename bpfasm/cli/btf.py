"""``bpfasm btf``: the types in the kernel, of itself, its modules, programs and maps; and what one of them is."""

from __future__ import annotations

from bpfasm.cli.objects import ObjectParser, chosen, parse, put_json, put_text
from bpfasm.kernel import select
from bpfasm.kernel.btf_info import btf_infos
from bpfasm.views import object_documents, objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace

    from bpfasm.btf.read import Btf


def main(argv: list[str]) -> int:
    """Run ``bpfasm btf``."""
    parser = ObjectParser(
        "btf",
        "List the BTF objects in the kernel, and the programs and maps that use them; show a type, or a field.",
        """
  bpfasm btf list
  bpfasm btf show task_struct
  bpfasm btf show task_struct.se.sum_exec_runtime --on 5.10,7
  bpfasm btf show bpf_iter_num --to record
""",
        "  bpfasm btf {list|show} [BTF]\n  bpfasm btf show TYPE[.FIELD]      a struct, enum, typedef, function",
    )
    parser.add_argument("--btf", metavar="WHERE", help="types of a FILE (BTF or ELF), or of module:NAME, or id:N")
    parser.add_argument("--to", choices=("c", "record"), default="c", help="print a type in C, or as a Record")
    parser.add_argument("--on", action="append", default=[], metavar="V", help="ask a kernel of the lab, or several")
    args, command, words = parse(parser, argv)
    if command != "show":
        raise parser.refuse(f"btf has no command {command!r}: it has list and show")
    if args.on:
        from bpfasm import place

        files = [args.btf] if args.btf and not args.btf.startswith(("module:", "id:")) else []
        here = [word for word in argv if word]
        return place.run(["btf", *here], args.on, [], lambda: _show(args, parser, words), files=files)
    return _show(args, parser, words)


def _show(args: Namespace, parser: ObjectParser, words: list[str]) -> int:
    if words and words[0].partition(":")[0] not in select.SELECTORS["btf"]:
        return _show_type(args, " ".join(words))
    found = btf_infos(chosen(parser, words))
    if args.json:
        return put_json(object_documents.btfs(found), args)
    return put_text((line for info in found for line in objects.btf_lines(info)), args)


def _show_type(args: Namespace, name: str) -> int:
    from bpfasm.views.btf_types import Shown

    shown = Shown(_types(args.btf), name)
    if args.json:
        return put_json(shown.document(), args)
    return put_text(shown.record() if args.to == "record" else shown.lines(), args)


def _types(where: str | None) -> Btf:
    """Return the types that ``--btf`` names. Raises InputError, FeatureMissing."""
    from bpfasm.errors import InputError
    from bpfasm.kernel import kernel_btf

    if not where:
        return kernel_btf.vmlinux()
    how, colon, what = where.partition(":")
    try:
        if colon and how == "module":
            return kernel_btf.module(what)
        if colon and how == "id" and what.isdecimal():
            from bpfasm.kernel.targets import read

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
