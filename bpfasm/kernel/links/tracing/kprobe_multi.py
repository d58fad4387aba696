"""Attaching to many kernel functions by one link: kprobe.multi and sessions (from kernel 5.18 on)."""

from __future__ import annotations

from struct import pack

from bpfasm.kernel.links.link import Link
from bpfasm.kernel.links.tracing.kprobe import generic
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import addressof, buffer
from bpfasm.uapi.bpf import BPF_F_KPROBE_MULTI_RETURN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach.kprobe import KprobeMulti
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("multi",)


def open_link(program: LoadedProgram, where: KprobeMulti, mode: str = "auto") -> Link:
    """Attach a program of type KPROBE at many functions. Raises FeatureMissing, KernelError."""
    from bpfasm.kernel.links.tracing import kprobe_multi_refused as refused

    symbols = [generic(each) for each in where.symbols] or matching(where.pattern)
    if not symbols:
        raise refused.nothing_matches(where)
    texts = [buffer(each.encode() + b"\0") for each in symbols]
    fields: dict[str, Any] = {
        "kprobe_multi.syms": buffer(pack(f"={len(texts)}Q", *map(addressof, texts))),
        "kprobe_multi.cnt": len(texts),
        "kprobe_multi.flags": BPF_F_KPROBE_MULTI_RETURN if where.retprobe else 0,
    }
    if where.cookies:
        fields["kprobe_multi.cookies"] = buffer(pack(f"={len(where.cookies)}Q", *where.cookies))
    try:
        made = bpf.link_create(prog_fd=program.fd, attach_type=where.attach_type, **fields)
        return Link(made, program, where, "multi")
    except OSError as error:
        number = error.errno or 0
    raise refused.refusal(program, where, symbols, number)


def matching(pattern: str) -> list[str]:
    """Return the kernel functions whose names match, of those that can be probed."""
    from fnmatch import filter as matched

    from bpfasm.syscall import system, tracefs

    root = tracefs.find()
    there = tracefs.probed_functions(root) if root else frozenset()
    # The list has places in it that have no name.
    return sorted(set(matched(there, pattern)) & system.kernel_symbols())
