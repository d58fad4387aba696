"""Attaching what was verified for its place: tp_btf, fentry, fexit, fmod_ret, LSM, freplace (from kernel 5.5 on)."""

from __future__ import annotations

from bpfasm.kernel.link import Link
from bpfasm.syscall import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach.tracing import Traced
    from bpfasm.kernel.programs import LoadedProgram

MODES = ("link",)


def open_link(program: LoadedProgram, where: Traced, mode: str = "auto") -> Link:
    """Attach a program where it was loaded for. Raises FeatureMissing, KernelError."""
    try:
        return Link(_open(program, where), program, where, "link")
    except OSError as error:
        number = error.errno or 0
    from bpfasm.kernel.links.tracing_refused import refusal

    raise refusal(program, where, number)


def _open(program: LoadedProgram, where: Traced) -> int:
    # A raw tracepoint without a name is what all of them took from the beginning; a link is more for a cookie's sake.
    if not where.cookie:
        return bpf.raw_tracepoint_open("", program.fd)
    fields: dict[str, Any] = {"tracing.cookie": where.cookie}
    return bpf.link_create(prog_fd=program.fd, attach_type=where.attach_type, **fields)
