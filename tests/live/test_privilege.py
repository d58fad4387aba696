"""What is refused to whom, and in which words: the same calls by processes with less than all capabilities."""

import errno
import os

import pytest
from support.bpf2 import running_series
from support.cgroups import memory_cgroup

from bpfasm.asm import *
from bpfasm.kernel import features, load
from bpfasm.kernel.programs import refused
from bpfasm.syscall import system
from bpfasm.syscall.filtered import filtered
from bpfasm.syscall.probe import commands
from bpfasm.uapi import bpf, capability

pytestmark = pytest.mark.lab(on="ends")

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
    setting = system.unprivileged_bpf_disabled()
    if not setting:
        assert out == ["fine"]
        return
    until = ", until it boots again" if setting == 1 else ""
    words = f"kernel.unprivileged_bpf_disabled is {setting}{until}; and this process is not root [unprivileged]"
    assert out[0] == "FeatureMissing"
    assert out[1] == f"error: loading prog (BPF_PROG_TYPE_SOCKET_FILTER) needs CAP_BPF here, since {words}"
    assert ("sysctl kernel.unprivileged_bpf_disabled=0" in out[2]) == (setting == 2)


@pytest.fixture
def anybody_may_load():
    """The setting that lets everybody load, for a test."""
    path = "/proc/sys/kernel/unprivileged_bpf_disabled"
    before = system.number(path)
    if before == 1 or os.geteuid() != 0:
        pytest.skip("it cannot be changed until the kernel boots again")
    for value in (0, before):
        with open(path, "w") as file:
            file.write(str(value))
        if not value:
            yield


def test_a_socket_filter_where_anybody_may_load(result, anybody_may_load):
    assert result("SOCKET_FILTER", 65534) == ["fine"]
    assert "needs CAP_BPF and CAP_NET_ADMIN" in result("XDP", 65534)[1]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [("XDP", ["CAP_BPF", "CAP_NET_ADMIN"]), ("XDP", ["CAP_SYS_ADMIN"]), ("TRACEPOINT", ["CAP_BPF", "CAP_PERFMON"])],
)
def test_enough_is_enough(result, kind, kept):
    # Where locked memory is limited (before 5.11) the limit is raised as far as it goes; 64 KiB hold this program.
    assert result(kind, 65534, *kept) == ["fine"]


def test_the_verifier_allows_less_without_cap_perfmon(python):
    """A pointer that a program returns is one that whoever runs it learns."""
    if os.geteuid() != 0:
        pytest.skip("only root can give capabilities up one by one")
    code = """
        from bpfasm.asm import *
        from bpfasm.errors import VerifierError
        from bpfasm.kernel import load
        from support.privileges import become

        program = Program("leaks", BPF_PROG_TYPE_XDP, [BPF_MOV64_REG(R0, R1), BPF_EXIT_INSN()])
        load(program).close()
        become(65534, "CAP_BPF", "CAP_NET_ADMIN")
        try:
            load(program)
        except VerifierError as error:
            print(error.what, error.do, sep="\\n")
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    assert err == ""
    assert out.splitlines() == [
        "the verifier refused leaks: R0 leaks addr as return value, at slot 1: exit",
        "the verifier allows less to who lacks CAP_PERFMON: it may take the program with sudo",
    ]


def test_kprobes_without_being_root(result, kprobes):
    out = result("KPROBE", 65534, "CAP_BPF", "CAP_PERFMON")
    if system.perf_event_paranoid() > 2:
        assert "kernel.perf_event_paranoid is 3, which asks for CAP_SYS_ADMIN" in out[1]
    else:
        assert out == ["fine"]
    assert result("KPROBE", 65534, "CAP_SYS_ADMIN") == ["fine"]


#: A filter of system calls, another user namespace, or little locked memory; then what comes of loading.
OTHERWISE = """
    import errno, os, resource, sys
    from bpfasm.asm import *
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel import load
    from bpfasm.kernel.needs import missing
    from support.privileges import become, new_user_namespace, refuse

    def say(error):
        print(type(error).__name__, getattr(error, "rule", ""), *str(error).splitlines(), sep="\\n")

    how, *words = sys.argv[1:]
    if how == "seccomp":
        refuse(*words[1:], errno=getattr(errno, words[0]))
    elif how == "userns":
        new_user_namespace()
    else:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(words[0]), int(words[0])))
        become(0, "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN")
    counts = HashMap("counts", key=u32, value=u64, max_entries=100)
    program = Program("prog", BPF_PROG_TYPE_XDP, [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()])
    probe = Program("probe", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()],
                    attach=kprobe(syscall="fchownat"))
    try:
        with load(probe if "__NR_perf_event_open" in words[1:2] else program) as obj:
            if "__NR_perf_event_open" in words:
                obj.attach()
        print("fine")
    except BpfasmError as error:
        say(error)
    say(missing(["bpf"]))
