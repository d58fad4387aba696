"""Which forms the running kernel takes: those of its release and older ones, and none that only it makes.

Each form stands in a minimal program that is valid but for it. Elsewhere bpfasm asks kernels by trying; here the
release in the table is what is being tried.
"""

import errno

import kernel_forms
import pytest
from samples import build
from support.bpf2 import (
    ARENA,
    INSN_ARRAY,
    MMAPABLE,
    SCHED_CLS,
    Btf,
    Map,
    Prog,
    Refused,
    is_in,
    kernel_types,
    running_series,
)
from support.forms import each_form

from bpfasm.asm import *
from bpfasm.isa.insn import encode
from bpfasm.isa.table import FORMS
from bpfasm.syscall import system

pytestmark = pytest.mark.lab


# A program around each form

#: Operands that are valid for all: a scalar in R1 and R2, 8 aligned bytes below R10, a small immediate.
PLAIN = {"dst_reg": 1, "src_reg": 2, "off": -8, "off2": 0, "imm": 3, "imm2": 0}


def plain(role, field):
    return {"jump": 1, "jump32": 0}.get(role, PLAIN[field])


def around(form):
    """Return a program with the form in it; R1 and R2 are scalars, or R10 where it names memory."""
    insn = build(form, plain)
    if form.kind == "goto":
        insn = insn.replace(off=0)  # what it would jump over, nothing else would reach
    if form.size and form.kind != "packet":
        base = "src_reg" if form.kind == "load" else "dst_reg"
        insn = insn.replace(**{base: 10})
    start = [BPF_MOV64_REG(R6, R1), BPF_MOV64_IMM(R0, 1), BPF_MOV64_IMM(R1, 1), BPF_MOV64_IMM(R2, 1)]
    return [*start, BPF_ST_MEM(BPF_DW, FP, -8, 0), insn, *LEAVE]


LEAVE = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]


def load(insns, **more):
    """Load a program and drop it. Raises Refused."""
    with Prog(encode(insns), type=SCHED_CLS, **more):
        pass


def with_map(form):
    with Map(value_size=64) as array:
        fields = {"imm": 0 if "map_idx" in form.name else array.number}
        insn = build(form, lambda role, field: {"dst_reg": 1, "imm2": 8}.get(field, 0)).replace(**fields)
        load([insn, *LEAVE], fd_array=(array.number,) if "map_idx" in form.name else ())


def btf_id(form):
    ids = kernel_types()
    if not ids:
        pytest.skip("the kernel has no BTF of its own (CONFIG_DEBUG_INFO_BTF)")
    symbols = system.kernel_symbols()
    number = next((number for (kind, name), number in ids.items() if kind == "var" and name in symbols), None)
    if number is None:
        pytest.skip("the kernel has no symbol of a variable (CONFIG_KALLSYMS_ALL)")
    load([build(form, lambda role, field: {"dst_reg": 1, "imm": number}.get(field, 0)), *LEAVE])


def callback(form):
    """bpf_loop() came with 5.17; before, for_each_map_elem() takes the address of a function."""
    with Btf() as btf, Map(value_size=64) as array:
        insn = build(form, lambda role, field: {"dst_reg": 2, "imm": 6}.get(field, 0))
        call = [BPF_LD_MAP_FD(R1, array.number), insn, BPF_MOV64_IMM(R3, 0), BPF_MOV64_IMM(R4, 0)]
        program = [*call, BPF_EMIT_CALL(BPF_FUNC_for_each_map_elem), *LEAVE, *LEAVE]
        load(program, btf=btf.number, functions=((0, btf.MAIN), (9, btf.CALLBACK)))


def kfunc(form):
    ids = kernel_types()
    lock, unlock = (ids.get(("func", f"bpf_rcu_read_{name}")) for name in ("lock", "unlock"))
    if lock is None:
        pytest.skip("this kernel has no kfunc that every program may call (bpf_rcu_read_lock() came with 6.2)")
    first, second = (build(form, lambda role, field, id=id: id if field == "imm" else 0) for id in (lock, unlock))
    load([first, second, *LEAVE])


def cast(form):
    insn = build(form, lambda role, field: {"dst_reg": 1, "src_reg": 2, "imm": 1}[field])
    try:
        arena = Map(ARENA, key_size=0, value_size=0, max_entries=1, flags=MMAPABLE, extra=1 << 44)
    except OSError:
        return load([BPF_MOV64_IMM(R2, 0), insn, *LEAVE])
    with arena:
        load([BPF_LD_MAP_FD(R1, arena.number), BPF_MOV64_IMM(R2, 0), insn, *LEAVE])


def table_of_jumps(form):
    """The targets of gotox are in a map of instruction offsets."""
    program = [BPF_LD_MAP_VALUE(R1, 0, 0), BPF_LDX_MEM(BPF_DW, R1, R1, 0), build(form, plain), *LEAVE]
    try:
        jumps = Map(INSN_ARRAY, value_size=16)
    except OSError:
        return load(program)
    with jumps:
        jumps.fill((4).to_bytes(4, "little") + bytes(12))
        jumps.freeze()
        load([BPF_LD_MAP_VALUE(R1, jumps.number, 0), *program[1:]])


PROGRAMS = {
    "ld_map_fd": with_map, "ld_map_value": with_map, "ld_map_idx": with_map, "ld_map_idx_value": with_map,
    "ld_btf_id": btf_id, "ld_func": callback, "call_kfunc": kfunc, "addr_space_cast": cast, "gotox": table_of_jumps,
    "exit": lambda form: load([BPF_MOV64_IMM(R0, 0), build(form, plain)]),
    "call_helper": lambda form: load([build(form, lambda role, field: BPF_FUNC_ktime_get_ns), *LEAVE]),
    "call_rel": lambda form: load([build(form, lambda role, field: 2), *LEAVE, *LEAVE]),
}  # fmt: skip

SOURCE = [form for form in FORMS if form.dialect == "source" and form.since]


@each_form(SOURCE)
def test_a_form_is_taken_from_its_release_on(form):
    make = PROGRAMS.get(form.name, lambda form: load(around(form)))
    if (running_series(), form.name) in kernel_forms.BACKPORTED:
        pytest.skip("of this series, later kernels have it and earlier ones do not")
    if is_in(form):
        make(form)
    else:
        with pytest.raises(Refused):
            make(form)


def test_the_program_around_a_form_is_valid_but_for_it():
    """Else a refusal would prove nothing."""
    mov = next(form for form in FORMS if form.name == "mov64_reg")
    load(around(mov))


REFUSED = [form for form in FORMS if form.dialect == "xlated" or not form.since]


@each_form(REFUSED)
def test_what_only_the_kernel_makes_is_refused(form):
    with pytest.raises(Refused) as refused:
        load(around(form))
    assert refused.value.errno == errno.EINVAL
