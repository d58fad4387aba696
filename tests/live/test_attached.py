"""Where programs are attached, whoever did it; what killed processes leave attached; detaching links by command."""

import errno
import json
import os
import random
import select
import shutil
import signal
import subprocess
from socket import if_nametoindex
from types import SimpleNamespace

import pytest
from support import zygote
from support.cgroups import cgroups
from support.network import OURS_SKB, OURS_XDP, alone, counted, in_child, veth
from support.processes import until

from bpfasm.asm import *
from bpfasm.cli import main
from bpfasm.errors import KernelError, UsageError
from bpfasm.kernel import features, leftovers, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links import signature
from bpfasm.kernel.links.attached import attached
from bpfasm.kernel.links.network import netlink
from bpfasm.kernel.query import query

pytestmark = pytest.mark.lab

#: So many rounds of processes are killed: an emulated guest goes on only until one has left something.
ROUNDS, ENOUGH = 20, 2 if zygote.IN_GUEST else 20

XDP, CLS, SKB, FLOW = (
    BPF_PROG_TYPE_XDP,
    BPF_PROG_TYPE_SCHED_CLS,
    BPF_PROG_TYPE_CGROUP_SKB,
    BPF_PROG_TYPE_FLOW_DISSECTOR,
)


@pytest.fixture(scope="module", autouse=True)
def _once():
    """Have it imported before the children are made."""
    pytest.importorskip("pyroute2")


@pytest.fixture
def group(tmp_path):
    with cgroups(tmp_path) as made:
        yield str(made)


def said(capsys, *words):
    capsys.readouterr()
    status = main([*words])
    return status, capsys.readouterr().out


def places(program):
    """Return where a loaded program is attached."""
    return sorted((each.by, each.where) for each in attached([program.type]).get(program.info().id, []))


@pytest.mark.lab(on="ends")
def test_every_mechanism_is_shown(group, capsys):
    def test():
        veth()
        packets, _ = counted("packets", XDP, None, 2, OURS_XDP)
        frames, _ = counted("frames", CLS, None, 0, OURS_SKB)
        sends, _ = counted("sends", SKB, None, 1)
        heads, _ = counted("heads", FLOW, None, 0)
        pairs = SockMap("pairs", max_entries=2)
        passes, _ = counted("passes", BPF_PROG_TYPE_SK_MSG, sockmap(pairs, "msg_verdict"), 1)
        egress, here = cgroup(group, "egress"), os.stat("/proc/self/ns/net").st_ino
        with load(packets, frames, sends, heads, passes) as obj:
            for mode, by in (("link", "link"), ("netlink", "netlink")):
                with attach(obj[packets], xdp("v1"), mode):
                    assert places(obj[packets]) == [(by, "xdp v1")]
            with attach(obj[frames], tc("v1", "egress", priority=3)):
                assert places(obj[frames]) == [("netlink", "tc v1 egress at 3")]
            if features.ask("link/tcx").state == "yes":
                with attach(obj[frames], tcx("v1", "ingress")):
                    assert places(obj[frames]) == [("link", "tcx v1 ingress")]
            for mode in ("link", "prog_attach"):
                with attach(obj[sends], egress, mode):
                    assert places(obj[sends]) == [(mode, f"cgroup {group} cgroup_inet_egress")]
                with attach(obj[heads], flow_dissector(), mode):
                    assert places(obj[heads]) == [(mode, f"flow_dissector of network namespace {here}")]
            if features.ask("link/sockmap").state == "yes":
                with attach(obj[passes], sockmap(obj[pairs], "msg_verdict"), "link"):
                    assert [by for by, _ in places(obj[passes])] == ["link"]
            with (
                attach(obj[sends], egress, "link") as link,
                attach(obj[sends], cgroup(group, "ingress"), "prog_attach"),
            ):
                id = obj[sends].info().id
                _, text = said(capsys, "prog", "show", "id", str(id))
                assert f"\tattached cgroup {group} cgroup_inet_egress  by link {link.info().id}\n" in text
                assert f"\tattached cgroup {group} cgroup_inet_ingress  by prog_attach\n" in text
                _, text = said(capsys, "prog", "show", "id", str(id), "--json")
                (shown,) = json.loads(text)["programs"]
                assert {each["by"]: each["link_id"] for each in shown["attached"]} == {
                    "link": link.info().id,
                    "prog_attach": None,
                }
            assert places(obj[sends]) == []

    alone(test)


