"""Kprobes: exact counts of a known workload by every mechanism; and the words where there are none."""

import errno
import gc
import os
import signal
import sys

import pytest

from bpfasm.asm import *
from bpfasm.errors import AssemblyError, FeatureMissing, KernelError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.tracing.kprobe import _pmu_event, symbols_of
from bpfasm.kernel.links.tracing.kprobe_refused import refusal
from bpfasm.kernel.links.tracing.perf_link import bind
from bpfasm.kernel.links.tracing.tracefs_event import TracefsEvent
from bpfasm.kernel.needs import missing
from bpfasm.syscall import system, tracefs
from bpfasm.syscall.owner import owner_of, this_process

pytestmark = pytest.mark.lab

CALLS = 23


def counter(name, where):
    """Return a program that counts how often it runs, and its map."""
    counts = HashMap(name, key=u32, value=u64, max_entries=1, initial={0: 0})
    stack = StackLayout(key=u32)
    insns = [
        BPF_ST_MEM(BPF_W, FP, stack.key, 0),
        BPF_MOV64_REG(R2, FP),
        BPF_ALU64_IMM(BPF_ADD, R2, stack.key),
        BPF_LD_MAP_FD(R1, counts),
        BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem),
        BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"),
        BPF_MOV64_IMM(R1, 1),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R0, R1, 0),
        label("out"),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ]
    return Program(name, BPF_PROG_TYPE_KPROBE, insns, attach=where), counts


@pytest.fixture
def chown(tmp_path):
    """Call fchownat(2) CALLS times in a child."""
    (tmp_path / "file").touch()

    def call():
        child = os.fork()
        if not child:
            status = 1
            try:
                folder = os.open(tmp_path, os.O_RDONLY)
                for _ in range(CALLS):
                    os.chown("file", -1, -1, dir_fd=folder)  # without dir_fd it is chown(2)
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0

    return call


@pytest.fixture(params=["link", "perf", "tracefs"])
def mode(request, kprobes):
    """A mechanism of attaching that this kernel has."""
    if request.param == "link" and features.ask("link/perf_event").state == "no":
        pytest.skip("this kernel has no BPF links on perf events")
    if request.param == "tracefs" and tracefs.find() is None:
        pytest.skip("tracefs is not mounted")
    return request.param


#: What is refused, by the choice among the mechanisms too; what it chooses is one of them.
with_auto = pytest.mark.parametrize("mode", ["auto", "link", "perf", "tracefs"], indirect=True)


@pytest.mark.parametrize("where", [kprobe(syscall="fchownat"), kretprobe(syscall="fchownat")], ids=str)
def test_counts_every_call(chown, mode, where):
    program, counts = counter("exact", where)
    with load(program) as obj:
        (link,) = obj.attach(mode)
        assert link.mode == mode
        chown()
        assert obj[counts][0] == CALLS
        chown()
        assert obj[counts][0] == 2 * CALLS
        link.close()
        chown()
        assert obj[counts][0] == 2 * CALLS
        link.close()


def test_a_function_by_its_name_and_several_programs(chown, mode):
    name = symbols_of(kprobe(syscall="fchownat"))[0]
    entry, entries = counter("entry", kprobe(name))
    ret, returns = counter("return", kretprobe(name))
    generic, generics = counter("generic", kprobe("sys_fchownat"))
    with load(entry, ret, generic) as obj:
        assert len(obj.attach(mode)) == 3
        chown()
        assert [obj[each][0] for each in (entries, returns, generics)] == [CALLS] * 3
        assert obj.attach(mode) == ()  # they are


def test_auto_takes_the_best(kprobes, chown):
    program, _ = counter("best", kprobe(syscall="fchownat"))
    with load(program) as obj:
        (link,) = obj.attach()
        has_links = features.ask("link/perf_event").state == "yes"
    if system.pmu_type("kprobe") is None:
        assert link.mode == "tracefs"
    else:
        assert link.mode == ("link" if has_links else "perf")
    assert repr(link) == f"<Link best at kprobe syscall fchownat ({link.mode})>"


