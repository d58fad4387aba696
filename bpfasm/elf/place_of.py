"""Where a program of a section is to be attached: what ``section_of`` writes, read."""

from __future__ import annotations

from bpfasm.asm import attach
from bpfasm.elf import sections
from bpfasm.errors import BpfasmError
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfasm.asm.attach import Place
    from bpfasm.elf.sections import SectionName

#: What is loaded for something in the kernel's types, by attach type. A security hook of a cgroup needs the cgroup
#: besides, and a function in the place of another one the program that has it: no section names those.
_IN_BTF: dict[int, Callable[[str], Place]] = {
    bpf.BPF_TRACE_RAW_TP: attach.tp_btf,
    bpf.BPF_TRACE_FENTRY: attach.fentry,
    bpf.BPF_TRACE_FEXIT: attach.fexit,
    bpf.BPF_TRACE_FSESSION: attach.fsession,
    bpf.BPF_MODIFY_RETURN: attach.fmod_ret,
    bpf.BPF_TRACE_ITER: attach.iterator,
    bpf.BPF_LSM_MAC: attach.lsm,
}

_MULTI = (bpf.BPF_TRACE_UPROBE_MULTI, bpf.BPF_TRACE_UPROBE_SESSION)


def place_of(row: SectionName, target: str) -> Place | None:
    """Return the place that a section names, None where it names none, or one that needs more than a name.

    >>> place_of(*sections.find("tracepoint/sched/sched_switch"))
    Tracepoint(group='sched', name='sched_switch', cookie=0)
    """
    try:
        return _place(row, target) if target else None
    except (BpfasmError, ValueError):
        return None


def _place(row: SectionName, target: str) -> Place | None:
    """Return the place. Raises BpfasmError or ValueError where the target is no name of one."""
    symbol, _, offset = target.partition("+")
    path, _, name = target.partition(":")
    match row.target:
        case sections.FUNCTION if row.returns:
            return attach.kretprobe(symbol)
        case sections.FUNCTION:
            return attach.kprobe(symbol, offset=int(offset or "0", 0))
        case sections.SYSCALL if row.returns:
            return attach.kretprobe(syscall=target)
        case sections.SYSCALL:
            return attach.kprobe(syscall=target)
        case sections.PATTERN:
            session = row.attach_type == bpf.BPF_TRACE_KPROBE_SESSION
            return attach.kprobe_multi(pattern=target, retprobe=row.returns, session=session)
        case sections.USER if row.attach_type in _MULTI:
            session = row.attach_type == bpf.BPF_TRACE_UPROBE_SESSION
            return attach.uprobe_multi(path, pattern=name, retprobe=row.returns, session=session)
        case sections.USER if row.returns:
            return attach.uretprobe(path, name)
        case sections.USER:
            name, _, offset = name.partition("+")
            return attach.uprobe(path, name, offset=int(offset or "0", 0))
        case sections.USDT:
            provider, _, name = name.partition(":")
            return attach.usdt(path, provider, name)
        case sections.TRACEPOINT:
            group, _, name = target.partition("/")
            return attach.tracepoint(group, name)
        case sections.RAW_TRACEPOINT:
            return attach.raw_tracepoint(target)
        case sections.BTF if row.attach_type in _IN_BTF:
            return _IN_BTF[row.attach_type](target)
    return None
