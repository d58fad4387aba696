"""Places as values: each kind has its opener, its words, and what it tells the verifier."""

import sys
from importlib import import_module

import pytest

import bpfasm.asm.attach as places
from bpfasm.asm import *
from bpfasm.elf import sections
from bpfasm.elf.reading.place_of import place_at, place_of
from bpfasm.errors import AssemblyError

XDP = Program("xdp", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])
counts = HashMap("counts", key=u32, value=u64, max_entries=1)

#: One of each maker: the place, and what it is called.
ONE_OF_EACH = {
    "cgroup": (cgroup("/sys/fs/cgroup/mine", "connect4"), "cgroup /sys/fs/cgroup/mine connect4"),
    "fentry": (fentry("vfs_read"), "fentry vfs_read"),
    "fexit": (fexit("nf_nat:nf_nat_setup_info"), "fexit nf_nat:nf_nat_setup_info"),
    "flow_dissector": (flow_dissector(), "flow_dissector"),
    "fmod_ret": (fmod_ret("security_file_open"), "fmod_ret security_file_open"),
    "freplace": (freplace(XDP, "xdp"), "freplace xdp"),
    "fsession": (fsession("vfs_read"), "fsession vfs_read"),
    "iterator": (iterator("bpf_map_elem", map=counts), "iterator bpf_map_elem"),
    "kprobe": (kprobe("vfs_read", offset=4), "kprobe vfs_read+0x4"),
    "kprobe_multi": (kprobe_multi("vfs_read", "vfs_write", retprobe=True), "kretprobe.multi vfs_read and 1 more"),
    "kretprobe": (kretprobe(syscall="openat"), "kretprobe syscall openat"),
    "lsm": (lsm("file_open"), "lsm file_open"),
    "lsm_cgroup": (lsm_cgroup("socket_bind", "/sys/fs/cgroup"), "lsm_cgroup socket_bind"),
    "netfilter": (netfilter("ipv4", "local_in", priority=-5), "netfilter ipv4 local_in at -5"),
    "perf_event": (perf_event((4, 0x1B1), period=7), "perf event 4:0x1b1"),
    "raw_tracepoint": (raw_tracepoint("sched_switch"), "raw tracepoint sched_switch"),
    "reuseport": (reuseport(7), "reuseport of fd 7"),
    "sk_lookup": (sk_lookup("blue"), "sk_lookup of blue"),
    "socket_filter": (socket_filter(7), "socket_filter of fd 7"),
    "sockmap": (sockmap(counts, "msg_verdict"), "sockmap counts msg_verdict"),
    "tc": (tc("eth0", "egress", priority=7), "tc eth0 egress at 7"),
    "tcx": (tcx("eth0", "ingress", first=True), "tcx eth0 ingress"),
    "tp_btf": (tp_btf("sched_switch"), "tp_btf sched_switch"),
    "tracepoint": (tracepoint("sched", "sched_switch"), "tracepoint sched:sched_switch"),
    "uprobe": (uprobe("/bin/sh", offset=0x40), "uprobe /bin/sh:0x40"),
    "uprobe_multi": (uprobe_multi("libc", pattern="mem*", session=True), "uprobe.session libc:mem*"),
    "uretprobe": (uretprobe("libc", "malloc"), "uretprobe libc:malloc"),
    "usdt": (usdt("libc", "libc", "setjmp"), "usdt libc:libc:setjmp"),
    "xdp": (xdp("eth0", via="generic"), "xdp eth0 skb"),
}


def test_every_maker_is_here():
    assert {name for name in places.__all__ if name[0].islower()} <= ONE_OF_EACH.keys()


@pytest.mark.parametrize("maker", ONE_OF_EACH)
def test_a_place_is_a_value_with_an_opener(maker):
    place, words = ONE_OF_EACH[maker]
    assert str(place) == words
    assert place == place.replace()
    assert place.takes
    if sys.platform == "linux":
        from bpfasm.kernel.links import OPENERS

        (module, *_) = [OPENERS[each.__name__] for each in type(place).__mro__ if each.__name__ in OPENERS]
        opener = import_module(f"bpfasm.kernel.links.{module}")
        assert opener.MODES
        assert opener.open_link.__doc__


@pytest.mark.parametrize("maker", ONE_OF_EACH)
def test_a_program_is_told_what_the_place_tells(maker):
    place, _ = ONE_OF_EACH[maker]
    program = Program("p", place.takes[0], [BPF_EXIT_INSN()], attach=place)
    told = place.told_at_load()
    assert {field: getattr(program, field) for field in told} == told
    again = program.replace(attach=None)
    assert (again.expected_attach_type, again.attach_btf, again.attach_prog) == (0, 0, 0)
    assert program.replace(name="q").expected_attach_type == told.get("expected_attach_type", 0)


def test_maps_that_a_place_names_become_loaded_ones():
    place, _ = ONE_OF_EACH["iterator"]
    assert place.maps() == (counts,)
    assert place.among({counts: 7}).map == 7
    assert ONE_OF_EACH["kprobe"][0].among({}) is ONE_OF_EACH["kprobe"][0]


def test_what_is_no_place():
    with pytest.raises(AssemblyError) as caught:
        Program("p", BPF_PROG_TYPE_KPROBE, [BPF_EXIT_INSN()], attach="vfs_read")
    assert caught.value.rule == "attach-target"
    assert caught.value.what == "the attach of p is 'vfs_read', not a place"


#: What stands for the device, cgroup, socket, map or namespace that a section does not name, by its name's beginning.
WHERE = {"xdp": "eth0", "tc": "eth0", "cgroup": "/sys/fs/cgroup/mine", "sockops": "/sys/fs/cgroup/mine", "sk_skb": 7,
         "sk_msg": 7, "sk_lookup": "blue", "flow_dissector": "blue", "socket": 7, "sk_reuseport": 7}  # fmt: skip

#: Those that leave open to what; and the programs of XDP that maps of devices and CPUs hold.
OPEN = {"tc": "ingress", "classifier": "egress", "cgroup/skb": "egress", "sk_skb": "verdict"}
ATTACHED = [
    row
    for row in sections.ROWS
    if row.name.startswith((*WHERE, "classifier")) and not row.name.endswith(("devmap", "cpumap"))
]


@pytest.mark.parametrize("row", ATTACHED, ids=[row.name for row in ATTACHED])
def test_a_section_and_where_are_a_place(row):
    program = Program("p", row.type, [BPF_EXIT_INSN()], expected_attach_type=row.attach_type)
    where = next((each for name, each in WHERE.items() if row.name.startswith(name)), "eth0")
    place = place_at(program, where, OPEN.get(row.name, ""))
    assert row.type in place.takes
    assert place.__dict__[place._fields[0]] == where
    if row.name in OPEN:
        assert OPEN[row.name] in str(place)
        if row.name != "cgroup/skb":  # whose attach type is that of ingress
            with pytest.raises(AssemblyError):
                place_at(program, where)
    elif row.attach_type and hasattr(place, "attach_type"):
        assert place.attach_type == row.attach_type
    assert place.told_at_load().get("expected_attach_type", row.attach_type) == row.attach_type


def test_a_section_of_this_namespace_is_a_place_by_itself():
    assert place_of(*sections.find("sk_lookup")) == sk_lookup()
    assert place_of(*sections.find("flow_dissector")) == flow_dissector()
    assert place_of(*sections.find("xdp")) is None
    with pytest.raises(AssemblyError) as caught:
        place_at(Program("p", BPF_PROG_TYPE_KPROBE, [BPF_EXIT_INSN()]), "eth0")
    assert caught.value.rule == "attach-target"
