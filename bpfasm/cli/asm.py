"""``bpfasm asm`` and ``bpfasm disasm``: the same program in another form."""

from __future__ import annotations

import json
import sys

from bpfasm import inputs
from bpfasm.asm import assemble, link
from bpfasm.asm.relax import relax
from bpfasm.asm.syntax import hexdump, tcpdump
from bpfasm.cli import object_options as objects
from bpfasm.cli.options import Parser, add_input, add_output, write
from bpfasm.errors import InputError
from bpfasm.isa.insn import SLOT_BYTES, Insn, slots
from bpfasm.views import documents
from bpfasm.views.listing import PRINTERS, Style, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from bpfasm.asm import Assembled, Program
    from bpfasm.asm.syntax.xlated import Names
    from bpfasm.inputs import Input
    from bpfasm.kernel.programs.dump import Dump

#: What a program can be shown as; ``capstone`` is a column beside our own text, ``ddd`` is for classic ones.
TEXTS = (*PRINTERS, "capstone")
CLASSIC = ("tcpdump", "ddd")
FORMATS = ("hex", "raw", *TEXTS, *CLASSIC)


def asm(argv: list[str]) -> int:
    """Run ``bpfasm asm``."""
    parser = _parser(
        "asm",
        "Turn INPUT into bytes: hex digits, 16 a slot, or raw; or into an object file (elf) with its maps, which\n"
        "libbpf and bpftool load; or show it as text in any syntax.",
        """
  bpfasm asm examples/chowncount.py:percpu --to elf --out chowncount.o
  echo 'mov %r0, 7' | bpfasm asm - --from ubpf
""",
        "hex",
        ("elf",),
    )
    parser.add_argument(
        "--relax",
        nargs="?",
        const="islands",
        choices=("islands", "gotol"),
        help="make far jumps of several, by jumps on the way, or by gotol for Linux 6.6 and newer (default: islands)",
    )
    objects.add_options(parser)
    args = parser.parse_args(argv)
    if args.to != "elf":
        parser.refuse_beside(f"--to {args.to}", args, "--btf", "--byteorder", "--leave-initial")
    _refuse_beside_format(parser, args)
    given = inputs.read(args.input, args.syntax, seccomp=args.seccomp)
    given.whole()
    if args.relax:
        given = given.replace(programs=tuple(relax(each, gotol=args.relax == "gotol") for each in given.programs))
    if args.to == "elf":
        write(objects.written(given, args), args.out)
    else:
        _write(given, args)
    return 0


def disasm(argv: list[str]) -> int:
    """Run ``bpfasm disasm``: whatever cannot be decoded is shown as data, with the reason."""
    parser = _parser(
        "disasm",
        "Show INPUT as text: as the kernel's own disassembler does, or in another syntax. What is no instruction is "
        "shown as data.",
        """
  echo b700000000000000 9500000000000000 | bpfasm disasm -
  bpfasm disasm examples/chowncount.py:percpu --to llvm --words
""",
        "kernel",
    )
    parser.add_argument("--labels", action="store_true", help="name the places that jumps and calls go to")
    parser.add_argument(
        "--words", action="store_true", help="say what each instruction does, its RFC 9669 group, ISA, first kernel"
    )
    parser.add_argument(
        "--source", action="store_true", help="show the line of its file that each instruction is from"
    )
    parser.add_argument("--native", action="store_true", help="show native code too, of a program in the kernel")
    parser.add_argument("--cfg", choices=("text", "svg", "dot"), help="draw its blocks, and how control flows")
    args = parser.parse_args(argv)
    if args.native:
        parser.refuse_beside("--native", args, "--cfg", "--to", "--labels", "--words", "--source")
    if args.cfg:
        parser.refuse_beside("--cfg", args, "--json", "--to", "--bytes", "--labels", "--words", "--source")
    _refuse_beside_format(parser, args)
    given = inputs.read(args.input, args.syntax, seccomp=args.seccomp)
    if args.native:
        return _native(given, args)
    if args.to is None and not args.json:
        args.to = "tcpdump" if given.classic and not (args.labels or args.words) else "kernel"
    if args.cfg:
        from bpfasm.cli.cfg import drawn

        write(drawn(given, args.cfg).encode(), args.out)
    else:
        _write(given, args)
    if given.problem and not args.json:
        sys.stdout.flush()
        raise given.problem
    return int(given.problem is not None)


