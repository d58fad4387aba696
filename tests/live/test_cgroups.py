"""Cgroups: each of their hooks sees what a process of one does 23 times, by a link and by BPF_PROG_ATTACH."""

import errno
import os
import socket
from contextlib import ExitStack

import pytest
from support.cgroups import cgroups, enter
from support.counting import Child
from support.each import each
from support.network import EVENTS, counted, in_child, join, namespace
from support.processes import until

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.query import query
from bpfasm.uapi import bpf as uapi, names
from bpfasm.uapi.bpf import BPF_F_ALLOW_MULTI, BPF_SOCK_OPS_TCP_CONNECT_CB, enum_bpf_attach_type

pytestmark = pytest.mark.lab

HOME = {"4": (socket.AF_INET, "127.0.0.1"), "6": (socket.AF_INET6, "::1"), "unix": (socket.AF_UNIX, None)}
NAMES = names(uapi, "bpf_attach_type")


@pytest.fixture
def group(tmp_path):
    with cgroups(tmp_path) as made:
        yield str(made)


def datagrams(kind):
    """Return a socket that is bound, one that is not, and the address of the first."""
    family, home = HOME[kind]
    bound, other = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    bound.bind(f"\0bpfasm_{os.getpid()}" if kind == "unix" else (home, 0))
    return bound, other, bound.getsockname()


def times(call):
    for _ in range(EVENTS):
        call()


def sockets():
    family, _ = HOME["4"]
    times(lambda: socket.socket(family, socket.SOCK_DGRAM).close())


def bind(kind):
    def call():
        with socket.socket(HOME[kind][0], socket.SOCK_DGRAM) as made:
            made.bind((HOME[kind][1], 0))

    times(call)


def connect(kind):
    bound, other, at = datagrams(kind)
    with bound, other:
        times(lambda: other.connect(at))


def sendto(kind, *, receive):
    bound, other, at = datagrams(kind)
    if kind == "unix":
        other.bind(f"\0bpfasm_{os.getpid()}_b")  # the hook sees the sender's address
    with bound, other:
        for _ in range(EVENTS):
            other.sendto(b"x", at)
            if receive or kind == "unix":  # whose queue is short
                bound.recvfrom(1)


def peers(kind):
    bound, other, at = datagrams(kind)
    with bound, other:
        other.connect(at)
        times(other.getpeername)


def own(kind):
    with socket.socket(HOME[kind][0], socket.SOCK_DGRAM) as made:
        made.bind(f"\0bpfasm_{os.getpid()}" if kind == "unix" else (HOME[kind][1], 0))
        times(made.getsockname)


def options(*, get):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        if get:
            times(lambda: made.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE))
        else:
            times(lambda: made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0))


def opened(path):
    def call():
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, 8)
        os.close(fd)

    times(call)


def tcp():
    with socket.socket(socket.AF_INET) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(EVENTS)
        times(lambda: socket.create_connection(listening.getsockname()).close())


ADDR, SOCK = BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_PROG_TYPE_CGROUP_SOCK

#: Of each hook: the type of its programs, and what does it 23 times.
HOOKS = {
    "ingress": (BPF_PROG_TYPE_CGROUP_SKB, lambda: sendto("4", receive=True)),
    "egress": (BPF_PROG_TYPE_CGROUP_SKB, lambda: sendto("6", receive=False)),
    "sock_create": (SOCK, sockets),
    "sock_release": (SOCK, sockets),
    "dev": (BPF_PROG_TYPE_CGROUP_DEVICE, lambda: opened("/dev/zero")),
    "sysctl": (BPF_PROG_TYPE_CGROUP_SYSCTL, lambda: opened("/proc/sys/kernel/pid_max")),
    "getsockopt": (BPF_PROG_TYPE_CGROUP_SOCKOPT, lambda: options(get=True)),
    "setsockopt": (BPF_PROG_TYPE_CGROUP_SOCKOPT, lambda: options(get=False)),
    "sock_ops": (BPF_PROG_TYPE_SOCK_OPS, tcp),
    **{f"post_bind{kind}": (SOCK, lambda kind=kind: bind(kind)) for kind in "46"},
    **{f"bind{kind}": (ADDR, lambda kind=kind: bind(kind)) for kind in "46"},
}
for kind, end in (("4", "4"), ("6", "6"), ("unix", "_unix")):
    HOOKS |= {
        f"connect{end}": (ADDR, lambda kind=kind: connect(kind)),
        f"sendmsg{end}": (ADDR, lambda kind=kind: sendto(kind, receive=False)),
        f"recvmsg{end}": (ADDR, lambda kind=kind: sendto(kind, receive=True)),
        f"getpeername{end}": (ADDR, lambda kind=kind: peers(kind)),
        f"getsockname{end}": (ADDR, lambda kind=kind: own(kind)),
    }