def test_without_the_pmu_auto_takes_tracefs(kprobes, chown, tracefs_root, monkeypatch):
    monkeypatch.setattr(system, "pmu_type", lambda name: None)
    program, counts = counter("fallback", kprobe(syscall="fchownat"))
    with load(program) as obj:
        (link,) = obj.attach()
        assert link.mode == "tracefs"
        chown()
        assert obj[counts][0] == CALLS
        with pytest.raises(FeatureMissing):
            attach(obj[program], mode="perf")


@with_auto
def test_an_offset(chown, mode):
    # Offset 0 is the entry; what is right behind a first byte is no instruction.
    program, counts = counter("offset", kprobe(symbols_of(kprobe(syscall="fchownat"))[0], offset=1))
    with load(program) as obj:
        with pytest.raises(KernelError) as caught:
            obj.attach(mode)
        assert caught.value.rule == "kprobe-offset"
        assert "+0x1 is not where an instruction starts" in caught.value.what
        assert obj[counts][0] == 0


@with_auto
def test_an_offset_beyond_the_function(mode):
    program, _ = counter("beyond", kprobe(symbols_of(kprobe(syscall="fchownat"))[0], offset=1 << 30))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach(mode)
    assert caught.value.rule == "kprobe-offset"


def unknown(mode, where, what, do):
    """Attach to what is not there, and hear so."""
    program, _ = counter("unknown", where)
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach(mode)
    assert caught.value.errno in (errno.ENOENT, errno.EINVAL)
    assert caught.value.what.startswith(what)
    assert do in caught.value.do
    assert caught.value.rule == "no-symbol"
    no_event_of_ours()


@pytest.mark.lab(on="ends")
def test_an_unknown_symbol(mode):
    """Each mechanism tells it by an errno of its own; the sentence is made of that and of the symbol."""
    unknown(mode, kprobe("vfs_raed"), "this kernel has no function vfs_raed to probe", "vfs_read")


@pytest.mark.parametrize(
    ("where", "what", "do"),
    [
        (kprobe(syscall="fchwnat"), "this kernel has no system call fchwnat (no function ", "fchownat"),
        (kretprobe(syscall="nosuchcall_xyz"), "this kernel has no system call nosuchcall_xyz", ""),
        (kprobe("no.such.isra.0"), "this kernel has no function no.such.isra.0 to probe", ""),
    ],
)
def test_symbols_of_every_kind(kprobes, where, what, do):
    unknown("auto", where, what, do)


@with_auto
def test_a_function_that_must_not_be_probed(mode):
    forbidden = next(
        (each for each in ("do_int3", "exc_int3", "notify_die") if each in system.kernel_symbols()), None
    )
    if forbidden is None:
        pytest.skip("this kernel does not show a function known to be on the list")
    program, _ = counter("forbidden", kprobe(forbidden))
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach(mode)
    assert caught.value.rule == "kprobe-blacklist"
    assert "does not allow a probe there" in caught.value.what


def test_the_wrong_type_of_program():
    program = Program(
        "filter", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()], attach=kprobe("vfs_read")
    )
    with load(program) as obj, pytest.raises(KernelError) as caught:
        obj.attach()
    assert caught.value.what == (
        "filter is of type BPF_PROG_TYPE_SOCKET_FILTER, and kprobe vfs_read takes a BPF_PROG_TYPE_KPROBE"
    )


