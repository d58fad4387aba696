"""A program that was not loaded, in words."""

from __future__ import annotations

import os
from errno import E2BIG, EAGAIN, EBADF, EINVAL, ENOMEM, EOPNOTSUPP, EPERM

from bpfasm.asm.checks import MOST_SLOTS
from bpfasm.asm.linker import link
from bpfasm.asm.prog_types import TYPES, smallest
from bpfasm.errors import BpfasmError, FeatureMissing, KernelError, VerifierError
from bpfasm.kernel.base.no_memory import more_memory
from bpfasm.kernel.base.privilege import UNPRIVILEGED_TYPES, barred, lacking, needs_of_program, unprivileged
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name, prog_type
from bpfasm.kernel.programs.verdict import verify
from bpfasm.syscall import bpf, system
from bpfasm.syscall.libc import ENOTSUPP, buffer
from bpfasm.uapi import bpf as uapi, names
from bpfasm.vlog.last import last

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Linked
    from bpfasm.asm.prog_types import ProgType
    from bpfasm.asm.program import Program
    from bpfasm.errors import Source
    from bpfasm.kernel.programs.verdict import Verdict

#: What MOST_SLOTS is to who may load little (include/uapi/linux/bpf_common.h BPF_MAXINSNS).
MOST_SLOTS_UNPRIVILEGED = 4096

#: What a kernel says that sees fewer functions than the types of the program have: one whose address is loaded, and
#: that is not called, is no function to it.
_FEWER_FUNCTIONS = "number of funcs in func_info doesn't match number of subprogs"


def refusal(linked: Linked, fields: dict[str, Any], verdict: Verdict) -> BpfasmError:
    """Return the exception for a program that was refused."""
    end, type = last(verdict.log), linked.program.type
    if type in _TARGETS and not fields.get("attach_btf_id") and not lacking(needs_of_program(type)):
        return _no_target(linked.program, verdict.errno)
    if end.error and end.error[0].startswith(_FEWER_FUNCTIONS):
        return FeatureMissing(
            f"{linked.program.name} was not loaded: this kernel ({system.release()}) has no functions as arguments",
            "callbacks (BPF_PSEUDO_FUNC) came with Linux 5.13: write a loop, or run it on a newer kernel (--on 6.1)",
            rule="no-callbacks",
        )
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
    do = _way_out(said) or do
    lack = _lack(linked, pc)
    if lack is not None:
        what = f"the verifier refused {program.name}: it gets to what is not there: {lack.what}, at slot {pc}"
        return VerifierError(
            verdict.errno,
            what,
            lack.do,
            log=verdict.log,
            program=program,
            pc=pc,
            source=source_at(linked, pc),
            rule=lack.rule,
        )
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


def _way_out(said: str) -> str:
    """Return what to do about what the verifier says, where its words tell; for most it takes the log."""
    if "bpf_probe_read" in said and system.lockdown() == "confidentiality":
        mode = "the kernel is locked down (confidentiality mode)"
        return f"{mode}: nobody reads its memory; boot with lockdown=integrity"
    if "cannot call GPL-restricted function" in said:
        return 'declare the program with license="GPL", if that is what it is; or do without this function'
    # The second is what 5.10 and 6.1 say to a helper that they have.
    for words in ("cannot use helper bpf_", "unknown func bpf_"):
        if words in said:
            name = said.partition(words)[2].partition("#")[0]
            return f"see which types of programs may call it on this kernel: bpfasm features helper/{name}"
    if "invalid func " in said:
        return "this kernel has no helper of that number: bpfasm ref NAME tells numbers, and since when each is there"
    if "BPF program is too large" in said:
        return "it counts the instructions of all paths: end loops earlier, branch less, or use bpf_loop()"
    lack = lacking(("CAP_BPF", "CAP_PERFMON"))
    if lack:
        return f"the verifier allows less to who lacks {' and '.join(lack)}: it may take the program with sudo"
    return ""