#: The formats that are bytes alone, or that of the classic program: no text, document or column of ours.
_BARE = ("hex", "raw", "elf", *CLASSIC)


def _refuse_beside_format(parser: Parser, args: Namespace) -> None:
    """Refuse options of a listing beside a format that is none."""
    listing = [name for name in ("--labels", "--words", "--source") if name.strip("-") in args]
    if args.to in _BARE:
        document = ["--json"] * (args.to not in ("hex", "raw"))
        parser.refuse_beside(f"--to {args.to}", args, *document, "--bytes", *listing)
    elif args.to == "c":
        parser.refuse_beside("--to c", args, *(name for name in listing if name == "--labels"))
    elif args.to == "capstone":
        parser.refuse_beside("--to capstone", args, "--bytes", *listing)


def _parser(verb: str, what: str, examples: str, default: str, more: tuple[str, ...] = ()) -> Parser:
    parser = Parser(verb, what, examples)
    add_input(parser)
    parser.add_argument(
        "--to",
        choices=(*FORMATS, *more),
        default=default if verb == "asm" else None,
        help=f"what to print (default: {default})",
    )
    parser.add_argument("--bytes", action="store_true", help="show each instruction's bytes beside its text")
    add_output(parser)
    return parser


def _write(given: Input, args: Namespace) -> None:
    """Write an INPUT in the format that was asked for."""
    if given.note:
        print(f"warning: {given.note}", file=sys.stderr)
    if args.json:
        document = documents.programs(map(assemble, given.programs), given.names, given.problem)
        write(f"{json.dumps(document, indent=1)}\n".encode(), args.out)
    elif args.to in CLASSIC:
        write("".join(f"{line}\n" for line in _classic(given, args)).encode(), args.out)
    elif args.to in TEXTS:
        write("".join(f"{line}\n" for line in _listing(given, args)).encode(), args.out)
    else:
        linked = link(given.one())
        for slot, operand, _ in linked.unresolved:
            print(
                f"note: {operand.word} {operand.title} at slot {slot} is left as 0: load() fills it in",
                file=sys.stderr,
            )
        text = "".join(f"{line}\n" for line in hexdump.lines(linked.code))
        write(linked.code if args.to == "raw" else text.encode(), args.out)


def _classic(given: Input, args: Namespace) -> Iterator[str]:
    """Yield the lines of classic programs, in the words of tcpdump -d or the numbers of -ddd."""
    if not given.classic:
        raise InputError(
            f"{given.name} is no classic BPF",
            "eBPF has no way back: tcpdump -ddd, BPF_STMT and BPF_JUMP are classic",
            rule="not-classic",
        )
    for number, insns in enumerate(given.classic):
        if len(given.classic) > 1:
            yield from [""] * bool(number)
            yield f"# {given.programs[number].name}"
        yield from (tcpdump.numbers if args.to == "ddd" else tcpdump.listing)(insns)


def _native(given: Input, args: Namespace) -> int:
    """Show the native code of a program in the kernel, with its BPF instructions between."""
    if not given.dumps:
        raise InputError(
            f"{given.name} has no native code: it is not in the kernel",
            "--native takes a program that is loaded: id:N, tag:HEX, name:NAME, pinned:PATH",
            rule="not-loaded",
        )
    from bpfasm.cli.native import native
    from bpfasm.kernel.objects.select import matching
    from bpfasm.kernel.programs.info import jited

    how, _, what = args.input.partition(":")
    found = [native(dump, jited(opened.fd), opcodes=args.bytes)
             for dump, opened in zip(given.dumps, matching("prog", how, what), strict=False)]  # fmt: skip
    if args.json:
        given.one()
        write(f"{json.dumps(found[0][0], indent=1)}\n".encode(), args.out)
    else:
        write("".join(f"{line}\n" for _, lines in found for line in lines).encode(), args.out)
    return 0


