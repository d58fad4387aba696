"""Uprobes: exact counts in programs and libraries by every mechanism, marks (USDT), and what is not there."""

import ctypes
import os
import shutil
import subprocess
import sys

import pytest
from support.counting import EVENTS, Child, counter, work

from bpfasm.asm import *
from bpfasm.asm.snippets import func_arg, ret_value, usdt_arg
from bpfasm.elf.probes import function_offset
from bpfasm.errors import DecodeError, FeatureMissing, InputError, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.link import KernelLink
from bpfasm.kernel.user import code_of, find_file, marks
from bpfasm.syscall import system, tracefs

pytestmark = pytest.mark.lab

TYPE = BPF_PROG_TYPE_KPROBE
CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC = 1 << 17, 1 << 12, 1 << 18, 1 << 14


@pytest.fixture(autouse=True)
def _uprobes():
    if system.pmu_type("uprobe") is None:
        assert "uprobe_register" not in system.kernel_symbols(), "there are uprobes, and no way to them"
        pytest.skip("this kernel is built without uprobes")


@pytest.fixture(scope="module")
def libc():
    """The C library of this process."""
    return find_file("libc")


@pytest.fixture(params=["link", "perf", "tracefs"])
def mode(request):
    if request.param == "link" and features.ask("link/perf_event").state == "no":
        pytest.skip("this kernel has no BPF links on perf events")
    if request.param == "tracefs" and tracefs.find() is None:
        pytest.skip("tracefs is not mounted")
    return request.param


@pytest.mark.parametrize("where", [uprobe("libc", "getpriority"), uretprobe("libc", "getpriority", pid=0)], ids=str)
def test_23_calls_are_23_events(mode, where):
    program, counts = counter("exact", TYPE, where)
    with load(program) as obj:
        work()
        (link,) = obj.attach(mode)
        assert link.mode == mode
        work()
        assert obj[counts][0] == EVENTS
        assert link.missed() is None
        link.close()
        work()
        assert obj[counts][0] == EVENTS


def test_auto_takes_the_best():
    program, counts = counter("best", TYPE, uprobe("libc", "getpriority"))
    with load(program) as obj:
        (link,) = obj.attach()
        assert link.mode == ("link" if features.ask("link/perf_event").state == "yes" else "perf")
        work()
        assert obj[counts][0] == EVENTS


def test_a_link_tells_where_it_is(libc):
    if features.ask("link/perf_event").state == "no":
        pytest.skip("this kernel has no BPF links on perf events")
    program, _ = counter("told", TYPE, uprobe(libc, "getpriority"))
    with load(program) as obj:
        (link,) = obj.attach()
        info = link.info()
        assert info.kind == "perf_event"
        if info.details["type"]:  # told since 6.6
            assert os.path.basename(info.details["file_name"]) == os.path.basename(libc)
            assert info.details["offset"] == function_offset(code_of(libc), "getpriority")
        with KernelLink.from_id(info.id) as again:
            assert again.info() == info


def test_one_process_is_watched_and_no_other(mode):
    program, counts = counter("one", TYPE, None, pid=0)
    with Child() as watched, Child() as other, load(program) as obj:
        with attach(obj[program], uprobe("libc", "getpriority", pid=watched.pid), mode):
            watched.work()
            other.work()
            work()
            assert obj[counts][0] == EVENTS
        watched.work()
        assert obj[counts][0] == EVENTS


@pytest.mark.lab(on="ends")
def test_an_offset_in_the_file_and_in_the_function(libc, mode):
    at = function_offset(code_of(libc), "getpriority")
    program, counts = counter("offset", TYPE, uprobe(libc, offset=at))
    with load(program) as obj:
        obj.attach(mode)
        work()
        assert obj[counts][0] == EVENTS
    with pytest.raises(InputError) as caught:
        function_offset(code_of(libc), "getpriority", 1 << 20)
    assert caught.value.rule == "uprobe-offset"


