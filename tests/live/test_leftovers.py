"""What outlives a killed process: ``doctor`` finds it, ``clean`` removes it, and what lives or is others' stays."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.network import in_child
from support.privileges import become

from bpfasm.asm import *
from bpfasm.cli import main
from bpfasm.kernel import leftovers, load
from bpfasm.kernel.attach import attach
from bpfasm.syscall import bpf as call, system, tracefs
from bpfasm.syscall.owner import owner_of, this_process

pytestmark = pytest.mark.lab(on="one")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bpfasm(capsys):
    """Run a command; return what it wrote to the two outputs."""

    def run(*words, status=0):
        capsys.readouterr()
        found = main(words)
        done = capsys.readouterr()
        assert found == status, (done.out, done.err)
        return done

    return run


@pytest.fixture
def cleaned(bpfasm):
    """Run ``clean --json``; return its items by what they are called."""

    def run(*words, status=0):
        document = json.loads(bpfasm("clean", "--json", *words, status=status).out)
        return {item["name"]: item for item in document["items"]}

    return run


@pytest.fixture
def checks(bpfasm):
    """Run ``doctor --json``; return its checks by name."""
    return lambda: {row["name"]: row for row in json.loads(bpfasm("doctor", "--json").out)["checks"]}


@pytest.fixture
def events(kprobes, tracefs_root):
    """Make events, and remove what a test leaves of them."""

    def make(tag, event="e", file="kprobe_events", where="vfs_read"):
        fd = os.open(f"{tracefs_root}/{file}", os.O_WRONLY | os.O_APPEND)
        os.write(fd, f"p:{tag}/{event} {where}".encode())
        os.close(fd)
        made.append((file, f"{tag}/{event}"))
        return f"{tag}/{event}"

    made = []
    yield make
    for file, event in made:
        with contextlib.suppress(FileNotFoundError):
            tracefs.remove_event(f"{tracefs_root}/{file}", event)


def listed(root):
    return {f"{group}/{event}" for group, event in tracefs.events_of(f"{root}/kprobe_events")}


ATTACHED = """
    import sys
    from bpfasm.asm import *
    from bpfasm.kernel import load
    from bpfasm.kernel.attach import attach

    program = Program("prog", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()],
                      attach=kprobe(syscall="fchownat"))
    with load(program) as obj, attach(obj[program], mode="tracefs") as link:
        print("attached", flush=True)
        sys.stdin.readline()
