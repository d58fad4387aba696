"""INPUT of the command line to programs: the only front door.

An INPUT is ``FILE.py[:NAME]``, ``FILE.c[:NAME]``, an object ``FILE.o[:NAME]`` or ``FILE.o:SECTION``, a file of text
in any syntax, of hex digits or of raw bytes, ``-`` for standard input, or a program that is in the kernel: ``id:N``,
``tag:HEX``, ``name:NAME``, ``pinned:PATH``.
"""

from __future__ import annotations

import contextlib
import os
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE

from bpfasm.asm import Program, StructOps, assemble
from bpfasm.asm.syntax import hexdump, tcpdump
from bpfasm.errors import BpfasmError, InputError
from bpfasm.isa.insn import SLOT_BYTES, cut_slot, decode
from bpfasm.uapi import bpf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.classic import SockFilter
    from bpfasm.asm.syntax.detect import Text
    from bpfasm.asm.syntax.xlated import Names
    from bpfasm.errors import Source
    from bpfasm.kernel.programs.dump import Dump

SYNTAXES = ("py", "elf", "hex", "raw", "kernel", "llvm", "ubpf", "macro", "c", "tcpdump")

#: How a program in the kernel is named.
SELECTORS = ("id", "tag", "name", "pinned")


class Input(Value):
    """What an INPUT holds: its programs, and what is wrong with the rest of it.

    ``problem`` is for a reader that shows as much as there is, as disasm does; all else raises it.
    """

    name: str
    programs: tuple[Program, ...]
    #: Structs of functions; their programs are among those above.
    structs: tuple[StructOps, ...] = ()
    problem: BpfasmError | None = None
    #: Bytes at the end that are no whole slot.
    rest: bytes = b""
    #: What the numbers of each program stand for, where they come from the kernel.
    names: tuple[Names, ...] = ()
    #: Of programs in the kernel, what it tells of them.
    dumps: tuple[Dump, ...] = ()
    #: What it was read as, one of SYNTAXES, and what is to be said about that.
    syntax: str = ""
    note: str = ""
    #: Of each program that is classic BPF, the instructions; the program is what they are converted to.
    classic: tuple[tuple[SockFilter, ...], ...] = ()

    def whole(self) -> tuple[Program, ...]:
        """Return the programs; raise the problem if there is one."""
        if self.problem:
            raise self.problem
        return self.programs

    def as_written(self) -> tuple[Program, ...]:
        """Return the programs in the form that programs are written in, where they come from the kernel, too."""
        from bpfasm.asm.syntax.xlated import as_written

        if not self.names:
            return self.programs
        pairs = zip(self.programs, self.names, strict=True)
        return tuple(each.replace(insns=tuple(as_written(assemble(each).insns, names))) for each, names in pairs)

    def one(self) -> Program:
        """Return the only program. Raises InputError where there are several."""
        if len(self.programs) > 1:
            names = ", ".join(program.name for program in self.programs)
            raise InputError(
                f"{self.name} has {len(self.programs)} programs: {names}",
                "take one by its id" if self.names else f"name one of them: {self.name}:{self.programs[0].name}",
                rule="several-programs",
            )
        return self.programs[0]


def read(given: str, syntax: str | None = None, *, seccomp: bool = False) -> Input:
    """Return the programs of an INPUT; ``syntax`` is one of SYNTAXES, or None to tell by name and content.

    With ``seccomp`` its classic BPF is a filter of system calls: a text says so itself by that word, numbers and
    bytes do not. Raises InputError for what cannot be read, and whatever a Python file's macros raise.
    """
    found = _read(given, syntax, seccomp)
    if seccomp and not found.classic:
        raise InputError(
            f"{found.name} is no classic BPF",
            "--seccomp is for a filter of system calls as seccomp(2) takes it; leave it out",
            rule="not-classic",
        )
    return found


def _read(given: str, syntax: str | None, seccomp: bool) -> Input:
    """Return the programs of an INPUT, by what it is."""
    how, colon, what = given.partition(":")
    if syntax is None and colon and how in SELECTORS and not os.path.exists(given):
        return _from_the_kernel(given, how, what)
    path, name = _split(given)
    if syntax == "py" or (syntax is None and path.endswith(".py")):
        return _python(path, name)
    data = _bytes(path) if syntax in ("elf", "raw") else _plain(_bytes(path))
    if syntax == "elf" or (syntax is None and (data[:4] == b"\x7fELF" or path.endswith(".o"))):
        return _object(path, name, data)
    is_hex = not path.endswith(".c") and hexdump.looks_hex(data) and not tcpdump.looks_classic(data.decode("latin-1"))
    if (syntax == "tcpdump" or (syntax is None and seccomp)) and (is_hex or not _is_text(data)):
        return _named(_classic_bytes(path, data, is_hex, seccomp), name)
    if syntax == "hex" or (syntax is None and is_hex):
        data = hexdump.parse(data.decode("latin-1"), path)
    elif syntax not in (None, "raw") or (syntax is None and _is_text(data)):
        return _named(_text(path, data, "c" if path.endswith(".c") and syntax is None else syntax, seccomp), name)
    if name:
        do = "FILE.py:NAME, FILE.c:NAME and FILE.o:NAME name one"
        raise InputError(f"{path} has no named programs", do, rule="input-name")
    return _slots(path, data)


