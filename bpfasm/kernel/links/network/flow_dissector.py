"""Attaching where the headers of packets are read, in a network namespace."""

from __future__ import annotations

from errno import EINVAL, ENOENT

from bpfasm.kernel.links import signature
from bpfasm.kernel.links.network import netns
from bpfasm.kernel.links.placed import PlacedLink
from bpfasm.syscall import bpf
from bpfasm.uapi.bpf import BPF_FLOW_DISSECTOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.sockets import FlowDissector
    from bpfasm.kernel.links.link import Link
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "prog_attach")


def open_link(program: LoadedProgram, where: FlowDissector, mode: str = "auto") -> Link:
    """Attach by a link (from kernel 5.8 on), or to this process's namespace by ``prog_attach``.

    Raises FeatureMissing, KernelError.
    """
    if mode != "prog_attach":
        return netns.open_link(program, where)
    if where.netns:
        from bpfasm.errors import FeatureMissing

        raise FeatureMissing(
            f"{where}: BPF_PROG_ATTACH knows this process's network namespace only",
            'attach it with mode="link", or enter the namespace before: nsenter --net=...',
            rule="netns",
        )
    sign = signature.signing("flow", netns=signature.netns())
    sign(program)

    def exchange(new: int, old: int) -> None:
        try:
            bpf.prog_attach(attach_bpf_fd=new, attach_type=BPF_FLOW_DISSECTOR)
        except OSError as error:
            raise netns.refusal(program, where, error.errno or 0) from None

    exchange(program.fd, 0)
    return PlacedLink(program, where, "prog_attach", undo, exchange=exchange, signed=sign)


def undo(fd: int) -> None:
    """Take the program away; another one that somebody put there stays."""
    try:
        bpf.prog_detach(attach_bpf_fd=fd, attach_type=BPF_FLOW_DISSECTOR)
    except OSError as error:
        if error.errno not in (ENOENT, EINVAL):
            raise