"""


def attached(python, prefix="", **options):
    process = python(prefix + ATTACHED, stdin=subprocess.PIPE, **options)
    assert process.stdout.readline() == "attached\n", process.stderr.read()
    return process


# Events


def test_what_a_killed_process_left_is_removed_and_what_lives_stays(
    kprobes, python, tracefs_root, bpfasm, cleaned, checks
):
    with attached(python) as dead, attached(python) as living:
        dead.kill()
        dead.wait()
        groups = {owner_of(event.partition("/")[0]).pid: event for event in listed(tracefs_root)}
        left, used = groups[dead.pid], groups[living.pid]

        seen = checks()["leftovers"]
        assert (seen["state"], seen["do"]) == ("note", "bpfasm clean")
        assert {left, used} <= listed(tracefs_root)  # doctor reads only

        # Nobody can be asked, and nobody said yes.
        done = bpfasm("clean", status=1)
        assert f"event  {left}, of process {dead.pid}\n" in done.out
        assert f"event  {used}, of process {living.pid}: stays, process {living.pid} runs\n" in done.out
        assert done.err == "nothing was removed: --yes removes what does not stay\n"
        assert {left, used} <= listed(tracefs_root)

        found = cleaned(status=1)
        assert (found[left]["removed"], found[left]["error"]) == (False, "not asked to")
        found = cleaned("--yes")
        assert found[left] | {"uid": 0} == {
            "kind": "event", "name": left, "pid": dead.pid, "uid": 0, "stays": None, "removed": True, "error": None,
        }  # fmt: skip
        assert (found[used]["removed"], found[used]["stays"]) == (False, f"process {living.pid} runs")
        assert listed(tracefs_root) == {used}
        assert cleaned().keys() == {used}
        living.stdin.write("\n")
        living.stdin.close()
        assert living.wait(timeout=60) == 0
    assert listed(tracefs_root) == set()


def test_only_the_dead_of_this_user_go(events, tracefs_root, cleaned):
    me = this_process()
    dead = me.replace(pid=1 << 22)
    gone = [
        events(dead.tag()),
        events(me.replace(start_time=me.start_time + 1).tag()),  # the pid was given out again
        events(me.replace(boot="00000000").tag()),
    ]
    alive, other, foreign = events(me.tag()), events(dead.replace(uid=1234).tag()), events("kprobes_of_others")
    found = cleaned("--yes")
    assert {name for name, item in found.items() if item["removed"]} == set(gone)
    assert found[alive]["stays"] == f"process {me.pid} runs"
    assert found[other]["stays"] == "it is user 1234's"
    assert foreign not in found
    assert listed(tracefs_root) == {alive, other, foreign}


def test_both_files_and_several_events_of_a_group(events, tracefs_root, cleaned):
    tag = this_process().replace(pid=1 << 22).tag()
    names = [events(tag, "one"), events(tag, "two", where="vfs_write")]
    more = []
    if os.path.exists(f"{tracefs_root}/uprobe_events"):
        where = f"{os.path.realpath(sys.executable)}:0x1000"
        more = [events(this_process().replace(pid=1 << 22).tag(), "user", "uprobe_events", where)]
    found = cleaned("--yes")
    assert {name for item in found for name in item.split()} == {*names, *more}
    assert all(item["removed"] for item in found.values())
    assert cleaned() == {}


def test_an_event_that_is_in_use_stays_and_is_told(kprobes, tracefs_root, events, bpfasm):
    """Somebody has it open, whoever made it."""
    program = Program("prog", BPF_PROG_TYPE_KPROBE, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()])
    event = events(this_process().replace(pid=1 << 22).tag())
    from bpfasm.syscall import perf_event
    from bpfasm.uapi.perf_event import PERF_SAMPLE_RAW, PERF_TYPE_TRACEPOINT

    id = tracefs.event_id(tracefs_root, *event.split("/"))
    with load(program):
        fd = perf_event.perf_event_open(type=PERF_TYPE_TRACEPOINT, config=id, sample_type=PERF_SAMPLE_RAW)
        try:
            done = bpfasm("clean", "--yes", status=1)
        finally:
            os.close(fd)
    assert done.err == f"{event} stays: EBUSY, Device or resource busy\n"
    deadline = time.monotonic() + 10  # the kernel lets go of it a moment later
    while event in listed(tracefs_root):
        assert time.monotonic() < deadline
        with contextlib.suppress(OSError):
            (left,) = leftovers.find()
            left.remove()


BELOW = """
    import os, signal
    from support.privileges import CLONE_NEWPID, done, libc

    done(libc.unshare(CLONE_NEWPID))
    child = os.fork()
    if child:
        # What ends the parent ends the namespace.
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        os.waitpid(child, 0)
        os._exit(0)
    libc.unshare(1 << 17)  # CLONE_NEWNS
    libc.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None)  # MS_PRIVATE | MS_REC
    libc.mount(b"proc", b"/proc", b"proc", 0, None)
"""


def test_a_container_s_probe_is_left_alone_while_it_runs(kprobes, python, tracefs_root, cleaned):
    if os.geteuid() != 0:
        pytest.skip("only root makes pid namespaces")
    with attached(python, BELOW) as process:
        (event,) = listed(tracefs_root)
        owner = owner_of(event.partition("/")[0])
        assert owner.pid == 1
        assert owner.namespace != system.pid_namespace()
        found = cleaned()
        assert found[event]["stays"] == "process 1 runs"
        process.terminate()
        process.wait(timeout=60)
        # Of a namespace with nobody in it the machine's first one knows that all are dead.
        assert cleaned("--yes")[event]["removed"] is True
    assert listed(tracefs_root) == set()


def load_and_attach(said):
    """Load and attach again and again; never returns."""
    counts = HashMap("counts", key=u32, value=u64, max_entries=1, initial={0: 0})
    program = Program(
        "prog",
        BPF_PROG_TYPE_KPROBE,
        [BPF_LD_MAP_FD(R1, counts), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()],
        attach=kprobe(syscall="fchownat"),
    )
    try:
        os.write(said, b"r")
        while True:
            with load(program) as obj:
                attach(obj[program], mode="tracefs").close()
    finally:
        os._exit(1)


def test_killed_at_any_moment(kprobes, tracefs_root, cleaned):
    """Whenever a process that loads and attaches is killed, clean finds what it left."""
    chance = random.Random(4)
    pids = set()
    for _ in range(20):
        ready, said = os.pipe()
        child = os.fork()
        if not child:
            load_and_attach(said)
        assert os.read(ready, 1) == b"r"
        time.sleep(chance.uniform(0, 0.1))  # at any moment
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(said)
        pids.add(child)
    left = listed(tracefs_root)
    assert {owner_of(event.partition("/")[0]).pid for event in left} <= pids
    found = cleaned("--yes")
    assert {name for name in found if found[name]["removed"]} == left
    assert listed(tracefs_root) == set()


# Pins


@pytest.fixture
def bpffs():
    """A bpf file system; where none is mounted, and we may, one of the test's own."""
    found = system.mounts("bpf")
    if found:
        yield found[-1]
        return
    pytest.skip("no bpf file system is mounted")


