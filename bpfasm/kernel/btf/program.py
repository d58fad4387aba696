"""The types of a program's own functions, and the lines its instructions come from, as the kernel wants them.

A program with callbacks has to have them; with these, dumps and the verifier's log name functions and lines.
(kernel/bpf/verifier.c check_btf_info())
"""

from __future__ import annotations

import builtins
import os
from errno import EPERM
from struct import Struct

from bpfasm.asm.btf_types import add_type
from bpfasm.asm.linker import functions_of, link
from bpfasm.asm.macros import BPF_EXIT_INSN, BPF_MOV64_IMM
from bpfasm.asm.prog_types import TYPES
from bpfasm.asm.program import Program, Subprog
from bpfasm.asm.syntax import macro
from bpfasm.btf.write import Writer
from bpfasm.errors import BpfasmError, KernelError
from bpfasm.isa.insn import LD_IMM64, Insn, slots
from bpfasm.isa.match import form_of
from bpfasm.isa.operands import R0
from bpfasm.kernel.base.words import errno_name
from bpfasm.kernel.objects import ids
from bpfasm.syscall import bpf as bpf_call, system
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf, bpf_common, btf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from bpfasm.asm.linker import Linked
    from bpfasm.errors import Source

_CALL = bpf_common.BPF_JMP | bpf.BPF_CALL
_FUNC_INFO = Struct("=2I")
_LINE_INFO = Struct("=4I")


def functions(linked: Linked) -> dict[int, str]:
    """Return the functions of a program by their first slots, in order: what it calls by label has a name of ours."""
    starts = {0}
    for pc, insn in slots(linked.insns):
        call = insn.code == _CALL and insn.src_reg == bpf.BPF_PSEUDO_CALL
        if call or (insn.code == LD_IMM64 and insn.src_reg == bpf.BPF_PSEUDO_FUNC):
            starts.add(pc + insn.imm + 1)
    named = dict(linked.functions)
    return {start: named.get(start) or f"{named[0]}_{start}" for start in sorted(starts)}


def describe(linked: Linked, type: int, *, lines: bool = False) -> tuple[bytes, bytes, bytes]:
    """Return BTF of a program's functions, its func_info, and its line_info where ``lines`` are wanted.

    The program itself is a global function of the context of a ``type``; every other one is static, as callbacks must
    be, unless it says what its arguments are.
    """
    writer = Writer()
    args = {each.name: each.args for each in functions_of(linked.program)[1:] if isinstance(each, Subprog)}
    infos = []
    for start, name in functions(linked).items():
        takes = args.get(name) if start else ("ctx",)
        proto = _prototype(writer, type, takes or ())
        linkage = btf.BTF_FUNC_STATIC if takes is None else btf.BTF_FUNC_GLOBAL
        infos.append(_FUNC_INFO.pack(start, writer.add(btf.BTF_KIND_FUNC, identifier(name), proto, count=linkage)))
    line_info = _line_info(writer, linked) if lines else b""
    return writer.to_bytes(), b"".join(infos), line_info


def btf_fields(linked: Linked, attach_prog_fd: int, held: list[int], *, lines: bool) -> dict[str, Any]:
    """Load the types of a program's functions; return the fields of BPF_PROG_LOAD that say so.

    The fd of the types is added to ``held``. Raises KernelError, FeatureMissing.
    """
    # What replaces a function of another program gets what that would have got.
    type = linked.program.type
    if type == bpf.BPF_PROG_TYPE_EXT and attach_prog_fd:
        type = ids.info("prog", attach_prog_fd)["type"]
    types, func_info, line_info = describe(linked, type, lines=lines)
    try:
        held.append(bpf_call.btf_load(buffer(types)))
    except OSError as error:
        raise _refused(linked, error.errno or 0) from None
    fields: dict[str, Any] = {
        "prog_btf_fd": held[-1],
        "func_info": buffer(func_info),
        "func_info_rec_size": _FUNC_INFO.size,
        "func_info_cnt": len(func_info) // _FUNC_INFO.size,
    }
    if line_info:
        fields |= {
            "line_info": buffer(line_info),
            "line_info_rec_size": _LINE_INFO.size,
            "line_info_cnt": len(line_info) // _LINE_INFO.size,
        }
    return fields