def test_arguments_and_results():
    """getpriority(PRIO_PROCESS, 0) returns the nice value, which is 0 here or known to Python."""
    sums = ArrayMap("sums", value=u64, max_entries=1)
    add = [BPF_LD_MAP_VALUE(R1, sums, 0), BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R7, 0)]
    one, _ = counter("first", TYPE, uprobe("libc", "getpriority"), before=[*func_arg(0, R7, ctx=R6), *add])
    back = [*ret_value(R7, ctx=R6), BPF_ALU64_IMM(BPF_ADD, R7, 100), *add]
    two, _ = counter("result", TYPE, uretprobe("libc", "getpriority"), before=back)
    with load(one) as obj:
        obj.attach()
        for _ in range(EVENTS):
            os.getpriority(os.PRIO_PGRP, 0)
        assert obj[sums][0] == EVENTS * os.PRIO_PGRP
    with load(two) as obj:
        obj.attach()
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        assert obj[sums][0] & 0xFFFFFFFF == 100 + nice


@pytest.mark.lab(on="one")
def test_a_file_that_only_another_mount_namespace_has(libc, mode, tmp_path):
    if os.geteuid():
        pytest.skip("only root makes mount namespaces")
    hidden = tmp_path / "hidden.so"
    hidden.touch()

    def mount():
        call = ctypes.CDLL(None, use_errno=True)
        for result in (
            call.unshare(CLONE_NEWNS),
            call.mount(b"none", b"/", None, MS_PRIVATE | MS_REC, None),
            call.mount(libc.encode(), bytes(hidden), None, MS_BIND, None),
        ):
            assert result == 0, os.strerror(ctypes.get_errno())

    with Child(mount) as contained:
        where = uprobe(str(hidden), "getpriority", inside=contained.pid)
        program, counts = counter("inside", TYPE, where, pid=contained.pid)
        with load(program) as obj:
            obj.attach(mode)
            contained.work()
            assert obj[counts][0] == EVENTS
        with pytest.raises(DecodeError):
            code_of(find_file(str(hidden)))  # here it is empty


# Many at once


@pytest.fixture
def multi():
    answer = features.ask("link/uprobe_multi")
    if answer.state == "no":
        program, _ = counter("without", TYPE, uprobe_multi("libc", "getpriority"))
        with load(program) as obj, pytest.raises(FeatureMissing) as caught:
            obj.attach()
        assert caught.value.rule == "no-uprobe-multi"
        pytest.skip(answer.reason)


@pytest.mark.parametrize(
    ("where", "times"),
    [
        (uprobe_multi("libc", "getpriority", "setpriority"), 1),
        (uprobe_multi("libc", pattern="?etpriority", retprobe=True), 1),
        (uprobe_multi("libc", "getpriority", pid=0), 1),
        (uprobe_multi("libc", "getpriority", session=True), 2),
    ],
    ids=str,
)
def test_many_count_as_one_does(multi, where, times):
    if where.session and features.ask("link/uprobe_session").state == "no":
        pytest.skip("this kernel has no sessions of uprobes")
    program, counts = counter("many", TYPE, where)
    single, singles = counter("single", TYPE, uprobe("libc", "getpriority"))
    with load(program, single) as obj:
        many, _ = obj.attach()
        assert (many.mode, many.info().kind) == ("multi", "uprobe_multi")
        work()
        assert obj[singles][0] == EVENTS
        assert obj[counts][0] == times * EVENTS
        many.close()
        work()
        assert obj[counts][0] == times * EVENTS


def test_cookies_of_many(multi, libc):
    sums = ArrayMap("sums", value=u64, max_entries=1)
    before = [
        BPF_MOV64_REG(R1, R6),
        BPF_EMIT_CALL(BPF_FUNC_get_attach_cookie),
        BPF_LD_MAP_VALUE(R1, sums, 0),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R0, 0),
    ]
    where = uprobe_multi(libc, "setpriority", "getpriority", cookies=[5, 1 << 40])
    program, _ = counter("cookies", TYPE, where, before=before)
    with load(program) as obj:
        obj.attach()
        work()
        assert obj[sums][0] == EVENTS << 40


# Marks


@pytest.fixture(scope="module")
def marked():
    """A Python that has marks at its garbage collector, and the mark."""
    for path in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        if os.path.isfile(path):
            found = [each for each in marks(path) if each.name == "gc__start"]
            if found:
                return path, found[0]
    pytest.skip("no Python here is built with marks (--with-dtrace)")


COLLECTS = """
import gc, sys
gc.disable()
print("ready", flush=True)
for _ in sys.stdin:
    for _ in range(23):
        gc.collect(1)
    print("done", flush=True)
"""