def test_a_program_on_an_event_of_tracefs_is_shown():
    from bpfasm.syscall import tracefs

    root = tracefs.find()
    if not (root and os.path.exists(f"{root}/uprobe_events")):
        pytest.skip("this kernel has no uprobes in tracefs")
    program, _ = counted("probes", BPF_PROG_TYPE_KPROBE, uprobe("libc", "getpriority"), 0)
    with load(program) as obj:
        for mode in ("tracefs", "perf"):
            (link,) = obj.attach(mode)
            ((by, where),) = {*places(obj[program])} - {("link", "")}
            assert (by in ("perf", "link")) and where
            link.close()
            assert places(obj[program]) == []


def is_here(name):
    """Tell whether a tool is here: busybox's ip and tc know nothing of programs."""
    path = shutil.which(name)
    return path is not None and "busybox" not in os.path.realpath(path)


def tool(*words):
    if not is_here(words[0]):
        pytest.skip(f"there is no {words[0]} here")
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize("name", ["ip", "tc", "bpftool net", "bpftool cgroup"])
def test_what_another_tool_attached_is_recognised(name, group):
    if not is_here(name.split()[0]):
        pytest.skip(f"there is no {name.split()[0]} here")

    def test():
        veth()
        path = f"/sys/fs/bpf/bpfasm_test_{os.getpid()}"
        type, returns = {"tc": (CLS, 0), "bpftool cgroup": (SKB, 1)}.get(name, (XDP, 2))
        program, _ = counted("others", type, None, returns)
        with load(program) as obj:
            from bpfasm.kernel.objects.pins import pin

            pin(obj[program].fd, "others", path)
            try:
                id = str(obj[program].info().id)
                if name == "ip":
                    tool("ip", "link", "set", "dev", "v1", "xdpgeneric", "pinned", path)
                    where = ("netlink", "xdp v1")
                elif name == "tc":
                    tool("tc", "qdisc", "add", "dev", "v1", "clsact")
                    tool(
                        "tc", "filter", "add", "dev", "v1", "ingress", "prio", "5", "bpf", "da", "object-pinned", path
                    )
                    where = ("netlink", "tc v1 ingress at 5")
                elif name == "bpftool net":
                    tool("bpftool", "net", "attach", "xdpdrv", "id", id, "dev", "v1")
                    where = ("netlink", "xdp v1")
                else:
                    tool("bpftool", "cgroup", "attach", group, "egress", "id", id, "multi")
                    where = ("prog_attach", f"cgroup {group} cgroup_inet_egress")
                assert places(obj[program]) == [where]
                assert [left for left in leftovers.find() if left.kind == "prog"] == []
            finally:
                os.unlink(path)

    alone(test)


#: What outlives a process: how it is attached, its type, and what it returns.
STAYS = {
    "xdp": (XDP, lambda group: (xdp("v1", via="skb"), "netlink"), 2),
    "tc": (CLS, lambda group: (tc("v1", "ingress"), "netlink"), 0),
    "cgroup": (SKB, lambda group: (cgroup(group, "egress"), "prog_attach"), 1),
    "flow": (FLOW, lambda group: (flow_dissector(), "prog_attach"), 0),
}


def killed(program, where, mode):
    """Attach a program in a process that is killed; return its pid."""
    ready, say = os.pipe()
    child = os.fork()
    if not child:
        try:
            obj = load(program)
            link = attach(obj[program], where, mode)
            os.write(say, b"r")
            signal.pause()
            link.close()
        finally:
            os._exit(1)
    os.close(say)
    assert os.read(ready, 1) == b"r"
    os.close(ready)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return child


def left(group):
    """Return what is attached where the killed attach."""
    at = if_nametoindex("v1")
    return {
        "xdp": [*netlink.xdp().get(at, {}).values()],
        "tc": [each.prog_id for each in netlink.filters(at)],
        "cgroup": [*query(cgroup(group, "egress")).prog_ids],
        "flow": [*query(flow_dissector()).prog_ids],
    }


@pytest.mark.lab(on="one")
@pytest.mark.parametrize("kind", STAYS)
def test_what_a_killed_process_left_attached_is_removed_and_what_lives_is_not(kind, group, capsys):
    type, make, returns = STAYS[kind]

    def test():
        veth()
        where, mode = make(group)
        program, _ = counted("killed", type, None, returns)
        child = killed(program, where, mode)
        (stale,) = left(group)[kind]
        (found,) = [each for each in leftovers.find() if each.kind == "prog"]
        assert (found.owner.pid, found.alive) == (child, False)
        checks = {row["name"]: row["state"] for row in json.loads(said(capsys, "doctor", "--json")[1])["checks"]}
        assert checks["leftovers"] == "note"
        _, text = said(capsys, "clean", "--yes", "--json")
        (item,) = [each for each in json.loads(text)["items"] if each["kind"] == "prog"]
        assert (item["removed"], item["pid"]) == (True, child)
        assert left(group)[kind] == []
        assert not netlink.has_clsact(if_nametoindex("v1"))  # there was none, or it went along

        # A living one stays, though a dead one's is beside it or was there before.
        with load(program) as obj, attach(obj[program], where, mode):
            (living,) = left(group)[kind]
            assert living not in (0, stale)
            _, text = said(capsys, "clean", "--yes", "--json")
            (item,) = [each for each in json.loads(text)["items"] if each["kind"] == "prog"]
            assert (item["removed"], item["stays"]) == (False, f"process {os.getpid()} runs")
            assert left(group)[kind] == [living]
        assert [each for each in leftovers.find() if each.kind == "prog"] == []

    alone(test)


