"""What is verified for its place: fentry and its kin, tp_btf, LSM, freplace: exact counts, and what they decide."""

import os
import socket

import pytest
from support.counting import EVENTS, GETPRIORITY, counter, skip_if_nobody_may, work

from bpfasm.asm import *
from bpfasm.errors import AssemblyError, FeatureMissing, KernelError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.tracing.kprobe import generic

pytestmark = pytest.mark.lab

TRACING, LSM = BPF_PROG_TYPE_TRACING, BPF_PROG_TYPE_LSM
FUNCTION = generic("sys_getpriority")

#: Of the tracepoint of all system calls the one that is worked with: its arguments are the registers and the number.
OURS = [BPF_LDX_MEM(BPF_DW, R1, R6, 8), BPF_JMP_IMM(BPF_JNE, R1, GETPRIORITY, "out")]


@pytest.fixture(scope="module")
def trampolines():
    """A kernel that attaches to functions."""
    answer = features.ask("link/tracing")
    if answer.state == "no":
        pytest.skip(answer.reason)
    skip_if_nobody_may(Program("may", TRACING, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()], attach=fentry("vfs_read")))


def opens(times=EVENTS):
    """Open a file."""
    for _ in range(times):
        os.close(os.open(os.devnull, os.O_RDONLY))


KINDS = [
    (fentry(FUNCTION), TRACING, work, 1, ()),
    (fexit(FUNCTION), TRACING, work, 1, ()),
    (fsession(FUNCTION), TRACING, work, 2, ()),
    (tp_btf("sys_enter"), TRACING, work, 1, OURS),
    (fmod_ret("security_file_open"), TRACING, opens, 1, ()),
    (lsm("file_open"), LSM, opens, 1, ()),
]


@pytest.mark.parametrize(("where", "type", "work", "times", "before"), KINDS, ids=[each[0].word for each in KINDS])
def test_23_calls_are_23_events(request, where, type, work, times, before):
    if where.word != "tp_btf":
        request.getfixturevalue("trampolines")
    program, counts = counter("exact", type, where, before=before)
    try:
        obj = load(program)
    except FeatureMissing as missing:
        assert where.word == "fsession"
        assert features.ask("attach/trace_fsession").state == "no"
        pytest.skip(missing.what)
    with obj:
        work()
        (link,) = obj.attach()
        assert (link.mode, str(link.target)) == ("link", f"{where.word} {where.name}")
        work()
        assert obj[counts][0] == times * EVENTS
        assert link.info().prog_id == obj[program].info().id
        for change in (link.detach, lambda: link.update(obj[program])):
            with pytest.raises(FeatureMissing) as caught:
                change()
            assert caught.value.rule in ("link-detach", "link-update")
        link.close()
        counted = obj[counts][0]  # what the test itself opened meanwhile, too
        work()
        assert obj[counts][0] == counted


# Ids of their own: the function has another name on another processor.
@pytest.mark.parametrize(
    "where", [fentry(FUNCTION, cookie=1 << 40), tp_btf("sys_enter", cookie=7)], ids=["fentry", "tp_btf"]
)
def test_cookies(request, where):
    if where.word != "tp_btf":
        request.getfixturevalue("trampolines")
    sums = ArrayMap("sums", value=u64, max_entries=1)
    before = [
        *(OURS if where.word == "tp_btf" else ()),
        BPF_MOV64_REG(R1, R6),
        BPF_EMIT_CALL(BPF_FUNC_get_attach_cookie),
        BPF_LD_MAP_VALUE(R1, sums, 0),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R0, 0),
    ]
    program, _ = counter("cookies", TRACING, where, before=before)
    plain, counts = counter("plain", TRACING, where, before=OURS if where.word == "tp_btf" else ())
    try:
        with load(program) as obj:
            obj.attach()
            work()
            assert obj[sums][0] == EVENTS * where.cookie
    except (KernelError, FeatureMissing):  # the helper, or the link, is not there
        with load(plain) as obj:
            with pytest.raises(FeatureMissing) as caught:
                obj.attach()
            assert caught.value.rule == "no-cookie"
            work()
            assert obj[counts][0] == 0


@pytest.mark.parametrize("where", [lsm("file_open"), fmod_ret("security_file_open")], ids=str)
def test_a_program_forbids(trampolines, where):
    body = [
        BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid),
        BPF_MOV64_REG(R1, R0),
        BPF_MOV64_IMM(R0, 0),
        BPF_JMP32_IMM(BPF_JNE, R1, os.getpid(), "out"),
        BPF_MOV64_IMM(R0, -1),  # -EPERM
        label("out"),
        BPF_EXIT_INSN(),
    ]
    with load(Program("forbids", where.takes[0], body, attach=where)) as obj:
        opens(1)
        obj.attach()
        with pytest.raises(PermissionError):
            opens(1)
        obj.links[0].close()
        opens(1)