def _listing(given: Input, args: Namespace) -> Iterator[str]:
    """Yield the lines of every program, and of the bytes behind them that are no whole slot."""
    syntax = "kernel" if args.to == "capstone" else args.to
    style = PRINTERS[syntax]
    written = given.as_written()
    # The kernel's text of a translated program has its own form; all else is for programs as they are written.
    programs = given.programs if syntax == "kernel" and not getattr(args, "labels", False) else written
    for number, program in enumerate(programs):
        if len(programs) > 1:
            yield from [""] * bool(number)
            if syntax != "c":
                yield style.beside(program.name)
        assembled = assemble(program)
        names = given.names[number] if given.names else None
        if args.to == "capstone":
            yield from _beside_capstone(assembled)
            continue
        dump = given.dumps[number] if given.dumps else None
        yield from listing(
            assembled,
            syntax,
            show_bytes=args.bytes,
            names=names,
            labels=getattr(args, "labels", False),
            before=_sources(assembled, dump, getattr(args, "source", False)),
            after=_explained(style, written[number], names) if getattr(args, "words", False) else None,
        )
    if given.rest:
        pc = sum(insn.width for insn in given.programs[0].insns if isinstance(insn, Insn))
        said = f"{len(given.rest)} of {SLOT_BYTES} bytes: the slot is cut short"
        yield f"{pc}: {given.rest.hex()}  {style.beside(said)}"


def _explained(style: Style, program: Program, names: Names | None) -> Callable[[int, Insn], Iterator[str]]:
    """Return what says in words what an instruction does, below it."""
    from bpfasm.isa.match import form_of
    from bpfasm.views.words import words

    written = dict(slots(assemble(program).insns)) if names else {}

    def after(pc: int, insn: Insn) -> Iterator[str]:
        insn = written.get(pc, insn)
        yield f"{style.indent}   {style.beside(words(insn, form_of(insn), pc, by='id' if names else 'fd'))}"

    return after


def _sources(program: Assembled, dump: Dump | None, wanted: bool) -> Callable[[int], Iterator[str]] | None:
    """Return what gives the lines of source before a slot: the kernel's, or those of the program's file."""
    if dump:
        known = {line.pc: line.text for line in dump.info.lines}
    elif wanted:
        from linecache import getline

        known, last = {}, None
        for pc, insn in slots(program.insns):
            if insn.source and insn.source != last:
                known[pc] = f"{insn.source[0]}:{insn.source[1]}: {getline(*insn.source).strip()}"
            last = insn.source
    else:
        return None

    def before(pc: int) -> Iterator[str]:
        if pc in known:
            yield known[pc]

    return before


def _beside_capstone(program: Assembled) -> Iterator[str]:
    """Yield each instruction in the kernel's words and in capstone's; what is not the same is marked."""
    from bpfasm import native
    from bpfasm.asm.syntax import kernel
    from bpfasm.isa.match import form_of
    from bpfasm.views.compare import MARKS, NOTHING, OTHER, columns

    linked = link(program)
    ours = [f"{pc}: {kernel.text(insn, form_of(insn))}" for pc, insn in slots(linked.insns)]
    width = min(60, max(map(len, ours), default=0))
    wrong = {OTHER: 0, NOTHING: 0}
    for line, (text, verdict) in zip(ours, columns(linked.insns), strict=True):
        wrong[verdict] = wrong.get(verdict, 0) + 1
        yield f"{line:<{width}}  {MARKS[verdict]} {text}".rstrip()
    yield (
        f"; capstone {native.version()}: ! says something else ({wrong[OTHER]}), "
        f"? does not decode ({wrong[NOTHING]}), of {len(ours)}"
    )