def _refused(linked: Linked, number: int) -> Exception:
    from bpfasm.kernel.base.privilege import not_permitted

    if number == EPERM:
        return not_permitted(f"loading the types of {linked.program.name}", ("CAP_BPF",))
    return KernelError(
        number,
        f"the types of {linked.program.name}'s functions were not loaded: {errno_name(number)}",
        "dmesg may tell more",
        rule="program-load",
    )


def _prototype(writer: Writer, type: int, args: Iterable[Any]) -> int:
    """Add the type of a function that returns an int; of a program of a ``type`` that is what its context is."""
    number = writer.add_int("int", 4, btf.BTF_INT_SIGNED)
    parameters = []
    for place, kind in enumerate(args, 1):
        if kind == "ctx":
            parameters.append(_FUNC_INFO.pack(writer.string("ctx"), _context(writer, type)))
            continue
        id = add_type(writer, kind)
        if isinstance(kind, builtins.type):
            id = writer.add(btf.BTF_KIND_PTR, third=id)
        parameters.append(_FUNC_INFO.pack(writer.string(f"arg{place}"), id))
    return writer.add(btf.BTF_KIND_FUNC_PROTO, third=number, rest=b"".join(parameters), count=len(parameters))


def _context(writer: Writer, type: int) -> int:
    """Add a pointer to a context: the kernel knows one by the name of its struct."""
    row = TYPES.get(type)
    context = row.ctx if row and row.ctx.startswith("struct ") else ""
    struct = writer.add_struct(context.removeprefix("struct "), 0, []) if context else 0
    return writer.add(btf.BTF_KIND_PTR, third=struct)


def identifier(name: str) -> str:
    """Return a name that BTF takes: letters, digits and _ of C, at most 127."""
    kept = "".join(c if c == "_" or (c.isascii() and c.isalnum()) else "_" for c in name)[:127]
    return kept if kept and not kept[0].isdigit() else f"_{kept}"


def _line_info(writer: Writer, linked: Linked) -> bytes:
    """Return a record where another line begins whose place is known, and for the first instruction of each function.

    The kernel wants one there. Where the line's text is not to be had, the macro stands for it. To kernels that print
    the text alone it tells the place as well.
    """
    texts: dict[str, list[str]] = {}
    names, records = functions(linked), []
    last = None
    place = "" if prints_places() else " @ {}:{}"
    for pc, insn in slots(linked.insns):
        source: Source | None = insn.source
        if source is None and pc not in names:
            continue
        file, line = source or ("?", 0)
        if file not in texts:
            texts[file] = (system.read(file) or "").splitlines()
        known = texts[file][line - 1].strip() if 0 < line <= len(texts[file]) else ""
        text = known or macro.text(insn, form_of(insn))  # what was typed in, or comes from a string
        if (file, line, text) == last and pc not in names:
            continue  # what a snippet made of one line has that line once
        last = (file, line, text)
        told = text + place.format(os.path.basename(file), line) if source else text
        records.append(_LINE_INFO.pack(pc, writer.string(file), writer.string(told), line << 10))
    return b"".join(records)


_places: list[bool] = []


def prints_places() -> bool:
    """Tell whether this kernel's log has file and number beside a line's text, as it has from 6.10 on: by trying."""
    if not _places:
        _places.append(True)  # meanwhile, for the try itself
        _places[0] = _tried()
    return _places[0]


def _tried() -> bool:
    from bpfasm.kernel.programs.verdict import verify

    source = ("place.py", 7)
    body = [Insn(insn.code, imm=insn.imm, where=source) for insn in (BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN())]
    linked = link(Program("place", bpf.BPF_PROG_TYPE_SOCKET_FILTER, body))
    held: list[int] = []
    try:
        code = linked.code
        fields: dict[str, Any] = {
            "prog_type": linked.program.type,
            "insns": buffer(code),
            "insn_cnt": len(code) // 8,
            "license": buffer(b"GPL\0"),
            **btf_fields(linked, 0, held, lines=True),
        }
        verdict = verify(fields, 2)
    except (BpfasmError, OSError):
        return True
    finally:
        for fd in held:
            os.close(fd)
    if verdict.fd is not None:
        os.close(verdict.fd)
    return "@ place.py:7" in verdict.log or "; BPF_MOV64_IMM" not in verdict.log


def without_place(text: str, file: str, line: int) -> str:
    """Return a line's text as it is in its file: what is told to kernels that print no place is taken off."""
    return text.removesuffix(f" @ {os.path.basename(file)}:{line}")
