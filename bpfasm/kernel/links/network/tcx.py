"""Attaching to the row of programs that a network device has without a qdisc (tcx, from kernel 6.6 on)."""

from __future__ import annotations

from errno import E2BIG, EEXIST, EINVAL, ENODEV, ENOENT, EOPNOTSUPP, ERANGE, ESTALE

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.links.link import KernelLink, Link
from bpfasm.kernel.links.network.device import index, no_device
from bpfasm.syscall import bpf, system
from bpfasm.uapi.bpf import BPF_F_AFTER, BPF_F_BEFORE, BPF_F_LINK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach.device import Tcx
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)


def open_link(program: LoadedProgram, where: Tcx, mode: str = "auto") -> Link:
    """Attach to a device's ingress or egress. Raises FeatureMissing, KernelError."""
    flags, fields = _ordered(where)
    try:
        fd = bpf.link_create(
            prog_fd=program.fd,
            target_ifindex=index(where.device),
            attach_type=where.attach_type,
            flags=flags,
            **fields,
        )
        return Link(fd, program, where, "link")
    except KernelError:
        raise
    except OSError as error:
        number = error.errno or 0
    raise _refusal(program, where, number)


def _ordered(where: Tcx) -> tuple[int, dict[str, Any]]:
    """Return the flags and fields for where in the row."""
    fields: dict[str, Any] = {"tcx.expected_revision": where.revision} if where.revision else {}
    relative = where.before if where.before is not None else where.after
    flags = BPF_F_BEFORE if where.before is not None or where.first else 0
    flags |= BPF_F_AFTER if where.after is not None or where.last else 0
    if relative is not None:
        flags |= BPF_F_LINK if isinstance(relative, KernelLink) else 0
        fields["tcx.relative_fd"] = relative if isinstance(relative, int) else relative.fd
    return flags, fields


def _refusal(program: LoadedProgram, where: Tcx, number: int) -> BpfasmError:
    """Say why it was not attached."""
    from bpfasm.kernel.features import ask
    from bpfasm.kernel.links.refused import not_attached
    from bpfasm.syscall.probe.answer import NO

    if number == ENODEV:
        return no_device(where.device, number)
    if number in (EINVAL, EOPNOTSUPP) and ask("link/tcx").state == NO:
        return FeatureMissing(
            f"this kernel ({system.release()}) has no tcx", "it came with 6.6; tc() does without", rule="no-tcx"
        )
    dos = {
        EEXIST: "this program is attached there already",
        ENOENT: "the program or link that it is to be next to is not attached there",
        ERANGE: "64 programs are attached already, and there is no room for more",
        E2BIG: "64 programs are attached already, and there is no room for more",
        ESTALE: "the row has changed since its revision was asked for: ask again, by bpfasm.kernel.query.query()",
    }
    return not_attached(program, where, number, dos.get(number, ""), ("CAP_BPF", "CAP_NET_ADMIN"))
