"""Maps that are pinned, opened by path and id, frozen, and memory."""

import ctypes
import errno
import gc
import os

import pytest

from bpfasm.asm import *
from bpfasm.asm.handles import fd32
from bpfasm.errors import FeatureMissing, KernelError, MapError, RecordError, VerifierError
from bpfasm.kernel import LoadedMap, load
from bpfasm.kernel.maps.info import frozen
from bpfasm.kernel.objects import pins
from bpfasm.kernel.readers.ringbuf import RingReader
from bpfasm.syscall import system

pytestmark = pytest.mark.lab

SPEC = HashMap("counts", key=u32, value=u64, max_entries=8, initial={1: 10})


@pytest.fixture
def bpffs(tmp_path):
    """A bpf file system of the test's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = tmp_path / "bpf"
    path.mkdir()
    if libc.mount(b"bpf", str(path).encode(), b"bpf", 0, None):
        assert ctypes.get_errno() == errno.EPERM
        pytest.skip("nothing can be mounted here")
    yield str(path)
    assert libc.umount2(str(path).encode(), 0) == 0


def pinned(path):
    """Return what is pinned in a directory; a kernel may have put files with a dot there (CONFIG_BPF_PRELOAD)."""
    return [name for name in os.listdir(path) if "." not in name]


@pytest.mark.lab(on="one")
def test_a_pinned_map_outlives_its_process(bpffs, python):
    path = f"{bpffs}/counts"
    code = """
        import sys
        from bpfasm.asm import *
        from bpfasm.kernel import load
        spec = HashMap("counts", key=u32, value=u64, max_entries=8, initial={1: 10})
        with load(spec) as obj:
            print(obj[spec].pin(sys.argv[1]), obj[spec].info()["id"])
    """
    with python(code, path) as process:
        out, err = process.communicate()
    assert (err, process.returncode) == ("", 0)
    with LoadedMap.from_pin(path, SPEC) as m:
        assert out.split() == [path, str(m.info()["id"])]
        assert m.snapshot() == {1: 10}
        m[2] = 20
    with LoadedMap.from_pin(path) as m:
        assert m.snapshot() == {b"\1\0\0\0": (10).to_bytes(8, "little"), b"\2\0\0\0": (20).to_bytes(8, "little")}
        assert m.spec.name == "counts"
        m.unpin(path)
    assert pinned(bpffs) == []


def test_a_map_that_is_pinned_by_its_declaration_is_used_again(bpffs):
    spec = SPEC.replace(pinned=f"{bpffs}/deep/er/counts")
    with load(spec) as obj:
        assert not obj[spec].reused
        assert obj[spec].pins == [f"{bpffs}/deep/er/counts"]
        obj[spec].update({1: 11, 2: 20})
        first = obj[spec].info()["id"]
    with load(spec) as obj:
        assert obj[spec].reused
        assert obj[spec].info()["id"] == first
        assert obj[spec].snapshot() == {1: 11, 2: 20}  # and not filled again
    os.unlink(spec.pinned)


def test_where_the_declaration_says_only_that_it_is_pinned(python):
    """In a mount namespace of its own, since the place is the machine's."""
    code = """
        import ctypes, os
        from bpfasm.asm import *
        from bpfasm.kernel import load
        libc = ctypes.CDLL(None, use_errno=True)
        CLONE_NEWNS, MS_REC_PRIVATE = 0x20000, 0x4000 | 1 << 18
        assert libc.unshare(CLONE_NEWNS) == 0
        assert libc.mount(None, b"/", None, MS_REC_PRIVATE, None) == 0
        assert libc.mount(b"bpf", b"/sys/fs/bpf", b"bpf", 0, None) == 0
        for round in range(2):
            spec = ArrayMap("an_array.x", value=u64, max_entries=1, pinned=True)
            with load(spec) as obj:
                obj[spec][0] += 5
                print(obj[spec][0], obj[spec].pins)
        with load(spec) as obj:
            obj[spec].unpin("/sys/fs/bpf/bpfasm/an_array_x")
        print(os.listdir("/sys/fs/bpf/bpfasm"))
    """
    with python(code) as process:
        out, err = process.communicate()
    assert err == ""
    assert out.splitlines() == ["5 ['/sys/fs/bpf/bpfasm/an_array_x']", "10 []", "[]"]


