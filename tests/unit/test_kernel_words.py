"""Every refusal of the kernel in words; what is asked of /proc and /sys is given here."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

if sys.platform != "linux":
    pytest.skip("Linux", allow_module_level=True)

from bpfasm.asm import *
from bpfasm.asm.prog_types import TYPES
from bpfasm.errors import FeatureMissing, KernelError, OperandError, VerifierError
from bpfasm.kernel import needs
from bpfasm.kernel.base import memlock, privilege
from bpfasm.kernel.base.privilege import needs_of_program, not_permitted
from bpfasm.kernel.base.words import errno_name, map_type, object_name, prog_type
from bpfasm.kernel.links.tracing import (
    kprobe_refused,
    traced_refused as tracing_refused,
    tracepoint_refused,
    uprobe_refused,
)
from bpfasm.kernel.links.tracing.kprobe import symbols_of
from bpfasm.kernel.maps import info as maps_info, refused as maps_refused
from bpfasm.kernel.programs import refused, testrun_refused
from bpfasm.kernel.programs.verdict import Verdict
from bpfasm.kernel.signals import Terminated, terminable
from bpfasm.syscall import system, tracefs
from bpfasm.syscall.bpf import RunError
from bpfasm.syscall.probe import commands
from bpfasm.syscall.probe.answer import no, yes
from bpfasm.uapi import bpf, capability

LAB = "add `--on 6.1`: the lab runs it on Debian's 6.1 kernel, in QEMU, without root"


def test_importing_is_light():
    heavy = "dataclasses enum typing re inspect argparse pathlib mmap resource difflib signal"
    code = f"import bpfasm.kernel, sys; print(*set(sys.modules) & set({heavy.split()}))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


def test_names_of_numbers():
    assert errno_name(errno.EINVAL) == "EINVAL"
    assert errno_name(524) == "ENOTSUPP"
    assert errno_name(95) == "EOPNOTSUPP"
    assert errno_name(9999) == "errno 9999"
    assert map_type(1) == "BPF_MAP_TYPE_HASH"
    assert map_type(bpf.BPF_MAP_TYPE_CGROUP_STORAGE) == "BPF_MAP_TYPE_CGROUP_STORAGE"
    assert map_type(4000) == "BPF_MAP_TYPE_4000"
    assert prog_type(2) == "BPF_PROG_TYPE_KPROBE"


@pytest.mark.parametrize(
    ("name", "kept"),
    [("chowncount", b"chowncount"), ("a-b c/d.e_f", b"abcd.e_f"), ("x" * 40, b"x" * 15), ("ünï", b"n"), ("", b"")],
)
def test_names_of_objects(name, kept):
    assert object_name(name) == kept


# Privilege


@pytest.fixture
def machine(monkeypatch):
    """A machine on which everything is allowed; give what is to be otherwise."""

    def become(caps=(1 << 41) - 1, uid=0, lockdown="", userns=False, filtered=None, memlock=(-1, -1), counted=False):
        monkeypatch.setattr(system, "capabilities", lambda: caps)
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        monkeypatch.setattr(system, "lockdown", lambda: lockdown)
        monkeypatch.setattr(system, "in_user_namespace", lambda: userns)
        monkeypatch.setattr(system, "seccomp", lambda: 0 if filtered is None else 2)
        monkeypatch.setattr(privilege, "filtered", lambda: dict.fromkeys(filtered, errno.EPERM))
        monkeypatch.setattr(system, "memlock_limit", lambda: memlock)
        monkeypatch.setattr(privilege, "counts_locked_memory", lambda: counted)

    become()
    return become


@pytest.mark.parametrize(
    ("type", "needed"),
    [
        (BPF_PROG_TYPE_SOCKET_FILTER, "CAP_BPF"),
        (BPF_PROG_TYPE_KPROBE, "CAP_BPF CAP_PERFMON"),
        (BPF_PROG_TYPE_XDP, "CAP_BPF CAP_NET_ADMIN"),
        (BPF_PROG_TYPE_EXT, "CAP_BPF CAP_PERFMON CAP_NET_ADMIN"),
        (BPF_PROG_TYPE_CGROUP_SKB, "CAP_BPF"),
    ],
)
def test_needs_of_programs(type, needed):
    assert " ".join(needs_of_program(type)) == needed


@pytest.mark.parametrize(
    ("there", "rule", "what", "do"),
    [
        ({"caps": 0, "uid": 1000}, "privilege", "it needs CAP_BPF and CAP_PERFMON, and this process is not root",
         f"run it with sudo, or {LAB}"),
        ({"caps": 1 << capability.CAP_BPF}, "privilege",
         "it needs CAP_PERFMON, which root does not have here (a container?)",
         f"give the container CAP_PERFMON (docker run --privileged), or {LAB}"),
        ({"lockdown": "confidentiality"}, "lockdown",
         "it: the kernel is locked down (confidentiality mode) and refuses it even to root",
         f"boot with lockdown=integrity or none, or {LAB}"),
        ({"lockdown": "integrity"}, "privilege",
         "it: the kernel refuses it (EPERM), though this process has CAP_BPF and CAP_PERFMON",
         f"a security module may forbid it: see dmesg; or {LAB}"),
        ({"userns": True}, "privilege",
         "it: the capabilities of this process hold in its user namespace only, as in a rootless container",
         f"run it as root of the machine, or {LAB}"),
        ({"filtered": ["bpf", "perf_event_open"]}, "seccomp",
         "it: a seccomp filter on this process refuses bpf(2) and perf_event_open(2), as in a container",
         f"allow bpf and perf_event_open in its profile (docker run --security-opt seccomp=unconfined), or {LAB}"),
        ({"filtered": []}, "privilege",
         "it: the kernel refuses it (EPERM), though this process has CAP_BPF and CAP_PERFMON",
         f"the seccomp filter of this process, or a security module, may forbid it: see dmesg; or {LAB}"),
        ({"memlock": (65536, 65536), "counted": True}, "memlock",
         "it: this kernel counts it as locked memory, and the limit is 65536 bytes for all that this user has loaded",
         f"raise the limit (as root): ulimit -l unlimited, or {LAB}"),
        ({"memlock": (65536, 65536)}, "privilege",
         "it: the kernel refuses it (EPERM), though this process has CAP_BPF and CAP_PERFMON",
         f"a security module may forbid it: see dmesg; or {LAB}"),
    ],
)  # fmt: skip
def test_why_not_permitted(machine, there, rule, what, do):
    machine(**there)
    error = not_permitted("it", ("CAP_BPF", "CAP_PERFMON"))
    assert (error.rule, error.what, error.do) == (rule, what, do)


def test_cap_sys_admin_stands_for_each(machine):
    machine(caps=1 << capability.CAP_SYS_ADMIN, uid=1000)
    assert "though this process has" in not_permitted("it", ("CAP_BPF", "CAP_NET_ADMIN")).what


# Locked memory


@pytest.fixture
def limit(monkeypatch):
    """The limit of locked memory, as a list of one; raising it above 1000 needs privilege."""
    held = [(10, 1000)]

    def set_limit(soft, hard):
        if hard == -1:
            raise ValueError("not allowed to raise maximum limit")
        held[0] = (soft, hard)

    monkeypatch.setattr(system, "memlock_limit", lambda: held[0])
    monkeypatch.setattr(system, "set_memlock_limit", set_limit)
    return held


def refuse(number):
    raise OSError(number, "refused")


def test_more_memory_helps(limit):
    def call():
        return "done" if limit[0][0] == 1000 else refuse(errno.EPERM)

    assert memlock.with_memory(call) == "done"
    assert limit == [(1000, 1000)]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL])
def test_the_limit_is_put_back_where_it_did_not_help(limit, number):
    with pytest.raises(OSError, match="refused"):
        memlock.with_memory(lambda: refuse(number))
    assert limit == [(10, 1000)]


# Programs

CHOWN = Program("prog", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])


def refusal(number, log="", program=CHOWN, slots=2):
    return refused.refusal(link(program), {"insn_cnt": slots}, Verdict(None, number, log))


@pytest.mark.parametrize(
    ("number", "slots", "kind", "what"),
    [
        (errno.E2BIG, 0, KernelError, "prog was not loaded: it has no instructions"),
        (errno.E2BIG, 1_000_001, KernelError,
         "prog was not loaded: it has 1000001 slots, and the kernel takes 1000000"),
        (errno.E2BIG, 2, FeatureMissing, "does not know a field that it was given (E2BIG)"),
        (errno.EAGAIN, 2, KernelError, "prog was not loaded: signals interrupted the verifier 6 times"),
        (errno.EBADF, 2, KernelError, "prog was not loaded: it refers to a map or program that is not open"),
        (errno.ENOMEM, 2, KernelError, "prog was not loaded: the kernel has no memory for it"),
        (524, 2, KernelError, "prog was not loaded: the kernel does not support what it does (ENOTSUPP)"),
        (errno.EIO, 2, KernelError, "prog was not loaded: EIO, and the kernel does not say why"),
    ],
)  # fmt: skip
def test_programs_the_verifier_did_not_look_at(machine, number, slots, kind, what):
    error = refusal(number, slots=slots)
    assert type(error) is kind
    assert what in error.what
    assert error.do
    assert error.rule
    if kind is KernelError:
        assert error.errno == number


def test_unprivileged_programs_are_shorter(machine):
    machine(caps=0, uid=1000)
    assert "it has 5000 slots, and the kernel takes 4096" in refusal(errno.E2BIG, slots=5000).what


def test_a_type_that_wants_a_target():
    error = refusal(errno.EINVAL, program=CHOWN.replace(type=BPF_PROG_TYPE_TRACING))
    assert "BPF_PROG_TYPE_TRACING is loaded for a kernel function, a tracepoint, or" in error.what
    assert error.do == 'name it, as in Program(..., attach_btf="vfs_read", expected_attach_type=BPF_TRACE_FENTRY)'


@pytest.mark.parametrize("number", [errno.E2BIG, errno.EINVAL])
def test_fields_that_are_too_new(number, monkeypatch):
    known = {"fd_array": no("", ""), "core_relos": yes(""), "prog_token_fd": no("", "")}
    monkeypatch.setattr(commands, "field", lambda command, name: known[name])
    # The type is one that every kernel has, so that the fields are what is left.
    program = CHOWN.replace(type=BPF_PROG_TYPE_SOCKET_FILTER)
    given = {"insn_cnt": 2, "fd_array": 1, "core_relos": 1, "prog_token_fd": 3, "signature": 0}
    error = refused._unread(link(program), given, number)
    assert (type(error), error.rule) == (FeatureMissing, "attr-field")
    assert error.what.endswith(
        f"does not know fd_array (of Linux 5.14) and prog_token_fd (of Linux 6.9): {errno_name(number)}"
    )


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (0, KernelError, "takes an expected_attach_type of its own, and none was given"),
        (BPF_XDP, KernelError, "takes an expected_attach_type of its own, and BPF_XDP was given"),
        (4000, KernelError, "and 4000 was given"),
        (BPF_CGROUP_GETSOCKOPT, FeatureMissing, "has no attach type BPF_CGROUP_GETSOCKOPT for"),
    ],
)
def test_attach_types_that_are_not_a_types_own(given, kind, words):
    error = refused._attach_type("prog was not loaded", TYPES[BPF_PROG_TYPE_CGROUP_SOCKOPT], given)
    assert (type(error), error.rule) == (kind, "attach-type")
    assert words in error.what
    assert error.do


def test_an_interrupted_verifier_has_not_refused(machine):
    assert type(refusal(errno.EAGAIN, "0: (b7) r0 = 0\n")) is KernelError
    assert type(refusal(errno.ENOMEM, "0: (b7) r0 = 0\n")) is KernelError


def test_a_log_whose_end_is_cut_off():
    error = refusal(errno.EACCES, "0: (b7) r0 = 0\n1: (9")
    assert isinstance(error, VerifierError)
    assert error.what == "the verifier refused prog: EACCES (its log was cut off), at slot 0: r0 = 0"
    assert error.source == CHOWN.insns[0].source


def test_helpers_that_lockdown_takes_away(machine):
    log = "0: (85) call bpf_probe_read#4\nunknown func bpf_probe_read#4\n"
    assert refusal(errno.EINVAL, log).do.endswith("bpfasm features helper/probe_read")
    machine(lockdown="confidentiality")
    assert refusal(errno.EINVAL, log).do.startswith("the kernel is locked down (confidentiality mode)")


def test_the_second_slot_of_a_wide_instruction_has_its_line():
    program = CHOWN.replace(insns=[BPF_LD_IMM64(R0, 1), BPF_EXIT_INSN()])
    error = refusal(errno.EINVAL, "jump into the middle of ldimm64 insn 1\n", program)
    assert error.pc == 1
    assert error.source == program.insns[0].source


def ran(number, type=BPF_PROG_TYPE_XDP, given=(), size=0):
    """Return the error of a test run."""

    class Prog:
        name = "prog"

    program, error = Prog(), RunError(number, "BPF_PROG_TEST_RUN")
    program.type, error.data_size_out = type, size
    return testrun_refused.refused(program, error, set(given), 4160)


KPROBE, SOCKET, XDP = BPF_PROG_TYPE_KPROBE, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP


@pytest.mark.parametrize(
    ("number", "type", "given", "what", "do"),
    [
        (524, KPROBE, ["data"], "programs of type BPF_PROG_TYPE_KPROBE have no test run", "with a test run: SOCKET_"),
        (errno.EOPNOTSUPP, BPF_PROG_TYPE_STRUCT_OPS, [],
         "prog has no test run: of BPF_PROG_TYPE_STRUCT_OPS, struct bpf_dummy_ops alone has a test run, since 5.17",
         "attach it"),
        (errno.EFAULT, BPF_PROG_TYPE_TRACING, [],
         "prog has no test run: of BPF_PROG_TYPE_TRACING, fentry, fexit and modify return have a test run",
         "attach it"),
        (errno.EINVAL, KPROBE, ["data"], "the test run of prog (BPF_PROG_TYPE_KPROBE) does not take these arguments",
         "not known to have a test run"),
        (errno.EINVAL, 4000, ["data"], "the test run of prog (BPF_PROG_TYPE_4000) does not take these arguments",
         "not known to have a test run"),
        (errno.EINVAL, SOCKET, [], "the test run of a BPF_PROG_TYPE_SOCKET_FILTER program needs packet data",
         "at least an Ethernet header (14 bytes)"),
        (errno.EINVAL, SOCKET, ["data", "cpu"],
         "the test run of a BPF_PROG_TYPE_SOCKET_FILTER program takes no cpu", "14 bytes"),
        (errno.EINVAL, BPF_PROG_TYPE_RAW_TRACEPOINT, ["data", "repeat"],
         "the test run of a BPF_PROG_TYPE_RAW_TRACEPOINT program takes no packet data and no repeat", "ctx is all"),
        (errno.EINVAL, XDP, ["data"], "the test run of prog (BPF_PROG_TYPE_XDP) does not take these arguments",
         "data is at least 14 bytes"),
        (errno.ENOSPC, XDP, ["data"], "prog made the packet 9000 bytes long, and there is room for 4160",
         "give the test run room=9000"),
        (errno.EAGAIN, XDP, ["data"], "the test run of prog was interrupted by signals 6 times", "less often"),
        (errno.EINTR, XDP, ["data"], "the test run of prog was interrupted by signals 6 times", "less often"),
        (errno.ENXIO, BPF_PROG_TYPE_RAW_TRACEPOINT, ["cpu"], "the test run of prog cannot be on that CPU", "online"),
        (errno.EMSGSIZE, XDP, ["data"], "the packet for the test run of prog is too long", "at least 14 bytes"),
        (errno.EAFNOSUPPORT, BPF_PROG_TYPE_SK_LOOKUP, ["ctx"], "the test run of prog does not take this ctx",
         "family"),
        (errno.E2BIG, XDP, ["live"], "the test run of prog was given more than it takes", "256"),
        (errno.EIO, XDP, [], "the test run of prog failed: EIO", ""),
    ],
)  # fmt: skip
def test_runs(number, type, given, what, do):
    error = ran(number, type, given, size=9000)
    assert error.errno == number
    assert error.what.startswith(what)
    assert do in error.do
    assert error.rule == "test-run"


# Maps

SPEC = HashMap("table", key=u32, value=u64, max_entries=3)


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.E2BIG, "the map table was not created: it is too large (key 4, value 8 bytes, 3 entries, flags 0x0)"),
        (errno.ENOMEM, "the map table was not created: the kernel has no memory for it"),
        (errno.EIO, "the map table was not created: EIO for BPF_MAP_TYPE_HASH"),
    ],
)
def test_maps_that_were_not_created(number, what):
    assert maps_refused.not_created(SPEC, number).what.startswith(what)


def test_the_kernel_has_no_bpf(machine):
    """Without a filter in between it is the kernel that does not know the call."""
    for error in (
        maps_refused.not_created(SPEC, errno.ENOSYS),
        maps_refused.element_refused(SPEC, errno.ENOSYS, "BPF_MAP_LOOKUP_ELEM"),
        privilege.barred("loading it", errno.ENOSYS),
    ):
        assert error.rule == "no-bpf"
        assert error.what.endswith(": this kernel has no bpf(2) (CONFIG_BPF_SYSCALL)")
    assert privilege.barred("loading it", errno.EIO) is None


def test_what_forbids_to_load_forbids_all_before_5_19(machine, monkeypatch):
    machine(caps=0, uid=1000)
    monkeypatch.setattr(system, "unprivileged_bpf_disabled", lambda: 2)
    for series, rule in (((5, 18), "unprivileged"), ((5, 19), "privilege")):
        monkeypatch.setattr(system, "version", lambda: series)  # noqa: B023
        assert maps_refused.element_refused(SPEC, errno.EPERM, "BPF_MAP_LOOKUP_ELEM").rule == rule


def test_maps_that_are_not_permitted(machine):
    machine(caps=0, uid=1000)
    assert maps_refused.not_created(SPEC, errno.EPERM).what == (
        "creating the map table needs CAP_BPF, and this process is not root"
    )


@pytest.mark.parametrize(
    ("number", "call", "what"),
    [
        (errno.E2BIG, "BPF_MAP_UPDATE_ELEM", "table is full: it holds max_entries = 3 keys"),
        (errno.EEXIST, "BPF_MAP_UPDATE_ELEM", "table has this key already, and the flag BPF_NOEXIST was given"),
        (errno.ENOENT, "BPF_MAP_UPDATE_ELEM", "table does not have this key, and the flag BPF_EXIST was given"),
        (errno.ENOMEM, "BPF_MAP_UPDATE_ELEM", "the kernel has no memory for another element of table"),
        (errno.EBUSY, "BPF_MAP_UPDATE_ELEM", "table is in use by another CPU (EBUSY)"),
        (errno.EINVAL, "BPF_MAP_UPDATE_ELEM", "table does not take this key, value or flag (EINVAL)"),
        (errno.ERANGE, "BPF_MAP_UPDATE_ELEM", "table was given a CPU that this machine does not have"),
        (errno.EIO, "BPF_MAP_LOOKUP_ELEM", "table: BPF_MAP_LOOKUP_ELEM failed with EIO"),
    ],
)
def test_elements(number, call, what):
    error = maps_refused.element_refused(SPEC, number, call)
    assert (error.errno, error.what, error.rule) == (number, what, "map-element")
    assert error.do or number == errno.EIO


@pytest.mark.parametrize(
    ("spec", "number", "what", "do"),
    [
        (Queue("q", value=u32, max_entries=2), errno.E2BIG, "q is full: it holds max_entries = 2 values", "EXIST"),
        (ArrayMap("a", value=u32, max_entries=2), errno.E2BIG, "a has no such key: an array's keys are 0", "larger"),
        (ProgArray("p", max_entries=2), errno.EBADF, "p did not take this program (EBADF)", "program of the type"),
        (TaskStorage("t", value=u32), errno.ENOENT, "t was given a pidfd that is gone", "again"),
        (TaskStorage("t", value=u32), errno.EBADF, "t did not take this pidfd (EBADF)", "its keys are each the"),
        (SockMap("s", max_entries=1), errno.EINVAL, "s did not take this socket (EINVAL)", "connected"),
        (ReuseportSockArray("r", max_entries=1), errno.EINVAL, "r did not take this socket (EINVAL)", "REUSEPORT"),
        (CpuMap("c", max_entries=1), errno.ENODEV, "c was given a CPU that this machine does not have", "it has "),
        (CpuMap("c", max_entries=1), errno.EOVERFLOW, "c: a CPU's queue holds 16384 packets at most", "smaller"),
        (DevMap("d", max_entries=1), errno.EINVAL, "d did not take this interface or program", "if_nametoindex"),
        (LpmTrie("l", key=8, value=u32, max_entries=1), errno.ENOSPC, "l is full: it holds max_entries = 1", "LRU"),
    ],
)  # fmt: skip
def test_elements_of_some_types(spec, number, what, do):
    error = maps_refused.element_refused(spec, number, "BPF_MAP_UPDATE_ELEM")
    assert error.errno == number
    assert error.what.startswith(what)
    assert do in error.do


def test_a_cookie_that_does_not_fit():
    spec = SockMap("s", max_entries=1).replace(value=u32)
    assert "a socket's cookie has 8" in maps_refused.element_refused(spec, errno.ENOSPC, "BPF_MAP_LOOKUP_ELEM").what


def test_a_command_that_this_kernel_does_not_have():
    error = maps_refused.element_refused(SPEC, 524, "BPF_MAP_LOOKUP_AND_DELETE_ELEM")
    assert isinstance(error, FeatureMissing)
    assert error.rule == "no-map-command"
    assert "has no BPF_MAP_LOOKUP_AND_DELETE_ELEM for maps of type BPF_MAP_TYPE_HASH" in error.what


@pytest.mark.parametrize(
    ("number", "frozen", "what"),
    [
        (errno.EBUSY, True, "table is frozen already"),
        (errno.EBUSY, False, "table was not frozen: it is memory that somebody may write, or being written"),
        (524, False, "table was not frozen: its values have a lock or timer"),
        (errno.EIO, False, "table was not frozen: EIO"),
    ],
)
def test_maps_that_were_not_frozen(monkeypatch, number, frozen, what):
    class Loaded:
        spec, fd = SPEC, -1

    monkeypatch.setattr(maps_info, "frozen", lambda fd: frozen)
    error = maps_refused.not_frozen(Loaded(), number)
    assert (error.errno, error.what, error.rule) == (number, what, "map-freeze")


# Kprobes


@pytest.mark.parametrize("name", ["a b", "a\n-:b/c", "1a", "vfs_read+8", "ünder", "a/b", ""])
def test_what_is_no_name_of_a_function(name):
    with pytest.raises(OperandError):
        kprobe(name)
    with pytest.raises(OperandError):
        kretprobe(syscall=name)


def test_the_names_of_system_calls(monkeypatch):
    class X86:
        machine = "x86_64"

    class Arm:
        machine = "aarch64"

    monkeypatch.setattr(os, "uname", lambda: X86)
    assert symbols_of(kprobe(syscall="fchownat")) == ["__x64_sys_fchownat", "sys_fchownat"]
    assert symbols_of(kprobe("sys_bpf")) == ["sys_bpf", "__x64_sys_bpf"]
    assert symbols_of(kretprobe("vfs_read")) == ["vfs_read"]
    monkeypatch.setattr(os, "uname", lambda: Arm)
    assert symbols_of(kprobe(syscall="fchownat"))[0] == "__arm64_sys_fchownat"


@pytest.fixture
def symbols(monkeypatch):
    """The functions of a kernel without tracefs."""
    there = {"vfs_read", "vfs_write", "vfs_read.isra.0", "vfs_readv", "__x64_sys_fchownat", "__x64_sys_fchown"}
    monkeypatch.setattr(system, "kernel_symbols", lambda: there)
    monkeypatch.setattr(tracefs, "find", lambda: None)

    class X86:
        machine = "x86_64"

    monkeypatch.setattr(os, "uname", lambda: X86)


@pytest.mark.parametrize(
    ("probe", "number", "said", "rule", "what", "do"),
    [
        (kprobe("vfs_raed"), errno.ENOENT, "", "no-symbol", "this kernel has no function vfs_raed to probe",
         "did you mean vfs_read or "),
        (kprobe("vfs_raed"), errno.EINVAL, "Failed to register", "no-symbol",
         "this kernel has no function vfs_raed to probe", "did you mean vfs_read or "),
        (kprobe("qqq"), errno.ENOENT, "", "no-symbol", "this kernel has no function qqq to probe",
         "the compiler may have inlined it: take its caller"),
        (kprobe(syscall="fchwnat"), errno.ENOENT, "", "no-symbol",
         "this kernel has no system call fchwnat (no function __x64_sys_fchwnat)",
         "did you mean fchownat or fchown?"),
        (kprobe("vfs_read", offset=3), errno.EILSEQ, "", "kprobe-offset",
         "kprobe vfs_read+0x3 was not attached: +0x3 is not where an instruction starts, or lies behind the function",
         "take the offset from"),
        (kprobe("vfs_read", offset=3), errno.EINVAL, "", "kprobe-offset", "kprobe vfs_read+0x3 was not ", ""),
        (kprobe("vfs_read", offset=1 << 40), errno.ERANGE, "", "kprobe-offset", "kprobe vfs_read+0x10000000000", ""),
        (kretprobe("vfs_read"), errno.EINVAL, "Failed to register probe event", "kprobe-blacklist",
         "kretprobe vfs_read was not attached: the kernel does not allow a probe there; tracefs says: Failed to reg",
         "it is on the list of functions that must not be probed"),
        (kprobe("vfs_read"), errno.EBUSY, "", "kprobe-attach", "kprobe vfs_read was not attached: the func", ""),
        (kprobe("vfs_read"), errno.EEXIST, "", "kprobe-attach", "kprobe vfs_read was not attached: an event", ""),
        (kprobe("vfs_read"), errno.ENOSYS, "", "kprobe-attach", "kprobe vfs_read was not attached: this ker", LAB),
        (kprobe("vfs_read"), errno.EIO, "", "kprobe-attach", "kprobe vfs_read was not attached: EIO", "dmesg"),
    ],
)  # fmt: skip
def test_why_a_kprobe_was_not_attached(symbols, probe, number, said, rule, what, do):
    error = kprobe_refused.refusal(probe, number, said)
    assert error.errno == number
    assert error.rule == rule
    assert error.what.startswith(what)
    assert error.do.startswith(do)


def test_the_copies_a_compiler_made_come_first(symbols, monkeypatch):
    monkeypatch.setattr(system, "kernel_symbols", lambda: {"tcp_v4_conn.isra.0", "tcp_v4_connect", "tcp_v4_conx"})
    error = kprobe_refused.refusal(kprobe("tcp_v4_conn"), errno.ENOENT)
    assert error.do == "did you mean tcp_v4_conn.isra.0?"


def test_kprobes_that_are_not_permitted(machine, monkeypatch):
    machine(caps=0, uid=1000)
    error = kprobe_refused.refusal(kprobe("vfs_read"), errno.EACCES)
    assert error.what == "attaching kprobe vfs_read needs CAP_PERFMON, and this process is not root"
    machine(caps=1 << capability.CAP_PERFMON, uid=1000)
    monkeypatch.setattr(system, "perf_event_paranoid", lambda: 3)
    error = kprobe_refused.refusal(kprobe("vfs_read"), errno.EACCES)
    assert error.what == ("attaching kprobe vfs_read: kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN")


def test_a_maxactive_that_the_mechanism_does_not_take():
    error = kprobe_refused.no_maxactive(kretprobe("vfs_read", maxactive=9), "link")
    assert error.report().splitlines() == [
        "error: kretprobe vfs_read has a maxactive, which mode='link' does not take [kprobe-maxactive]",
        'leave it out, or attach with mode="tracefs" or "auto"',
    ]


@pytest.mark.parametrize(
    ("number", "do"), [(errno.ENOENT, "this event cannot be opened by perf"), (errno.EIO, "dmesg may tell more")]
)
def test_why_a_tracepoint_was_not_opened(number, do):
    error = tracepoint_refused.refusal("sched:sched_switch", number)
    assert (error.errno, error.rule) == (number, "attach-refused")
    assert error.do.startswith(do)


def test_kernels_without_tracefs(monkeypatch):
    monkeypatch.setattr(system, "read", lambda path: "nodev\tsysfs\n")
    assert tracepoint_refused.no_tracefs().what == "this kernel is built without tracefs (CONFIG_TRACING)"
    monkeypatch.setattr(system, "read", lambda path: "nodev\ttracefs\n")
    assert tracepoint_refused.no_tracefs().what.startswith("tracefs is not mounted here")


def test_kernels_without_uprobes(monkeypatch):
    monkeypatch.setattr(system, "pmu_type", lambda name: None)
    monkeypatch.setattr(os.path, "isdir", lambda path: path == system.PMUS)
    for error in (uprobe_refused.no_pmu(), uprobe_refused.no_tracefs(None), uprobe_refused.no_tracefs("/t")):
        assert (error.rule, error.do) == ("no-uprobes", LAB)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert (uprobe_refused.no_pmu().rule, uprobe_refused.no_tracefs(None).rule) == ("no-sysfs", "no-tracefs")


@pytest.mark.parametrize(
    ("number", "said", "rule", "what", "do"),
    [
        (errno.ENOENT, "", "uprobe-attach", "the kernel finds no file", "inside=PID"),
        (
            errno.EINVAL,
            "Bad",
            "uprobe-attach",
            "the kernel takes no probe there; tracefs says: Bad",
            "offset must be",
        ),
        (524, "", "uprobe-attach", "cannot step over that instruction", "take another offset"),
        (errno.EIO, "", "uprobe-attach", "EIO", "dmesg"),
    ],
)
def test_why_a_uprobe_was_not_attached(number, said, rule, what, do):
    error = uprobe_refused.refusal(uprobe("/bin/sh", offset=4), "/bin/sh", 4, number, said)
    assert (error.errno, error.rule) == (number, rule)
    assert error.what.startswith("uprobe /bin/sh:0x4 was not attached: ")
    assert what in error.what
    assert do in error.do


@pytest.mark.parametrize(
    ("number", "place", "what"),
    [
        (errno.EBUSY, fentry("vfs_read"), "has a program already that excludes others"),
        (errno.EEXIST, fentry("vfs_read"), "is attached there already"),
        (errno.E2BIG, fentry("vfs_read"), "38 programs are attached there"),
        (errno.ENOENT, fentry("vfs_read"), "the function is gone"),
        (errno.EINVAL, freplace(7, "f"), "the function was replaced already"),
        (errno.EIO, tp_btf("sched_switch"), "EIO"),
    ],
)
def test_why_a_traced_function_was_not_attached_to(monkeypatch, number, place, what):
    monkeypatch.setattr(tracing_refused, "_no_trampolines", lambda: False)
    error = tracing_refused.refusal(SimpleNamespace(name="prog"), place, number)
    assert (error.errno, error.rule) == (number, "attach-refused")
    assert what in error.what
    assert error.do


def test_kernels_that_attach_to_no_functions(monkeypatch):
    monkeypatch.setattr(tracing_refused, "_no_trampolines", lambda: True)
    error = tracing_refused.refusal(SimpleNamespace(name="prog"), fentry("vfs_read"), 524)
    assert error.rule == "no-trampoline"


def test_kernels_without_kprobes(monkeypatch):
    monkeypatch.setattr(system, "pmu_type", lambda name: None)
    monkeypatch.setattr(os.path, "isdir", lambda path: path == system.PMUS)
    for error in (kprobe_refused.no_pmu(), kprobe_refused.no_tracefs(None), kprobe_refused.no_tracefs("/t")):
        assert error.report().splitlines() == [
            "error: this kernel is built without kprobes (CONFIG_KPROBES) [no-kprobes]",
            LAB,
        ]


def test_kernels_that_do_not_show_theirs(monkeypatch):
    monkeypatch.setattr(system, "pmu_type", lambda name: None)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    assert "sysfs is not mounted" in kprobe_refused.no_pmu().what
    assert kprobe_refused.no_tracefs(None).do.startswith("mount -t tracefs nodev /sys/kernel/tracing (as root)")
    monkeypatch.setattr(system, "pmu_type", lambda name: 8)
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    assert kprobe_refused.no_tracefs(None).rule == "no-tracefs"


def test_needs(machine, monkeypatch):
    monkeypatch.setattr(system, "pmu_type", lambda name: 8)
    assert needs.missing(["bpf", "kprobe"]) is None
    machine(caps=0, uid=1000)
    assert needs.missing(["bpf", "kprobe"]).what == "loading programs needs CAP_BPF, and this process is not root"
    machine(caps=1 << capability.CAP_BPF, uid=1000)
    assert needs.missing(["bpf", "kprobe"]).what.startswith("attaching kprobes needs CAP_PERFMON")


# Signals


def test_the_first_sigterm_raises_and_the_second_waits():
    import signal

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as caught, terminable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
    assert caught.value.signum == signal.SIGTERM
    assert isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_nohup_ignores_stays_ignored():
    import signal

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