def test_a_mark_with_a_semaphore_and_an_argument(marked, mode):
    """Python passes by the mark while the semaphore is 0: it must be counted up. The argument is the generation."""
    path, mark = marked
    assert mark.semaphore
    assert [arg.size for arg in mark.args] == [4]
    before = [*usdt_arg(mark.args[0], R7, at=-8, ctx=R6), BPF_JMP_IMM(BPF_JNE, R7, 1, "out")]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([path, "-c", COLLECTS], **options) as process:
        assert process.stdout.readline() == "ready\n"
        program, counts = counter("collects", TYPE, None, before=before, pid=process.pid)
        with load(program) as obj:
            with attach(obj[program], usdt(path, "python", "gc__start", pid=process.pid), mode) as link:
                assert str(link.target) == f"usdt {path}:python:gc__start"
                process.stdin.write("\n")
                process.stdin.flush()
                assert process.stdout.readline() == "done\n"
                assert obj[counts][0] == EVENTS
            process.stdin.close()
            assert process.wait(60) == 0


@pytest.mark.lab(on="live")
def test_marks_are_those_that_readelf_lists(marked):
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    path, _ = marked
    text = subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in text.splitlines()]
    assert [each.name for each in marks(path)] == [
        line.removeprefix("Name: ") for line in lines if line.startswith("Name: ")
    ]
    assert [" ".join(arg.text for arg in each.args) for each in marks(path)] == [
        line.removeprefix("Arguments: ") for line in lines if line.startswith("Arguments: ")
    ]
    assert all(arg.known for each in marks(path) for arg in each.args)


# What is not there


@pytest.mark.lab(on="ends")
@pytest.mark.parametrize(
    ("where", "rule", "what", "do"),
    [
        (uprobe("libc", "getpriorty"), "uprobe-symbol", "has no function getpriorty", "did you mean getpriority"),
        (uprobe("libc", "memcpy"), "uprobe-symbol", "is one of several functions", "gdb"),
        (uprobe("/no/such/file", "x"), "uprobe-file", "there is no file /no/such/file", "path"),
        (uprobe("libnosuch", "x"), "uprobe-file", "there is no library or program libnosuch", "ldd"),
        (uprobe("/etc/passwd", "x"), "elf", "", ""),
        (uprobe("libc", offset=1 << 40), "uprobe-offset", "behind the end", "symbol"),
        (uprobe("libc", "getpriority", pid=1 << 22), "uprobe-attach", "there is no process 4194304", "it ended"),
        (uprobe("libc", "getpriority", inside=1 << 22), "uprobe-file", "for process 4194304", ""),
        (usdt("libc", "libc", "nothing_of_that"), "no-usdt", "has no mark libc:nothing_of_that", ""),
        (uprobe_multi("libc", pattern="no_such_*"), "uprobe-symbol", "matches no_such_*", "nm -D"),
    ],
    ids=str,
)
def test_what_is_not_there(where, rule, what, do):
    if isinstance(where, type(uprobe_multi("a", "b"))) and features.ask("link/uprobe_multi").state == "no":
        pytest.skip("this kernel has no uprobe.multi")
    program, _ = counter("absent", TYPE, where)
    with load(program) as obj, pytest.raises((InputError, KernelError, DecodeError)) as caught:
        obj.attach()
    assert caught.value.rule == rule
    assert what in caught.value.what
    assert do in caught.value.do


def test_tracefs_takes_no_spaces(libc, tmp_path):
    if tracefs.find() is None:
        pytest.skip("tracefs is not mounted")
    spaced = tmp_path / "a b.so"
    spaced.symlink_to(libc)
    program, counts = counter("spaced", TYPE, uprobe(str(spaced), "getpriority"))
    with load(program) as obj:
        with pytest.raises(FeatureMissing) as caught:
            obj.attach("tracefs")
        assert caught.value.rule == "uprobe-path"
        obj.attach()
        work()
        assert obj[counts][0] == EVENTS


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "make",
    [
        lambda: uprobe("libc"),
        lambda: uprobe("", "x"),
        lambda: uprobe("libc", "x", offset=-1),
        lambda: uprobe_multi("libc"),
        lambda: uprobe_multi("libc", "a", "b", cookies=[1]),
        lambda: uprobe_multi("libc", "a", session=True, retprobe=True),
        lambda: usdt("libc", "", "x"),
    ],
)
def test_what_does_not_go_together(make):
    with pytest.raises(OperandError) as caught:
        make()
    assert caught.value.rule == "attach-target"
