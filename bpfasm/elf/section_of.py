"""Which section a program is written to."""

from __future__ import annotations

from bpfasm.asm.attach import Kprobe, RawTracepoint
from bpfasm.elf import object_refused, sections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.program import Program


def section_of(program: Program) -> str:
    """Return the section's name for a program's type and for what it is attached to.

    Raises AssemblyError where no name says all that a kernel is to be told of it.

    >>> from bpfasm.asm import *
    >>> body = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
    >>> section_of(Program("prog", BPF_PROG_TYPE_KPROBE, body, attach=kretprobe("vfs_read")))
    'kretprobe/vfs_read'
    """
    kind, target, returns = _target(program)
    row = sections.row_of(program.type, program.expected_attach_type, program.flags, kind, returns=returns)
    if row is None:
        raise object_refused.no_section(program)
    return f"{row.name}/{target}" if target else row.name


def _target(program: Program) -> tuple[str, str, bool]:
    """Return what kind of target a program has, as a section names it, and whether it is where a function returns."""
    attach = program.attach
    if isinstance(attach, Kprobe):
        offset = f"+{attach.offset:#x}" if attach.offset else ""
        kind = sections.SYSCALL if attach.syscall else sections.FUNCTION
        return kind, f"{attach.symbol or attach.syscall}{offset}", attach.retprobe
    if isinstance(attach, RawTracepoint):
        return sections.RAW_TRACEPOINT, attach.name, False
    if attach is not None:
        raise object_refused.no_section(program)
    if program.attach_btf:
        return sections.BTF, str(program.attach_btf), False
    return "", "", False