"""


@pytest.fixture
def otherwise(python):
    if os.geteuid() != 0:
        pytest.skip("only root can give capabilities up one by one")

    def run(*arguments):
        with python(OTHERWISE, *arguments) as process:
            out, err = process.communicate(timeout=60)
        assert err == ""
        return out.splitlines()

    return run


@pytest.mark.parametrize("said", ["EPERM", "ENOSYS"])
def test_a_filter_of_system_calls(otherwise, said):
    """Docker's refuses bpf(2) with EPERM, others with ENOSYS: it is not the kernel that lacks it."""
    out = otherwise("seccomp", said, "__NR_bpf")
    assert out[-4:-2] == ["FeatureMissing", "seccomp"]
    assert out[-2] == "loading programs: a seccomp filter on this process refuses bpf(2), as in a container"
    assert out[-1].startswith("allow bpf in its profile (docker run --security-opt seccomp=unconfined), or ")
    assert out[:3] == [
        "FeatureMissing",
        "seccomp",
        "creating the map counts: a seccomp filter on this process refuses bpf(2), as in a container",
    ]


#: Lose what it takes, with everything loaded; then use it.
LATER = """
    import errno, os, sys
    from bpfasm.asm import *
    from bpfasm.errors import BpfasmError
    from bpfasm.kernel import load
    from support.privileges import become, refuse

    counts = ArrayMap("counts", value=u64, max_entries=1)
    program = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 7), BPF_EXIT_INSN()])
    with load(counts, program) as obj:
        if sys.argv[1] == "nobody":
            become(65534)
        else:
            refuse("__NR_bpf", errno=getattr(errno, sys.argv[1]))
        for use in (
            lambda: obj[counts][0],
            lambda: obj[counts].put(0, 1),
            lambda: obj[counts].info(),
            lambda: obj[program].info(),
            lambda: obj[program].test_run(bytes(14)),
            lambda: obj[counts].freeze(),
        ):
            try:
                use()
                print("fine")
            except BpfasmError as error:
                print(error.rule, error.what, sep=": ")
"""


@pytest.fixture
def later(python):
    if os.geteuid() != 0:
        pytest.skip("only root can give capabilities up one by one")

    def run(how):
        with python(LATER, how) as process:
            out, err = process.communicate(timeout=60)
        assert err == ""
        return out.splitlines()

    return run


USES = [
    "BPF_MAP_LOOKUP_ELEM on counts", "BPF_MAP_UPDATE_ELEM on counts", "asking what a map is",
    "asking what a program is", "the test run of prog", "freezing counts",
]  # fmt: skip


@pytest.mark.parametrize("said", ["EPERM", "ENOSYS"])
def test_a_filter_that_comes_later(later, said):
    """Nothing is said of maps that are read-only: they are not."""
    why = "a seccomp filter on this process refuses bpf(2), as in a container"
    assert later(said) == [f"seccomp: {use}: {why}" for use in USES]


def test_capabilities_that_are_gone_later(later):
    """Whoever has the file descriptor may use it, from 5.19 on; before, what forbids to load forbids all.

    To freeze a map took CAP_BPF before 6.5, whatever the setting.
    """
    setting = system.unprivileged_bpf_disabled()
    series = tuple(int(part) for part in running_series().split("."))
    if series >= (5, 19) or not setting:
        freezing = "privilege: freezing counts needs CAP_BPF, and this process is not root"
        assert later("nobody") == ["fine"] * (len(USES) - 1) + ["fine" if series >= (6, 5) else freezing]
        return
    until = ", until it boots again" if setting == 1 else ""
    why = f"needs CAP_BPF here, since kernel.unprivileged_bpf_disabled is {setting}{until}"
    assert later("nobody") == [f"unprivileged: {use} {why}; and this process is not root" for use in USES]


def test_a_filter_of_perf_events(otherwise, kprobes):
    out = otherwise("seccomp", "EPERM", "__NR_perf_event_open")
    assert out[:2] == ["FeatureMissing", "seccomp"]
    what = "a seccomp filter on this process refuses perf_event_open(2), as in a container"
    assert out[2] == f"attaching kprobe syscall fchownat: {what}"
    assert out[4:] == ["NoneType", "", "None"]  # bpf(2) is there


def test_a_filter_that_is_not_in_the_way(otherwise):
    """Many a service has one: it is not to blame."""
    out = otherwise("seccomp", "EPERM", "__NR_perf_event_open", "__NR_bpf")
    assert "bpf(2) and perf_event_open(2)" in out[2]
    assert system.seccomp() == 0 or not filtered()
    assert filtered() == {}