def test_two_that_pin_at_once_have_one_map(bpffs, monkeypatch):
    """The other one is quicker: it has pinned its map after we have seen that there was none."""
    from bpfasm.kernel.objects import pins

    spec = SPEC.replace(pinned=f"{bpffs}/counts")
    with load(spec) as first:
        first[spec][2] = 20
        seen = []
        monkeypatch.setattr(pins, "reuse", lambda spec, reuse=pins.reuse: reuse(spec) if seen else seen.append(spec))
        with load(spec) as second:
            assert second[spec].reused
            assert second[spec].pins == []
            assert second[spec].info()["id"] == first[spec].info()["id"]
            assert second[spec].snapshot() == {1: 10, 2: 20}
            second[spec].update({3: 30})
        assert first[spec][3] == 30


def test_a_pinned_map_that_differs(bpffs):
    path = f"{bpffs}/counts"
    with load(SPEC) as obj:
        obj[SPEC].pin(path)
    before = os.listdir("/proc/self/fd")
    other = ArrayMap("counts", value=u32, max_entries=9, flags=BPF_F_MMAPABLE, pinned=path)
    for open_it in (lambda: load(other), lambda: LoadedMap.from_pin(path, other)):
        with pytest.raises(MapError) as caught:
            open_it()
        assert caught.value.rule == "map-differs"
        assert caught.value.what.partition(": ")[2] == (
            "type is BPF_MAP_TYPE_HASH, not BPF_MAP_TYPE_ARRAY; value_size is 8, not 4; max_entries is 8, not 9; "
            "flags is 0x0, not 0x400"
        )
    assert os.listdir("/proc/self/fd") == before


def test_a_load_that_is_killed_leaves_no_pin_of_a_map_that_is_not_filled(bpffs, python):
    path = f"{bpffs}/progs"
    code = """
        import os, signal, sys
        from bpfasm.asm import *
        from bpfasm.kernel import load
        module = sys.modules["bpfasm.kernel.load"]
        one = Program("one", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])
        progs = ProgArray("progs", max_entries=1, initial=[one], pinned=sys.argv[1])
        if sys.argv[2] == "killed":
            module.load_program = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        with load(progs) as obj:
            print(obj[progs].reused, list(obj[progs]))
    """
    for how, said in (("killed", ""), ("well", "False [0]\n"), ("well", "True [0]\n")):
        with python(code, path, how) as process:
            out, err = process.communicate()
        assert (err, out) == ("", said)
        assert pinned(bpffs) == (["progs"] if said else [])


def test_a_failed_load_leaves_no_pin(bpffs):
    spec = SPEC.replace(pinned=f"{bpffs}/counts")
    bad = Program("bad", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_LD_MAP_FD(R1, spec), BPF_EXIT_INSN()])
    with pytest.raises(KernelError):
        load(bad)
    assert pinned(bpffs) == []
    with load(spec) as obj:
        obj[spec][5] = 5
    with pytest.raises(KernelError):
        load(bad)
    assert pinned(bpffs) == ["counts"]  # that was there before


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("counts", "counts was not pinned: {path} is there already"),
        ("a.b", "counts was not pinned at {path}: names there have no dots"),
        ("counts/below", "counts was not pinned at {path}: "),
    ],
)
def test_places_where_nothing_can_be_pinned(bpffs, name, what):
    path = f"{bpffs}/{name}"
    with load(SPEC) as obj:
        obj[SPEC].pin(f"{bpffs}/counts")
        with pytest.raises(KernelError) as caught:
            obj[SPEC].pin(path)
    assert caught.value.what.startswith(what.format(path=path))
    assert caught.value.rule == "pin"
    assert pinned(bpffs) == ["counts"]


def test_places_outside_of_bpf_file_systems(tmp_path):
    path = f"{tmp_path}/not/counts"
    with load(SPEC) as obj, pytest.raises(KernelError) as caught:
        obj[SPEC].pin(path)
    assert caught.value.what == f"{path} is not in a bpf file system, and objects are pinned nowhere else"
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelError, match="is no pin: it is not in a bpf file system"):
        LoadedMap.from_pin(f"{tmp_path}/file")


def test_nothing_is_mounted(tmp_path):
    if system.file_system("/sys/fs/bpf") == "bpf":
        pytest.skip("there is a bpf file system")
    with load(SPEC) as obj, pytest.raises(FeatureMissing) as caught:
        obj[SPEC].pin()
    assert caught.value.rule == "no-bpffs"
    assert caught.value.do == "mount it, as root: mount -t bpf bpf /sys/fs/bpf"
    with pytest.raises(FeatureMissing):
        load(SPEC.replace(pinned=True))


