"""Attaching to maps of sockets: by BPF_PROG_ATTACH, or by a link (from kernel 6.10 on)."""

from __future__ import annotations

from errno import EBUSY, EINVAL, ENOENT, EOPNOTSUPP

from bpfasm.errors import FeatureMissing
from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.placed import PlacedLink, another
from bpfasm.syscall import bpf, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.sockets import SockmapMsg, SockmapSkb
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "prog_attach")


def open_link(program: LoadedProgram, where: SockmapSkb | SockmapMsg, mode: str = "auto") -> Link:
    """Attach to a map of sockets, of which each kind of program is one. Raises FeatureMissing, KernelError."""
    map, kind = where.map if isinstance(where.map, int) else where.map.fd, where.attach_type
    if mode != "prog_attach":
        try:
            made = bpf.link_create(prog_fd=program.fd, target_fd=map, attach_type=kind)
            return Link(made, program, where, "link")
        except OSError as error:
            number = error.errno or 0
        # Before 6.10 there are no such links: the other way tells whether it is something else.
        if number not in (EINVAL, EOPNOTSUPP) or mode == "link":
            raise _refusal(program, where, number, mode)
    try:
        bpf.prog_attach(target_fd=map, attach_bpf_fd=program.fd, attach_type=kind)
    except OSError as error:
        raise _refusal(program, where, error.errno or 0, mode) from None
    held = another(map)
    return PlacedLink(program, where, "prog_attach", lambda prog: _undo(held, kind, prog), holds=(held,))


def _undo(map: int, kind: int, program: int) -> None:
    """Take the program away; another one that somebody put there stays."""
    try:
        bpf.prog_detach(target_fd=map, attach_bpf_fd=program, attach_type=kind)
    except OSError as error:
        if error.errno != ENOENT:
            raise


def _refusal(program: LoadedProgram, where: SockmapSkb | SockmapMsg, number: int, mode: str) -> BpfasmError:
    """Say why it was not attached."""
    from bpfasm.kernel.features import ask
    from bpfasm.kernel.links.refused import not_attached
    from bpfasm.syscall.probe.answer import NO

    unknown = number in (EINVAL, EOPNOTSUPP)
    if unknown and where.hook == "verdict" and ask("attach/sk_skb_verdict").state == NO:
        return FeatureMissing(
            f"this kernel ({system.release()}) attaches no verdict without a parser",
            'it came with 5.13; "stream_verdict" takes a parser',
            rule="no-sockmap-link",
        )
    if unknown and mode == "link" and ask("link/sockmap").state == NO:
        return FeatureMissing(
            f"this kernel ({system.release()}) has no links on maps of sockets",
            'they came with 6.10; mode="prog_attach" or "auto" does without',
            rule="no-sockmap-link",
        )
    dos = {
        EBUSY: "another program is attached there, by a link or as a verdict of the other kind",
        EINVAL: "give a SockMap or SockHash",
        EOPNOTSUPP: "give a SockMap or SockHash",
    }
    return not_attached(program, where, number, dos.get(number, ""), ("CAP_BPF", "CAP_NET_ADMIN"))