def pin(folder, name):
    """Pin a map below a folder of bpf's."""
    os.makedirs(folder, exist_ok=True)
    with load(HashMap("kept", key=u32, value=u64, max_entries=1)) as obj:
        call.obj_pin(obj.maps[0].fd, f"{folder}/{name}")
    return f"{folder}/{name}"


def test_pins_of_a_dead_process_go_and_those_made_to_stay_do_not(bpffs, cleaned, checks):
    ours = f"{bpffs}/{leftovers.PINS}"
    me = this_process()
    dead = f"{ours}/{me.replace(pid=1 << 22).tag()}"
    alive = f"{ours}/{me.tag()}"
    paths = [pin(dead, "a"), pin(dead, "b"), pin(alive, "a"), pin(ours, "kept")]
    try:
        assert leftovers.kept_pins() == [paths[3]]
        assert checks()["pins"]["what"] == paths[3]
        found = cleaned("--yes")
        assert {name for name, item in found.items() if item["removed"]} == {dead}
        assert [os.path.exists(path) for path in paths] == [False, False, True, True]
        found = cleaned("--yes", "--pins")
        assert {name for name, item in found.items() if item["removed"]} == {paths[3]}
        assert [os.path.exists(path) for path in paths] == [False, False, True, False]
    finally:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        for folder in (dead, alive, ours):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


# What there is nothing of


def test_nothing_is_left(bpfasm):
    assert bpfasm("clean").out == "nothing is left of any process\n"


@pytest.mark.lab(on="live")
def test_who_may_not_look_says_so(bpfasm, tmp_path):
    """An ordinary user does not claim more than he could see; what that is depends on how things are mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes somebody else")
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "bpfasm" / "views" / "schemas" / "clean-1.json").read_text())
    assert leftovers.not_seen() == json.loads(bpfasm("clean", "--json").out)["not_seen"] == []
    root = tracefs.find()
    wanted = [f"events in {root}"] if root and not os.stat(root).st_mode & 0o005 else []
    for point in dict.fromkeys(system.mounts("bpf")):
        folder = f"{point}/{leftovers.PINS}"
        modes = [os.stat(point).st_mode & 0o001]
        if os.path.exists(folder):
            modes.append(os.stat(folder).st_mode & 0o004)
        wanted += [f"pins in {folder}"] * (not all(modes))
    wanted.append("structs of functions and programs that are attached: it takes CAP_SYS_ADMIN to list maps")

    def look():
        os.environ["XDG_CACHE_HOME"] = str(tmp_path / "none")
        become(65534)
        lines = bpfasm("clean").out.splitlines()
        assert lines == [
            "nothing that this user can see is left", *(f"not seen: {each}" for each in wanted),
            "sudo bpfasm clean looks at all of it",
        ]  # fmt: skip
        document = json.loads(bpfasm("clean", "--json").out)
        jsonschema.validate(document, schema)
        assert (document["items"], document["not_seen"]) == ([], wanted)

    in_child(look)


@pytest.mark.lab(on="live")
def test_documents_follow_their_schemas(bpfasm):
    jsonschema = pytest.importorskip("jsonschema")
    for name in ("doctor", "clean"):
        schema = json.loads((ROOT / "bpfasm" / "views" / "schemas" / f"{name}-1.json").read_text())
        jsonschema.validate(json.loads(bpfasm(name, "--json").out), schema)


def test_doctor_says_where_the_main_job_runs(kprobes, bpfasm):
    text = bpfasm("doctor").out
    assert text.splitlines()[-1].startswith("the main job, bpfasm chowncount, runs on this kernel")
    document = json.loads(bpfasm("doctor", "--json").out)
    assert document["runs"]["live"] is True
    found = {row["name"]: row for row in document["checks"]}
    assert found["kprobes"] == {
        "name": "kprobes", "state": "ok", "what": "programs can be attached to kernel functions", "do": None,
    }  # fmt: skip
    assert found["tracefs"]["what"] == tracefs.find()
