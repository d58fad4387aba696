"""Iterators: read as files, with targets, exchanged, pinned."""

import os
import struct

import pytest
from support.counting import skip_if_nobody_may

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.syscall import system

pytestmark = pytest.mark.lab

numbers = HashMap("numbers", key=u32, value=u64, max_entries=32, initial={n: n * n for n in range(23)})


@pytest.fixture(autouse=True, scope="module")
def _iterators():
    if features.ask("link/iter").state == "no":
        pytest.skip("this kernel has no iterators")


@pytest.fixture(scope="module")
def elements():
    """A kernel that lets programs read the elements of maps."""
    skip_if_nobody_may(writes("may", iterator("bpf_map_elem", map=numbers), KEY, size=4))


def writes(name, where, *load_object, size, twice=1, marks=False):
    """Return a program that writes ``size`` bytes of each object: what the instructions leave in R7 points there.

    With ``marks`` what it writes is bytes of its own.
    """
    mark = [BPF_ST_MEM(BPF_DW, FP, -8, 1), BPF_MOV64_REG(R7, FP), BPF_ALU64_IMM(BPF_ADD, R7, -8)]
    body = [
        BPF_LDX_MEM(BPF_DW, R6, R1, 0),  # struct bpf_iter_meta
        BPF_LDX_MEM(BPF_DW, R6, R6, 0),  # its seq
        *load_object,
        BPF_JMP_IMM(BPF_JEQ, R7, 0, "out"),  # once more after the last
        *(mark if marks else ()),
        *(
            insn
            for _ in range(twice)
            for insn in (
                BPF_MOV64_REG(R1, R6),
                BPF_MOV64_REG(R2, R7),
                BPF_MOV64_IMM(R3, size),
                BPF_EMIT_CALL(BPF_FUNC_seq_write),
            )
        ),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ]
    return Program(name, BPF_PROG_TYPE_TRACING, body, attach=where)


#: The key of an element.
KEY = BPF_LDX_MEM(BPF_DW, R7, R1, 16)


def test_23_elements_are_read_as_often_as_asked(elements):
    program = writes("keys", iterator("bpf_map_elem", map=numbers), KEY, size=4)
    with load(program) as obj:
        (link,) = obj.attach()
        for _ in range(2):
            assert sorted(struct.unpack("23I", link.read())) == [*range(23)]
        del obj[numbers][7]
        assert len(link.read()) == 4 * 22
        info = link.info()
        assert (info.kind, info.details["target_name"]) == ("iter", "bpf_map_elem")
        assert info.details["map_id"] == obj[numbers].info()["id"]
        with link.open() as file:
            first = file.read(8)
            assert len(first) == 8
            link.close()
            assert len(first + file.read()) == 4 * 22  # the file holds all


def test_another_program_takes_its_place(elements):
    where = iterator("bpf_map_elem", map=numbers)
    one, two = writes("one", where, KEY, size=4), writes("two", where, KEY, size=4, twice=2)
    with load(one, two) as obj, attach(obj[one], where.among(obj)) as link:
        assert len(link.read()) == 4 * 23
        link.update(obj[two])
        assert link.program is obj[two]
        assert len(link.read()) == 8 * 23
        with pytest.raises(KernelError) as caught:
            link.update(obj[one], expected=obj[one])
        assert caught.value.rule == "link-update"
        assert "the program there is not one" in caught.value.what
        link.update(obj[one], expected=obj[two])
        assert len(link.read()) == 4 * 23


def test_a_pinned_iterator_is_a_file(elements):
    points = system.mounts("bpf")
    if not points:
        pytest.skip("no bpf file system is mounted")
    program = writes("pinned", iterator("bpf_map_elem", map=numbers), KEY, size=4)
    path = f"{points[-1]}/iterator_{os.getpid()}"
    with load(program) as obj:
        (link,) = obj.attach()
        link.pin(path)
        try:
            link.close()
            with open(path, "rb") as file:
                assert len(file.read()) == 4 * 23
        finally:
            os.unlink(path)


@pytest.mark.parametrize("which", ["tid", "pid", "all"])
def test_tasks(which):
    here = {"tid": {"tid": os.getpid()}, "pid": {"pid": os.getpid()}, "all": {}}[which]
    program = writes("tasks", iterator("task", **here), BPF_LDX_MEM(BPF_DW, R7, R1, 8), size=8, marks=True)
    with load(program) as obj:
        try:
            (link,) = obj.attach()
        except FeatureMissing as lack:
            assert here
            assert lack.rule == "iterator-target"
            pytest.skip(lack.what)
        read = len(link.read()) // 8
        threads = len(os.listdir("/proc/self/task"))
        assert read == {"tid": 1, "pid": threads}[which] if here else read > 20


def test_all_maps_are_gone_over():
    program = writes("maps", iterator("bpf_map"), BPF_LDX_MEM(BPF_DW, R7, R1, 8), size=8, marks=True)
    with load(program, numbers) as obj:
        (link,) = obj.attach()
        before = len(link.read())
        with load(numbers.replace(name="more")):
            assert len(link.read()) == before + 8


def test_a_map_that_is_not_said(elements):
    program = writes("which", iterator("bpf_map_elem"), KEY, size=4)
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.do == 'say which map: iterator("bpf_map_elem", map=counts)'


def test_one_task_is_said_once():
    with pytest.raises(OperandError) as caught:
        iterator("task", tid=1, pid=1)
    assert caught.value.rule == "attach-target"
