"""Rules about the shape of a program: each looks at it once, whatever it may hold when it runs."""

from __future__ import annotations

from bpfasm.asm.defuse import effect
from bpfasm.asm.lint.finding import WARNING
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.prog_types import TYPES
from bpfasm.isa.helpers import HELPERS, helper_of
from bpfasm.isa.match import MAX_REG, why_none
from bpfasm.isa.table import FORMS
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpfasm.asm.lint.finding import Asked, Finding
    from bpfasm.asm.program import Program
    from bpfasm.isa.form import Form

_CODES = {form.code for form in FORMS}

#: What the kernel takes for compatible with the GPL (include/linux/license.h license_is_gpl_compatible()).
_GPL = ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")


def no_opcode(asked: Asked) -> Iterator[Finding]:
    """Find bytes that are no instruction at all."""
    for index, (insn, form) in enumerate(zip(asked.graph.insns, asked.graph.forms, strict=True)):
        if form is None and insn.code not in _CODES:
            fix = "every kernel refuses it: check the bytes, or where the program is cut"
            yield asked.at(index, "no-opcode", why_none(insn), fix)


def reserved_field(asked: Asked) -> Iterator[Finding]:
    """Find fields that are not what the instruction takes there."""
    for index, (insn, form) in enumerate(zip(asked.graph.insns, asked.graph.forms, strict=True)):
        registers = max(insn.dst_reg, insn.src_reg) <= MAX_REG
        if form is None and insn.code in _CODES and registers:
            fix = "a field that an instruction does not use is 0; its macro sees to that"
            yield asked.at(index, "reserved-field", why_none(insn), fix)


def no_register(asked: Asked) -> Iterator[Finding]:
    """Find registers that no program has."""
    for index, (insn, form) in enumerate(zip(asked.graph.insns, asked.graph.forms, strict=True)):
        used = [
            number
            for number in (insn.dst_reg, insn.src_reg)
            if number >= bpf.MAX_BPF_REG and insn.code in _CODES and not _stack_argument(asked, index, number)
        ]
        if used and (form is None or form.dialect != "xlated"):
            text, fix = f"there is no register R{used[0]}", "a program has R0 to R10"
            if used[0] in (bpf.MAX_BPF_REG, bpf.MAX_BPF_REG + 1):
                text = f"R{used[0]} is the kernel's own, for what it puts into programs that it has taken"
            yield asked.at(index, "no-register", text, fix)


