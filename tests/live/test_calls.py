"""What a program may call: its own functions, callbacks, other programs, the kernel's functions. Exact results."""

import errno
import os
import time

import pytest
from support.helpers import has_helper

from bpfasm.asm import *
from bpfasm.btf.write import Writer
from bpfasm.errors import FeatureMissing, KernelError, VerifierError
from bpfasm.kernel import load
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import btf

pytestmark = pytest.mark.lab

PACKET = bytes(64)
XDP, TC = BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS


def returned(insns, type=XDP, **more):
    """Load a program and run it once; return what it returned."""
    prog = Program("prog", type, insns, **more)
    with load(prog) as obj:
        return obj[prog].test_run(PACKET).retval


def func(register, target):
    """Load the address of a function of this program."""
    return BPF_LD_IMM64_RAW_FULL(register, BPF_PSEUDO_FUNC, 0, 0, target, 0)


# Functions of the program


def test_functions_that_call_each_other():
    """f(x) = g(x) + 1, g(x) = x * x; f(f(5)) = (25 + 1)^2 + 1."""
    g = Subprog("g", [BPF_MOV64_REG(R0, R1), BPF_ALU64_REG(BPF_MUL, R0, R1), BPF_EXIT_INSN()])
    f = Subprog("f", [BPF_CALL_REL(g), BPF_ALU64_IMM(BPF_ADD, R0, 1), BPF_EXIT_INSN()])
    body = [BPF_MOV64_IMM(R1, 5), BPF_CALL_REL(f), BPF_MOV64_REG(R1, R0), BPF_CALL_REL(f), BPF_EXIT_INSN()]
    assert returned(body) == 677
    prog = Program("main", XDP, body)
    with load(prog) as obj:
        assert obj[prog].info().functions == ((0, "main"), (5, "f"), (8, "g"))


def test_a_function_by_label_has_a_name_too():
    body = [
        BPF_MOV64_IMM(R1, 20),
        BPF_CALL_REL("double"),
        BPF_EXIT_INSN(),
        label("double"),
        BPF_MOV64_REG(R0, R1),
        BPF_ALU64_REG(BPF_ADD, R0, R1),
        BPF_EXIT_INSN(),
    ]
    assert returned(body) == 40


def test_names_of_functions_that_c_would_not_take():
    sub = Subprog("ünder-the sea", [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])
    prog = Program("0 prog", XDP, [BPF_CALL_REL(sub), BPF_EXIT_INSN()])
    with load(prog) as obj:
        assert obj[prog].info().functions == ((0, "_0_prog"), (2, "_nder_the_sea"))


# Callbacks

#: Adds its first argument, the number of the round, to what its second one points at.
ADD_UP = Subprog(
    "add_up",
    [
        BPF_LDX_MEM(BPF_DW, R3, R2, 0),
        BPF_ALU64_REG(BPF_ADD, R3, R1),
        BPF_STX_MEM(BPF_DW, R2, R3, 0),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ],
)


