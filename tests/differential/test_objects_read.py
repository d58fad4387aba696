"""Objects by clang as we load them, and as libbpf does: the same code in the kernel, which does the same."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import objects

from bpfasm.asm import StructOps
from bpfasm.elf.object import read_object
from bpfasm.errors import DecodeError
from bpfasm.kernel import load
from bpfasm.kernel.btf.kernel import vmlinux
from bpfasm.kernel.needs import missing

pytestmark = pytest.mark.oracle

OURS = Path(objects.HERE) / "object_ours.py"

#: What libbpf 1.1 does not know or refuse: newer names of sections, maps of before BTF.
BEYOND = ("sections_newer", "legacy_maps")

#: Functions are laid out in the order of first use; libbpf follows each call at once.
OTHER_ORDER = ("many_functions",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lack = objects.lacking()
    if lack:
        pytest.skip(f"needs {lack} (apt install clang-14 clang-19 gcc libbpf-dev libelf-dev zlib1g-dev)")
    return objects.compile_all(tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def both(folder):
    """Load every object on this kernel, with libbpf and with bpfasm."""
    lack = missing(["bpf"])
    if lack:
        pytest.skip(lack.what)
    words = objects.words(objects.OBJECTS)
    loader = objects.build_loader(folder)
    theirs = subprocess.run([loader, *words], cwd=folder, capture_output=True, text=True, check=True).stdout
    ours = subprocess.run([sys.executable, OURS, *words], cwd=folder, capture_output=True, text=True, check=True)
    return objects.rows(ours.stdout), objects.rows(theirs)


def test_there_are_enough():
    assert len(objects.OBJECTS) >= 40


@pytest.mark.parametrize("name", objects.OBJECTS)
def test_an_object_is_read_without_a_kernel(folder, name):
    found = read_object((folder / name).read_bytes(), name)
    assert found.license == "GPL"
    assert len(found.programs) == len({each.name for each in found.programs}) >= 1
    assert all(each.type for each in found.programs)
    assert all(each.types for each in found.programs)


@pytest.mark.parametrize("name", objects.OBJECTS)
def test_it_is_loaded_as_by_libbpf(both, name):
    ours, theirs = ([(key, row) for key, row in side.items() if key[0] == name] for side in both)
    if name.split(".")[0] in BEYOND:
        assert [row for _, row in ours if "xlated" in row]
        return
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    for (key, our), (_, their) in zip(ours, theirs, strict=True):
        same(key, our, their)


def same(key, ours, theirs):
    """Compare a program of both."""
    assert ("xlated" in ours) == ("xlated" in theirs), (key, ours.get("error"), theirs.get("errno"))
    if "xlated" not in ours:
        return
    theirs["maps"].pop("house", None)  # a map that holds a struct of functions is none that we make
    assert objects.without_ids(ours) == objects.without_ids(theirs), key
    if key[0].split(".")[0] not in OTHER_ORDER:
        assert objects.code(ours) == objects.code(theirs), key


# Structs of functions

STRUCTS = """
#include "house.h"

struct sock;
struct tcp_congestion_ops___mine {
	unsigned int (*ssthresh)(struct sock *sk);
	unsigned int flags;
	void (*cong_avoid)(struct sock *sk, unsigned int ack, unsigned int acked);
	unsigned int (*undo_cwnd)(struct sock *sk);
	void (*release)(struct sock *sk);
	char name[16];
	int key : 5, low : 3;
} core;

SEC("struct_ops") unsigned int half(unsigned long long *ctx) { return 2; }
SEC("struct_ops/avoid") void avoid(unsigned long long *ctx) {}
SEC("struct_ops/avoid") void other(unsigned long long *ctx) {}
SEC("struct_ops") unsigned int undo(unsigned long long *ctx) { return 3; }

SEC(".struct_ops.link") struct tcp_congestion_ops___mine first = {
	.name = "bpfasm_first", .flags = 0x80000002,
	.ssthresh = (void *)half, .cong_avoid = (void *)avoid, .undo_cwnd = (void *)undo,
};
SEC(".struct_ops.link") struct tcp_congestion_ops___mine second = {
	.name = "bpfasm_second",
	.ssthresh = (void *)half, .cong_avoid = (void *)avoid, .undo_cwnd = (void *)undo,
};
SEC("?.struct_ops") struct tcp_congestion_ops___mine unasked = {
	.ssthresh = (void *)half, .cong_avoid = (void *)other, BITS
};
"""


@pytest.fixture
def structs(folder, tmp_path):
    """What reads STRUCTS, with other members of the last one."""

    def read(bits=""):
        source, target = tmp_path / "structs.c", tmp_path / "structs.o"
        source.write_text(STRUCTS.replace("BITS", bits))
        objects.compile_one(source, target, "clang-19")
        return read_object(target.read_bytes(), "structs.o")

    return read


@pytest.mark.parametrize("compiler", ["14", "19"])
def test_a_struct_holds_its_programs(folder, compiler):
    found = read_object((folder / f"struct_ops.{compiler}.o").read_bytes(), "struct_ops.o")
    assert [*found.structs] == ["house"]
    assert found["house"] == StructOps(
        "house",
        "tcp_congestion_ops",
        {
            "name": b"house".ljust(16, b"\0"),
            "ssthresh": found["half"],
            "cong_avoid": found["avoid"],
            "undo_cwnd": found["undo"],
        },
    )
    assert found["house"] in [*found]


def test_structs_are_told_by_section_and_name(structs):
    found = structs()
    assert [(each.name, each.struct) for each in found.structs.values()] == [
        ("first", "tcp_congestion_ops"), ("second", "tcp_congestion_ops"), ("unasked", "tcp_congestion_ops"),
    ]  # fmt: skip
    assert found["first"].members["flags"] == 0x80000002
    assert "flags" not in found["second"].members
    assert found["first"].members["ssthresh"] is found["second"].members["ssthresh"] is found["half"]
    assert found["half"].attach_btf == "tcp_congestion_ops.ssthresh"
    assert set(found.manual) == {"unasked", "other"}  # what it alone has is not loaded either
    assert [each.name for each in found] == ["half", "undo", "avoid", "first", "second"]


def test_a_bit_field_that_is_set_is_refused(structs):
    assert "low" not in structs(".key = 0")["unasked"].members
    for bits in (".key = 1", ".low = 1"):
        with pytest.raises(DecodeError, match=f"{bits.split()[0][1:]} is a bit field"):
            structs(bits)


def test_a_program_of_two_members_is_refused(structs):
    with pytest.raises(DecodeError, match=r"avoid is tcp_congestion_ops\.\w+ and tcp_congestion_ops\.\w+"):
        structs(".release = (void *)avoid")


def test_structs_are_registered(structs):
    lack = missing(["map/struct_ops"])
    if lack or os.geteuid() != 0 or not vmlinux().find("bpf_struct_ops_tcp_congestion_ops", 4):
        pytest.skip(lack.what if lack else "needs root, and congestion control by programs")
    found = structs()
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    flagged = found["first"].replace(members={**found["first"].members, "flags": 0})
    with load(flagged, found["second"]) as obj:
        assert len(obj.attach()) == 2
        assert {"bpfasm_first", "bpfasm_second"} <= set(available.read_text().split())
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bpfasm_second")
            client.connect(server.getsockname())
    assert not {"bpfasm_first", "bpfasm_second"} & set(available.read_text().split())
