"""XDP on a pair of devices: 23 frames are 23 events, by a link and by netlink, in the driver and in the stack."""

import errno

import pytest
from support.network import EVENTS, OURS_XDP, alone, counted, send, veth
from support.processes import until

from bpfasm.asm import *
from bpfasm.errors import FeatureMissing, KernelError, OperandError
from bpfasm.kernel import load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.link import KernelLink
from bpfasm.kernel.links.network import netlink

pytestmark = pytest.mark.lab

XDP_DROP, XDP_PASS = 1, 2
HERE = xdp("v1")


@pytest.fixture(scope="module", autouse=True)
def _once():
    """Have it imported before the children are made."""
    pytest.importorskip("pyroute2")


def passing(name, where=HERE):
    return counted(name, BPF_PROG_TYPE_XDP, where, XDP_PASS, OURS_XDP)


def there():
    """Return the programs on the receiving device, by how they are run."""
    from socket import if_nametoindex

    return netlink.xdp().get(if_nametoindex("v1"), {})


def came(obj, counts, number=EVENTS):
    until(lambda: obj[counts][0] >= number)
    assert obj[counts][0] == number


@pytest.mark.parametrize("mode", ["link", "netlink"])
def test_23_frames_are_23_events(mode):
    def test():
        veth()
        for via, runs in (("", "drv"), ("generic", "skb"), ("native", "drv")):
            program, counts = passing("frames", HERE.replace(via=via))
            with load(program) as obj:
                send()  # nobody sees these
                (link,) = obj.attach(mode)
                assert link.mode == mode
                assert there() == {runs: obj[program].info().id}
                if mode == "netlink":
                    assert link.target.via == runs
                else:
                    info = link.info()
                    assert (info.kind, info.details["ifindex"] > 0) == ("xdp", True)
                send()
                came(obj, counts)
                link.close()
                assert there() == {}
                send()
                assert obj[counts][0] == EVENTS

    alone(test)


@pytest.mark.lab(on="live")
def test_netlink_with_the_pyroute2_that_distributions_have(monkeypatch):
    """Before 0.9 it writes the flags of XDP as two bytes, in the other order."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    monkeypatch.setattr(ifinfmsg.xdp.xdp_flags, "fields", [("value", ">H")])

    def test():
        veth()
        program, _ = passing("frames", xdp("v1", via="generic"))
        with load(program) as obj:
            with obj.attach("netlink")[0]:
                assert there() == {"skb": obj[program].info().id}
            assert there() == {}

    alone(test)


@pytest.mark.parametrize("mode", ["link", "netlink"])
def test_another_program_takes_over_where_the_expected_one_is(mode):
    def test():
        veth()
        old, olds = passing("old")
        new, news = passing("new")
        with load(old, new) as obj:
            link = attach(obj[old], mode=mode)
            with pytest.raises(KernelError) as caught:
                link.update(obj[new], expected=obj[new])
            assert caught.value.rule == {"link": "link-update", "netlink": "xdp-busy"}[mode]
            assert there() == {"drv": obj[old].info().id}
            send()
            came(obj, olds)
            link.update(obj[new], expected=obj[old])
            assert there() == {"drv": obj[new].info().id}
            send()
            came(obj, news)
            assert obj[olds][0] == EVENTS
            link.close()
            assert there() == {}

    alone(test)


def test_what_is_busy():
    def test():
        veth()
        one, _ = passing("one", None)
        two, _ = passing("two", None)
        with load(one, two) as obj:
            for mode in ("link", "netlink"):
                with attach(obj[one], HERE, mode):
                    for other in ("link", "netlink"):
                        for via in ("", "drv"):
                            busy(lambda via=via, other=other: attach(obj[two], HERE.replace(via=via), other), mode)
                    # What a link holds netlink does not take away.
                    wrong = obj[one] if mode == "link" else obj[two]
                    busy(lambda wrong=wrong: attach(obj[two], HERE.replace(replaces=wrong)), mode)
                    assert there() == {"drv": obj[one].info().id}
            assert there() == {}

    def busy(call, mode):
        with pytest.raises(KernelError) as caught:
            call()
        assert caught.value.rule == "xdp-busy"
        assert caught.value.errno in (errno.EBUSY, errno.EEXIST)
        assert caught.value.what.startswith("two was not attached at xdp v1")
        assert caught.value.do

    alone(test)


def test_only_the_expected_program_gives_way_and_another_one_stays():
    def test():
        veth()
        one, _ = passing("one", None)
        two, counts = passing("two", None)
        with load(one, two) as obj:
            first = attach(obj[one], HERE, "netlink")
            second = attach(obj[two], xdp("v1", replace=obj[one]))
            assert second.mode == "netlink"
            first.close()  # it is not there any more
            assert there() == {"drv": obj[two].info().id}
            send()
            came(obj, counts)
            second.close()
            assert there() == {}

    alone(test)


def test_a_link_is_detached_and_pinned(tmp_path):
    def test():
        import os

        veth()
        program, _ = passing("kept")
        path = f"/sys/fs/bpf/xdp_test_{os.getpid()}"
        with load(program) as obj:
            (link,) = obj.attach("link")
            try:
                link.pin(path)
                link.close()
                assert there() == {"drv": obj[program].info().id}
                with KernelLink.from_pin(path) as again:
                    again.detach()
                    assert there() == {}
                    assert again.info().details["ifindex"] == 0
            finally:
                os.unlink(path)

    alone(test)


def test_what_cannot_be():
    def test():
        veth()
        program, _ = passing("nowhere", None)
        with load(program) as obj:
            for mode in ("link", "netlink"):
                with pytest.raises(KernelError) as caught:
                    attach(obj[program], xdp("v9"), mode)
                assert (caught.value.rule, caught.value.errno) == ("no-device", errno.ENODEV)
                with pytest.raises(KernelError) as caught:
                    attach(obj[program], xdp(999), mode)
                assert caught.value.rule == "no-device"
                with pytest.raises(KernelError) as caught:
                    attach(obj[program], xdp("v1", via="hw"), mode)
                assert caught.value.rule == "attach-refused"
            with pytest.raises(FeatureMissing) as caught:
                attach(obj[program], xdp("v1", replace=obj[program]), "link")
            assert caught.value.rule == "xdp-link"
            with attach(obj[program], HERE, "netlink") as link, pytest.raises(FeatureMissing) as caught:
                link.info()
            assert caught.value.rule == "no-link-object"

    alone(test)
    for wrong in (("",), (0,), ("v1", "fast")):
        with pytest.raises(OperandError) as caught:
            xdp(wrong[0], via="".join(wrong[1:]))
        assert caught.value.rule == "attach-target"


def test_pyroute2_is_named_where_it_lacks(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyroute2", None)
    with pytest.raises(FeatureMissing) as caught:
        netlink.xdp()
    assert caught.value.rule == "no-pyroute"
