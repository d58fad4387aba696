"""A program that was not loaded, in words."""

from __future__ import annotations

from errno import E2BIG, EAGAIN, EBADF, EINVAL, ENOMEM, EPERM

from bpfasm.errors import FeatureMissing, KernelError, VerifierError
from bpfasm.kernel.privilege import lacking, needs_of_program, not_permitted
from bpfasm.kernel.words import IN_THE_LAB, errno_name, prog_type
from bpfasm.syscall import bpf, system
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi import bpf as uapi
from bpfasm.vlog.last import last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Linked
    from bpfasm.errors import BpfasmError, Source
    from bpfasm.kernel.verdict import Verdict

#: More slots than these are refused before the verifier looks (BPF_COMPLEXITY_LIMIT_INSNS, BPF_MAXINSNS).
MOST_SLOTS = 1_000_000
MOST_SLOTS_UNPRIVILEGED = 4096

#: Types that cannot be loaded without naming what they attach to in the kernel's BTF.
_NEED_BTF_ID = (
    uapi.BPF_PROG_TYPE_TRACING,
    uapi.BPF_PROG_TYPE_LSM,
    uapi.BPF_PROG_TYPE_EXT,
    uapi.BPF_PROG_TYPE_STRUCT_OPS,
)


def refusal(linked: Linked, fields: dict[str, Any], verdict: Verdict) -> BpfasmError:
    """Return the exception for a program that was refused."""
    end = last(verdict.log)
    # Without a complaint at its end a log was cut short, by its buffer or by what stopped the verifier.
    if verdict.errno != EAGAIN and (end.error or (end.pc is not None and verdict.errno != ENOMEM)):
        return _by_verifier(linked, verdict)
    return _unread(linked, fields, verdict.errno)


def _by_verifier(linked: Linked, verdict: Verdict) -> VerifierError:
    """The verifier looked at it: say where it stopped, and what it said."""
    program, end = linked.program, last(verdict.log)
    pc = _no_instruction(linked) if end.pc is None else end.pc
    said = "; ".join(end.error) or f"{errno_name(verdict.errno)} (its log was cut off)"
    at = "" if pc is None else f", at slot {pc}{f': {end.insn}' if end.insn else ''}"
    do = f"its whole log has {len(verdict.log.splitlines())} lines: except VerifierError as error: print(error.log)"
    if "bpf_probe_read" in said and system.lockdown() == "confidentiality":
        do = "the kernel is locked down (confidentiality mode): nobody reads its memory; boot with lockdown=integrity"
    return VerifierError(
        verdict.errno,
        f"the verifier refused {program.name}: {said}{at}",
        do,
        log=verdict.log,
        program=program,
        pc=pc,
        source=source_at(linked, pc),
        rule="refused",
    )


def _no_instruction(linked: Linked) -> int | None:
    """Return the slot of what is no instruction: the verifier says "unknown opcode 8f", and not where."""
    from bpfasm.isa.insn import slots
    from bpfasm.isa.match import form_of

    for pc, insn in slots(linked.insns):
        if form_of(insn) is None or max(insn.dst_reg, insn.src_reg) >= uapi.MAX_BPF_REG:
            return pc
    return None


def source_at(linked: Linked, pc: int | None) -> Source | None:
    """Return the file and line of the instruction at a slot, or of the one whose second slot that is."""
    if pc is None:
        return None
    insn = linked.insn_at(pc) or linked.insn_at(pc - 1)
    return insn.source if insn else None


def _unread(linked: Linked, fields: dict[str, Any], number: int) -> BpfasmError:
    """The kernel refused it before the verifier had looked, and says no more than an errno."""
    program = linked.program
    kind, slots = prog_type(program.type), fields["insn_cnt"]
    what = f"{program.name} was not loaded"
    needs = needs_of_program(program.type)
    if number == EPERM:
        return not_permitted(f"loading {program.name} ({kind})", needs)
    if number == E2BIG:
        most = MOST_SLOTS_UNPRIVILEGED if lacking(("CAP_BPF",)) else MOST_SLOTS
        if not slots:
            return KernelError(
                number, f"{what}: it has no instructions", "end it with BPF_EXIT_INSN()", rule="program-size"
            )
        if slots > most:
            return KernelError(
                number,
                f"{what}: it has {slots} slots, and the kernel takes {most}",
                "split it into several programs and tail calls",
                rule="program-size",
            )
        return FeatureMissing(
            f"{what}: this kernel ({system.release()}) does not know a field it was given ({errno_name(number)})",
            "run it on a newer kernel (--on 7)",
            rule="attr-field",
        )
    if number == EINVAL and program.type in _NEED_BTF_ID:
        return KernelError(
            number,
            f"{what}: a program of type {kind} is loaded for one function of the kernel, and none was named",
            "this type cannot be attached by bpfasm yet",
            rule="program-type",
        )
    if number == EINVAL and _no_such_type(program.type):
        return FeatureMissing(
            f"{what}: this kernel ({system.release()}) has no programs of type {kind}",
            f"it is too old for them or built without them; {IN_THE_LAB}",
            rule="no-program-type",
        )
    sentences = {
        EAGAIN: (
            f"signals interrupted the verifier {bpf.TRIES} times",
            "stop the timer or profiler that sends them while the program is loaded",
        ),
        EBADF: ("it refers to a map or program that is not open", "load the maps it uses with it: load(program)"),
        ENOMEM: ("the kernel has no memory for it", "free some, or make the program smaller"),
        ENOTSUPP: ("the kernel does not support what it does (ENOTSUPP), and does not say what", IN_THE_LAB),
    }
    words, do = sentences.get(
        number, (f"{errno_name(number)}, and the kernel does not say why", "dmesg may tell more")
    )
    return KernelError(number, f"{what}: {words}", do, rule="program-load")


def _no_such_type(type: int) -> bool:
    from bpfasm.syscall.probe.answer import NO
    from bpfasm.syscall.probe.programs import prog_type as ask

    return ask(type).state == NO
