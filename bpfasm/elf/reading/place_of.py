"""Where a program of a section is to be attached: what ``section_of`` writes, read."""

from __future__ import annotations

from bpfasm.asm import attach
from bpfasm.asm.attach.cgroup import CLASSES
from bpfasm.asm.attach.sockets import ON_SOCKMAPS
from bpfasm.asm.program import Program
from bpfasm.elf import sections
from bpfasm.errors import AssemblyError, BpfasmError
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

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


#: Programs of a network namespace: where none is named it is this process's.
_IN_NETNS: dict[int, Callable[[str | int], Place]] = {
    bpf.BPF_PROG_TYPE_SK_LOOKUP: attach.sk_lookup,
    bpf.BPF_PROG_TYPE_FLOW_DISSECTOR: attach.flow_dissector,
}
_TCX = {bpf.BPF_TCX_INGRESS: "ingress", bpf.BPF_TCX_EGRESS: "egress"}


def place_of(row: SectionName, target: str) -> Place | None:
    """Return the place that a section names, None where it names none, or one that needs more than a name.

    >>> place_of(*sections.find("tracepoint/sched/sched_switch"))
    Tracepoint(group='sched', name='sched_switch', cookie=0)
    """
    if row.type in _IN_NETNS:
        return _IN_NETNS[row.type]("")
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


def place_at(program: Program, where: Any, hook: str = "") -> Place:
    """Return the place of a program whose section says all but which device, cgroup, socket, map or namespace.

    ``where`` says that: the name of a device, a cgroup's folder ... ``hook`` is for sections that leave it open, as
    ``tc`` (ingress or egress) and ``cgroup/skb`` do. Raises AssemblyError.

    >>> place_at(Program("p", bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, [], expected_attach_type=10), "/sys/fs/cgroup/mine")
    CgroupSockAddr(cgroup='/sys/fs/cgroup/mine', hook='connect4', allow='multi', replaces=None)
    """
    type, number = program.type, program.expected_attach_type
    if type == bpf.BPF_PROG_TYPE_XDP:
        return attach.xdp(where)
    if type == bpf.BPF_PROG_TYPE_SCHED_CLS:
        return attach.tcx(where, _TCX[number]) if number in _TCX else attach.tc(where, hook)
    if type in _IN_NETNS:
        return _IN_NETNS[type](where)
    if type == bpf.BPF_PROG_TYPE_SOCKET_FILTER:
        return attach.socket_filter(where)
    if type == bpf.BPF_PROG_TYPE_SK_REUSEPORT:
        return attach.reuseport(where)
    for group in CLASSES:
        if type in group.takes:
            return attach.cgroup(where, hook or _word(group.hooks, number))
    for each in ON_SOCKMAPS:
        if type in each.takes:
            return attach.sockmap(where, hook or _word(each.hooks, number))
    raise AssemblyError(
        f"{program.name} is attached to no device, cgroup, socket, map or namespace",
        "its section says where, or attach(..., target=) does",
        rule="attach-target",
    )


def _word(hooks: dict[str, int], number: int) -> str:
    return next((word for word, each in hooks.items() if each == number), "")
