"""The types of a program's own functions, and the lines its instructions come from, as the kernel wants them.

A program with callbacks has to have them; with these, dumps and the verifier's log name functions and lines.
(kernel/bpf/verifier.c check_btf_info())
"""

from __future__ import annotations

from errno import EPERM
from struct import Struct

from bpfasm.asm.prog_types import TYPES
from bpfasm.asm.syntax import macro
from bpfasm.btf.write import Writer
from bpfasm.errors import KernelError
from bpfasm.isa.insn import LD_IMM64, slots
from bpfasm.isa.match import form_of
from bpfasm.kernel import ids
from bpfasm.kernel.words import errno_name
from bpfasm.syscall import bpf as bpf_call, system
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf, bpf_common, btf

TYPE_CHECKING = False
if TYPE_CHECKING:
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

    The program itself is a global function of the context of a ``type``, every other one is static, as callbacks must
    be.
    """
    writer = Writer()
    number = writer.add_int("int", 4, btf.BTF_INT_SIGNED)
    nothing = writer.add(btf.BTF_KIND_FUNC_PROTO, third=number)
    main = _main(writer, type, number)
    infos = []
    for start, name in functions(linked).items():
        proto, linkage = (nothing, btf.BTF_FUNC_STATIC) if start else (main, btf.BTF_FUNC_GLOBAL)
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
    from bpfasm.kernel.privilege import not_permitted

    if number == EPERM:
        return not_permitted(f"loading the types of {linked.program.name}", ("CAP_BPF",))
    return KernelError(
        number,
        f"the types of {linked.program.name}'s functions were not loaded: {errno_name(number)}",
        "dmesg may tell more",
        rule="program-load",
    )


def _main(writer: Writer, type: int, number: int) -> int:
    """Add the type of the program itself: the kernel knows a context by the name of its struct."""
    row = TYPES.get(type)
    context = row.ctx if row and row.ctx.startswith("struct ") else ""
    struct = writer.add_struct(context.removeprefix("struct "), 0, []) if context else 0
    pointer = writer.add(btf.BTF_KIND_PTR, third=struct)
    parameter = _FUNC_INFO.pack(writer.string("ctx"), pointer)
    return writer.add(btf.BTF_KIND_FUNC_PROTO, third=number, rest=parameter, count=1)


def identifier(name: str) -> str:
    """Return a name that BTF takes: letters, digits and _ of C, at most 127."""
    kept = "".join(c if c == "_" or (c.isascii() and c.isalnum()) else "_" for c in name)[:127]
    return kept if kept and not kept[0].isdigit() else f"_{kept}"


def _line_info(writer: Writer, linked: Linked) -> bytes:
    """Return a record for each instruction whose line is known, and for the first of each function.

    The kernel wants one there. Where the line's text is not to be had, the macro stands for it.
    """
    texts: dict[str, list[str]] = {}
    names, records = functions(linked), []
    for pc, insn in slots(linked.insns):
        source: Source | None = insn.source
        if source is None and pc not in names:
            continue
        file, line = source or ("?", 0)
        if file not in texts:
            texts[file] = (system.read(file) or "").splitlines()
        known = texts[file][line - 1].strip() if 0 < line <= len(texts[file]) else ""
        text = known or macro.text(insn, form_of(insn))  # what was typed in, or comes from a string
        records.append(_LINE_INFO.pack(pc, writer.string(file), writer.string(text), line << 10))
    return b"".join(records)