REPLACED = Program("replaced", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])


def test_a_function_of_a_program_is_replaced_and_comes_back(trampolines):
    two = Program(
        "two", BPF_PROG_TYPE_EXT, [BPF_MOV64_IMM(R0, 2), BPF_EXIT_INSN()], attach=freplace(REPLACED, "replaced")
    )
    with load(two) as obj:
        run = obj[REPLACED].test_run
        assert run(bytes(64)).retval == 1
        (link,) = obj.attach()
        assert run(bytes(64)).retval == 2
        with pytest.raises(KernelError) as caught:
            attach(obj[two])
        assert caught.value.rule == "attach-refused"
        link.close()
        assert run(bytes(64)).retval == 1


def test_the_entry_of_a_program(trampolines):
    program, counts = counter("enters", TRACING, fentry("replaced", program=REPLACED))
    with load(program) as obj:
        obj.attach()
        obj[REPLACED].test_run(bytes(64), repeat=EVENTS)
        assert obj[counts][0] == EVENTS


def test_it_cannot_be_attached_elsewhere(trampolines):
    program, _ = counter("here", TRACING, fentry(FUNCTION))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        attach(obj[program], fentry("vfs_read"))
    assert caught.value.rule == "attach-target"
    assert "was loaded with attach_btf" in caught.value.what


def test_a_kernel_that_attaches_to_no_functions_says_so():
    """Some let nobody load such a program, and some do, and have no code to call it."""
    if features.ask("link/tracing").state == "yes":
        pytest.skip("this kernel attaches to functions")
    program, _ = counter("absent", TRACING, fentry("vfs_read"))
    with pytest.raises(FeatureMissing) as caught, load(program) as obj:
        obj.attach()
    assert caught.value.rule in ("no-trampoline", "privilege")


# Cgroups


@pytest.fixture
def cgroup():
    """A cgroup of version 2 that a child of ours may join."""
    path = f"/sys/fs/cgroup/bpfasm_{os.getpid()}"
    try:
        os.mkdir(path)
    except OSError as error:
        assert not os.path.exists("/sys/fs/cgroup/cgroup.procs"), error
        pytest.skip("no cgroups of version 2 at /sys/fs/cgroup")
    yield path
    os.rmdir(path)


def binds(cgroup=None):
    """Bind 23 sockets in a child, in a cgroup; return how often it was let."""
    child = os.fork()
    if not child:
        done = 0
        try:
            if cgroup:
                with open(f"{cgroup}/cgroup.procs", "w") as file:
                    file.write(str(os.getpid()))
            for _ in range(EVENTS):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
                    try:
                        opened.bind(("0.0.0.0", 0))
                        done += 1
                    except PermissionError:
                        continue
        finally:
            os._exit(done)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("allowed", [True, False])
def test_a_security_hook_of_a_cgroup(trampolines, cgroup, allowed):
    counts = ArrayMap("binds", value=u64, max_entries=1)
    body = [
        BPF_LD_MAP_VALUE(R1, counts, 0),
        BPF_MOV64_IMM(R2, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
        BPF_MOV64_IMM(R0, int(allowed)),
        BPF_EXIT_INSN(),
    ]
    program = Program("binds", LSM, body, attach=lsm_cgroup("socket_bind", cgroup))
    if features.ask("link/lsm_cgroup").state == "no":
        with pytest.raises((FeatureMissing, KernelError)):
            load(program)
        pytest.skip("this kernel has no LSM programs of cgroups")
    with load(program) as obj:
        assert binds(cgroup) == EVENTS
        (link,) = obj.attach()
        assert binds(cgroup) == (EVENTS if allowed else 0)
        assert binds() == EVENTS
        assert obj[counts][0] == EVENTS
        assert link.info().details["attach_type"] == BPF_LSM_CGROUP
        link.detach()
        assert binds(cgroup) == EVENTS
        assert obj[counts][0] == EVENTS
        with pytest.raises(KernelError) as caught:
            attach(obj[program], lsm_cgroup("socket_bind", "/sys/fs/cgroup/nothing_there"))
        assert caught.value.rule == "cgroup"


def test_a_field_that_the_place_says_is_not_given_twice():
    with pytest.raises(AssemblyError) as caught:
        Program("twice", TRACING, [BPF_EXIT_INSN()], attach=fentry("vfs_read"), attach_btf="vfs_write")
    assert caught.value.rule == "program-field"
    assert caught.value.what == "the attach_btf of twice is 'vfs_write', and fentry vfs_read makes it 'vfs_read'"
    program = Program("once", TRACING, [BPF_EXIT_INSN()], attach=fentry("vfs_read"))
    assert program.replace(attach=fexit("vfs_write")).attach_btf == "vfs_write"
    assert program.replace(attach=None).expected_attach_type == 0