@pytest.mark.lab(on="one")
def test_links_leave_nothing(group):
    def test():
        veth()
        for type, where, returns in (
            (XDP, xdp("v1"), 2),
            (SKB, cgroup(group, "egress"), 1),
            (FLOW, flow_dissector(), 0),
        ):
            program, _ = counted("killed", type, None, returns)
            killed(program, where, "link")
            # The kernel lets go of a killed process's links a moment later.
            until(lambda: not any(left(group).values()))
        assert [each for each in leftovers.find() if each.kind == "prog"] == []

    alone(test)


def test_a_link_is_detached_by_command(group, capsys):
    where = cgroup(group, "egress")
    program, _ = counted("detached", SKB, where, 1)
    with load(program) as obj:
        (link,) = obj.attach("link")
        id = str(link.info().id)
        with pytest.raises(UsageError):
            from bpfasm.cli.link import main as verb

            verb(["detach"])
        assert said(capsys, "link", "detach", "id", id) == (0, "")
        assert query(where).prog_ids == ()
        assert link.info().details["cgroup_id"] == 0
        (again,) = obj.links
        assert again is link
    program, _ = counted("kept", BPF_PROG_TYPE_RAW_TRACEPOINT, raw_tracepoint("sys_enter"), 0)
    with load(program) as obj:
        (link,) = obj.attach()
        status, _ = said(capsys, "link", "detach", "id", str(link.info().id))
        assert status == 3  # the kernel cannot


def test_what_cannot_be_signed_is_not_attached():
    """A map can be bound to a program, and to nothing else."""
    counts = ArrayMap("counts", value=u64, max_entries=1)
    with load(counts) as obj, pytest.raises(KernelError) as caught:
        signature.sign(SimpleNamespace(fd=obj[counts].fd, name="none"), "xdp")
    assert (caught.value.rule, caught.value.errno) == ("attach-owner", errno.EINVAL)


def again_and_again(program, where, mode, ready):
    """Attach and detach; never returns."""
    try:
        with load(program) as obj:
            os.write(ready, b"r")
            while True:
                attach(obj[program], where, mode).close()
    finally:
        os._exit(1)


@pytest.mark.lab(on="one")
def test_killed_at_any_moment(group):
    """Each mechanism at once, at random points between open and detach: all that stays is found, and goes."""

    def test():
        veth()
        chance, seen = random.Random(23), 0
        for round_ in range(1, ROUNDS + 1):
            ready, say = os.pipe()
            children = []
            for type, make, returns in STAYS.values():
                program, _ = counted("killed", type, None, returns)
                child = os.fork()
                if not child:
                    again_and_again(program, *make(group), say)
                children.append(child)
            os.close(say)
            for _ in children:
                assert os.read(ready, 1) == b"r"
            os.close(ready)
            for child in children:
                select.select([], [], [], chance.uniform(0, 0.05))
                os.kill(child, signal.SIGKILL)
            for child in children:
                os.waitpid(child, 0)
            found = [each for each in leftovers.find() if each.kind == "prog"]
            assert {each.owner.pid for each in found} <= {*children}
            assert len(found) == sum(map(len, left(group).values()))
            seen += len(found)
            for each in found:
                each.remove()
            assert not any(left(group).values())
            assert not netlink.has_clsact(if_nametoindex("v1"))
            if seen and round_ >= ENOUGH:
                break
        assert seen

    alone(test)


def test_a_program_of_several_processes_is_the_living_one_s(group):
    """A child attached it, detached it, and ended: what the parent attaches there then is no leftover."""
    where = cgroup(group, "egress")
    program, _ = counted("shared", SKB, where, 1)
    with load(program) as obj:
        in_child(lambda: attach(obj[program], mode="prog_attach").close())
        with attach(obj[program], mode="prog_attach"):
            (found,) = [each for each in leftovers.find() if each.kind == "prog"]
            assert (found.owner.pid, found.alive) == (os.getpid(), True)
        assert [each for each in leftovers.find() if each.kind == "prog"] == []
