"""What a process may look like: closed standard files, signals, limits, forks; objects keep to their promises."""

import errno
import gc
import os
import signal
import time

import pytest
from support import zygote

from bpfasm.asm import *
from bpfasm.errors import KernelError
from bpfasm.isa.insn import encode
from bpfasm.kernel import load
from bpfasm.kernel.programs.verdict import verify
from bpfasm.syscall.libc import buffer

pytestmark = pytest.mark.lab(on="one")

#: So many that a signal comes while they are verified: an emulated guest takes as long for as many fewer.
STEPS = 5_000 if zygote.IN_GUEST else 50_000
LINE = [BPF_MOV64_IMM(R0, 0), *[BPF_ALU64_IMM(BPF_ADD, R0, 1)] * STEPS, BPF_EXIT_INSN()]
LONG = Program("long", BPF_PROG_TYPE_SOCKET_FILTER, LINE)


def run(process):
    with process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out


def test_standard_files_may_be_closed(python):
    # The kernel would give out 0, 1 and 2; in bpf(2) 0 is no fd, and what prints to 1 would print into a map.
    code = """
        import os, sys
        from bpfasm.asm import *
        from bpfasm.kernel import load

        out = os.dup(1)
        for fd in (0, 1, 2):
            os.close(fd)
        counts = HashMap("counts", key=u32, value=u64, max_entries=1, initial={0: 5})
        prog = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER,
                       [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 7), BPF_EXIT_INSN()])
        with load(prog) as obj:
            words = [min(obj[counts].fd, obj[prog].fd) > 2, obj[counts][0], obj[prog].test_run(bytes(64)).retval]
            words += [os.get_inheritable(each.fd) for each in (obj[counts], obj[prog])]
            os.write(out, repr(words).encode())
        for fd in (0, 1, 2):
            os.open("/dev/null", os.O_RDWR)
    """
    assert run(python(code)) == "[True, 5, 7, False, False]"


def test_a_signal_while_the_verifier_works():
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        with load(LONG) as obj:
            assert obj[LONG].fd
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen == [1]


def verifying(insns):
    """Return how long the kernel takes to verify instructions, in seconds."""
    code = buffer(encode(insns))
    started = time.monotonic()
    verdict = verify({"prog_type": 1, "insn_cnt": len(insns), "insns": code, "license": buffer(b"GPL\0")})
    took = time.monotonic() - started
    os.close(verdict.fd)
    return took


def test_signals_that_do_not_end():
    # Several while the verifier works, and not so many that a slow machine does nothing else.
    pause = verifying(LINE) / 5
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, pause, pause)
        with pytest.raises(KernelError) as caught:
            load(LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert caught.value.errno == errno.EAGAIN
    assert caught.value.what == "long was not loaded: signals interrupted the verifier 6 times"


def test_ctrl_c_while_the_verifier_works():
    fds = os.listdir("/proc/self/fd")
    counts = HashMap("counts", key=u32, value=u64, max_entries=1)
    gc.collect()  # an object that is closed meanwhile would keep the interrupt to itself
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.005)
            load(counts, LONG)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert os.listdir("/proc/self/fd") == fds


def test_sigterm_closes_what_with_opened(python):
    code = """
        import sys, time
        from bpfasm.asm import *
        from bpfasm.kernel import load
        from bpfasm.kernel.signals import Terminated, terminable

        counts = HashMap("counts", key=u32, value=u64, max_entries=1)
        prog = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER,
                       [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 7), BPF_EXIT_INSN()])
        try:
            with terminable(), load(prog) as obj:
                print("loaded", flush=True)
                while True:
                    time.sleep(0.02)
        except Terminated as end:
            print(end.signum, [each.closed for each in obj.maps + obj.programs], flush=True)
    """
    with python(code) as process:
        assert process.stdout.readline() == "loaded\n"
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == ("15 [True, True]\n", "", 0)


LIMITED = """
    import resource, sys
    from bpfasm.asm import *
    from bpfasm.kernel import load

    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] if sys.argv[1] == "soft" else 0
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
    counts = HashMap("counts", key=u32, value=u64, max_entries=10_000)
    prog = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER,
                   [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 7), BPF_EXIT_INSN()])
    with load(prog) as obj:
        print(obj[prog].test_run(bytes(64)).retval)
"""


@pytest.mark.parametrize("which", ["soft", "hard"])
def test_a_limit_of_locked_memory_is_raised(python, which):
    # Before 5.11 this program and its map need 1 MB of it; root may raise the hard limit as well.
    assert run(python(LIMITED, which)) == "7\n"


def test_a_child_has_its_own_copies():
    counts = HashMap("counts", key=u32, value=u64, max_entries=1)
    prog = Program(
        "prog", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 7), BPF_EXIT_INSN()]
    )
    with load(prog) as obj:
        child = os.fork()
        if not child:
            status = 1
            try:
                obj[counts][0] = 42
                obj.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert obj[counts][0] == 42
        assert obj[prog].test_run(bytes(64)).retval == 7


def test_a_child_does_not_warn_of_what_is_its_parents(python):
    code = """
        import os, sys
        from bpfasm.asm import *
        from bpfasm.kernel import load

        obj = load(HashMap("counts", key=u32, value=u64, max_entries=1))
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            obj.close()
    """
    assert run(python(code)) == ""


def test_forgotten_at_exit(python):
    code = """
        from bpfasm.asm import *
        from bpfasm.kernel import load

        obj = load(HashMap("counts", key=u32, value=u64, max_entries=1))
    """
    with python(code) as process:
        _, err = process.communicate(timeout=60)
    assert "ResourceWarning: <LoadedMap counts> was never closed; it was made at <string>:5" in err
