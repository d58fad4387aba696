"""A program as the kernel holds it, with the names of what its numbers stand for."""

from __future__ import annotations

import os

from bpfasm.asm.linker import Assembled
from bpfasm.asm.program import Program
from bpfasm.asm.syntax.xlated import Names, own_functions
from bpfasm.errors import BpfasmError
from bpfasm.isa.insn import decode, slots
from bpfasm.kernel.objects import ids
from bpfasm.kernel.programs.info import prog_info, xlated
from bpfasm.syscall import system
from bpfasm.syscall.kallsyms import Kallsyms
from bpfasm.uapi import bpf, bpf_common, btf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.isa.insn import Insn
    from bpfasm.kernel.programs.info import ProgInfo

_CALL = bpf_common.BPF_JMP | bpf.BPF_CALL
_U64 = (1 << 64) - 1


class Dump(Value):
    """What the verifier left of a program: its instructions, what the kernel tells of it, and names."""

    info: ProgInfo
    insns: tuple[Insn, ...]
    code: bytes
    names: Names

    @property
    def name(self) -> str:
        """Its name, whole where its types say so: the kernel keeps 15 characters."""
        return full_name(self.info)


def assembled_of(found: Dump) -> Assembled:
    """Return a dump as a program laid out, for whatever shows one."""
    program = Program(found.name or f"id_{found.info.id}", found.info.type, found.insns)
    return Assembled(program, found.insns, tuple(found.names.functions.items()), ())


def full_name(info: ProgInfo) -> str:
    """Return the name of a program, whole where its types say so."""
    first = info.functions[0][1] if info.functions else ""
    return first if first.startswith(info.name) else info.name


def dump(fd: int) -> Dump:
    """Return a program's translated instructions, by an fd. Raises FeatureMissing where the kernel hides them."""
    info = prog_info(fd)
    code = xlated(fd)
    insns = tuple(decode(code))
    calls, hidden = _calls(insns)
    names = Names(
        maps={id: map_name(id) for id in info.map_ids},
        calls=calls,
        functions=_functions(insns, info),
        hidden=hidden,
    )
    return Dump(info, insns, code, names)


def map_name(id: int) -> str:
    """Return the name of a map, empty where it has none or is not for us to see."""
    try:
        fd = ids.open_id("map", id)
    except BpfasmError:
        return ""
    if fd is None:
        return ""
    try:
        return ids.text(ids.info("map", fd)["name"])
    except BpfasmError:
        return ""
    finally:
        os.close(fd)


def _functions(insns: tuple[Insn, ...], info: ProgInfo) -> dict[int, str]:
    """Return the names of a program's functions: those in its types, or what the kernel calls them by their tags."""
    starts = own_functions(slots(insns))
    if info.functions:
        return dict(info.functions)
    if len(starts) == 1:
        return {0: info.name} if info.name else {}
    if len(starts) == len(info.tags):
        return {start: f"bpf_prog_{tag}" for start, tag in zip(starts, info.tags, strict=True)}
    return {start: f"func_{start}" for start in starts}


def _calls(insns: tuple[Insn, ...]) -> tuple[dict[int, str], str]:
    """Return what is called, by the immediate of the call; and why nothing is known, where that is so."""
    called = {insn.imm: insn for insn in insns if insn.code == _CALL and insn.src_reg != bpf.BPF_PSEUDO_CALL}
    # What is left of bpf_tail_call has its own number.
    called.pop(bpf.BPF_FUNC_tail_call, None)
    if not called:
        return {}, ""
    symbols = Kallsyms()
    base = symbols.address("__bpf_call_base")
    found = {imm: symbols.name(base + imm & _U64) for imm in called} if base else {}
    for imm, insn in called.items():
        if not found.get(imm) and insn.src_reg == bpf.BPF_PSEUDO_KFUNC_CALL:
            found[imm] = _kfunc(insn)
    found = {imm: name for imm, name in found.items() if name}
    if found or base:
        return found, ""
    restrict = system.number("/proc/sys/kernel/kptr_restrict")
    return {}, f"names hidden: kptr_restrict is {restrict}"


def _kfunc(insn: Insn) -> str:
    """Return the name of a kernel function whose call still holds its number in the kernel's types."""
    from bpfasm.kernel.btf.kernel import vmlinux

    if insn.off:
        return ""  # a module's, and which one is not told
    try:
        found = vmlinux().type(insn.imm)
    except BpfasmError:
        return ""
    return found.name if found.kind == btf.BTF_KIND_FUNC else ""
