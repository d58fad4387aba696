"""Attaching at the hooks of netfilter (from kernel 6.4 on)."""

from __future__ import annotations

from errno import EAFNOSUPPORT, EBUSY, EINVAL, EOPNOTSUPP, EPERM, ERANGE

from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf
from bpfasm.uapi.bpf import BPF_F_NETFILTER_IP_DEFRAG, BPF_NETFILTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach.netfilter import Netfilter
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)


def open_link(program: LoadedProgram, where: Netfilter, mode: str = "auto") -> Link:
    """Attach at a hook, in the network namespace of this process. Raises FeatureMissing, KernelError."""
    protocol, hook = where.numbers
    fields: dict[str, Any] = {
        "netfilter.pf": protocol,
        "netfilter.hooknum": hook,
        "netfilter.priority": where.priority,
        "netfilter.flags": BPF_F_NETFILTER_IP_DEFRAG if where.defrag else 0,
    }
    try:
        made = bpf.link_create(prog_fd=program.fd, attach_type=BPF_NETFILTER, **fields)
        return Link(made, program, where, "link")
    except OSError as error:
        number = error.errno or 0
    raise _refusal(program, where, number)


def _refusal(program: LoadedProgram, where: Netfilter, number: int) -> BpfasmError:
    from bpfasm.errors import KernelError
    from bpfasm.kernel.base.privilege import not_permitted
    from bpfasm.kernel.links.refused import not_attached

    if number == EPERM:
        return not_permitted(f"attaching {program.name} at {where}", ("CAP_BPF", "CAP_NET_ADMIN"))
    if number in (EBUSY, ERANGE):
        return KernelError(
            number,
            f"{program.name} was not attached at {where}: another program has this priority, or nothing may have it",
            "take another number: each has one program, and the lowest and the highest have none",
            rule="attach-refused",
        )
    dos = {
        EAFNOSUPPORT: "this kernel is built without the protocol",
        EOPNOTSUPP: "putting fragments together comes earlier: give defrag a priority above -400",
        EINVAL: "putting fragments together comes earlier: give defrag a priority above -400",
    }
    return not_attached(program, where, number, dos.get(number, ""))
