"""Attaching to cgroups: by a link (from kernel 5.7 on), or by BPF_PROG_ATTACH."""

from __future__ import annotations

import os
from errno import E2BIG, EBADF, EEXIST, EINVAL, ENODEV, ENOENT, EPERM

from bpfasm.errors import FeatureMissing
from bpfasm.kernel import query
from bpfasm.kernel.links import signature
from bpfasm.kernel.links.cgroup_fd import cgroup_fd
from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.placed import PlacedLink, another
from bpfasm.syscall import bpf
from bpfasm.uapi.bpf import BPF_F_ALLOW_MULTI, BPF_F_REPLACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.attach.cgroup import Cgroup
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link", "prog_attach")


def open_link(program: LoadedProgram, where: Cgroup, mode: str = "auto") -> Link:
    """Attach to a cgroup; what only BPF_PROG_ATTACH has, makes ``auto`` take that.

    Raises FeatureMissing, KernelError.
    """
    needs_attach = where.allow != "multi" or where.replaces is not None
    if mode == "link" and needs_attach:
        raise FeatureMissing(
            f"{where}: a link lets others attach, and replaces by its update()",
            'leave allow and replace out, or attach with mode="prog_attach"',
            rule="cgroup-link",
        )
    with cgroup_fd(where.cgroup) as fd:
        try:
            if mode == "prog_attach" or needs_attach:
                return _placed(program, where, fd)
            made = bpf.link_create(prog_fd=program.fd, target_fd=fd, attach_type=where.attach_type)
            return Link(made, program, where, "link")
        except OSError as error:
            if hasattr(error, "rule"):
                raise
            number = error.errno or 0
        raise _refusal(program, where, number)


def _placed(program: LoadedProgram, where: Cgroup, fd: int) -> Link:
    """Attach without a link: the program stays until it is taken away, or the cgroup goes."""
    kind = where.attach_type
    sign = signature.signing("cgroup", cgroup=os.fstat(fd).st_ino, attach_type=kind)
    sign(program)
    replaces = where.replaces if where.replaces is None or isinstance(where.replaces, int) else where.replaces.fd
    _attach(fd, kind, where.flags, program.fd, replaces)
    held = another(fd)

    def exchange(new: int, old: int) -> None:
        try:
            # Where there is room for one only, attaching replaces it.
            _attach(held, kind, where.flags, new, old if where.flags & BPF_F_ALLOW_MULTI else None)
        except OSError as error:
            raise _refusal(program, where, error.errno or 0) from None

    def undo(prog: int) -> None:
        detach(held, kind, prog)

    return PlacedLink(program, where, "prog_attach", undo, exchange=exchange, signed=sign, holds=(held,))


def _attach(fd: int, kind: int, flags: int, program: int, replaces: int | None) -> None:
    more = {} if replaces is None else {"replace_bpf_fd": replaces}
    if replaces is not None:
        flags |= BPF_F_REPLACE
    bpf.prog_attach(target_fd=fd, attach_bpf_fd=program, attach_type=kind, attach_flags=flags, **more)


def detach(cgroup: int, attach_type: int, program: int) -> None:
    """Take a program out of a cgroup, where it is in it. Raises OSError."""
    from bpfasm.kernel.objects import ids

    try:
        # Where one program only may be attached the kernel detaches that, whichever it is told.
        if ids.info("prog", program)["id"] in query.ask(cgroup, attach_type).prog_ids:
            bpf.prog_detach(target_fd=cgroup, attach_bpf_fd=program, attach_type=attach_type)
    except OSError as error:
        if error.errno not in (ENOENT, ENODEV):
            raise


def _refusal(program: LoadedProgram, where: Cgroup, number: int) -> BpfasmError:
    """Say why it was not attached."""
    from bpfasm.kernel.links.refused import not_attached

    dos = {
        EBADF: "give the folder of a cgroup of version 2, below /sys/fs/cgroup",
        EINVAL: "give the folder of a cgroup of version 2 to a program that was loaded for this; the kernel may not "
        "have the kind: `bpfasm features` shows it",
        EEXIST: "this program is attached there already",
        E2BIG: "64 programs are attached already, and there is no room for more",
        ENOENT: "the program that was to give way is not attached there",
        EPERM: "a cgroup here or above it lets no other program attach, or its programs were attached with another "
        "`allow`",
    }
    return not_attached(program, where, number, dos.get(number, ""), ("CAP_BPF", "CAP_NET_ADMIN"))