def test_nowhere_to_attach():
    program = Program("lost", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    with load(program) as obj:
        with pytest.raises(AssemblyError, match="none of these programs says where"):
            obj.attach()
        with pytest.raises(AssemblyError, match="lost does not say where"):
            attach(obj[program])
        with pytest.raises(AssemblyError, match="there is no mode 'best'"):
            attach(obj[program], kprobe("vfs_read"), mode="best")


def no_event_of_ours():
    root = tracefs.find()
    text = system.read(f"{root}/kprobe_events") if root else ""
    assert not [line for line in (text or "").splitlines() if f"bpfasm_{os.getpid()}_" in line]


@pytest.mark.lab(on="one")
@with_auto
def test_the_third_that_fails_takes_the_others_back(chown, mode):
    one, ones = counter("one", kprobe(syscall="fchownat"))
    two, _ = counter("two", kretprobe(syscall="fchownat"))
    bad, _ = counter("bad", kprobe("zz_no_such_function"))  # names that begin so are few to compare with
    with load(one, two, bad) as obj:
        with pytest.raises((KernelError, FeatureMissing)) as caught:
            obj.attach(mode)
        assert "no_such_function" in caught.value.what
        assert obj.links == ()
        chown()
        assert obj[ones][0] == 0
        no_event_of_ours()


def test_tracefs_names_the_owner_and_is_left_clean(kprobes, chown, tracefs_root):
    program, _ = counter("owned", kprobe(syscall="fchownat"))
    with load(program) as obj:
        obj.attach("tracefs")
        lines = [line for line in system.read(f"{tracefs_root}/kprobe_events").splitlines() if "bpfasm_" in line]
        (group,) = {line.partition(":")[2].partition("/")[0] for line in lines}
        owner = owner_of(group)
        assert owner == this_process()
        assert owner.alive()
    no_event_of_ours()


@pytest.mark.lab(on="ends")
def test_a_fork_does_not_detach(chown, mode):
    program, counts = counter("fork", kprobe(syscall="fchownat"))
    with load(program) as obj:
        (link,) = obj.attach(mode)
        child = os.fork()
        if not child:
            try:
                own = link.closed  # its copy is closed already
                obj.close()
                del obj, link
                gc.collect()
            finally:
                os._exit(0 if own else 1)
        assert os.waitpid(child, 0)[1] == 0
        chown()
        assert obj[counts][0] == CALLS


@pytest.mark.lab(on="one")
def test_a_child_that_lives_longer_does_not_keep_it_attached(kprobes, chown):
    program, counts = counter("longer", kprobe(syscall="fchownat"))
    there, say_there = os.pipe()
    end, say_end = os.pipe()
    with load(program) as obj:
        obj.attach()
        child = os.fork()
        if not child:
            os.close(say_end)
            os.write(say_there, b"1")
            os.read(end, 1)
            os._exit(0)
        try:
            os.read(there, 1)  # it has let go of its copy
            obj.links[0].close()
            chown()
            assert obj[counts][0] == 0
        finally:
            for fd in (there, say_there, end, say_end):
                os.close(fd)
            os.waitpid(child, 0)


HOLD = """
    import sys, time
    import chowncount
    from bpfasm.kernel import features, load
    from bpfasm.kernel.signals import Terminated, terminable

    try:
        with terminable(), load(chowncount.chowncount) as obj:
            obj.attach(sys.argv[1])
            print("attached", flush=True)
            while True:
                time.sleep(0.02)  # not pause(): a signal just before it would be slept over
    except Terminated as end:
        print("terminated", end.signum, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def probes():
    """Return the kernel's list of armed kprobes, None where debugfs does not show it."""
    return system.read("/sys/kernel/debug/kprobes/list")


SIGNALS = [(signal.SIGTERM, "terminated 15"), (signal.SIGHUP, "terminated 1"), (signal.SIGINT, "interrupted")]


@pytest.mark.lab(on="one")
@pytest.mark.parametrize(("signum", "said"), SIGNALS)
def test_signals_detach(python, kprobes, signum, said):
    detaches(python, "auto", signum, said)


@pytest.mark.lab(on="ends")
def test_a_signal_detaches_what_each_mechanism_attached(python, mode):
    detaches(python, mode, *SIGNALS[0])


def detaches(python, mode, signum, said):
    with python(HOLD, mode) as process:
        assert process.stdout.readline() == "attached\n"
        process.send_signal(signum)
        out, err = process.communicate(timeout=60)
    assert (out, err, process.returncode) == (f"{said}\n", "", 0)
    root = tracefs.find()
    assert f"bpfasm_{process.pid}_" not in (system.read(f"{root}/kprobe_events") if root else "")


@pytest.mark.lab(on="one")
def test_sigkill_leaves_nothing_but_a_tracefs_event_that_names_the_dead(python, mode):
    before = probes()
    with python(HOLD, mode) as process:
        assert process.stdout.readline() == "attached\n"
        process.kill()
        process.communicate(timeout=60)
    if mode != "tracefs":
        assert probes() == before
        return
    root = tracefs.find()
    lines = [line for line in system.read(f"{root}/kprobe_events").splitlines() if f"bpfasm_{process.pid}_" in line]
    (name,) = [line.partition(":")[2].partition(" ")[0] for line in lines]
    group, _, event = name.partition("/")
    assert owner_of(group).pid == process.pid
    assert owner_of(group).alive() is False
    tracefs.remove_kprobe_event(root, group, event)


# Where there are none


def test_a_kernel_without_kprobes_says_so():
    if system.pmu_type("kprobe") is not None:
        pytest.skip("this kernel has kprobes")
    program, _ = counter("absent", kprobe(syscall="fchownat"))
    for mode in ("auto", "link", "perf", "tracefs"):
        with load(program) as obj, pytest.raises(FeatureMissing) as caught:
            obj.attach(mode)
        assert caught.value.report().splitlines() == [
            "error: this kernel is built without kprobes (CONFIG_KPROBES) [no-kprobes]",
            "add `--on 6.1`: the lab runs it on Debian's 6.1 kernel, in QEMU, without root",
        ]
    assert missing(["bpf", "kprobe"]).what == "this kernel is built without kprobes (CONFIG_KPROBES)"


def test_the_needs_are_met_where_it_works(kprobes):
    assert missing(["bpf", "kprobe"]) is None


@pytest.mark.lab(on="one")
def test_a_forgotten_link_detaches_with_a_warning(kprobes, chown):
    program, counts = counter("forgotten", kprobe(syscall="fchownat"))
    with load(program) as obj:
        line = sys._getframe().f_lineno + 1
        link = attach(obj[program])
        with pytest.warns(ResourceWarning, match=f"was never closed; it was made at {__file__}:{line}"):
            del link
            gc.collect()
        chown()
        assert obj[counts][0] == 0


@pytest.mark.parametrize("name", ["event", "group"])
def test_names_that_tracefs_takes(kprobes, tracefs_root, name):
    """An event is named as in C, a group has 63 characters: else it is EINVAL, and its sentence says so."""
    where = kprobe(syscall="getpriority")
    made = TracefsEvent(tracefs_root, "kprobe", "getpriority")
    setattr(made, name, {"event": "a.b", "group": made.group.ljust(64, "x")}[name])
    with pytest.raises(OSError) as caught:
        made.open("p", symbols_of(where)[0])
    assert caught.value.errno == errno.EINVAL
    refused = refusal(where, errno.EINVAL, tracefs.error_of(tracefs_root, made.group[:50]))
    assert (refused.rule, refused.errno) == ("tracefs-name", errno.EINVAL)
    assert "tracefs says: " in refused.what
    made.group = made.group[:63]
    if name == "group":
        os.close(made.open("p", symbols_of(where)[0]))
        made.remove()


def test_an_event_runs_a_program_once(kprobes):
    """SET_BPF for the second time is EEXIST, by the ioctl and by a link."""
    program, _ = counter("once", kprobe(syscall="getpriority"))
    with load(program) as obj:
        for mode in ("perf", "link"):
            if mode == "link" and features.ask("link/perf_event").state != "yes":
                continue
            event = _pmu_event(system.pmu_type("kprobe"), program.attach)
            again = os.dup(event)
            with bind(event, obj[program], program.attach, mode), pytest.raises(KernelError) as caught:
                bind(again, obj[program], program.attach, mode)
            assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.EEXIST)
            assert "runs there already" in caught.value.what