def test_what_is_not_pinned(bpffs):
    with pytest.raises(KernelError) as caught:
        LoadedMap.from_pin(f"{bpffs}/counts")
    assert caught.value.what == f"nothing is pinned at {bpffs}/counts"
    with load(SPEC) as obj, pytest.raises(KernelError, match="was not unpinned: ENOENT"):
        obj[SPEC].unpin(f"{bpffs}/counts")


def test_a_path_with_a_zero_in_it(bpffs):
    """The kernel would take what is before it."""
    path = f"{bpffs}/a\0b"
    with load(HashMap("m", key=u32, value=u32, max_entries=1)) as obj:
        m = obj.maps[0]
        for call in (lambda: m.pin(path), lambda: m.unpin(path), lambda: LoadedMap.from_pin(path)):
            with pytest.raises(KernelError, match="is no path: there is a zero in it") as caught:
                call()
            assert (caught.value.rule, caught.value.do) == ("pin", "leave it out")
        assert not m.pins
    with pytest.raises(KernelError, match="there is a zero in it"):
        load(HashMap("m", key=u32, value=u32, max_entries=1, pinned=path))
    assert not os.path.exists(f"{bpffs}/a")


def test_a_pin_that_is_no_map(bpffs):
    program = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    from bpfasm.syscall import bpf

    with load(program) as obj:
        bpf.obj_pin(obj[program].fd, f"{bpffs}/prog")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(MapError, match="is anon_inode:bpf-prog, and no map") as caught:
        LoadedMap.from_pin(f"{bpffs}/prog")
    assert caught.value.rule == "not-a-map"
    assert os.listdir("/proc/self/fd") == before


def test_opened_for_one_direction(bpffs):
    path = f"{bpffs}/counts"
    with load(SPEC) as obj:
        obj[SPEC].pin(path)
    with LoadedMap.from_pin(path, SPEC, flags=BPF_F_RDONLY) as m:
        assert m[1] == 10
        with pytest.raises(KernelError) as caught:
            m[1] = 11
        assert caught.value.what == "counts was opened with BPF_F_RDONLY, and BPF_MAP_UPDATE_ELEM writes it"
    with LoadedMap.from_pin(path, SPEC, flags=BPF_F_WRONLY) as m:
        m[1] = 12
        with pytest.raises(KernelError) as caught:
            m[1]
        assert caught.value.what == "counts was opened with BPF_F_WRONLY, and BPF_MAP_LOOKUP_ELEM reads it"


def test_what_programs_may_do():
    """They are refused by the verifier; user space does as it likes."""
    reads = [BPF_LDX_MEM(BPF_DW, R0, R0, 0)]
    writes = [BPF_ST_MEM(BPF_DW, R0, 0, 1)]
    for flag, allowed, refused in [(BPF_F_RDONLY_PROG, reads, writes), (BPF_F_WRONLY_PROG, writes, reads)]:
        spec = ArrayMap("array", value=u64, max_entries=1, flags=flag, initial=[5])

        def program(insns, spec=spec):
            return Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [
                BPF_ST_MEM(BPF_W, FP, -4, 0),
                BPF_LD_MAP_FD(R1, spec),
                BPF_MOV64_REG(R2, FP),
                BPF_ALU64_IMM(BPF_ADD, R2, -4),
                BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
                BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
                *insns,
                label("out"),
                BPF_MOV64_IMM(R0, 0),
                BPF_EXIT_INSN(),
            ])  # fmt: skip

        with load(program(allowed)) as obj:
            assert obj[spec][0] == 5
            obj[spec][0] = 6
        with pytest.raises(VerifierError):
            load(program(refused))


# By id


def test_by_id():
    with load(SPEC) as obj, LoadedMap.from_id(obj[SPEC].info()["id"], SPEC) as again:
        again[3] = 30
        assert obj[SPEC].snapshot() == {1: 10, 3: 30}
        assert again.fd != obj[SPEC].fd
        id = again.info()["id"]
    with pytest.raises(KernelError) as caught:
        LoadedMap.from_id((1 << 31) - 1)
    assert (caught.value.rule, caught.value.what) == ("map-id", "no map has the id 2147483647")
    assert id