def _stack_argument(asked: Asked, index: int, number: int) -> bool:
    """Return whether R11 is the base of an access: so are arguments passed on the stack, from 7.x on."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    if form is None or number != bpf.MAX_BPF_REG or form.kind not in ("load", "store"):
        return False
    return number == (insn.src_reg if form.kind == "load" else insn.dst_reg)


def kernel_form(asked: Asked) -> Iterator[Finding]:
    """Find instructions that only the kernel makes, when it rewrites a program."""
    for index, form in enumerate(asked.graph.forms):
        if form and (form.dialect == "xlated" or not form.since):
            text = f"{form.name} is an instruction that no program may have"
            yield asked.at(index, "kernel-form", text, "the kernel puts it into programs that it has taken")


def frame_pointer(asked: Asked) -> Iterator[Finding]:
    """Find writes to R10."""
    for index, (insn, form) in enumerate(zip(asked.graph.insns, asked.graph.forms, strict=True)):
        if form and effect(insn, form)[1] >> bpf.BPF_REG_10 & 1:
            fix = "copy it first: BPF_MOV64_REG(R2, R10), and change that"
            yield asked.at(index, "frame-pointer", "R10 is the frame pointer, and nothing may write it", fix)


def bad_constant(asked: Asked) -> Iterator[Finding]:
    """Find divisions by the constant 0, and shifts by more bits than there are."""
    for index, (insn, form) in enumerate(zip(asked.graph.insns, asked.graph.forms, strict=True)):
        if form is None or form.kind != "alu" or not form.name.endswith("_imm") or insn.imm.__class__ is not int:
            continue
        name, bits = form.name[:-6], int(form.name[-6:-4])
        if name in ("div", "mod", "sdiv", "smod") and insn.imm == 0:
            fix = "by a register it would give 0 (BPF_MOD: leave the number), by the constant 0 it is refused"
            yield asked.at(index, "zero-divisor", "this divides by the constant 0", fix)
        if name in ("lsh", "rsh", "arsh") and not 0 <= insn.imm < bits:
            text = f"a shift by {insn.imm} bits, of a number of {bits}"
            yield asked.at(index, "shift-range", text, f"a constant shift is 0 to {bits - 1}")


def no_instructions(asked: Asked) -> Iterator[Finding]:
    """Find programs without instructions."""
    if not asked.graph.insns:
        from bpfasm.asm.lint.finding import ERROR, Finding

        fix = "the smallest is BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()"
        yield Finding("no-instructions", ERROR, 0, f"{asked.program.name} has no instructions", fix, None, 1)


_LEADS = {
    "outside": ("jump-outside", "leads to slot {target}, and the program has {size}"),
    "inside": ("jump-inside", "leads to slot {target}, the second half of an instruction of two slots"),
    "across": ("jump-across", "leads to slot {target}, which is in {other}: only a call goes there"),
}


def leads_nowhere(asked: Asked) -> Iterator[Finding]:
    """Find jumps and calls to where no instruction of the same function starts."""
    graph = asked.graph
    size = graph.pcs[-1] + graph.insns[-1].width if graph.insns else 0
    for fault in graph.faults:
        index = graph.index(fault.pc)
        if fault.kind not in _LEADS or index is None:
            continue
        rule, text = _LEADS[fault.kind]
        other = next((f.name for f in graph.functions if f.start <= fault.target < f.end), "")
        what = "this call" if (form := graph.forms[index]) and form.kind in ("call", "ld_imm64") else "this jump"
        fix = "use a label: a distance counts slots from the next one, and BPF_LD_IMM64 has two"
        yield asked.at(index, rule, f"{what} {text.format(target=fault.target, size=size, other=other)}", fix)


def falls_off(asked: Asked) -> Iterator[Finding]:
    """Find functions whose last instruction goes on."""
    graph = asked.graph
    for fault in graph.faults:
        index = graph.index(fault.pc)
        if fault.kind != "end" or index is None:
            continue
        form, name = graph.forms[index], graph.functions[graph.block_at(fault.pc).function].name
        if form is None or form.name == "call_kfunc":
            continue  # it may be bpf_throw(), which does not come back
        fix = "end it with BPF_EXIT_INSN(), or with a jump back"
        yield asked.at(index, "no-exit", f"{name} goes on behind its last instruction", fix)


def unreachable(asked: Asked) -> Iterator[Finding]:
    """Find instructions that no path leads to."""
    graph = asked.graph
    for start, end in graph.unreached():
        index = graph.index(start)
        if index is None:
            continue
        count = sum(start <= pc < end for pc in graph.pcs[index : index + end - start])
        what = "this instruction" if count == 1 else f"these {count} instructions"
        fix = "take them out, or jump there: kernels refuse what cannot run"
        yield asked.at(index, "unreachable", f"nothing leads to {what}", fix)


def endless(asked: Asked) -> Iterator[Finding]:
    """Find loops that no way leads out of."""
    graph = asked.graph
    if graph.indirect or graph.faults:
        return
    leaves = [block.number for block in graph.blocks if not block.succs]
    out = set(leaves)
    while leaves:
        for edge in graph.blocks[leaves.pop()].preds:
            if edge.source not in out:
                out.add(edge.source)
                leaves.append(edge.source)
    for loop in graph.loops:
        if loop.header in out or not graph.reached[loop.header] or loop.outer is not None:
            continue
        # Where it can be left by never coming back from a call, nobody can tell.
        if any(form and form.kind == "call" for form in _forms(asked, graph.members(loop))):
            continue
        index = graph.blocks[loop.header].first
        fix = "count, and leave when it is done: BPF_JMP_IMM(BPF_JNE, ...)"
        yield asked.at(index, "endless-loop", "this loop has no way out", fix)


def _forms(asked: Asked, blocks: list[int]) -> Iterator[Form | None]:
    for number in blocks:
        block = asked.graph.blocks[number]
        yield from asked.graph.forms[block.first : block.last + 1]


def recursion(asked: Asked) -> Iterator[Finding]:
    """Find functions that call themselves, directly or by others."""
    graph = asked.graph
    calls: dict[int, list[tuple[int, int]]] = {}
    for call in graph.calls:
        if call.kind == "call":
            calls.setdefault(graph.block_at(call.pc).function, []).append((call.pc, call.callee))
    state: dict[int, int] = {}
    for root, first in calls.items():
        stack = [(root, iter(first))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            function, rest = stack[-1]
            for pc, callee in rest:
                if state.get(callee) == 1:
                    index = graph.index(pc)
                    assert index is not None
                    name = graph.functions[callee].name
                    fix = "the verifier follows every call, to 8 frames: write a loop, or use bpf_loop()"
                    yield asked.at(index, "recursion", f"{name} is called within itself", fix)
                elif callee not in state:
                    state[callee] = 1
                    stack.append((callee, iter(calls.get(callee, ()))))
                    break
            else:
                state[function] = 2
                stack.pop()


def no_helper(asked: Asked) -> Iterator[Finding]:
    """Find calls of helpers that there are not."""
    graph = asked.graph
    for index, (insn, form) in enumerate(zip(graph.insns, graph.forms, strict=True)):
        if form and form.name == "call_helper" and insn.imm.__class__ is int and insn.imm not in HELPERS:
            fix = f"the last is number {max(HELPERS)}; kernels since then add kernel functions: BPF_CALL_KFUNC"
            yield asked.at(index, "no-helper", f"there is no helper number {insn.imm}", fix)


def gpl_only(asked: Asked) -> Iterator[Finding]:
    """Find calls that the program's license does not allow."""
    graph = asked.graph
    if asked.program.license in _GPL:
        return
    for index, (insn, form) in enumerate(zip(graph.insns, graph.forms, strict=True)):
        row = helper_of(insn.imm) if form and form.name == "call_helper" and insn.imm.__class__ is int else None
        if row and row.gpl and not row.gpl_note:
            text = (
                f"bpf_{row.name} is for programs under the GPL, and this one's license is {asked.program.license!r}"
            )
            fix = f'declare license="GPL", or one that goes with it: {", ".join(_GPL[3:])}'
            yield asked.at(index, "gpl-only", text, fix)


