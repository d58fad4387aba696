"""What is refused to whom, and in which words: the same calls by processes with less than all capabilities."""

import os

import pytest

from bpfasm.syscall import system
from bpfasm.uapi import capability

pytestmark = pytest.mark.lab

#: Give up all capabilities but those named, and be somebody; then load and attach, and say what came of it.
PROGRAM = """
    import sys
    from bpfasm.asm import *
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel import load
    from support.privileges import become

    kind, uid, *kept = sys.argv[1:]
    become(int(uid), *kept)
    program = Program("prog", globals()[f"BPF_PROG_TYPE_{kind}"], [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()],
                      attach=kprobe(syscall="fchownat") if kind == "KPROBE" else None)
    try:
        with load(program) as obj:
            if kind == "KPROBE":
                obj.attach()
        print("fine")
    except BpfasmError as error:
        print(type(error).__name__, error.report(), sep="\\n")
"""


@pytest.fixture
def result(python):
    if os.geteuid() != 0:
        pytest.skip("only root can give capabilities up one by one")

    def run(*arguments):
        with python(PROGRAM, *arguments) as process:
            out, err = process.communicate(timeout=60)
        assert err == ""
        return out.splitlines()

    return run


@pytest.mark.parametrize(
    ("kind", "kept", "lacks"),
    [
        ("KPROBE", [], "CAP_BPF and CAP_PERFMON"),
        ("KPROBE", ["CAP_BPF"], "CAP_PERFMON"),
        ("KPROBE", ["CAP_PERFMON"], "CAP_BPF"),
        ("XDP", ["CAP_BPF"], "CAP_NET_ADMIN"),
        ("XDP", [], "CAP_BPF and CAP_NET_ADMIN"),
        ("TRACEPOINT", ["CAP_BPF", "CAP_NET_ADMIN"], "CAP_PERFMON"),
    ],
)
def test_the_capability_that_is_missing_is_named(result, kind, kept, lacks):
    assert result(kind, 65534, *kept) == [
        "FeatureMissing",
        f"error: loading prog (BPF_PROG_TYPE_{kind}) needs {lacks}, and this process is not root [privilege]",
        "run it with sudo, or add `--on 6.1`: the lab runs it on Debian's 6.1 kernel, in QEMU, without root",
    ]


def test_root_without_capabilities(result):
    kind, first, second = result("XDP", 0, "CAP_NET_ADMIN")
    assert kind == "FeatureMissing"
    assert "needs CAP_BPF, which root does not have here (a container?)" in first
    assert second.startswith("give the container CAP_BPF")


def test_a_socket_filter_without_any(result):
    out = result("SOCKET_FILTER", 65534)
    if system.unprivileged_bpf_disabled():
        assert out[0] == "FeatureMissing"
        assert "needs CAP_BPF" in out[1]
    else:
        assert out == ["fine"]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("XDP", ["CAP_BPF", "CAP_NET_ADMIN"]), ("XDP", ["CAP_SYS_ADMIN"]), ("TRACEPOINT", ["CAP_BPF", "CAP_PERFMON"])],
)
def test_enough_is_enough(result, kind, kept):
    # Where locked memory is limited (before 5.11) the limit is raised as far as it goes; 64 KiB hold this program.
    assert result(kind, 65534, *kept) == ["fine"]


def test_kprobes_without_being_root(result, kprobes):
    out = result("KPROBE", 65534, "CAP_BPF", "CAP_PERFMON")
    if system.perf_event_paranoid() > 2:
        assert "kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN" in out[1]
    else:
        assert out == ["fine"]
    assert result("KPROBE", 65534, "CAP_SYS_ADMIN") == ["fine"]


def test_capability_numbers_are_bits():
    assert system.capabilities() >> capability.CAP_LAST_CAP + 1 == 0
