"""Maps of programs, maps, sockets, interfaces and other open things; programs and getsockopt(2) tell what is in."""

import ctypes
import errno
import os
import socket

import pytest

from bpfasm.asm import *
from bpfasm.asm.map_values import CpuMapValue, DevMapValue
from bpfasm.errors import KernelError, MapError
from bpfasm.kernel import LoadedMap, load
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import system
from bpfasm.syscall.perf_event import perf_event_open
from bpfasm.uapi import perf_event

pytestmark = pytest.mark.lab

COUNT = HashMap("count", key=u32, value=u64, max_entries=4)
COUNTED = COUNT.replace(initial={7: 0})
FILTER = BPF_PROG_TYPE_SOCKET_FILTER
SO_COOKIE = 57
XDP_REDIRECT, XDP_ABORTED = 4, 0
AF_XDP, SOL_XDP, XDP_RX_RING = 44, 283, 2


def returning(number, name=None, type=FILTER):
    return Program(name or f"return{number}", type, [BPF_MOV64_IMM(R0, number), BPF_EXIT_INSN()])


def run(program, **more):
    return program.test_run(bytes(14), **more).retval


@pytest.fixture
def cgroup(tmp_path):
    """The directory of the root of cgroup2, as a file descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = tmp_path / "cgroup"
    path.mkdir()
    if libc.mount(b"none", str(path).encode(), b"cgroup2", 0, None):
        pytest.skip(f"cgroup2 cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    assert libc.umount2(str(path).encode(), 0) == 0


# Programs


def dispatcher(progs):
    """A program that goes on with the program at the packet's first byte, and returns 99 where there is none."""
    return Program("dispatch", FILTER, [
        BPF_MOV64_REG(R6, R1),
        BPF_LD_ABS(BPF_B, 0),
        BPF_MOV64_REG(R1, R6),
        BPF_LD_MAP_FD(R2, progs),
        BPF_MOV64_REG(R3, R0),
        BPF_EMIT_CALL(BPF_FUNC_tail_call),
        BPF_MOV64_IMM(R0, 99),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


def dispatched(program, number):
    """Run it on a packet, whose payload the program sees, with a number behind the Ethernet header."""
    return program.test_run(bytes(14) + bytes([number]) + bytes(20)).retval


def test_programs_that_are_called_by_number():
    progs = ProgArray("progs", max_entries=4)
    one, two = returning(1), returning(2)
    dispatch = dispatcher(progs)
    with load(dispatch, one, two) as obj:
        m = obj[progs]
        assert not m
        assert list(m.items()) == []
        m[0] = obj[one]
        m[3] = obj[two].fd
        assert [dispatched(obj[dispatch], number) for number in range(5)] == [1, 99, 99, 2, 99]
        assert m.snapshot() == {0: obj[one].info().id, 3: obj[two].info().id}
        assert (len(m), list(m), 3 in m, 1 in m) == (2, [0, 3], True, False)
        m[0] = obj[two]
        del m[3]
        assert [dispatched(obj[dispatch], number) for number in range(4)] == [2, 99, 99, 99]
        with pytest.raises(KeyError):
            del m[3]
        for wrong in (obj[progs], 1 << 30):
            with pytest.raises(KernelError) as caught:
                m[1] = wrong
            assert caught.value.what.startswith("progs did not take this program (E")
            assert "a program of the type" in caught.value.do
        m.clear()
        assert not m


def test_programs_that_are_there_from_the_start():
    """They are loaded with the map that names them, and those that they name."""
    last = returning(3)
    inner = ProgArray("inner", max_entries=1, initial=[last])
    between = dispatcher(inner).replace(name="between")
    progs = ProgArray("progs", max_entries=2, initial={0: between, 1: returning(1)})
    dispatch = dispatcher(progs)
    with load(dispatch) as obj:
        assert [each.name for each in obj.programs] == ["dispatch", "between", "return3", "return1"]
        assert [dispatched(obj[dispatch], number) for number in range(3)] == [3, 1, 99]
        assert obj[inner].snapshot() == {0: obj[last].info().id}


# Maps


def reader_of(outer, key=0):
    """A program that returns what is at 7 in the map at a key, 98 where there is no such map, 99 no such key."""
    return Program("reader", FILTER, [
        BPF_ST_MEM(BPF_W, FP, -4, key),
        BPF_ST_MEM(BPF_W, FP, -8, 7),
        BPF_LD_MAP_FD(R1, outer),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_MOV64_REG(R1, R0),
        BPF_MOV64_IMM(R0, 98),
        BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -8),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_MOV64_REG(R1, R0),
        BPF_MOV64_IMM(R0, 99),
        BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"),
        BPF_LDX_MEM(BPF_DW, R0, R1, 0),
        label("out"),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "outer",
    [
        ArrayOfMaps("outer", inner=COUNT, max_entries=3),
        HashOfMaps("outer", key=u32, inner=COUNT, max_entries=3),
    ],
    ids=lambda spec: spec.row.spec,
)
def test_maps_in_maps(outer):
    program = reader_of(outer)
    first, second = COUNT.replace(name="first", initial={7: 70}), COUNT.replace(name="second")
    with load(program, first, second) as obj:
        m = obj[outer]
        assert not m
        assert run(obj[program]) == 98
        m[0] = obj[first]
        m.update({1: obj[second].fd, 2: obj[second]})
        assert run(obj[program]) == 70
        ids = [obj[spec].info()["id"] for spec in (first, second)]
        assert m.snapshot() == {0: ids[0], 1: ids[1], 2: ids[1]}
        assert (len(m), sorted(m), m[2]) == (3, [0, 1, 2], ids[1])
        with LoadedMap.from_id(m[2], second) as again:
            again[7] = 71
        m[0] = obj[second]
        assert run(obj[program]) == 71
        del m[0]
        assert run(obj[program]) == 98
        assert m.snapshot() == {1: ids[1], 2: ids[1]}
        other = HashMap("other", key=u32, value=u32, max_entries=4)
        with load(other) as more, pytest.raises(KernelError) as caught:
            m[0] = more[other]
        assert caught.value.what == "outer did not take this map (EINVAL)"
        assert "inner=" in caught.value.do
        m.clear()
        assert m.snapshot() == {}


def test_maps_that_are_there_from_the_start():
    first, second = COUNT.replace(name="first", initial={7: 70}), COUNT.replace(name="second", initial={7: 71})
    outer = HashOfMaps("outer", key=u32, inner=COUNT, max_entries=3, initial={0: first, 5: second})
    programs = [reader_of(outer, key).replace(name=f"at{key}") for key in (0, 5)]
    with load(*programs) as obj:
        assert [run(obj[program]) for program in programs] == [70, 71]
        assert sorted(m.spec.name for m in obj.maps) == ["first", "outer", "second"]
        obj[second][7] = 72
        assert run(obj[programs[1]]) == 72


def test_a_map_that_serves_several_loads():
    program = Program("count", FILTER, [
        BPF_ST_MEM(BPF_W, FP, -4, 7),
        BPF_LD_MAP_FD(R1, COUNTED),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, -4),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_IMM(R1, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(COUNTED) as maps:
        m = maps[COUNTED]
        for _ in range(3):
            with load(
                m, program.replace(insns=[*program.insns[:1], BPF_LD_MAP_FD(R1, m.spec), *program.insns[2:]])
            ) as obj:
                assert obj.maps == ()
                assert obj[m.spec] is m
                run(obj.programs[0])
        assert m[7] == 3


# Perf events, cgroups


def test_an_array_of_perf_events():
    """A program that writes an event gets ENOENT where there is none."""
    events = PerfEventArray("events")
    cpu = system.online_cpu()
    program = Program("output", BPF_PROG_TYPE_RAW_TRACEPOINT, [
        BPF_ST_MEM(BPF_DW, FP, -8, 5),
        BPF_LD_MAP_FD(R2, events),
        BPF_LD_IMM64(R3, BPF_F_CURRENT_CPU),
        BPF_MOV64_REG(R4, FP),
        BPF_ALU64_IMM(BPF_ADD, R4, -8),
        BPF_MOV64_IMM(R5, 8),
        BPF_EMIT_CALL(BPF_FUNC_perf_event_output),
        BPF_EXIT_INSN(),
    ])  # fmt: skip

    def output():
        result = obj[program].test_run(ctx=bytes(8)).retval
        return result - (1 << 32) if result >> 31 else result

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    event = perf_event_open(
        cpu=cpu, type=perf_event.PERF_TYPE_SOFTWARE, config=perf_event.PERF_COUNT_SW_BPF_OUTPUT,
        sample_type=perf_event.PERF_SAMPLE_RAW,
    )  # fmt: skip
    try:
        with load(program) as obj:
            m = obj[events]
            assert output() == -errno.ENOENT
            m[cpu] = event
            assert output() == -errno.ENOSPC  # the event has no memory to write to
            del m[cpu]
            assert output() == -errno.ENOENT
            with pytest.raises(KeyError):
                del m[cpu]
            for call in (lambda: m[cpu], lambda: cpu in m, lambda: len(m), lambda: list(m)):
                with pytest.raises(MapError):
                    call()
            with pytest.raises(KernelError, match="events did not take this perf event"):
                m[cpu] = m
    finally:
        os.close(event)
        os.sched_setaffinity(0, before)


def test_an_array_of_cgroups(cgroup):
    groups = CgroupArray("groups", max_entries=2)
    program = Program("under", BPF_PROG_TYPE_RAW_TRACEPOINT, [
        BPF_LD_MAP_FD(R1, groups),
        BPF_MOV64_IMM(R2, 1),
        BPF_EMIT_CALL(BPF_FUNC_current_task_under_cgroup),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj:
        m = obj[groups]
        assert obj[program].test_run(ctx=bytes(8)).retval == (1 << 32) - errno.EAGAIN  # there is none
        m[1] = cgroup
        assert obj[program].test_run(ctx=bytes(8)).retval == 1  # every task is below the root
        del m[1]
        assert obj[program].test_run(ctx=bytes(8)).retval == (1 << 32) - errno.EAGAIN
        with pytest.raises(MapError, match="groups is a CgroupArray, whose elements user space cannot read"):
            m[1]
        with pytest.raises(KernelError, match="groups did not take this cgroup"):
            m[0] = obj[program]


# Interfaces, CPUs, AF_XDP


def redirects(spec, key=1):
    """A program that redirects to an element: XDP_REDIRECT where there is one, XDP_ABORTED where there is none."""
    return Program("redirect", BPF_PROG_TYPE_XDP, [
        BPF_LD_MAP_FD(R1, spec),
        BPF_MOV64_IMM(R2, key),
        BPF_MOV64_IMM(R3, 0),
        BPF_EMIT_CALL(BPF_FUNC_redirect_map),
        BPF_EXIT_INSN(),
    ])  # fmt: skip


LO = 1


@pytest.mark.parametrize("declare", [DevMap, DevMapHash])
def test_interfaces(declare):
    spec = declare("out", max_entries=4)
    program = redirects(spec)
    with load(program) as obj:
        m = obj[spec]
        assert run(obj[program]) == XDP_ABORTED
        m[1] = LO
        assert run(obj[program]) == XDP_REDIRECT
        assert m.snapshot() == {1: LO}
        assert (len(m), m[1], 0 in m, m.pop(1)) == (1, LO, False, LO)
        assert run(obj[program]) == XDP_ABORTED
        assert not m
        with pytest.raises(KeyError):
            del m[1]
        with pytest.raises(KernelError) as caught:
            m[1] = 1 << 30
        assert caught.value.what == "out did not take this interface or program (EINVAL)"


def test_an_interface_with_no_program():
    spec = DevMap("out", max_entries=2, value=DevMapValue)
    with load(spec) as obj:
        obj[spec][0] = (LO, 0)
        assert obj[spec].snapshot() == {0: DevMapValue(ifindex=LO, prog=0)}


def test_cpus():
    spec = CpuMap("cpus", max_entries=2)
    program = redirects(spec, 0)
    with load(program) as obj:
        m = obj[spec]
        assert run(obj[program]) == XDP_ABORTED
        m[0] = 192
        assert run(obj[program]) == XDP_REDIRECT
        assert m.snapshot() == {0: 192}
        m[0] = 0  # as if deleted
        assert m.snapshot() == {}
        with pytest.raises(KeyError):
            del m[0]
        with pytest.raises(KernelError, match="a CPU's queue holds 16384 packets at most"):
            m[0] = 1 << 20
    with_program = CpuMap("cpus", max_entries=1, value=CpuMapValue, initial={0: (64, 0)})
    with load(with_program) as obj:
        assert obj[with_program][0] == CpuMapValue(qsize=64, prog=0)


def test_sockets_of_xdp():
    if has_map_type(BPF_MAP_TYPE_XSKMAP) is False:
        pytest.skip("this kernel has no AF_XDP")
    spec = XskMap("xsks", max_entries=2)
    program = redirects(spec)
    with load(program) as obj, socket.socket(AF_XDP, socket.SOCK_RAW) as xsk:
        m = obj[spec]
        with socket.socket() as other, pytest.raises(KernelError, match="xsks did not take this AF_XDP socket"):
            m[1] = other
        xsk.setsockopt(SOL_XDP, XDP_RX_RING, 64)
        assert run(obj[program]) == XDP_ABORTED
        m[1] = xsk
        assert run(obj[program]) == XDP_REDIRECT
        del m[1]
        assert run(obj[program]) == XDP_ABORTED
        with pytest.raises(MapError):
            m[1]


# Sockets


def cookie(sock):
    return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8), "little")


@pytest.fixture
def listening():
    """Two TCP sockets that listen, in one group of SO_REUSEPORT."""
    made = []
    port = 0
    for _ in range(2):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("0.0.0.0", port))
        sock.listen()
        port = sock.getsockname()[1]
        made.append(sock)
    yield made
    for sock in made:
        sock.close()


@pytest.mark.parametrize("declare", [SockMap, SockHash, ReuseportSockArray])
def test_sockets(declare, listening):
    more = {"key": u32} if declare is SockHash else {}
    spec = declare("socks", max_entries=4, **more)
    one, two = listening
    with load(spec) as obj:
        m = obj[spec]
        assert not m
        m[0] = one
        m[2] = two.fileno()
        assert m.snapshot() == {0: cookie(one), 2: cookie(two)}
        assert (len(m), sorted(m), m[0], 1 in m, 2 in m) == (2, [0, 2], cookie(one), False, True)
        del m[0]
        for missing in (lambda: m[0], lambda: m.__delitem__(0)):
            with pytest.raises(KeyError):
                missing()
        two.close()  # and it is gone here, too
        assert m.snapshot() == {}
        with socket.socket() as unconnected, pytest.raises(KernelError) as caught:
            m[0] = unconnected
        assert caught.value.what.startswith("socks did not take this socket (E")
        with pytest.raises(KernelError) as caught:
            m.put(3, one, BPF_EXIST)
        assert caught.value.errno == errno.ENOENT


def test_sockets_without_room_for_a_cookie(listening):
    spec = SockMap("socks", max_entries=1).replace(value=u32)
    with load(spec) as obj:
        obj[spec][0] = listening[0].fileno()
        with pytest.raises(KernelError, match="values of 4 bytes, and a socket's cookie has 8"):
            obj[spec][0]


def test_sockets_that_are_not_taken():
    """EBUSY is a socket that is in such a map already, and no other CPU that holds one back."""
    first, second = ReuseportSockArray("first", max_entries=2), ReuseportSockArray("second", max_entries=2)
    sockets = SockMap("sockets", max_entries=1)
    with load(first, second, sockets) as obj, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", 0))
        obj[first][0] = made
        for spec, key in ((first, 1), (second, 0)):
            with pytest.raises(KernelError) as caught:
                obj[spec][key] = made
            assert (caught.value.errno, caught.value.rule) == (errno.EBUSY, "map-element")
            assert caught.value.what == f"{spec.name} did not take this socket (EBUSY)"
            assert caught.value.do.endswith("with SO_REUSEPORT that is bound, and in no such map yet")
        reading, writing = os.pipe()
        with pytest.raises(KernelError) as caught:
            obj[sockets][0] = reading
        assert caught.value.what == "sockets did not take this socket (ENOTSOCK)"
        assert caught.value.do.startswith("its elements are each a TCP socket")
        os.close(reading)
        os.close(writing)
