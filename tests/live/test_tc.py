"""tc on a pair of devices: filters of a clsact qdisc, and rows of programs without one (tcx)."""

import errno
from socket import if_nametoindex

import pytest
from support.network import EVENTS, OURS_SKB, alone, counted, send, veth
from support.processes import until

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.network import netlink
from bpfasm.kernel.query import query

pytestmark = pytest.mark.lab

TC_ACT_OK, TC_ACT_UNSPEC, TCX_NEXT = 0, -1, -1
TYPE = BPF_PROG_TYPE_SCHED_CLS


@pytest.fixture(scope="module", autouse=True)
def _once():
    """Have it imported before the children are made."""
    pytest.importorskip("pyroute2")


@pytest.fixture
def rows():
    """A kernel with tcx, or the sentence that there is none."""
    answer = features.ask("link/tcx")
    if answer.state == "no":
        program, _ = counted("absent", TYPE, tcx("lo", "ingress"), TCX_NEXT)
        with load(program) as obj, pytest.raises(FeatureMissing) as caught:
            obj.attach()
        assert caught.value.rule == "no-tcx"
        pytest.skip(answer.reason)


def seeing(name, where=None, returns=TC_ACT_OK):
    return counted(name, TYPE, where, returns, OURS_SKB)


def came(obj, counts, number=EVENTS):
    until(lambda: obj[counts][0] >= number)
    assert obj[counts][0] == number


def clsact(device):
    """Whether there is a clsact qdisc."""
    return netlink.has_clsact(if_nametoindex(device))


def test_23_frames_are_23_events_in_and_out():
    def test():
        veth()
        came_in, ins = seeing("came_in", tc("v1", "ingress"))
        went_out, outs = seeing("went_out", tc("v0", "egress", priority=7, handle=9))
        with load(came_in, went_out) as obj:
            send()
            links = obj.attach()
            assert [(link.mode, link.target.priority > 0, link.target.handle) for link in links] == [
                ("netlink", True, 1),
                ("netlink", True, 9),
            ]
            (found,) = netlink.filters(if_nametoindex("v0"))
            assert (found.direction, found.priority, found.handle) == ("egress", 7, 9)
            assert found.prog_id == obj[went_out].info().id
            send()
            came(obj, ins)
            assert obj[outs][0] == EVENTS
            assert clsact("v0")
            for link in links:
                link.close()
            assert not clsact("v0")
            assert not clsact("v1")
            send()
            assert (obj[ins][0], obj[outs][0]) == (EVENTS, EVENTS)

    alone(test)


def test_filters_run_by_priority_and_go_on_where_they_say_so():
    def test():
        veth()
        first, firsts = seeing("first", tc("v1", "ingress", priority=2), TC_ACT_UNSPEC)
        second, seconds = seeing("second", tc("v1", "ingress", priority=3), TC_ACT_OK)
        third, thirds = seeing("third", tc("v1", "ingress", priority=4), TC_ACT_OK)
        with load(third, second, first) as obj:
            obj.attach()
            send()
            came(obj, seconds)
            assert (obj[firsts][0], obj[thirds][0]) == (EVENTS, 0)

    alone(test)


def test_a_program_is_replaced():
    def test():
        veth()
        old, olds = seeing("old")
        new, news = seeing("new")
        where = tc("v1", "ingress", priority=1, handle=1)
        with load(old, new) as obj:
            link = attach(obj[old], where)
            with pytest.raises(KernelError) as caught:
                attach(obj[new], where)
            assert (caught.value.rule, caught.value.errno) == ("tc-busy", errno.EEXIST)
            link.update(obj[new])
            send()
            came(obj, news)
            assert (obj[olds][0], len(netlink.filters())) == (0, 1)
            other = attach(obj[old], where.replace(replaces=True))
            send()
            came(obj, olds)
            link.close()  # its filter is not there any more, and the other one's stays
            assert len(netlink.filters()) == 1
            with pytest.raises(KernelError) as caught:
                gone(obj[new])
            assert caught.value.errno == errno.ENOENT
            other.close()
            assert netlink.filters() == []
            assert not clsact("v1")

    def gone(program):
        with attach(program, tc("v1", "egress")) as made:
            (found,) = [each for each in netlink.filters() if each.direction == "egress"]
            netlink.remove_filter(found)
            made.update(program)

    alone(test)


