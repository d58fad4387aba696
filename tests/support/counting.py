"""A workload that nobody else has, and programs that count it: getpriority(2), of this process."""

import os

import pytest

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing
from bpfasm.kernel import load

EVENTS = 23

#: The number of getpriority(2) on x86_64 and on the others.
GETPRIORITY = {"x86_64": 140}.get(os.uname().machine, 141)


def work(times=EVENTS):
    """Call getpriority(2)."""
    for _ in range(times):
        os.getpriority(os.PRIO_PROCESS, 0)


def counter(name, type, where, *, before=(), by=1, pid=None, ends=0, **fields):
    """Return a program that adds ``by`` to a counter when this process (or ``pid``, 0 any) comes by, and its map.

    ``before`` are instructions that may leave for ``"out"``; R6 holds the context.
    """
    pid = os.getpid() if pid is None else pid
    ours = [
        BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid),
        BPF_ALU64_IMM(BPF_RSH, R0, 32),
        BPF_JMP_IMM(BPF_JNE, R0, pid, "out"),
    ]
    counts = ArrayMap(f"{name}_n", value=u64, max_entries=1)
    insns = [
        BPF_MOV64_REG(R6, R1),
        *(ours if pid else ()),
        *before,
        BPF_LD_MAP_VALUE(R1, counts, 0),
        BPF_MOV64_IMM(R2, by),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
        label("out"),
        BPF_MOV64_IMM(R0, ends),
        BPF_EXIT_INSN(),
    ]
    return Program(name, type, insns, attach=where, **fields), counts


def skip_if_nobody_may(program):
    """Skip where the kernel lets not even root load a program, without a reason that could be removed."""
    try:
        load(program).close()
    except FeatureMissing as lack:
        if lack.rule != "privilege":
            raise
        pytest.skip(f"this kernel lets nobody load such a program: {lack.what}")


class Child:
    """A process that works when it is told to, and ends with the ``with``. ``first`` is run in it before anything.

    It may know several works, by number.
    """

    def __init__(self, first=lambda: None, *works):
        asked, self._ask = os.pipe()
        self._done, done = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                for fd in (self._ask, self._done):
                    os.close(fd)
                first()
                os.write(done, b"1")
                works = works or (work,)
                while told := os.read(asked, 1):
                    works[told[0]]()
                    os.write(done, b"1")
            finally:
                os._exit(0)
        os.close(asked)
        os.close(done)
        assert os.read(self._done, 1) == b"1", "it did not get to its work"

    def work(self, number=0):
        os.write(self._ask, bytes([number]))
        assert os.read(self._done, 1) == b"1", "it ended"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for fd in (self._ask, self._done):
            os.close(fd)
        os.waitpid(self.pid, 0)
