"""Go along the paths of a program and tell the rules what each instruction meets there.

A path ends where an input cannot be shown to go on (``bpfasm.asm.lint.values``), where another path with the same
matters has been, or where there have been enough: lint is silent about what it has not seen.
"""

from __future__ import annotations

from bpfasm.asm.defuse import arguments_of, effect, registers
from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.lint.state import State, entry
from bpfasm.asm.lint.values import END, OTHER, PACKET, U64, compute, num, ways
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.variables import Global
from bpfasm.isa.filter_h import MAX_BPF_STACK
from bpfasm.isa.helpers import HELPERS, helper_of
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpfasm.asm.flow import Block, Graph
    from bpfasm.asm.lint.values import Held
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

    #: What a rule is told: the state before, the index of the instruction.
    Watch = Callable[[State, int], None]

#: How many instructions are looked at in all besides twice the program's, and how often each block is entered.
STEPS, VISITS = 100_000, 1100

#: Helpers that give a pointer that may be NULL, and what that points to.
NULLABLE = {
    bpf.BPF_FUNC_map_lookup_elem: "map value",
    bpf.BPF_FUNC_map_lookup_percpu_elem: "map value",
    bpf.BPF_FUNC_ringbuf_reserve: "ring buffer record",
    bpf.BPF_FUNC_sk_lookup_tcp: "socket",
    bpf.BPF_FUNC_sk_lookup_udp: "socket",
    bpf.BPF_FUNC_skc_lookup_tcp: "socket",
    bpf.BPF_FUNC_sk_storage_get: "value of local storage",
    bpf.BPF_FUNC_task_storage_get: "value of local storage",
    bpf.BPF_FUNC_inode_storage_get: "value of local storage",
    bpf.BPF_FUNC_cgrp_storage_get: "value of local storage",
}

#: Helpers whose pointer has to be given back, and those that take it back, in R1.
ACQUIRES = {
    bpf.BPF_FUNC_ringbuf_reserve,
    bpf.BPF_FUNC_sk_lookup_tcp,
    bpf.BPF_FUNC_sk_lookup_udp,
    bpf.BPF_FUNC_skc_lookup_tcp,
}
RELEASES = {bpf.BPF_FUNC_ringbuf_submit, bpf.BPF_FUNC_ringbuf_discard, bpf.BPF_FUNC_sk_release}

#: Maps of which a kernel may know that an element is there (from 6.18 on, where the key is a constant).
_ARRAYS = (bpf.BPF_MAP_TYPE_ARRAY, bpf.BPF_MAP_TYPE_PERCPU_ARRAY)

#: Helpers of whose result the verifier knows a range (kernel/bpf/verifier.c do_refine_retval_range()): some of it.
_RANGED = {
    bpf.BPF_FUNC_get_stack: (0, 1),
    bpf.BPF_FUNC_get_task_stack: (0, 1),
    bpf.BPF_FUNC_probe_read_str: (0, 1),
    bpf.BPF_FUNC_probe_read_kernel_str: (0, 1),
    bpf.BPF_FUNC_probe_read_user_str: (0, 1),
    bpf.BPF_FUNC_get_smp_processor_id: (0, 0),
}

#: Types of programs by what their context is; those that are not here have none with packets.
_XDP = {bpf.BPF_PROG_TYPE_XDP}
_SKB = {
    bpf.BPF_PROG_TYPE_SCHED_CLS,
    bpf.BPF_PROG_TYPE_SCHED_ACT,
    bpf.BPF_PROG_TYPE_LWT_IN,
    bpf.BPF_PROG_TYPE_LWT_OUT,
    bpf.BPF_PROG_TYPE_LWT_XMIT,
    bpf.BPF_PROG_TYPE_SK_SKB,
    bpf.BPF_PROG_TYPE_CGROUP_SKB,
}

#: Types of programs whose context has pointers of the kernel's types, of which the verifier knows more.
_TYPED = {
    bpf.BPF_PROG_TYPE_TRACING,
    bpf.BPF_PROG_TYPE_LSM,
    bpf.BPF_PROG_TYPE_STRUCT_OPS,
    bpf.BPF_PROG_TYPE_EXT,
    bpf.BPF_PROG_TYPE_UNSPEC,
    bpf.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
    bpf.BPF_PROG_TYPE_CGROUP_SOCKOPT,
    bpf.BPF_PROG_TYPE_SOCK_OPS,
    bpf.BPF_PROG_TYPE_SK_MSG,
    bpf.BPF_PROG_TYPE_SK_REUSEPORT,
    bpf.BPF_PROG_TYPE_SK_LOOKUP,
    bpf.BPF_PROG_TYPE_NETFILTER,
    bpf.BPF_PROG_TYPE_FLOW_DISSECTOR,
}