def test_the_qdisc_goes_with_the_last_filter_if_it_is_ours():
    def test():
        veth()
        one, _ = seeing("one")
        at = if_nametoindex("v1")
        with load(one) as obj:
            first, second = attach(obj[one], tc("v1", "ingress")), attach(obj[one], tc("v1", "egress"))
            first.close()
            assert clsact("v1")
            second.close()
            assert not clsact("v1")
            # Somebody else's qdisc stays, and so does ours where somebody has a filter.
            netlink.add_clsact(at)
            attach(obj[one], tc("v1", "ingress")).close()
            assert clsact("v1")
            netlink.remove_clsact(at)
            link = attach(obj[one], tc("v1", "ingress"))
            netlink.add_filter(at, "egress", obj[one].fd, "somebody", priority=1, handle=1)
            link.close()
            assert [each.name for each in netlink.filters()] == ["somebody"]

    alone(test)


def test_a_row_is_in_the_order_that_was_asked_for(rows):
    def test():
        veth()
        at = tcx("v1", "ingress")
        programs = [seeing(name, None, TCX_NEXT) for name in "abcd"]
        with load(*(program for program, _ in programs)) as obj:
            a, b, c, d = (obj[program] for program, _ in programs)
            ids = [each.info().id for each in (a, b, c, d)]
            first = attach(a, at)
            assert (first.mode, first.info().kind) == ("link", "tcx")
            second = attach(b, at.replace(before=a))
            third = attach(c, at.replace(after=second))
            fourth = attach(d, at.replace(first=True))
            row = query(at)
            assert row.prog_ids == (ids[3], ids[1], ids[2], ids[0])
            assert row.link_ids == tuple(each.info().id for each in (fourth, second, third, first))
            send()
            for _, counts in programs:
                came(obj, counts)
            for where, rule in (
                (at.replace(revision=row.revision + 1), errno.ESTALE),
                (at, errno.EEXIST),
            ):
                with pytest.raises(KernelError) as caught:
                    attach(a, where)
                assert (caught.value.rule, caught.value.errno) == ("attach-refused", rule)
            third.close()
            last = attach(c, at.replace(last=True, revision=query(at).revision))
            assert query(at).prog_ids == (ids[3], ids[1], ids[0], ids[2])
            fourth.detach()
            assert query(at).prog_ids == (ids[1], ids[0], ids[2])
            for each in (first, second, fourth, last):
                each.close()
            assert query(at).prog_ids == ()

    alone(test)


def test_both_mechanisms_count_the_same(rows):
    def test():
        veth()
        by_row, in_row = seeing("by_row", tcx("v1", "ingress"), TCX_NEXT)
        by_filter, filtered = seeing("by_filter", tc("v1", "ingress"))
        out_row, out_rows = seeing("out_row", tcx("v0", "egress"), TCX_NEXT)
        with load(by_row, by_filter, out_row) as obj:
            links = obj.attach()
            send()
            came(obj, filtered)
            assert (obj[in_row][0], obj[out_rows][0]) == (EVENTS, EVENTS)
            links[0].update(obj[out_row])
            send()
            came(obj, filtered, 2 * EVENTS)
            assert (obj[in_row][0], obj[out_rows][0]) == (EVENTS, 3 * EVENTS)

    alone(test)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda: tc("v0", "sideways"),
        lambda: tc("", "ingress"),
        lambda: tc("v0", "ingress", priority=1 << 16),
        lambda: tc("v0", "ingress", replace=True),
        lambda: tcx("v0", "ingress", first=True, last=True),
    ],
)
def test_what_is_no_place(wrong):
    with pytest.raises(OperandError) as caught:
        wrong()
    assert caught.value.rule == "attach-target"
