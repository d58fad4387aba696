"""Maps between user space and programs: what one writes the other reads, with exact counts."""

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import sys

import pytest
from support.bpf2 import running_series

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, MapError
from bpfasm.kernel import LoadedMap, load
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import system

pytestmark = pytest.mark.lab

CPUS = system.possible_cpus()
FILTER, RAW_TP = BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_RAW_TRACEPOINT
RUNNING = tuple(map(int, running_series().split(".")))


def needs(type):
    if has_map_type(type) is False:
        pytest.skip("this kernel does not have this type of map")


def signed(number):
    return number - (1 << 32) if number >> 31 else number


@pytest.fixture
def on_cpu():
    """Give a function that moves this thread to a CPU."""
    before = os.sched_getaffinity(0)
    yield lambda cpu: os.sched_setaffinity(0, {cpu})
    os.sched_setaffinity(0, before)


# Values of each CPU


def counting(spec):
    """A program that adds 1 to what is at key 7."""
    return Program("counting", RAW_TP, [
        BPF_ST_MEM(BPF_W, FP, -4, 7),
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_LDX_MEM(BPF_W, R1, R0, 0),
        BPF_ALU64_IMM(BPF_ADD, R1, 1),
        BPF_STX_MEM(BPF_W, R0, R1, 0),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [
        PerCpuHashMap("counts", key=u32, value=u32, max_entries=8, initial={7: 100}),
        PerCpuArrayMap("counts", value=u32, max_entries=8, initial={7: 100}),
        LruPerCpuHashMap("counts", key=u32, value=u32, max_entries=64, initial={7: 100}),
    ],
    ids=lambda spec: spec.row.spec,
)
def test_each_cpu_counts_for_itself(spec, on_cpu):
    program = counting(spec)
    expected = [100] * CPUS
    with load(program) as obj:
        m = obj[spec]
        for times, cpu in enumerate(sorted(os.sched_getaffinity(0)), 1):
            on_cpu(cpu)
            for _ in range(times):
                obj[program].test_run(ctx=bytes(8))
            expected[cpu] += times
        assert m[7] == m.snapshot()[7] == expected
        assert [m.get(7, cpu=cpu) for cpu in range(CPUS)] == expected


def test_the_value_of_one_cpu():
    spec = PerCpuArrayMap("counts", value=u32, max_entries=2, initial={1: list(range(CPUS))})
    with load(spec) as obj:
        m = obj[spec]
        if RUNNING >= (7, 0):
            m.put(1, 1000, cpu=CPUS - 1)
            assert m[1] == [*range(CPUS - 1), 1000]
            assert m.get(1, flags=BPF_F_CPU | (CPUS - 1) << 32) == 1000
            m.put(1, 5, BPF_F_ALL_CPUS)
            assert m[1] == [5] * CPUS
            with pytest.raises(KernelError, match="was given a CPU that this machine does not have"):
                m.put(1, 0, cpu=CPUS)
        else:
            with pytest.raises(FeatureMissing) as caught:
                m.put(1, 1000, cpu=0)
            assert caught.value.rule == "no-map-command"
            assert m[1] == list(range(CPUS))


# Locks


class Guarded(Record):
    _lock = spin_lock("guards the rest")
    a = u32("one")
    b = u64("two")


@pytest.mark.parametrize("declare", [HashMap, ArrayMap])
def test_values_with_a_lock(declare):
    more = {"key": u32} if declare is HashMap else {}
    spec = declare("guarded", value=Guarded, max_entries=2, **more)
    program = Program("swap", BPF_PROG_TYPE_SCHED_CLS, [
        BPF_ST_MEM(BPF_W, FP, -4, 1),
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_REG(R6, R0),
        BPF_MOV64_REG(R1, R0),
        BPF_EMIT_CALL(BPF_FUNC_spin_lock),
        BPF_LDX_MEM(BPF_DW, R7, R6, Guarded.b.off),
        BPF_ALU64_IMM(BPF_ADD, R7, 1),
        BPF_STX_MEM(BPF_DW, R6, R7, Guarded.b.off),
        BPF_MOV64_REG(R1, R6),
        BPF_EMIT_CALL(BPF_FUNC_spin_unlock),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj:
        m = obj[spec]
        m[1] = Guarded(a=1, b=2)
        m.put(1, (3, 4), BPF_F_LOCK)
        obj[program].test_run(bytes(14))
        assert m.get(1, flags=BPF_F_LOCK) == m[1] == Guarded(a=3, b=5)


def test_a_lock_where_there_is_none():
    spec = HashMap("plain", key=u32, value=u64, max_entries=1, initial={1: 1})
    with load(spec) as obj:
        for call in (lambda: obj[spec].get(1, flags=BPF_F_LOCK), lambda: obj[spec].put(1, 2, BPF_F_LOCK)):
            with pytest.raises(KernelError) as caught:
                call()
            assert caught.value.errno == errno.EINVAL
            assert "BPF_F_LOCK is for values with a spin_lock" in caught.value.do


class Timed(Record):
    _timer = timer("calls back")
    count = u64("how often")


def test_values_with_a_timer():
    spec = ArrayMap("timed", value=Timed, max_entries=1, initial=[Timed(count=5)])
    with load(spec) as obj:
        assert obj[spec].info()["btf_value_type_id"]
        assert obj[spec][0] == Timed(count=5)
        if RUNNING < (5, 15):
            return  # these bytes are nothing special there
        with pytest.raises(KernelError, match="its values have a lock or timer"):
            obj[spec].freeze()


# Queues, stacks, sets


def calling(helper, spec, value, *, flags=0):
    """A program that gives a value on its stack to a helper, and returns what that did."""
    return Program("calling", FILTER, [
        BPF_ST_MEM(BPF_DW, FP, -8, value),
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -8),
        BPF_MOV64_IMM(R3, flags),
        BPF_EMIT_CALL(helper),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


def popping(spec):
    """A program that returns what it pops, 99 where there is nothing."""
    return Program("popping", FILTER, [
        BPF_ST_MEM(BPF_DW, FP, -8, 0),
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -8),
        BPF_EMIT_CALL(BPF_FUNC_map_pop_elem),
        BPF_MOV64_REG(R1, R0),
        BPF_MOV64_IMM(R0, 99),
        BPF_JMP_IMM(BPF_JNE, R1, 0, "out"),
        BPF_LDX_MEM(BPF_DW, R0, FP, -8),
        label("out"),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


@pytest.mark.parametrize(("declare", "order"), [(Queue, [1, 2, 3]), (Stack, [3, 2, 1])])
def test_a_program_at_the_other_end(declare, order):
    spec = declare("jobs", value=u64, max_entries=3)
    push, pop = calling(BPF_FUNC_map_push_elem, spec, 42), popping(spec)
    with load(push, pop) as obj:
        m = obj[spec]
        m.extend([1, 2, 3])
        assert [obj[pop].test_run(bytes(14)).retval for _ in range(4)] == [*order, 99]
        assert [signed(obj[push].test_run(bytes(14)).retval) for _ in range(4)] == [0, 0, 0, -errno.E2BIG]
        assert [m.pop() for _ in range(3)] == [42] * 3
        assert not m


def test_a_set_that_a_program_fills():
    needs(BPF_MAP_TYPE_BLOOM_FILTER)
    spec = BloomFilter("seen", value=u64, max_entries=1000, hashes=3)
    add = calling(BPF_FUNC_map_push_elem, spec, 42)
    peek = calling(BPF_FUNC_map_peek_elem, spec, 7).replace(name="peek")
    with load(add, peek) as obj:
        m = obj[spec]
        assert 42 not in m
        assert obj[add].test_run(bytes(14)).retval == 0
        assert 42 in m
        assert signed(obj[peek].test_run(bytes(14)).retval) == -errno.ENOENT
        m.add(7)
        assert obj[peek].test_run(bytes(14)).retval == 0
        assert m.info()["map_extra"] == 3
        # Of so many others hardly any is taken for a member: 1 in 1000 by the formula, with room for 1000.
        assert sum(number in m for number in range(1000, 2000)) < 10


# Prefixes


def test_a_program_asks_for_a_prefix():
    spec = LpmTrie("routes", key=ipv4_prefix, value=u32, max_entries=8, initial={"10.0.0.0/8": 8, "10.1.0.0/16": 16})
    program = Program("route", FILTER, [
        BPF_ST_MEM(BPF_W, FP, -8, 32),
        BPF_ST_MEM(BPF_W, FP, -4, int.from_bytes(bytes([10, 1, 2, 3]), sys.byteorder)),
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -8),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_LDX_MEM(BPF_W, R0, R0, 0),
        label("out"),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj:
        assert obj[program].test_run(bytes(14)).retval == 16
        del obj[spec]["10.1.0.0/16"]
        assert obj[program].test_run(bytes(14)).retval == 8
        obj[spec].clear()
        assert obj[program].test_run(bytes(14)).retval == 0


def test_a_full_trie():
    spec = LpmTrie("routes", key=ipv4_prefix, value=u32, max_entries=1, initial={"10.0.0.0/8": 8})
    with load(spec) as obj, pytest.raises(KernelError, match="routes is full: it holds max_entries = 1 keys"):
        obj[spec]["11.0.0.0/8"] = 9


# The least recently used


def test_a_full_lru_map_drops_old_keys():
    spec = LruHashMap("recent", key=u32, value=u32, max_entries=1000)
    with load(spec) as obj:
        m = obj[spec]
        for key in range(5000):
            m[key] = key
        left = m.snapshot()
        assert 4999 in left
        assert len(left) == len(m) <= 1000
        assert all(key == value for key, value in left.items())


# Stack traces


def test_a_stack_deeper_than_the_kernel_takes():
    deepest = int(system.read("/proc/sys/kernel/perf_event_max_stack"))
    with pytest.raises(KernelError) as caught:
        load(StackTrace("stacks", max_entries=16, depth=deepest + 1))
    assert f"kernel.perf_event_max_stack={deepest} frames at most" in caught.value.do


def test_stack_traces():
    spec = StackTrace("stacks", max_entries=16, depth=20)
    program = Program("trace", RAW_TP, [
        BPF_LD_MAP_FD(R2, spec),
        BPF_MOV64_IMM(R3, 0),
        BPF_EMIT_CALL(BPF_FUNC_get_stackid),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj:
        m = obj[spec]
        assert not m
        stackid = obj[program].test_run(ctx=bytes(8)).retval
        assert stackid < 16
        assert (len(m), list(m)) == (1, [stackid])
        trace = m[stackid]
        assert len(trace) == 20
        # Of the kernel, from this call of bpf(2) on: high addresses, and zeros behind the last.
        assert all(address >> 47 for address in trace[: trace.index(0)])
        assert not any(trace[trace.index(0) :])
        assert m.pop(stackid) == trace
        assert not m
        with pytest.raises(MapError, match="whose elements user space does not set"):
            m[stackid] = trace


# Values that others own


@contextlib.contextmanager
def opened(fd):
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def cgroup(tmp_path):
    """Open the root of cgroup2."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", str(tmp_path).encode(), b"cgroup2", 0, None):
        pytest.skip(f"cgroup2 cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    with opened(os.open(tmp_path, os.O_RDONLY)) as fd:
        yield fd
    assert libc.umount2(str(tmp_path).encode(), 0) == 0


OWNERS = {
    SkStorage: lambda _: socket.socket(),
    TaskStorage: lambda _: opened(os.pidfd_open(os.getpid())),
    CgrpStorage: cgroup,
    InodeStorage: lambda path: opened(os.open(path, os.O_RDONLY)),
}


@pytest.mark.parametrize("declare", list(OWNERS), ids=lambda declare: declare.__name__)
def test_values_that_others_own(declare, tmp_path):
    spec = declare("owned", value=Guarded)
    needs(spec.type)
    with load(spec) as obj, OWNERS[declare](tmp_path) as owner:
        m = obj[spec]
        assert owner not in m
        with pytest.raises(KeyError):
            m[owner]
        m[owner] = Guarded(a=1, b=2)
        assert m[owner] == Guarded(a=1, b=2)
        m.put(owner, (3, 4), BPF_F_LOCK | BPF_EXIST)
        with LoadedMap.from_id(m.info()["id"]) as again:
            assert again[owner] == Guarded(a=3, b=4).to_bytes()
        with pytest.raises(KernelError) as caught:
            m.put(owner, (3, 4), BPF_NOEXIST)
        assert caught.value.errno == errno.EEXIST
        assert m.pop(owner) == Guarded(a=3, b=4)
        with pytest.raises(KeyError):
            del m[owner]
        for call in (lambda: len(m), lambda: list(m), m.clear):
            with pytest.raises(MapError, match="whose keys are not listed"):
                call()
        with pytest.raises(KernelError, match="owned did not take this"):
            m[1 << 30] = (1, 1)


def test_a_value_of_a_task_that_a_program_changes():
    needs(BPF_MAP_TYPE_TASK_STORAGE)
    spec = TaskStorage("counts", value=u64)
    program = Program("count", RAW_TP, [
        BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf),
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_REG(R2, R0),
        BPF_MOV64_IMM(R3, 0),
        BPF_MOV64_IMM(R4, BPF_LOCAL_STORAGE_GET_F_CREATE),
        BPF_EMIT_CALL(BPF_FUNC_task_storage_get),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_IMM(R1, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj, opened(os.pidfd_open(os.getpid())) as me:
        for _ in range(3):
            obj[program].test_run(ctx=bytes(8))
        assert obj[spec][me] == 3
        waiting = [sys.executable, "-c", "input()"]
        with subprocess.Popen(waiting, stdin=subprocess.PIPE) as other, opened(os.pidfd_open(other.pid)) as it:
            assert it not in obj[spec]
            obj[spec][it] = 7
            assert (obj[spec][it], obj[spec][me]) == (7, 3)
            other.kill()
            other.wait()
            with pytest.raises(KeyError):
                obj[spec][it]
            with pytest.raises(KernelError) as caught:
                obj[spec][it] = 8
            assert caught.value.what == "counts was given a pidfd that is gone"


# An arena


def test_an_arena_is_memory_of_both():
    needs(BPF_MAP_TYPE_ARENA)
    spec = Arena("arena", max_entries=4)
    page = os.sysconf("SC_PAGESIZE")
    with load(spec) as maps:
        arena = maps[spec]
        memory = arena.memory()
        assert len(memory) == len(memory.view) == 4 * page
        assert memory.address >> 32 == (memory.address + len(memory) - 1) >> 32
        memory.view[page : page + 8] = (41).to_bytes(8, "little")
        program = Program("add", FILTER, [
            BPF_LD_MAP_FD(R1, spec),
            BPF_LD_IMM64(R2, memory.address + page),
            BPF_RAW_INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 2, BPF_ADDR_SPACE_CAST, 1),
            BPF_LDX_MEM(BPF_DW, R0, R2, 0),
            BPF_ALU64_IMM(BPF_ADD, R0, 1),
            BPF_STX_MEM(BPF_DW, R2, R0, 8),
            BPF_EXIT_INSN(),
        ])  # fmt: skip
        with load(program, arena) as obj:
            assert obj[program].test_run(bytes(14)).retval == 42
        assert int.from_bytes(memory.view[page + 8 : page + 16], "little") == 42
        assert memory[page + 8] == 42
        for call in (lambda: arena[0], lambda: len(arena), lambda: arena.push(1)):
            with pytest.raises(MapError) as caught:
                call()
            assert caught.value.do == "an arena is memory: m.memory()"
            del caught  # it holds this frame, and that the memory


def test_an_arena_at_an_address():
    needs(BPF_MAP_TYPE_ARENA)
    free = 0x7E00_0000_0000
    spec = Arena("arena", max_entries=2, map_extra=free)
    with load(spec) as obj:
        assert obj[spec].memory().address == free
        with load(spec) as other, pytest.raises(KernelError):
            other[spec].memory()


def test_an_arena_stays_at_its_first_address():
    needs(BPF_MAP_TYPE_ARENA)
    spec = Arena("arena", max_entries=2)
    with load(spec) as obj, LoadedMap.from_id(obj[spec].info()["id"], spec) as again:
        obj[spec].memory()
        with pytest.raises(KernelError) as caught:
            again.memory()
        assert caught.value.what == (
            "arena was not mapped: it has been before, and an arena keeps its first address for good"
        )
        del caught  # it holds this frame, and that the maps


# Jumps by number


def test_the_targets_of_a_jump():
    needs(BPF_MAP_TYPE_INSN_ARRAY)
    jumps = InsnArray("jumps", max_entries=2, initial=[(5, 0, 0), (7, 0, 0)])

    def jumper(number):
        return Program("jumper", FILTER, [
            BPF_LD_MAP_VALUE(R1, jumps, 0),
            BPF_ALU64_IMM(BPF_ADD, R1, 8 * number),
            BPF_LDX_MEM(BPF_DW, R1, R1, 0),
            BPF_RAW_INSN(BPF_JMP | BPF_JA | BPF_X, 1, 0, 0, 0),
            BPF_MOV64_IMM(R0, 10),
            BPF_EXIT_INSN(),
            BPF_MOV64_IMM(R0, 20),
            BPF_EXIT_INSN(),
        ])  # fmt: skip

    for number, result in enumerate([10, 20]):
        with load(jumps) as maps:
            maps[jumps].freeze()
            program = jumper(number)
            with load(program, maps[jumps]) as obj:
                assert obj[program].test_run(bytes(14)).retval == result
                # The kernel says where the slots have gone.
                assert [value.orig_off for value in maps[jumps].values()] == [5, 7]
                assert all(value.xlated_off for value in maps[jumps].values())
