"""Which section a program is written to."""

from __future__ import annotations

from bpfasm.elf import sections
from bpfasm.elf.writing import refused as object_refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


#: Of each kind of place, by its class: what kind of target it is, its text, and the fields that these say.
_PLACES: dict[str, tuple[str, Callable[[Any], str], str]] = {
    "Kprobe": (sections.FUNCTION, lambda at: at.symbol + (f"+{at.offset:#x}" if at.offset else ""), "symbol offset"),
    "KprobeMulti": (sections.PATTERN, lambda at: at.pattern, "pattern session"),
    "Tracepoint": (sections.TRACEPOINT, lambda at: f"{at.group}/{at.name}", "group name"),
    "RawTracepoint": (sections.RAW_TRACEPOINT, lambda at: at.name, "name"),
    "Uprobe": (
        sections.USER,
        lambda at: f"{at.path}:{at.symbol}" + (f"+{at.offset}" if at.offset else ""),
        "path symbol offset",
    ),
    "UprobeMulti": (sections.USER, lambda at: f"{at.path}:{at.pattern}", "path pattern session"),
    "Usdt": (sections.USDT, lambda at: f"{at.path}:{at.provider}:{at.name}", "path provider name"),
}


def _target(program: Program) -> tuple[str, str, bool]:
    """Return what kind of target a program has, as a section names it, and whether it is where a function returns.

    Raises AssemblyError for a place that says more than a name: a cookie, a process, a priority.
    """
    attach: Any = program.attach
    if attach is None:
        return (sections.BTF, str(program.attach_btf), False) if program.attach_btf else ("", "", False)
    syscall = getattr(attach, "syscall", "")
    if syscall and not attach.offset:
        kind, target, said = sections.SYSCALL, syscall, "syscall"
    elif type(attach).__name__ in _PLACES:
        kind, text, said = _PLACES[type(attach).__name__]
        target = text(attach)
    elif program.attach_btf:
        kind, target, said = sections.BTF, str(program.attach_btf), "name target"
    else:
        raise object_refused.no_section(program)
    for field in attach._fields:
        value = getattr(attach, field)
        if field not in (*said.split(), "retprobe") and value != attach._defaults.get(field):
            raise object_refused.more_than_a_name(program, field, value)
    return kind, target, getattr(attach, "retprobe", False)