def test_a_kernel_without_callbacks_says_so():
    prog = Program("prog", TC, [func(R2, ADD_UP), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    if has_helper(BPF_FUNC_for_each_map_elem):
        load(prog).close()  # the address is good for nothing, and known
        return
    with pytest.raises(FeatureMissing) as caught:
        load(prog)
    assert caught.value.rule == "no-callbacks"
    assert "prog was not loaded: this kernel" in caught.value.what


def test_a_loop():
    if not has_helper(BPF_FUNC_loop):
        pytest.skip("bpf_loop is new in 5.17")
    body = [
        BPF_ST_MEM(BPF_DW, FP, -8, 0),
        BPF_MOV64_IMM(R1, 100),
        func(R2, ADD_UP),
        BPF_MOV64_REG(R3, FP),
        BPF_ALU64_IMM(BPF_ADD, R3, -8),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_loop),
        BPF_LDX_MEM(BPF_DW, R0, FP, -8),
        BPF_EXIT_INSN(),
    ]
    assert returned(body) == sum(range(100))


def test_a_function_for_each_element():
    if not has_helper(BPF_FUNC_for_each_map_elem):
        pytest.skip("bpf_for_each_map_elem is new in 5.13")
    table = ArrayMap("table", value=u64, max_entries=10, initial={n: n * n for n in range(10)})
    each = Subprog(
        "each",  # (map, key, value, what was handed on)
        [
            BPF_LDX_MEM(BPF_DW, R5, R3, 0),
            BPF_LDX_MEM(BPF_DW, R0, R4, 0),
            BPF_ALU64_REG(BPF_ADD, R0, R5),
            BPF_STX_MEM(BPF_DW, R4, R0, 0),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )
    body = [
        BPF_ST_MEM(BPF_DW, FP, -8, 0),
        BPF_LD_MAP_FD(R1, table),
        func(R2, each),
        BPF_MOV64_REG(R3, FP),
        BPF_ALU64_IMM(BPF_ADD, R3, -8),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_for_each_map_elem),
        BPF_LDX_MEM(BPF_DW, R0, FP, -8),
        BPF_EXIT_INSN(),
    ]
    assert returned(body) == sum(n * n for n in range(10))


@pytest.fixture
def timers():
    """An fd of an array of one bpf_timer; the kernel finds it by the map's types."""
    types = Writer()
    u32_id, u64_id = types.add_int("u32", 4), types.add_int("u64", 8)
    timer = types.add_struct("bpf_timer", 16, [("a", u64_id, 0), ("b", u64_id, 64)])
    value = types.add_struct("value", 16, [("timer", timer, 0)])
    types_fd = bpf.btf_load(buffer(types.to_bytes()))
    sizes = {"map_type": BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 16, "max_entries": 1}
    fd = bpf.map_create(**sizes, btf_fd=types_fd, btf_key_type_id=u32_id, btf_value_type_id=value)
    os.close(types_fd)
    yield fd
    os.close(fd)


def test_a_timer(timers):
    if not has_helper(BPF_FUNC_timer_init):
        pytest.skip("bpf_timer_init is new in 5.15")
    fired = ArrayMap("fired", value=u64, max_entries=1)
    ring = Subprog(
        "ring",  # (map, key, value)
        [
            BPF_LD_MAP_VALUE(R1, fired, 0),
            BPF_MOV64_IMM(R2, 1),
            BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
            BPF_MOV64_IMM(R0, 0),
            BPF_EXIT_INSN(),
        ],
    )
    body = [
        BPF_ST_MEM(BPF_W, FP, -4, 0),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_LD_MAP_FD(R1, timers),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_REG(R6, R0),
        BPF_MOV64_REG(R1, R6),
        BPF_LD_MAP_FD(R2, timers),
        BPF_MOV64_IMM(R3, time.CLOCK_MONOTONIC),
        BPF_EMIT_CALL(BPF_FUNC_timer_init),
        BPF_MOV64_REG(R1, R6),
        func(R2, ring),
        BPF_EMIT_CALL(BPF_FUNC_timer_set_callback),
        BPF_MOV64_REG(R1, R6),
        BPF_MOV64_IMM(R2, 1000),  # ns
        BPF_MOV64_IMM(R3, 0),
        BPF_EMIT_CALL(BPF_FUNC_timer_start),
        BPF_JMP_A("end"),
        label("out"),
        BPF_MOV64_IMM(R0, 1),
        label("end"),
        BPF_EXIT_INSN(),
    ]
    prog = Program("prog", TC, body)
    with load(prog) as obj:
        assert obj[prog].test_run(PACKET).retval == 0
        deadline = time.monotonic() + 10
        while not obj[fired][0] and time.monotonic() < deadline:
            os.sched_yield()
        assert obj[fired][0] == 1


# Other programs


def jumps(entries):
    return MapSpec("jumps", BPF_MAP_TYPE_PROG_ARRAY, u32, u32, entries)


def jump_to(table, index):
    """Leave for the program at an index; where there is none, go on."""
    return [BPF_LD_MAP_FD(R2, table), BPF_MOV64_IMM(R3, index), BPF_EMIT_CALL(BPF_FUNC_tail_call)]


def test_tail_calls():
    """One goes to the next by its index; the last returns what the first left in the packet."""
    table = jumps(4)
    first = Program(
        "first",
        TC,
        [BPF_MOV64_IMM(R2, 7), BPF_STX_MEM(BPF_W, R1, R2, 48), *jump_to(table, 1), BPF_MOV64_IMM(R0, 1), EXIT],
    )
    second = Program("second", TC, [*jump_to(table, 3), BPF_MOV64_IMM(R0, 2), EXIT])
    third = Program("third", TC, [BPF_LDX_MEM(BPF_W, R0, R1, 48), BPF_ALU64_IMM(BPF_MUL, R0, 6), EXIT])
    with load(first, second, third) as obj:
        assert obj[first].test_run(PACKET).retval == 1  # nothing there yet
        obj[table][1] = obj[second].fd
        assert obj[first].test_run(PACKET).retval == 2
        obj[table][3] = obj[third].fd
        assert obj[first].test_run(PACKET).retval == 42  # __sk_buff.cb[0] came along
        del obj[table][1]
        assert obj[first].test_run(PACKET).retval == 1


EXIT = BPF_EXIT_INSN()


def test_tail_calls_end():
    """A program that calls itself runs 1 + MAX_TAIL_CALL_CNT times: 33 calls, and 32 before 5.16 on some machines."""
    table, runs = jumps(1), ArrayMap("runs", value=u64, max_entries=1)
    body = [
        BPF_LD_MAP_VALUE(R2, runs, 0),
        BPF_MOV64_IMM(R3, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R2, R3, 0),
        *jump_to(table, 0),
        BPF_MOV64_IMM(R0, 0),
        EXIT,
    ]
    prog = Program("self", TC, body)
    with load(prog) as obj:
        obj[table][0] = obj[prog].fd
        obj[prog].test_run(PACKET)
        assert obj[runs][0] in (33, 34)
        obj[table].clear()  # or the two would keep each other


# Functions of the kernel


@pytest.fixture(scope="module")
def kernel_types():
    try:
        return kernel_btf.vmlinux()
    except FeatureMissing as lack:
        pytest.skip(lack.what)


def has_kfunc(types, name):
    return bool(types.find(name, btf.BTF_KIND_FUNC))


def test_kernel_functions_that_count(kernel_types):
    """An iterator of the kernel's over 0 to 9: new(), next() until it is over, destroy()."""
    if not has_kfunc(kernel_types, "bpf_iter_num_new"):
        pytest.skip("bpf_iter_num_new is new in 6.4")
    new, following, destroy = (kfunc(f"bpf_iter_num_{name}") for name in ("new", "next", "destroy"))
    body = [
        BPF_MOV64_IMM(R6, 0),
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, -8),
        BPF_MOV64_IMM(R2, 0),
        BPF_MOV64_IMM(R3, 10),
        BPF_CALL_KFUNC(0, new),
        label("again"),
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, -8),
        BPF_CALL_KFUNC(0, following),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "over"),
        BPF_LDX_MEM(BPF_W, R1, R0, 0),
        BPF_ALU64_REG(BPF_ADD, R6, R1),
        BPF_JMP_A("again"),
        label("over"),
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, -8),
        BPF_CALL_KFUNC(0, destroy),
        BPF_MOV64_REG(R0, R6),
        EXIT,
    ]
    assert returned(body) == 45