def _plain(data: bytes) -> bytes:
    """Return a text as UTF-8 without the mark that editors of Windows put before it; what has no mark as it is."""
    if data.startswith(BOM_UTF8):
        return data.removeprefix(BOM_UTF8)
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        with contextlib.suppress(UnicodeDecodeError):
            return data.decode("utf-16").encode()
    return data


def _is_text(data: bytes) -> bool:
    """Tell text from raw bytes: a program's bytes have zeros in them, and a text has none."""
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(path: str, data: bytes, syntax: str | None, seccomp: bool) -> Input:
    """Return what a text holds; what of it is classic BPF is converted."""
    from bpfasm.asm.syntax import detect

    text = hexdump.disassembled(data.decode(errors="replace"))
    if not text.strip():
        raise InputError(f"{path} is empty", "a program has at least one instruction", rule="input-empty")
    found: Text = detect.read(text, path, syntax, _title(path))
    if found.programs:
        return Input(path, found.programs, syntax=found.syntax, note=found.note)
    return _classic(path, found.classic, seccomp or "seccomp" in text.lower(), found.syntax, found.note)


def _classic_bytes(path: str, data: bytes, is_hex: bool, seccomp: bool) -> Input:
    """Return a filter of bytes, ``struct sock_filter`` after ``struct sock_filter``. Raises DecodeError."""
    from bpfasm.asm import classic

    code = hexdump.parse(data.decode("latin-1"), path) if is_hex else data
    if not code:
        raise InputError(f"{path} is empty", "a filter has at least one instruction of 8 bytes", rule="input-empty")
    if len(code) % SLOT_BYTES:
        raise cut_slot(code, path)
    return _classic(path, ((_title(path), tuple(classic.decode(code))),), seccomp, "tcpdump")


def _classic(
    path: str, filters: tuple[tuple[str, tuple[SockFilter, ...]], ...], seccomp: bool, syntax: str, note: str = ""
) -> Input:
    """Return classic programs with what they are converted to."""
    from bpfasm.asm.convert import convert

    converted = tuple(
        Program(title, bpf.BPF_PROG_TYPE_SOCKET_FILTER, convert(insns, seccomp=seccomp)) for title, insns in filters
    )
    return Input(path, converted, syntax=syntax, note=note, classic=tuple(insns for _, insns in filters))


def _named(given: Input, name: str) -> Input:
    """Return what is called NAME of an INPUT, all of it without a name."""
    if not name:
        return given
    for number, program in enumerate(given.programs):
        if program.name == name:
            classic = given.classic[number : number + 1]
            return given.replace(programs=(program,), classic=classic)
    known = ", ".join(program.name for program in given.programs)
    raise InputError(f"{given.name} has no program {name}", f"it has {known}", rule="input-name")


def _title(path: str) -> str:
    return "stdin" if path == "-" else os.path.basename(path).split(".")[0]


def _from_the_kernel(given: str, how: str, what: str) -> Input:
    """Return programs as the kernel holds them. Raises InputError, FeatureMissing."""
    from bpfasm.kernel.objects.select import matching
    from bpfasm.kernel.programs.dump import assembled_of, dump

    found = [dump(opened.fd) for opened in matching("prog", how, what)]
    programs = tuple(assembled_of(each).program for each in found)
    return Input(given, programs, names=tuple(each.names for each in found), dumps=tuple(found), syntax="kernel")


def shipped(path: str) -> dict[str, Any]:
    """Return what a Python file that comes with bpfasm defines, such as ``examples/chowncount.py``."""
    return _execute(shipped_path(path))


def shipped_path(path: str) -> str:
    """Return where something that comes with bpfasm is: beside the package in a checkout, else within it."""
    package = os.path.dirname(os.path.abspath(__file__))
    for root in (os.path.dirname(package), package):
        if os.path.exists(os.path.join(root, path)):
            return os.path.join(root, path)
    raise InputError(f"{path} is not installed", "install bpfasm again: it comes with it", rule="input-file")


