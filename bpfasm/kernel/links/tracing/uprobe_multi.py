"""Attaching at many functions of a file by one link: uprobe.multi and sessions (from kernel 6.6 on)."""

from __future__ import annotations

import os
from errno import EINVAL, EOPNOTSUPP, ESRCH
from struct import pack

from bpfasm.elf.probes import file_offset, function_offset, functions
from bpfasm.kernel.links.link import Link
from bpfasm.kernel.user import code_of, find_file
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer
from bpfasm.uapi.bpf import BPF_F_UPROBE_MULTI_RETURN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.attach.uprobe import UprobeMulti
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel.programs.program import LoadedProgram

MODES = ("multi",)


def open_link(program: LoadedProgram, where: UprobeMulti, mode: str = "auto") -> Link:
    """Attach a program of type KPROBE at many places of a file. Raises FeatureMissing, KernelError, InputError."""
    path = find_file(where.path, pid=where.pid, inside=where.inside)
    offsets = where.offsets or _offsets(path, where)
    fields: dict[str, Any] = {
        "path": buffer(os.fsencode(path) + b"\0"),
        "offsets": buffer(pack(f"={len(offsets)}Q", *offsets)),
        "cnt": len(offsets),
        "flags": BPF_F_UPROBE_MULTI_RETURN if where.retprobe else 0,
        "pid": os.getpid() if where.pid == 0 else where.pid or 0,
    }
    for name, numbers in (("cookies", where.cookies), ("ref_ctr_offsets", where.semaphores)):
        if numbers:
            fields[name] = buffer(pack(f"={len(numbers)}Q", *numbers))
    try:
        made = bpf.link_create(
            prog_fd=program.fd,
            attach_type=where.attach_type,
            **{f"uprobe_multi.{name}": value for name, value in fields.items()},
        )
        return Link(made, program, where, "multi")
    except OSError as error:
        number = error.errno or 0
    raise _refusal(program, where, number)


def _offsets(path: str, where: UprobeMulti) -> tuple[int, ...]:
    file = code_of(path)
    if where.symbols:
        return tuple(function_offset(file, each) for each in where.symbols)
    from fnmatch import filter as matched

    from bpfasm.errors import InputError

    there = functions(file)
    addresses = {there[each].value for each in matched(there, where.pattern)}
    found = (file_offset(file, each) for each in sorted(addresses))
    offsets = tuple(each for each in found if each is not None)
    if not offsets:
        raise InputError(
            f"no function of {path} matches {where.pattern}",
            f"* stands for any letters, ? for one; look: nm -D {path}",
            rule="uprobe-symbol",
        )
    return offsets


def _refusal(program: LoadedProgram, where: UprobeMulti, number: int) -> BpfasmError:
    from bpfasm.errors import FeatureMissing
    from bpfasm.kernel.features import ask
    from bpfasm.kernel.links.refused import not_attached
    from bpfasm.syscall import system
    from bpfasm.syscall.probe.answer import NO

    kind = "uprobe_session" if where.session else "uprobe_multi"
    if number in (EINVAL, EOPNOTSUPP) and ask(f"link/{kind}").state == NO:
        return FeatureMissing(
            f"this kernel ({system.release()}) has no {str(where).partition(' ')[0]}: it came with "
            f"{'6.13' if where.session else '6.6'}",
            "attach a program at each function by uprobe(), or take --on 7",
            rule="no-uprobe-multi",
        )
    do = "there is no such process" if number == ESRCH else "each place must be code, where an instruction starts"
    return not_attached(program, where, number, do)