def too_new(asked: Asked) -> Iterator[Finding]:
    """Find what came after the oldest kernel that was asked for."""
    graph = asked.graph
    if asked.kernel is None:
        return
    oldest = "{}.{}".format(*asked.kernel)
    if graph.insns:
        for what, since, fix in _newest(asked.program, oldest, asked.before):
            yield asked.at(0, "too-new", f"{what} came with Linux {since}", fix)
    for index, (insn, form) in enumerate(zip(graph.insns, graph.forms, strict=True)):
        if form is None or form.dialect == "xlated":
            continue
        row = helper_of(insn.imm) if form.name == "call_helper" and insn.imm.__class__ is int else None
        what, since = form.name, form.since
        if row and asked.before(row.since):
            what, since = f"bpf_{row.name}", row.since
        elif isinstance(insn.imm, MapSpec) and asked.before(insn.imm.row.since):
            what, since = f"a map of type {insn.imm.row.spec}", insn.imm.row.since
        if since and asked.before(since):
            fix = f"{oldest} refuses it: do without, or ask for {since} at least"
            yield asked.at(index, "too-new", f"{what} came with Linux {since}", fix)


def _newest(program: Program, oldest: str, before: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
    """Yield what a program as a whole needs that is too new: its type, or else where it is attached; its flags."""
    from bpfasm.asm.attach_types import ATTACH_TYPES, LOAD_FLAGS, NAMED_LATER

    kind = TYPES.get(program.type)
    attach = program.expected_attach_type or getattr(program.attach, "attach_type", 0)
    named = next((since for since, _, _, types in ATTACH_TYPES if attach in types), "")
    if kind and before(kind.since):
        yield f"programs of type {kind.name}", kind.since, f"{oldest} refuses to load it"
    elif named and attach not in NAMED_LATER and before(named):
        yield bpf.enum_bpf_attach_type[attach], named, f"{oldest} attaches nothing so: attach it in an older way"
    for name, since, _ in LOAD_FLAGS:
        if program.flags & getattr(bpf, name) and before(since):
            yield name, since, f"{oldest} refuses to load it"


def above_isa(asked: Asked) -> Iterator[Finding]:
    """Find instructions above the ISA level that was asked for."""
    if asked.isa is None:
        return
    for index, form in enumerate(asked.graph.forms):
        if form is None or form.dialect == "xlated":
            continue
        level = int(form.isa[1:]) if form.isa else 5
        if level > asked.isa:
            of = f"of ISA {form.isa}" if form.isa else "in none of LLVM's ISA levels"
            fix = f"-mcpu=v{asked.isa} would not make it"
            yield asked.at(index, "above-isa", f"{form.name} is {of}, and v{asked.isa} was asked for", fix, WARNING)