def _split(given: str) -> tuple[str, str]:
    """Return the path and the NAME of ``FILE[:NAME]``."""
    if given == "-" or os.path.exists(given) or ":" not in given:
        return given, ""
    # A section's name may have colons of its own: uprobe//bin/sh:main.
    at = given.find(".o:")
    if at >= 0 and os.path.exists(given[: at + 2]):
        return given[: at + 2], given[at + 3 :]
    path, _, name = given.rpartition(":")
    return path, name


def _bytes(path: str) -> bytes:
    try:
        if path == "-":
            return sys.stdin.buffer.read()
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}",
            "INPUT is a .py or .c file, an object, text in any syntax, hex digits, raw bytes, - for stdin, or id:N",
            rule="input-file",
        ) from None


def _object(path: str, name: str, data: bytes) -> Input:
    """Return the programs of an object file, or those that a name or a section's name chooses."""
    from bpfasm.elf.object import read_object

    found = read_object(data, path)
    if not found.programs:
        raise InputError(
            f"{path} has no programs", 'a program is a function in a section: SEC("xdp")', rule="no-program"
        )
    if not name:
        return Input(path, found.programs, tuple(found.structs.values()))
    if name in found.structs:
        return _struct(path, found.structs[name])
    chosen = found.in_section(name) or tuple(each for each in found.programs if each.name == name)
    if not chosen:
        known = dict.fromkeys((*(each.name for each in found.programs), *found.sections.values(), *found.structs))
        raise InputError(f"{path} has no program or section {name}", f"it has {', '.join(known)}", rule="input-name")
    return Input(f"{path}:{name}", chosen)


def _struct(path: str, struct: StructOps) -> Input:
    """Return a struct of functions, with its programs."""
    if not struct.programs:
        raise InputError(f"{path}: {struct.name} holds no programs", "name a program", rule="no-program")
    return Input(f"{path}:{struct.name}", struct.programs, (struct,))


def _slots(path: str, data: bytes) -> Input:
    """Return the one program of a file of slots; what is cut off its end becomes the problem."""
    name = _title(path)
    if not data:
        raise InputError(f"{path} is empty", "a program has at least one instruction of 8 bytes", rule="input-empty")
    whole = len(data) // SLOT_BYTES * SLOT_BYTES
    program = Program(name, bpf.BPF_PROG_TYPE_UNSPEC, decode(data[:whole]))
    if whole == len(data):
        return Input(path, (program,))
    return Input(path, (program,), problem=cut_slot(data, path), rest=data[whole:])


def _python(path: str, name: str) -> Input:
    """Return the Programs that a Python file has at module level, and those in its structs of functions."""
    # What --help and the docs name is there for who has no checkout, too.
    ours = path.startswith("examples/") and not os.path.exists(path)
    module = shipped(path) if ours else _execute(path)
    structs = {key: value for key, value in module.items() if isinstance(value, StructOps)}
    found = {key: value for key, value in module.items() if isinstance(value, Program)}
    if name:
        struct = structs.get(name) or next((each for each in structs.values() if each.name == name), None)
        if struct and name not in found:
            return _struct(path, struct)
    found |= {f"{key}.{each.name}": each for key, struct in structs.items() for each in struct.programs}
    if not found:
        raise InputError(
            f"{path} has no Program at module level",
            'write one: prog = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])',
            rule="no-program",
        )
    if name:
        chosen = found.get(name) or next((p for p in found.values() if p.name == name), None)
        if chosen is None:
            raise InputError(f"{path} has no program {name}", f"it has {', '.join(found)}", rule="input-name")
        return Input(path, (chosen,))
    # What has two names is one.
    programs = {id(each): each for each in found.values()}.values()
    return Input(path, tuple(programs), tuple({id(each): each for each in structs.values()}.values()))


def _execute(path: str) -> dict[str, Any]:
    """Run a Python file once; return its module's names. What it raises becomes an InputError at its line."""
    source = _bytes(path)
    module: dict[str, Any] = {"__name__": "bpfasm_input", "__file__": path, "__builtins__": __builtins__}
    folder = os.path.dirname(os.path.abspath(path)) if path != "-" else os.getcwd()
    sys.path.insert(0, folder)
    try:
        exec(compile(source, path, "exec"), module)
    except BpfasmError:
        raise
    except SyntaxError as error:
        raise InputError(
            f"SyntaxError: {error.msg}",
            (error.text or "").strip(),
            source=(error.filename or path, error.lineno or 1),
            rule="python-syntax",
        ) from None
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{type(error).__name__}: {error}",
            "the file is run to get its Programs, and it raised this",
            source=_raised_in(path, error),
            rule="python-raised",
        ) from None
    finally:
        sys.path.remove(folder)
    return module


def _raised_in(path: str, error: BaseException) -> Source:
    """Return the line of the file itself that raised, not of what it called."""
    line = 1
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return path, line