#: Types of programs whose context is numbers alone.
_SCALARS = {
    bpf.BPF_PROG_TYPE_KPROBE,
    bpf.BPF_PROG_TYPE_TRACEPOINT,
    bpf.BPF_PROG_TYPE_RAW_TRACEPOINT,
}


def packet_fields(type: int) -> dict[int, Held]:
    """Return where the context of a type of program has the packet's start and its end."""
    layout = bpf.struct_xdp_md if type in _XDP else bpf.struct___sk_buff if type in _SKB else None
    if layout is None:
        return {}
    return {layout["data"][0]: PACKET, layout["data_end"][0]: END, layout["data_meta"][0]: OTHER}


class Walk:
    """All paths of one program. ``watches`` are called before each instruction of each path."""

    def __init__(self, graph: Graph, type: int, watches: list[Watch]) -> None:
        self.graph = graph
        self.type = type
        self.watches = watches
        self.fields = packet_fields(type)
        self.left = STEPS + 2 * len(graph.insns)
        self.seen: dict[int, set[object]] = {}
        #: Which instructions some path has come to, by index.
        self.met = bytearray(len(graph.insns))

    def run(self) -> None:
        """Go along every path, of each function from its own start."""
        for function in self.graph.functions:
            if not function.blocks or not self.graph.reached[function.blocks.start]:
                continue
            self.left = max(self.left, STEPS // 10)
            todo = [(function.blocks.start, entry(function.kind, 5 if self.type == bpf.BPF_PROG_TYPE_EXT else 1))]
            while todo and self.left > 0:
                number, state = todo.pop()
                todo += self._block(self.graph.blocks[number], state)

    def _block(self, block: Block, state: State) -> Iterator[tuple[int, State]]:
        """Go through a block; yield where to go on."""
        been = self.seen.setdefault(block.number, set())
        key = state.key()
        if key in been or len(been) >= VISITS:
            return
        been.add(key)
        self.left -= block.last - block.first + 1
        graph = self.graph
        for index in range(block.first, block.last + 1):
            insn, form = graph.insns[index], graph.forms[index]
            self.met[index] = 1
            if form is None or form.dialect == "xlated":
                return
            if max(insn.dst_reg, insn.src_reg) > bpf.BPF_REG_10:
                # R11 passes arguments on the stack from 7.x on; nothing is known of what they are.
                if form.kind == "load" and insn.dst_reg < bpf.BPF_REG_10:
                    state.regs[insn.dst_reg] = OTHER
                elif form.kind != "store":
                    return
                continue
            for watch in self.watches:
                watch(state, index)
            if form.kind == "jump":
                yield from self._condition(block, state, insn, form)
                return
            if form.kind == "exit" or not self._step(state, insn, form, graph.pcs[index]):
                return
        for edge in block.succs:
            yield edge.target, state

    # one instruction

    def _step(self, state: State, insn: Insn, form: Form, pc: int) -> bool:
        """Make a state what it is after an instruction; return whether the path goes on."""
        regs = state.regs
        kind = form.kind
        if kind == "call":
            return self._call(state, insn, form, pc)
        if kind == "alu":
            if insn.dst_reg < 10:
                regs[insn.dst_reg] = self._alu(state, insn, form)
        elif kind == "load":
            if insn.dst_reg < 10:
                held = self._load(state, insn, form)
                regs[insn.dst_reg] = held
        elif kind in ("store", "atomic"):
            self._store(state, insn, form)
        elif kind == "ld_imm64":
            if insn.dst_reg < 10:
                regs[insn.dst_reg] = self._wide(state, insn, form)
        elif kind == "packet":
            for register in range(1, 6):
                regs[register] = ("clobbered", pc)
            regs[0] = state.free(0, (1 << 8 * form.size) - 1)
        return True

    def _alu(self, state: State, insn: Insn, form: Form) -> Held:
        regs, name = state.regs, form.name
        if name == "mov64_reg":
            return regs[insn.src_reg]
        imm = insn.imm if insn.imm.__class__ is int else 0
        d = regs[insn.dst_reg] if "dst" in form.reads else num(0)
        s = regs[insn.src_reg] if "src" in form.reads else num(0)
        operation = name.split("_")[0]
        if d[0] == "fp":
            other = s if "src" in form.reads else num(imm)
            if operation in ("add64", "sub64") and other[0] == "num" and d[1] is not None:
                amount = other[1] - ((other[1] >> 63) << 64)
                return ("fp", d[1] + amount if operation == "add64" else d[1] - amount)
            return ("fp", None)
        if s[0] == "fp" and operation == "add64":
            return ("fp", None)
        if d[0] in ("mem", "packet", "released", "maybe") and operation in ("add64", "sub64"):
            return OTHER if s[0] in ("packet", "end", "mem") else d
        if s[0] == "packet" and operation == "add64":
            return s
        if any(each[0] not in ("num", "free") for each in (d, s)) or not form.meaning:
            return OTHER
        if d[0] == "free" and "src" not in form.reads:
            kept = self._still_free(state, d, operation, imm)
            if kept is not None:
                return kept
        d = state.one_of(d)
        s = state.one_of(regs[insn.src_reg]) if "src" in form.reads else s
        d = state.regs[insn.dst_reg] if "dst" in form.reads else d
        return num(compute(form, d[1], s[1], imm)) if d[0] == s[0] == "num" else OTHER

    def _still_free(self, state: State, d: Held, operation: str, imm: int) -> Held | None:
        """Return what is free after an operation with a constant, or None where that is not followed.

        All numbers of the new range have to come from some of the old one, and nobody else may hold the old one.
        """
        low, high = state.ranges[d[1]]
        if state.holders(d[1]) > 1:
            return None
        if (low, high) == (0, U64) and operation in ("add64", "sub64", "xor64", "neg64"):
            return state.free()
        if low == 0 and operation == "rsh64" and 0 <= imm < 64:
            return state.free(0, high >> imm)
        if operation == "and64" and imm >= 0 and not imm & (imm + 1) and low == 0:
            return state.free(0, min(high, imm))
        return None

    def _load(self, state: State, insn: Insn, form: Form) -> Held:
        held, off = state.regs[insn.src_reg], insn.off
        if held[0] == "ctx":
            if off in self.fields and form.size == 4:
                return self.fields[off]
            known = self.type in _TYPED or (form.size == 8 and self.type not in _SCALARS)
            return OTHER if known else self._fresh(state, form)
        if held[0] == "fp":
            off = None if held[1] is None else held[1] + off
            if off is None or off >= 0 or off < -MAX_BPF_STACK or off % form.size:
                return OTHER
            return state.read(off, form.size)
        # A bare fd may be that of a frozen map, whose bytes the verifier knows.
        if held[0] == "mem" and held[1] is not None and not form.name.startswith("ldsx"):
            return self._fresh(state, form)
        if held[0] == "packet":
            return self._fresh(state, form)
        return OTHER

    def _fresh(self, state: State, form: Form) -> Held:
        return OTHER if form.name.startswith("ldsx") else state.free(0, (1 << 8 * form.size) - 1)

    def _store(self, state: State, insn: Insn, form: Form) -> None:
        regs = state.regs
        base = regs[insn.dst_reg]
        if base[0] == "fp":
            off = None if base[1] is None else base[1] + insn.off
            if off is None:
                state.lend(None)
            elif -MAX_BPF_STACK <= off < 0 and not off % form.size and off + form.size <= 0:
                held = None
                if form.kind == "store" and form.size == 8:
                    held = regs[insn.src_reg] if "src" in form.reads else num(insn.imm)
                state.write(off, form.size, held)
        if form.kind == "atomic":
            for register in registers(effect(insn, form)[1]):
                if register < 10:
                    regs[register] = OTHER

    def _wide(self, state: State, insn: Insn, form: Form) -> Held:
        imm = insn.imm
        if form.name == "ld_map_fd":
            return ("map", imm if isinstance(imm, MapSpec) else None)
        if form.name == "ld_map_value":
            known = isinstance(imm, Global) and not imm.const
            return ("mem", "variable" if known else None, None)
        if form.name == "ld_imm64" and imm.__class__ is int:
            return num((insn.imm2 & 0xFFFF_FFFF) << 32 | (imm & 0xFFFF_FFFF))
        return OTHER

    # calls

    def _call(self, state: State, insn: Insn, form: Form, pc: int) -> bool:
        regs = state.regs
        helper = insn.imm if form.name == "call_helper" and insn.imm.__class__ is int else None
        given = [regs[register] for register in registers(arguments_of(helper) if helper else 0b111110)]
        result: Held = OTHER
        if helper is not None:
            result = self._result(state, helper, pc)
            if helper in RELEASES and regs[1][0] == "mem" and regs[1][2] in state.refs:
                ref = regs[1][2]
                del state.refs[ref]
                state.replace(lambda held: held[0] in ("mem", "maybe") and held[-1] == ref, ("released", pc))
        else:
            for held in given:
                if held[0] in ("mem", "maybe") and held[-1] is not None:
                    state.refs.pop(held[-1], None)
                if held[0] in ("packet", "end"):
                    state.checked = True
        for held in given:
            if held[0] == "fp":
                state.lend(held[1])
        for register in range(1, 6):
            regs[register] = ("clobbered", pc)
        regs[0] = result
        return not isinstance(insn.imm, Kfunc) or bool(insn.imm.name != "bpf_throw")

    def _result(self, state: State, helper: int, pc: int) -> Held:
        """Return what a helper leaves in R0."""
        row = helper_of(helper)
        if row is None:
            return OTHER
        if helper in NULLABLE:
            ref = pc if helper in ACQUIRES else None
            if ref is not None:
                state.refs[pc] = HELPERS[helper]
            state.next_id += 1
            what: object = NULLABLE[helper]
            if helper == bpf.BPF_FUNC_map_lookup_elem:
                spec = state.regs[1][1] if state.regs[1][0] == "map" else None
                what = spec.name if spec is not None and spec.type not in _ARRAYS else None
                if spec is None or spec.row.handle or spec.inner is not None:
                    what = None
            return ("maybe", state.next_id, what, ref)
        if row.prototype.startswith("void bpf_"):
            return ("clobbered", pc)
        kind = row.prototype.split("bpf_")[0].strip()
        if kind not in ("long", "int", "u32", "u64", "s64"):
            return OTHER
        low, high = _RANGED.get(helper, (0, U64))
        return state.free(low, high) if low != high else num(low)

    # conditions

    def _condition(self, block: Block, state: State, insn: Insn, form: Form) -> Iterator[tuple[int, State]]:
        """Yield where a condition may lead, and what is known there."""
        targets = {edge.kind: edge.target for edge in block.succs}
        for taken, after in self._outcomes(state, insn, form):
            target = targets.get("taken" if taken else "next")
            if target is not None:
                after.trail = (self.graph.pcs[block.last], taken, after.trail)
                yield target, after

    def _outcomes(self, state: State, insn: Insn, form: Form) -> Iterator[tuple[bool, State]]:
        if form.name == "may_goto":
            yield from ((taken, state.copy()) for taken in (False, True))
            return
        regs = state.regs
        left = regs[insn.dst_reg]
        right = regs[insn.src_reg] if "src" in form.reads else num(insn.imm)
        operation, bits = form.name.split("_")[0][:-2], int(form.name.split("_")[0][-2:])
        if "packet" in (left[0], right[0]) or "end" in (left[0], right[0]):
            state.checked = True
            yield from ((taken, state.copy()) for taken in (False, True))
            return
        if left[0] == "maybe" and right == num(0) and operation in ("jeq", "jne") and bits == 64:
            yield from self._null_check(state, left, is_null=operation == "jeq")
            return
        if right[0] == "free":
            right = state.one_of(right)
            left = state.regs[insn.dst_reg]
        if left[0] == right[0] == "num":
            yield bool(compute(form, left[1], right[1], right[1])), state
        elif left[0] == "free" and right[0] == "num":
            low, high = state.ranges[left[1]]
            for taken, found in zip((True, False), ways(operation, low, high, right[1], bits), strict=True):
                if found is not None:
                    after = state.copy()
                    after.narrow(left[1], *found)
                    yield taken, after

    def _null_check(self, state: State, pointer: Held, *, is_null: bool) -> Iterator[tuple[bool, State]]:
        """Yield both ways of comparing with NULL; ``is_null``: it is NULL where the jump is taken."""
        _, id, what, ref = pointer

        def match(held: Held) -> bool:
            return bool(held[0] == "maybe" and held[1] == id)

        there = state.copy()
        there.replace(match, ("mem", what, ref))
        yield not is_null, there
        if what is not None:
            null = state.copy()
            null.replace(match, num(0))
            null.refs.pop(ref, None)
            yield is_null, null