def test_every_hook_is_here():
    from bpfasm.asm.attach.cgroup import CLASSES

    hooks = {hook: number for each in CLASSES for hook, number in each.hooks.items()}
    assert HOOKS.keys() == hooks.keys()
    of_cgroups = {name for name in enum_bpf_attach_type if name.startswith("BPF_CGROUP_")}
    assert {NAMES[number] for number in hooks.values()} == of_cgroups


@pytest.fixture(scope="module")
def be_in():
    """Be in a cgroup, and in a network namespace where nobody else is."""

    def both(group):
        join(network)
        enter(group)

    with namespace() as network:
        yield both


@pytest.fixture
def working(be_in):
    """Do some work in a child that is in a cgroup."""

    def do(group, work):
        def child():
            be_in(group)
            work()

        in_child(child)

    return do


def watching(name, type, where, **fields):
    """Return a program that counts, and allows everything."""
    before = ()
    if type == BPF_PROG_TYPE_SOCK_OPS:
        before = (BPF_LDX_MEM(BPF_W, R2, R1, 0), BPF_JMP_IMM(BPF_JNE, R2, BPF_SOCK_OPS_TCP_CONNECT_CB, "out"))
    return counted(name, type, where, 1, before, **fields)


@pytest.fixture
def worker(group, be_in):
    """A process in the cgroup that does the work of a hook, by the hook's number."""
    with Child(lambda: be_in(group), *(work for _, work in HOOKS.values())) as child:
        yield child


@each(HOOKS, named=str)
def test_23_times_are_23_events_by_each_mechanism(hook, group, worker):
    number, type = list(HOOKS).index(hook), HOOKS[hook][0]
    where = cgroup(group, hook)
    answer = features.ask(f"attach/{NAMES[where.attach_type].removeprefix('BPF_').lower()}")
    program, counts = watching(hook, type, where)
    if answer.state == "no":
        with pytest.raises((FeatureMissing, KernelError)), load(program) as obj:
            obj.attach()
        pytest.skip(answer.reason)
    with load(program) as obj:
        for round_, mode in enumerate(("link", "prog_attach"), 1):
            (link,) = obj.attach(mode)
            assert query(where).prog_ids == (obj[program].info().id,)
            if mode == "link":
                info = link.info()
                assert (info.kind, info.details["attach_type"]) == ("cgroup", where.attach_type)
            worker.work(number)
            # Sockets are let go a moment after they are closed.
            until(lambda round_=round_: obj[counts][0] >= EVENTS * round_)
            link.close()
            assert query(where).prog_ids == ()
        worker.work(number)
        assert obj[counts][0] == 2 * EVENTS


def test_one_program_takes_the_place_of_another(group, working):
    work, where = HOOKS["egress"][1], cgroup(group, "egress")
    old, olds = watching("old", BPF_PROG_TYPE_CGROUP_SKB, where)
    new, news = watching("new", BPF_PROG_TYPE_CGROUP_SKB, where)
    with load(old, new) as obj:
        for round_, mode in enumerate(("link", "prog_attach"), 1):
            with attach(obj[old], mode=mode) as link:
                with pytest.raises(KernelError) as caught:
                    link.update(obj[new], expected=obj[new])
                assert caught.value.rule in ("link-update", "attach-refused")
                link.update(obj[new], expected=obj[old])
                assert query(where).prog_ids == (obj[new].info().id,)
                working(group, work)
                assert (obj[olds][0], obj[news][0]) == (0, EVENTS * round_)
            assert query(where).prog_ids == ()
        with attach(obj[old], mode="prog_attach") as first:
            second = attach(obj[new], where.replace(replaces=obj[old]))
            assert second.mode == "prog_attach"
            first.close()
            assert query(where).prog_ids == (obj[new].info().id,)
            second.close()
        with pytest.raises(KernelError) as caught:
            attach(obj[new], where.replace(replaces=obj[old]))
        assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.ENOENT)