def test_a_kernel_function_with_arguments(kernel_types):
    """What 5.13 to 6.2 have for the kernel's own tests: bpf_kfunc_call_test2(sock, a, b) is a + b."""
    name = "bpf_kfunc_call_test2"
    if not has_kfunc(kernel_types, name):
        pytest.skip("it is of the kernels 5.13 to 6.2")
    body = [
        BPF_LDX_MEM(BPF_DW, R1, R1, 168),  # __sk_buff.sk
        BPF_MOV64_IMM(R0, 0),
        BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"),
        BPF_EMIT_CALL(BPF_FUNC_sk_fullsock),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_REG(R1, R0),
        BPF_MOV64_IMM(R2, 30),
        BPF_MOV64_IMM(R3, 12),
        BPF_CALL_KFUNC(0, kfunc(name)),
        label("out"),
        EXIT,
    ]
    assert returned(body, TC) == 42


def test_kernel_functions_of_a_module(kernel_types):
    """A module's function is called through the fd array; the verifier refuses one that is no kfunc by its name."""
    modules = kernel_btf.modules()
    if not modules:
        pytest.skip("no module with types is loaded")
    own = kernel_btf.module(modules[0])
    name = next(
        own.type(id).name
        for id in range(own.first_id, len(own))
        if own.type(id).kind == btf.BTF_KIND_FUNC and not has_kfunc(kernel_types, own.type(id).name)
    )
    for call in (kfunc(name), kfunc(name, modules[0])):
        with pytest.raises(VerifierError) as caught:
            load(Program("prog", TC, [BPF_CALL_KFUNC(0, call), BPF_MOV64_IMM(R0, 0), EXIT]))
        assert name in caught.value.log or "calling kernel function" in caught.value.what


@pytest.mark.lab(on="ends")
def test_a_kernel_function_that_is_not_there(kernel_types):
    body = [BPF_CALL_KFUNC(0, kfunc("bpf_iter_nun_new")), BPF_MOV64_IMM(R0, 0), EXIT]
    with pytest.raises(KernelError) as caught:
        load(Program("prog", TC, body))
    assert (caught.value.errno, caught.value.rule) == (errno.ENOENT, "btf-name")
    assert "has no function bpf_iter_nun_new in its BTF" in caught.value.what
    if has_kfunc(kernel_types, "bpf_iter_num_new"):
        assert caught.value.do == "did you mean bpf_iter_num_new?"


def test_what_the_verifier_says_of_a_kernel_function(kernel_types):
    body = [BPF_CALL_KFUNC(0, kfunc("vfs_read")), BPF_MOV64_IMM(R0, 0), EXIT]
    with pytest.raises(VerifierError) as caught:
        load(Program("prog", TC, body))
    assert caught.value.source == body[0].source or caught.value.pc is None


# 64 bits of a result


def test_a_result_of_64_bits_through_a_map():
    """retval has 32; the value of an array is written by two instructions."""
    result = ArrayMap("result", value=u64, max_entries=1)
    body = [
        BPF_LD_IMM64(R0, 0x5566778811223344),
        BPF_LD_MAP_VALUE(R1, result, 0),
        BPF_STX_MEM(BPF_DW, R1, R0, 0),
        EXIT,
    ]
    prog = Program("prog", XDP, body)
    with load(prog) as obj:
        assert obj[prog].test_run(PACKET).retval == 0x11223344
        assert obj[result][0] == 0x5566778811223344
