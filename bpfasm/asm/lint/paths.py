"""Rules about what an instruction meets on a path: each is told the state before it (``bpfasm.asm.lint.walk``)."""

from __future__ import annotations

from bpfasm.asm.defuse import arguments_of, effect, registers
from bpfasm.asm.lint.finding import WARNING
from bpfasm.asm.lint.state import bytes_at
from bpfasm.asm.lint.values import OTHER, UNREADABLE
from bpfasm.asm.lint.walk import RELEASES
from bpfasm.isa.filter_h import MAX_BPF_STACK
from bpfasm.isa.helpers import HELPERS, helper_of
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from bpfasm.asm.lint.finding import Asked, Finding
    from bpfasm.asm.lint.state import State
    from bpfasm.asm.lint.values import Held

#: Types of programs some of which return nothing.
_VOID = (bpf.BPF_PROG_TYPE_STRUCT_OPS, bpf.BPF_PROG_TYPE_LSM, bpf.BPF_PROG_TYPE_EXT, bpf.BPF_PROG_TYPE_TRACING)


def unwritten(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find registers that are read, and that nothing has written on this path."""
    for register, held, form in _unreadable(asked, state, index):
        if held[0] != "unwritten" or form == "exit":
            continue
        row = helper_of(asked.graph.insns[index].imm) if form == "call_helper" else None
        if row:
            text = f"bpf_{row.name} takes {row.arguments} arguments, and nothing has written R{register}"
            fix = f"set R{register} ({row.parameters[register - 1]}) before the call"
        else:
            text, fix = f"R{register} is read, and nothing has written it", f"set R{register} first"
        yield asked.at(index, "unwritten", f"{text}{on_path(state)}", fix)
        state.regs[register] = OTHER


def clobbered(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find R1 to R5 read after a call, which leaves nothing in them."""
    for register, held, _ in _unreadable(asked, state, index):
        if held[0] != "clobbered":
            continue
        what = "the call returns nothing" if register == 0 else f"the call leaves nothing in R{register}"
        text = f"R{register} is read after the call at slot {held[1]}: {what}"
        fix = "keep what has to outlive a call in R6 to R9, or on the stack" if register else "set R0 after it"
        yield asked.at(index, "clobbered", text, fix)
        state.regs[register] = OTHER


def no_result(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find exits with nothing in R0."""
    graph = asked.graph
    form = graph.forms[index]
    if form is None or form.kind != "exit" or state.regs[0][0] != "unwritten" or asked.program.type in _VOID:
        return
    if graph.functions[graph.block_at(graph.pcs[index]).function].kind == "main":
        text = f"R0 is what the program returns, and nothing has written it{on_path(state)}"
        yield asked.at(index, "no-result", text, "set it before BPF_EXIT_INSN(): BPF_MOV64_IMM(R0, 0)")


def reads(asked: Asked, index: int) -> tuple[int, ...]:
    """Return the registers that the verifier wants written before an instruction, as far as it is known."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    if form is None or form.dialect == "xlated" or form.name in ("call_rel", "call_kfunc", "callx"):
        return ()
    # A function may return nothing, and so may programs of some types.
    if form.kind == "exit" and (asked.graph.block_at(asked.graph.pcs[index]).function or asked.program.type in _VOID):
        return ()
    if form.name == "call_helper":
        return tuple(registers(arguments_of(insn.imm))) if insn.imm in HELPERS else ()
    return tuple(registers(effect(insn, form)[0]))


def _unreadable(asked: Asked, state: State, index: int) -> Iterator[tuple[int, Held, str]]:
    """Yield the registers that an instruction reads and cannot, what they hold, and the form that reads them."""
    form = asked.graph.forms[index]
    for register in reads(asked, index):
        held = state.regs[register]
        if form is not None and held[0] in UNREADABLE:
            yield register, held, form.kind if form.kind == "exit" else form.name


def stack(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find accesses beyond the stack, across its alignment, or of what was never written."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    held = _base(asked, state, index)
    if form is None or held is None or held[0] != "fp" or held[1] is None:
        return
    off, size = held[1] + insn.off, form.size
    if off < -MAX_BPF_STACK or off + size > 0:
        text = f"{size} bytes at R10{off:+d} are not on the stack, which is R10-{MAX_BPF_STACK} to R10-1"
        yield asked.at(index, "stack-range", text, "its offsets are negative: StackLayout gives them")
    elif off % size:
        text = f"an access of {size} bytes at R10{off:+d} is not aligned"
        yield asked.at(index, "stack-align", text, f"use an offset that is a multiple of {size}: StackLayout does")
    elif form.kind in ("load", "atomic") and not state.written & bytes_at(off, size):
        text = f"nothing has written the {size} bytes at R10{off:+d}{on_path(state)}"
        severity = "error" if asked.before("6.4") else WARNING
        fix = "store something there first: kernels before 6.4 refuse to read it, later ones give what was left there"
        yield asked.at(index, "stack-unwritten", text, fix, severity)


def stack_lent(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find keys and values on the stack that were never written, for kernels before 6.4."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    if form is None or form.name != "call_helper" or not asked.before("6.4") or insn.imm not in _READ_BY:
        return
    for register, what in _READ_BY[insn.imm].items():
        held, spec = state.regs[register], state.regs[1][1] if state.regs[1][0] == "map" else None
        if spec is None or held[0] != "fp" or held[1] is None:
            continue
        size = spec.key_size if what == "key" else spec.value_size
        off = held[1]
        if off < -MAX_BPF_STACK or off + size > 0:
            continue
        mask = bytes_at(off, size)
        if state.written & mask != mask:
            text = f"the {what} at R10{off:+d} has {size} bytes, and not all of them were written{on_path(state)}"
            yield asked.at(
                index, "stack-unwritten", text, "store all of it first: kernels before 6.4 refuse to read it"
            )


#: Helpers that read a key or a value of the map in R1.
_READ_BY = {
    bpf.BPF_FUNC_map_lookup_elem: {2: "key"},
    bpf.BPF_FUNC_map_update_elem: {2: "key", 3: "value"},
    bpf.BPF_FUNC_map_delete_elem: {2: "key"},
}


def no_null_check(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find uses of a pointer that may be NULL."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    if form is None:
        return
    found = []
    held = _base(asked, state, index)
    if held is not None and held[0] == "maybe":
        found.append((held, insn.src_reg if form.kind == "load" else insn.dst_reg))
    if form.kind == "alu" and "dst" in form.reads and state.regs[insn.dst_reg][0] == "maybe":
        found.append((state.regs[insn.dst_reg], insn.dst_reg))
    if form.name == "call_helper" and insn.imm in RELEASES and state.regs[1][0] == "maybe":
        found.append((state.regs[1], 1))
    for held, register in found:
        # From 6.18 on a kernel may know that an element of an array is there.
        if held[2] is None and not asked.before("6.18"):
            continue
        what = f"value of {held[2]}" if isinstance(held[2], str) and " " not in held[2] else held[2] or "map value"
        text = f"R{register} may be NULL: it is a {what} that was not compared with 0"
        fix = f'leave where there is none: BPF_JMP_IMM(BPF_JEQ, R{register}, 0, "out")'
        yield asked.at(index, "no-null-check", text, fix)
        state.refs.pop(held[3], None)
        state.replace(held.__eq__, OTHER)


def not_a_pointer(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find accesses by what is a plain number, or by the packet's end."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    held = _base(asked, state, index)
    if form is None or held is None or held[0] not in ("num", "end"):
        return
    register = insn.src_reg if form.kind == "load" else insn.dst_reg
    if held[0] == "end":
        text, fix = f"R{register} is the packet's end", "it is there to compare with; what it points to is not yours"
    else:
        signed = held[1] - ((held[1] >> 63) << 64)
        text = f"R{register} is the number {signed}, not a pointer"
        fix = "load by a pointer: R10, R1 at the start, or what a helper gave you"
    yield asked.at(index, "not-a-pointer", text, fix)


def packet_check(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find accesses to the packet on a path that has not asked where it ends."""
    held = _base(asked, state, index)
    if held is not None and held[0] == "packet" and not state.checked:
        text = f"this reaches into the packet, and nothing has compared with its end{on_path(state)}"
        fix = 'check first: add the bytes to a copy of data, BPF_JMP_REG(BPF_JGT, copy, data_end, "out")'
        yield asked.at(index, "packet-check", text, fix)
        state.checked = True


def released(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find uses of what was given back."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    held = _base(asked, state, index)
    if form is not None and held is None and form.name == "call_helper" and insn.imm in RELEASES:
        held = state.regs[1]
    if held is not None and held[0] == "released":
        text = f"this uses what was given back at slot {held[1]}"
        yield asked.at(index, "released", text, "do it before: after that it is somebody else's memory")


def unreleased(asked: Asked, state: State, index: int) -> Iterator[Finding]:
    """Find what has to be given back and is not, on a path to the end of the program."""
    graph = asked.graph
    form = graph.forms[index]
    if form is None or form.kind != "exit" or graph.block_at(graph.pcs[index]).function:
        return
    for pc, name in state.refs.items():
        index_of = graph.index(pc)
        assert index_of is not None
        record = name == "ringbuf_reserve"
        what = "the record that is reserved here" if record else "the socket that is found here"
        how = "bpf_ringbuf_submit or bpf_ringbuf_discard" if record else "bpf_sk_release"
        text = f"{what} is not given back by the exit at slot {graph.pcs[index]}{on_path(state)}"
        yield asked.at(index_of, "unreleased", text, f"call {how} on every path on which it is not NULL")


def _base(asked: Asked, state: State, index: int) -> Held | None:
    """Return what the base register of an access to memory holds, or None where there is no access."""
    insn, form = asked.graph.insns[index], asked.graph.forms[index]
    if form is None or not form.size or form.kind not in ("load", "store", "atomic") or form.dialect == "xlated":
        return None
    register = insn.src_reg if form.kind == "load" else insn.dst_reg
    return state.regs[register] if register < bpf.MAX_BPF_REG else None


def on_path(state: State) -> str:
    """Say by which conditions a path came, the last two."""
    said: list[str] = []
    at = state.trail
    while at is not None and len(said) < 2:
        pc, taken, at = at  # type: ignore[assignment]
        said.append(f"slot {pc} {'jumps' if taken else 'does not jump'}")
    return f" where {' and '.join(reversed(said))}" if said else ""