@pytest.mark.lab(on="ends")
def test_who_else_may_attach(group, working):
    below = f"{group}/below"
    os.mkdir(below)
    where = cgroup(group, "egress")
    one, ones = watching("one", BPF_PROG_TYPE_CGROUP_SKB, None)
    two, twos = watching("two", BPF_PROG_TYPE_CGROUP_SKB, None)
    work = HOOKS["egress"][1]
    with load(one, two) as obj, ExitStack() as stack:
        above = stack.enter_context(attach(obj[one], where))
        assert query(where).flags == BPF_F_ALLOW_MULTI
        deeper = where.replace(cgroup=below)
        with attach(obj[two], deeper):
            assert query(deeper, effective=True).prog_ids == tuple(obj[each].info().id for each in (two, one))
            working(below, work)
            assert (obj[ones][0], obj[twos][0]) == (EVENTS, EVENTS)
        above.close()
        with attach(obj[one], where.replace(allow="override")) as link:
            assert link.mode == "prog_attach"
            with pytest.raises(KernelError) as caught:
                attach(obj[two], where)
            assert (caught.value.rule, caught.value.errno) == ("attach-refused", errno.EPERM)
            with attach(obj[two], deeper.replace(allow="override")):
                working(below, work)
                assert (obj[ones][0], obj[twos][0]) == (EVENTS, 2 * EVENTS)
            working(below, work)
            assert (obj[ones][0], obj[twos][0]) == (2 * EVENTS, 2 * EVENTS)
        with attach(obj[one], where.replace(allow="none")), pytest.raises(KernelError) as caught:
            attach(obj[two], deeper)
        assert caught.value.errno == errno.EPERM
        assert query(where).prog_ids == ()


def test_where_one_may_be_another_s_program_stays(group):
    where = cgroup(group, "egress", allow="override")
    one, _ = watching("one", BPF_PROG_TYPE_CGROUP_SKB, None)
    two, _ = watching("two", BPF_PROG_TYPE_CGROUP_SKB, None)
    with load(one, two) as obj:
        first, second = attach(obj[one], where), attach(obj[two], where)
        first.close()
        assert query(where).prog_ids == (obj[two].info().id,)
        second.close()
        assert query(where).prog_ids == ()


def test_a_cgroup_that_is_gone_took_its_programs_along(group):
    below = f"{group}/below"
    os.mkdir(below)
    program, _ = watching("gone", BPF_PROG_TYPE_CGROUP_SKB, cgroup(below, "ingress"))
    with load(program) as obj:
        (link,) = obj.attach("prog_attach")
        os.rmdir(below)
        link.close()


def test_what_cannot_be(group):
    program, _ = watching("nowhere", BPF_PROG_TYPE_CGROUP_SKB, None)
    where = cgroup(group, "egress")
    with load(program) as obj:
        with pytest.raises(KernelError) as caught:
            attach(obj[program], cgroup(f"{group}/none", "egress"))
        assert caught.value.rule == "cgroup"
        for mode in ("link", "prog_attach"):
            with pytest.raises(KernelError) as caught:
                attach(obj[program], cgroup("/proc", "egress"), mode)
            assert caught.value.rule == "attach-refused"
        with pytest.raises(FeatureMissing) as caught:
            attach(obj[program], where.replace(allow="none"), "link")
        assert caught.value.rule == "cgroup-link"
        with attach(obj[program], where, "prog_attach"), pytest.raises(KernelError) as caught:
            attach(obj[program], where, "prog_attach")
        assert caught.value.rule == "attach-refused"
        with pytest.raises(KernelError) as caught:
            query(cgroup("/proc", "egress"))
        assert caught.value.rule == "attach-query"


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: cgroup("", "egress"),
        lambda: cgroup("/sys/fs/cgroup", "bind5"),
        lambda: cgroup("/sys/fs/cgroup", "egress", allow="some"),
        lambda: cgroup("/sys/fs/cgroup", "egress", allow="none", replace=3),
    ],
)
def test_what_is_no_place(wrong):
    with pytest.raises(OperandError) as caught:
        wrong()
    assert caught.value.rule == "attach-target"
