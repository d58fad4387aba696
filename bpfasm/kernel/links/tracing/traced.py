"""Attaching what was verified for its place: tp_btf, fentry, fexit, fmod_ret, LSM, freplace (from kernel 5.5 on)."""

from __future__ import annotations

from errno import EINVAL

from bpfasm.kernel.links.link import Link
from bpfasm.syscall import bpf
from bpfasm.uapi.bpf import BPF_TRACE_RAW_TP
from bpfasm.uapi.btf import BTF_KIND_STRUCT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach.tracing import Traced
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("link",)


def open_link(program: LoadedProgram, where: Traced, mode: str = "auto") -> Link:
    """Attach a program where it was loaded for. Raises FeatureMissing, KernelError."""
    try:
        return Link(_open(program, where), program, where, "link")
    except OSError as error:
        number = error.errno or 0
    from bpfasm.kernel.links.tracing.traced_refused import refusal

    raise refusal(program, where, number)


def _open(program: LoadedProgram, where: Traced) -> int:
    # A raw tracepoint without a name is what all of them took from the beginning; a link is more for a cookie's sake.
    if not where.cookie:
        return bpf.raw_tracepoint_open("", program.fd)
    if where.attach_type == BPF_TRACE_RAW_TP and not _tracepoints_have_cookies():
        raise OSError(EINVAL, "6.0 to 6.9 attach it, and drop the cookie")
    fields: dict[str, Any] = {"tracing.cookie": where.cookie}
    return bpf.link_create(prog_fd=program.fd, attach_type=where.attach_type, **fields)


def _tracepoints_have_cookies() -> bool:
    """Tell whether links on tracepoints keep a cookie: 68ca5d4eebb8 (in v6.10) gave their struct a place for it."""
    from bpfasm.kernel.btf import kernel as kernel_btf

    types = kernel_btf.vmlinux()
    structs = types.find("bpf_raw_tp_link", BTF_KIND_STRUCT)
    return any(member.name == "cookie" for id in structs for member in types.type(id).members)
