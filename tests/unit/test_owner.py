"""Whose a leftover is: tags, and who is alive, in this pid namespace and in others."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Linux", allow_module_level=True)

from support.processes import until

from bpfasm.syscall import owner, system
from bpfasm.syscall.owner import Owner, owner_of, this_process

ROOT = Path(__file__).parents[2]


def test_a_tag_carries_its_owner():
    me = this_process()
    assert (me.pid, me.uid, me.boot) == (os.getpid(), os.geteuid(), owner.boot())
    assert me.alive() is True
    assert me.ours
    tag = me.tag()
    assert owner_of(tag) == me
    assert tag != me.tag()
    assert tag.replace("_", "a").isalnum()


def test_the_longest_tag_is_a_name_of_tracefs():
    """Groups of events have up to 63 characters."""
    most = Owner(1 << 22, 1 << 36, 0xFFFFFFFF, 0xFFFFFFFE, "ffffffff")
    assert len(most.tag()) < 64
    assert owner_of(most.tag()) == most


@pytest.mark.parametrize(
    "tag",
    ["", "bpfasm", "bpfasm_1_2_3", "bpfasm_1_2_3_4_0123abcd", "bpfasm_a_2_3_4_0123abcd_ff", "kprobes",
     "libbpf_1_2_3_4_0123abcd_ff", "bpfasm_1_x_3_4_0123abcd_ff",
     "bpfasm_1_2_3_4_0123_ff", "bpfasm_1_2__4_0123abcd_f"],
)  # fmt: skip
def test_tags_of_others(tag):
    assert owner_of(tag) is None


def test_the_dead_and_the_unseen():
    me = this_process()
    assert me.replace(start_time=me.start_time + 1).alive() is False  # the pid was given out again
    assert me.replace(pid=1 << 22).alive() is False
    assert me.replace(boot="00000000").alive() is False  # that of another boot, whatever runs now
    if system.pid_namespace() != owner._FIRST_NAMESPACE:
        assert me.replace(namespace=1).alive() is None  # another container's


def test_a_process_that_nobody_has_asked_how_it_ended_is_dead():
    child = os.fork()
    if not child:
        os._exit(0)
    there = this_process().replace(pid=child, start_time=system.start_time(child))
    assert until(lambda: there.alive() is False)
    os.waitpid(child, 0)
    assert there.alive() is False


def test_whose_it_is_under_sudo(monkeypatch):
    me = this_process()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("SUDO_UID", "1234")
    assert me.replace(uid=0).ours
    assert me.replace(uid=1234).ours
    assert not me.replace(uid=1235).ours
    monkeypatch.setattr(os, "geteuid", lambda: 1235)
    assert me.replace(uid=1235).ours
    assert not me.replace(uid=1234).ours


#: A child in a new pid namespace that says whose it is, and waits.
BELOW = """
    import os, sys
    from support.privileges import CLONE_NEWPID, done, libc
    from bpfasm.syscall import system
    from bpfasm.syscall.owner import this_process

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    done(libc.unshare(CLONE_NEWPID))
    child = os.fork()
    if not child:
        # /proc is still that of the namespace above.
        me = this_process()
        say(me.tag(), os.getpid(), system.own_proc(), me.alive(), me.replace(pid=1 << 21).alive())
        sys.stdin.readline()
        os._exit(0)
    say(child)
    os.waitpid(child, 0)
    say("over")
    sys.stdin.readline()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes pid namespaces")
def test_a_process_in_a_pid_namespace_below():
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(BELOW)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    with process:
        lines = sorted((process.stdout.readline() for _ in range(2)), key=len)
        above = int(lines[0])
        tag, pid, own_proc, alive, other = lines[1].split()
        assert (pid, own_proc) == ("1", "False")
        # By the wrong /proc it cannot tell who lives, but it can tell who is not there.
        assert (alive, other) == ("None", "False")
        there = owner_of(tag)
        assert there.namespace == system.pid_namespace(above) != system.pid_namespace()
        assert there.alive() is True
        assert there.replace(start_time=there.start_time + 1).alive() is False
        assert there.replace(pid=2).alive() is False
        os.kill(above, signal.SIGKILL)
        assert process.stdout.readline() == "over\n"
        # Nothing is left in that namespace: who sees all namespaces knows that it is gone.
        gone = False if system.pid_namespace() == owner._FIRST_NAMESPACE else None
        assert there.alive() is gone
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdin.close()
        process.wait()


def test_times_since_boot_are_the_same_in_every_time_namespace(monkeypatch):
    real = system.read
    before = system.start_time()
    offsets = "monotonic           0         0\nboottime           86400         500000000\n"
    ticks = os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(system, "read", lambda path: offsets if path.endswith("timens_offsets") else real(path))
    assert system.start_time() == before - 86400 * ticks - ticks // 2