def test_what_a_map_says_of_itself():
    spec = ArrayMap("an_array", value=24, max_entries=5, flags=BPF_F_MMAPABLE)
    with load(spec) as obj, LoadedMap.from_id(obj[spec].info()["id"]) as m:
        said = m.spec
        assert (said.name, said.type, said.key, said.value) == ("an_array", BPF_MAP_TYPE_ARRAY, u32, 24)
        assert (said.max_entries, said.flags) == (5, BPF_F_MMAPABLE)
        m[4] = b"x" * 24
        assert obj[spec][4] == b"x" * 24
    progs = ProgArray("progs", max_entries=2)
    with load(progs) as obj, LoadedMap.from_id(obj[progs].info()["id"]) as m:
        assert m.spec.value == fd32


def test_by_file_descriptor():
    with load(SPEC) as obj, LoadedMap.from_fd(os.dup(obj[SPEC].fd), SPEC) as m:
        assert m[1] == 10
    fd = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(MapError, match="is /dev/null, and no map"):
        LoadedMap.from_fd(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


# Frozen


def test_a_frozen_map():
    with load(SPEC) as obj:
        m = obj[SPEC]
        assert not frozen(m.fd)
        m.freeze()
        assert frozen(m.fd)
        assert m[1] == 10
        delete = m.__delitem__
        for change in (lambda: m.put(1, 2), lambda: m.update({1: 1, 2: 2}), lambda: delete(1), m.clear, m.popitem):
            with pytest.raises(KernelError) as caught:
                change()
            assert caught.value.errno == errno.EPERM
            assert caught.value.what == "counts is frozen: user space cannot change it any more"
        with pytest.raises(KernelError) as caught:
            m.freeze()
        assert (caught.value.rule, caught.value.what) == ("map-freeze", "counts is frozen already")
        assert m.snapshot() == {1: 10}


# Memory


class Wide(Record):
    a = u64("one")
    b = u32("two")
    c = u32("three")
    d = u32("four")
    _ = pad(4)


MMAPABLE = {"max_entries": 1000, "flags": BPF_F_MMAPABLE}


def mappings():
    """Count the maps that are in this process's memory."""
    gc.collect()  # what an exception of another test still holds
    with open("/proc/self/maps", encoding="utf-8") as file:
        return sum("bpf-map" in line for line in file)


def test_arrays_are_memory():
    wide = Wide(a=1, b=2, c=3, d=4)
    ones = {"u8": (u8, 7), "u32": (u32, 7), "u64": (u64, 1 << 63), "s16": (s16, -7), "wide": (Wide, wide)}
    specs = [ArrayMap(name, value=value, **MMAPABLE) for name, (value, _) in ones.items()]
    before = mappings()
    with load(*specs) as obj:
        for spec in specs:
            used_as_memory(obj[spec], ones[spec.name][1])
        assert mappings() == before + len(specs)
    assert mappings() == before


def used_as_memory(m, one):
    """Hold an array of 1,000 zeros in memory against the map that it is."""
    memory = m.memory()
    assert m.memory() is memory
    zero, m[999] = memory[0], one
    assert (len(memory), memory[999], memory[-1], memory[0]) == (1000, one, one, zero)
    assert zero == (Wide(a=0, b=0, c=0, d=0) if isinstance(one, Wide) else 0)
    memory[3] = one
    assert m[3] == one
    values = memory.tolist()
    assert len(values) == 1000
    assert {number for number, value in enumerate(values) if value == one} == {3, 999}
    assert list(memory) == list(m.values())
    step = (m.spec.value_size + 7) // 8 * 8
    assert len(memory.view) == -(-1000 * step // os.sysconf("SC_PAGESIZE")) * os.sysconf("SC_PAGESIZE")
    with pytest.raises(IndexError):
        memory[1000]


def test_memory_outlives_its_map():
    spec = ArrayMap("array", value=u64, **MMAPABLE)
    before = mappings()
    with load(spec) as obj:
        obj[spec][5] = 55
        view = obj[spec].memory().view.cast("Q")
    assert view[5] == 55
    assert mappings() == before + 1
    del view
    assert mappings() == before


def test_what_is_no_memory():
    plain = ArrayMap("plain", value=u64, max_entries=1)
    for spec, do in [(plain, "declare it with flags=BPF_F_MMAPABLE"), (SPEC, "an ArrayMap with BPF_F_MMAPABLE is")]:
        with load(spec) as obj, pytest.raises(MapError) as caught:
            obj[spec].memory()
        assert caught.value.rule == "map-memory"
        assert caught.value.do.startswith(do)


def test_frozen_memory_and_memory_that_keeps_from_freezing():
    spec = ArrayMap("array", value=u64, **MMAPABLE, initial={0: 5})
    with load(spec) as obj:
        m = obj[spec]
        memory = m.memory()
        with pytest.raises(KernelError) as caught:
            m.freeze()
        assert caught.value.what == "array was not frozen: it is memory that somebody may write, or being written"
        del memory
        reading = m.memory(writable=False)
        m.freeze()
        assert reading[0] == 5
        with pytest.raises(TypeError):
            reading[0] = 6
        with pytest.raises(KernelError) as caught:
            m.memory(writable=True)
        assert caught.value.what == "array was not mapped for writing: it is frozen"
    with load(spec) as obj:
        obj[spec].freeze()
        assert not obj[spec].memory().writable


def test_memory_of_what_programs_only_read():
    spec = ArrayMap("array", value=u64, max_entries=1, flags=BPF_F_MMAPABLE | BPF_F_RDONLY_PROG, initial={0: 5})
    with load(spec) as obj:
        assert obj[spec].memory()[0] == 5
        assert not obj[spec].memory().writable
        with pytest.raises(KernelError, match="it is read-only for programs"):
            obj[spec].memory(writable=True)


def test_programs_and_memory_are_the_same():
    spec = ArrayMap("array", value=u64, max_entries=1, flags=BPF_F_MMAPABLE)
    program = Program("count", BPF_PROG_TYPE_SOCKET_FILTER, [
        BPF_LD_MAP_VALUE(R1, spec, 0),
        BPF_MOV64_IMM(R2, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
        BPF_LDX_MEM(BPF_DW, R0, R1, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    with load(program) as obj:
        m, prog = obj[spec], obj[program]
        memory = m.memory()
        assert prog.test_run(bytes(14)).retval == 1
        assert memory[0] == 1
        memory[0] = 41
        assert prog.test_run(bytes(14)).retval == 42
        assert (memory[0], m[0]) == (42, 42)


def test_directories_and_names_that_are_too_long(bpffs):
    long = f"{bpffs}/{'x' * 256}"
    with load(SPEC) as obj:
        for path, number, what in (
            (bpffs, errno.EEXIST, f"counts was not pinned: {bpffs} is a directory"),
            (long, errno.ENAMETOOLONG, f"counts was not pinned at {long}: ENAMETOOLONG"),
        ):
            with pytest.raises(KernelError) as caught:
                obj[SPEC].pin(path)
            assert (caught.value.errno, caught.value.what, caught.value.rule) == (number, what, "pin")
            assert caught.value.do in (f"take a name in it: {bpffs}/counts", pins._SHORT)
    for path, what in ((bpffs, f"{bpffs} is a directory, and no pin"), (long, f"nothing is pinned at {long}")):
        with pytest.raises(KernelError) as caught:
            LoadedMap.from_pin(path)
        assert (caught.value.what, caught.value.rule) == (what, "pin")
        assert caught.value.do in (f"see what is in it: ls {bpffs}", pins._SHORT)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("id", [-1, 1 << 32])
def test_what_is_no_id(id):
    with pytest.raises(RecordError, match=f"map_id is {id}, and the kernel's field takes 0 to 4294967295"):
        LoadedMap.from_id(id)


def test_a_file_descriptor_that_is_not_open():
    with pytest.raises(MapError, match="file descriptor 1000000 is nothing that is open, and no map"):
        LoadedMap.from_fd(1_000_000)


def test_rings_that_cannot_be_written(bpffs):
    """Not even by their reader, who has to: EPERM is not about locked memory then."""
    ring = RingBuf("ring", max_entries=4096)
    with load(ring) as obj:
        path = obj[ring].pin(f"{bpffs}/ring")
        for flag in (BPF_F_RDONLY, BPF_F_WRONLY):
            with LoadedMap.from_pin(path, ring, flags=flag) as opened, pytest.raises(KernelError) as caught:
                RingReader(opened)
            assert caught.value.rule == "reader-memory"
            assert caught.value.do == "open it without the flag"
            assert "it was opened with BPF_F_RDONLY or BPF_F_WRONLY" in caught.value.what
        obj[ring].unpin()
        obj[ring].freeze()
        with pytest.raises(KernelError) as caught:
            obj.reader(ring)
        assert caught.value.do == "do not freeze it"
        assert caught.value.what == (
            "the memory of ring was not mapped: it is frozen, and who reads a ring writes how far"
        )