def _lack(linked: Linked, pc: int | None) -> BpfasmError | None:
    """Return what the instruction at a slot needs and this kernel lacks: another stands in its place there."""
    from bpfasm.asm.linker import Target
    from bpfasm.kernel.btf.kernel import Modules, vmlinux

    for slot, operand, _ in linked.missing:
        insn = linked.insn_at(slot)
        if slot == pc and insn is not None:
            error = operand.missing(insn, Target(btf=vmlinux(), modules=Modules()))
            return error if isinstance(error, BpfasmError) else None
    return None


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
    doing = f"loading {program.name} ({kind})"
    closed = program.type in UNPRIVILEGED_TYPES and system.unprivileged_bpf_disabled()
    if number == EPERM and closed and lacking(needs):
        return unprivileged(doing)
    page = os.sysconf("SC_PAGESIZE")
    lack = barred(doing, number, needs, memory=-(-8 * slots // page) * page)
    if lack is not None:
        return lack
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
        return _unknown_field(what, fields, number) or FeatureMissing(
            f"{what}: this kernel ({system.release()}) does not know a field that it was given (E2BIG)",
            "run it on a newer kernel (--on 7)",
            rule="attr-field",
        )
    if number in (EINVAL, EOPNOTSUPP):
        found = _by_trying(what, program) or _unknown_field(what, fields, number)
        if found:
            return found
    sentences = {
        EAGAIN: (
            f"signals interrupted the verifier {bpf.TRIES} times",
            "stop the timer or profiler that sends them while the program is loaded",
        ),
        EBADF: ("it refers to a map or program that is not open", "load the maps it uses with it: load(program)"),
        ENOMEM: ("the kernel has no memory for it", more_memory("make the program smaller")),
        ENOTSUPP: ("the kernel does not support what it does (ENOTSUPP), and does not say what", IN_THE_LAB),
    }
    words, do = sentences.get(
        number, (f"{errno_name(number)}, and the kernel does not say why", "dmesg may tell more")
    )
    return KernelError(number, f"{what}: {words}", do, rule="program-load")


#: How to name what a program is loaded for, by type.
_TARGETS = {
    uapi.BPF_PROG_TYPE_TRACING: 'attach_btf="vfs_read", expected_attach_type=BPF_TRACE_FENTRY',
    uapi.BPF_PROG_TYPE_LSM: 'attach_btf="file_open", expected_attach_type=BPF_LSM_MAC',
    uapi.BPF_PROG_TYPE_STRUCT_OPS: 'attach_btf="tcp_congestion_ops.ssthresh"',
    uapi.BPF_PROG_TYPE_EXT: 'attach_prog=other, attach_btf="function_of_other"',
}


def _no_target(program: Program, number: int) -> KernelError:
    row = TYPES[program.type]
    return KernelError(
        number,
        f"{program.name} was not loaded: a program of type {row.name} is loaded for {row.target}, and none was named",
        f"name it, as in Program(..., {_TARGETS[program.type]})",
        rule="program-type",
    )


def _by_trying(what: str, program: Program) -> BpfasmError | None:
    """Say what of a program's description this kernel does not take; found by loading the smallest one with it."""
    kind, row, least = prog_type(program.type), TYPES.get(program.type), smallest(program.type)
    if _no_such_type(program.type):
        return FeatureMissing(
            f"{what}: this kernel ({system.release()}) has no programs of type {kind}",
            f"it is too old for them or built without them; {IN_THE_LAB}",
            rule="no-program-type",
        )
    given = program.expected_attach_type
    if row and row.target:
        return _attach_type(what, row, given) if row.attach_types else None
    if not _try(least.replace(expected_attach_type=given)):
        return _attach_type(what, row, given) if row else None
    if program.flags and not _try(least.replace(flags=program.flags)):
        return FeatureMissing(
            f"{what}: this kernel ({system.release()}) does not take the flags {program.flags:#x} for {kind}",
            "leave out what is not needed, or run it on a newer kernel (--on 7)",
            rule="program-flags",
        )
    if program.ifindex:
        return FeatureMissing(
            f"{what}: the device {program.ifindex} does not run programs itself, or there is no such device",
            "leave out ifindex: the kernel runs it then",
            rule="program-ifindex",
        )
    return None


def _attach_type(what: str, row: ProgType, given: int) -> BpfasmError:
    """Say which attach types a type of program takes."""
    known = names(uapi, "bpf_attach_type")
    which = f"{known.get(given, given)}" if given else "none"
    if given in row.attach_types:
        return FeatureMissing(
            f"{what}: this kernel ({system.release()}) has no attach type {which} for {row.name}",
            "run it on a newer kernel (--on 7)",
            rule="attach-type",
        )
    return KernelError(
        EINVAL,
        f"{what}: {row.name} takes an expected_attach_type of its own, and {which} was given",
        f"give it one of {', '.join(known[each] for each in row.attach_types)}",
        rule="attach-type",
    )


def _unknown_field(what: str, fields: dict[str, Any], number: int) -> FeatureMissing | None:
    """Name the fields that this kernel does not know, found by setting each in a load that comes to nothing.

    It refuses them with E2BIG where its struct is shorter, with EINVAL where the rest of the union has to be 0.
    """
    from bpfasm.syscall.probe.commands import unknown_fields

    unknown = unknown_fields(uapi.BPF_PROG_LOAD, fields)
    if not unknown:
        return None
    named = " and ".join(f"{field} (of Linux {since})" for field, since in unknown.items())
    return FeatureMissing(
        f"{what}: this kernel ({system.release()}) does not know {named}: {errno_name(number)}",
        "run it on a newer kernel (--on 7)",
        rule="attr-field",
    )


def _no_such_type(type: int) -> bool:
    from bpfasm.syscall.probe.answer import NO
    from bpfasm.syscall.probe.programs import prog_type as ask

    return ask(type).state == NO


def _try(program: Program) -> bool:
    """Return whether the verifier gets to see a program: it loads, or is refused in words or for another reason."""
    code = link(program).code
    verdict = verify(
        {
            "prog_type": program.type,
            "insn_cnt": len(code) // 8,
            "insns": buffer(code),
            "license": buffer(b"GPL\0"),
            "expected_attach_type": program.expected_attach_type,
            "prog_flags": program.flags,
        }
    )
    if verdict.fd is not None:
        os.close(verdict.fd)
        return True
    return bool(verdict.log.strip()) or verdict.errno != EINVAL