def test_root_of_a_user_namespace(otherwise):
    out = otherwise("userns")
    assert out[:2] == ["FeatureMissing", "privilege"]
    what = "the capabilities of this process hold in its user namespace only, as in a rootless container"
    assert out[2] == f"creating the map counts: {what}"
    assert out[3].startswith("run it as root of the machine, or ")


def test_locked_memory_that_does_not_suffice(otherwise):
    out = otherwise("memlock", "4096")
    if features.ask("machine/memlock").state == "no":
        assert out == ["fine", "NoneType", "", "None"]
        return
    assert out[:2] == ["FeatureMissing", "memlock"]
    assert out[2] == (
        "creating the map counts: this kernel counts it as locked memory, and the limit is 4096 bytes for all that "
        "this user has loaded"
    )
    assert out[3].startswith("raise the limit (as root): ulimit -l unlimited, or ")


def test_a_large_program_and_its_locked_memory(python):
    """The size that the kernel counts is told beside the limit."""
    if os.geteuid() != 0 or features.ask("machine/memlock").state == "no":
        pytest.skip("this kernel does not count programs as locked memory")
    code = """
        import resource
        from bpfasm.asm import *
        from bpfasm.errors import FeatureMissing
        from bpfasm.kernel import load
        from support.privileges import become

        resource.setrlimit(resource.RLIMIT_MEMLOCK, (32768, 32768))
        become(0, "CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN")
        try:
            load(Program("large", BPF_PROG_TYPE_XDP, [*[BPF_MOV64_IMM(R0, 2)] * 9999, BPF_EXIT_INSN()]))
        except FeatureMissing as error:
            print(error.what)
    """
    with python(code) as process:
        out, err = process.communicate(timeout=60)
    takes = "it takes 81920 bytes or more, and the limit is 32768 bytes for all that this user has loaded"
    assert err == ""
    assert out == f"loading large (BPF_PROG_TYPE_XDP): this kernel counts it as locked memory: {takes}\n"


def test_memory_that_a_cgroup_does_not_give(python):
    """From 5.11 on maps count for the memory cgroup, and there is no other hint of it than ENOMEM.

    7.0 gives the memory of a map that failed back a little later. Who needs a page until then is killed, where the
    cgroup has somebody who may be: the process of this test may not.
    """
    if features.ask("machine/memlock").state == "yes":
        pytest.skip("this kernel counts maps as locked memory")
    code = """
        import sys
        from contextlib import suppress
        from pathlib import Path
        from bpfasm.asm import *
        from bpfasm.errors import KernelError
        from bpfasm.kernel import load
        from support.cgroups import enter

        load(HashMap("small", key=u32, value=8, max_entries=1)).close()
        with suppress(PermissionError):  # without CAP_SYS_RESOURCE, which root has in guests
            Path("/proc/self/oom_score_adj").write_text("-1000")
        enter(sys.argv[1])
        large = HashMap("large", key=u32, value=4096, max_entries=1 << 16)
        for spec in (large, RingBuf("ring", max_entries=1 << 28)):
            try:
                load(spec)
            except KernelError as error:
                print(error.errno, error.rule, error.what, error.do, sep="\\n")
    """
    limit = 16 << 20
    with memory_cgroup(limit) as folder, python(code, folder) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    raise_it = f"or raise the limit of this process's memory cgroup (a container's), which is {limit} bytes"
    large = "268697600 bytes and more (key 4, value 4096 bytes, 65536 entries, flags 0x0)"
    ring = "268435456 bytes and more (key 0, value 0 bytes, 268435456 entries, flags 0x0)"
    assert out.splitlines() == [
        line
        for name, size in (("large", large), ("ring", ring))
        for line in (
            "12",
            "map-create",
            f"the map {name} was not created: the kernel has no memory for it, {size}",
            f"make it smaller, {raise_it}",
        )
    ]


def test_fields_that_this_kernel_does_not_know():
    """Each is found out by setting it; together they are those of later releases."""
    given = {name: 1 for command, name, _ in commands._FIELDS if command == bpf.BPF_PROG_LOAD}
    series = tuple(int(part) for part in running_series().split("."))
    newer = {
        name: since
        for command, name, since in commands._FIELDS
        if command == bpf.BPF_PROG_LOAD and tuple(int(part) for part in since.split(".")) > series
    }
    assert commands.unknown_fields(bpf.BPF_PROG_LOAD, given) == newer
    program = Program("prog", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    error = refused._unknown_field("prog was not loaded", given, errno.E2BIG)
    assert (error is None) == (not newer)
    if newer:
        names = " and ".join(f"{name} (of Linux {since})" for name, since in newer.items())
        assert error.what == f"prog was not loaded: this kernel ({os.uname().release}) does not know {names}: E2BIG"
    with load(program):
        pass


def test_capability_numbers_are_bits():
    assert system.capabilities() >> capability.CAP_LAST_CAP + 1 == 0
