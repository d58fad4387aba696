"""What a guest has beside Python: commands, and kernel modules that are loaded when they are first used."""

from __future__ import annotations

import pytest

from bpfasm import lab
from bpfasm.cli import main
from bpfasm.lab.image import ext4
from bpfasm.lab.kernel import modules

pytestmark = pytest.mark.boots


def shell(guest: lab.Guest, script: str) -> str:
    """Run a script of the shell's, which must succeed, and return what it writes."""
    done = guest.capture(["sh", "-euc", script], timeout=60)
    assert (done.status, done.stderr) == (0, b""), done
    return done.stdout.decode()


def test_the_shell_and_its_commands(guest):
    assert shell(guest, "printf '%s\n' b a | sort | tr ab AB | paste -sd,") == "A,B\n"
    assert shell(guest, "ps -o pid,args | grep '^ *1 ' | wc -l") == "1\n"


def test_scripts_find_what_their_first_lines_name(guest):
    script = """
        printf '#!/bin/sh\necho sh\n' > /tmp/one
        printf '#!/usr/bin/env python3\nprint("python")\n' > /tmp/two
        chmod +x /tmp/one /tmp/two
        /tmp/one; /tmp/two; rm /tmp/one /tmp/two
    """
    assert shell(guest, script) == "sh\npython\n"


def test_a_pair_of_interfaces(guest):
    """`type veth` is a request for the module rtnl-link-veth."""
    script = """
        ip link add left type veth
        ip link set left up
        ip address add 10.9.8.7/24 dev left
        ip -o address show left | tr -s ' ' | cut -d' ' -f2-4
        grep -c ^veth /proc/modules
        ip link del left
    """
    assert shell(guest, script) == "left inet 10.9.8.7/24\n1\n"


def test_a_file_system_in_a_file(guest):
    """Opening /dev/loop-control loads the loop module."""
    script = """
        dd if=/dev/zero of=/tmp/image bs=1M count=4 2>/dev/null
        mke2fs -F /tmp/image >/dev/null
        mkdir /tmp/here
        mount -t ext4 -o loop /tmp/image /tmp/here
        echo kept > /tmp/here/file
        umount /tmp/here
        mount -t ext4 -o loop /tmp/image /tmp/here
        cat /tmp/here/file
        umount /tmp/here
        rm -r /tmp/here /tmp/image
    """
    assert shell(guest, script) == "kept\n"


def test_a_layered_file_system(guest):
    script = """
        mkdir /run/lower /run/layers /run/merged
        echo below > /run/lower/file
        mount -t tmpfs none /run/layers
        mkdir /run/layers/upper /run/layers/work
        mount -t overlay -o lowerdir=/run/lower,upperdir=/run/layers/upper,workdir=/run/layers/work none /run/merged
        cat /run/merged/file
        echo above > /run/merged/file
        cat /run/lower/file /run/layers/upper/file
        umount /run/merged /run/layers
        rm -r /run/lower /run/layers /run/merged
    """
    assert shell(guest, script) == "below\nbelow\nabove\n"


def test_a_place_for_classifiers(guest):
    """A clsact queue by rtnetlink: the kernel asks for its module by its kind."""
    program = """if 1:
        import socket, struct

        def ask(kind, flags, body):
            request = struct.pack("=IHHII", 16 + len(body), kind, flags | 0x5, 1, 0) + body  # REQUEST | ACK
            with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
                netlink.send(request)
                return -struct.unpack_from("=i", netlink.recv(4096), 16)[0]

        name = b"clsact\\0\\0"
        attribute = struct.pack("=HH", 4 + 7, 1) + name  # TCA_KIND
        clsact = struct.pack("=BBHiIII", 0, 0, 0, 1, 0xFFFF0000, 0xFFFFFFF1, 0) + attribute  # of lo, at its ingress
        print(ask(36, 0x600, clsact), ask(37, 0, clsact))  # RTM_NEWQDISC CREATE | EXCL, RTM_DELQDISC
    """
    done = guest.capture(["python3", "-c", program], timeout=60)
    assert done == lab.Result(0, b"0 0\n", b"")


def test_each_module_that_a_guest_has_can_be_loaded(guest):
    """Those that are built in included: modprobe knows them from the kernel's list."""
    assert guest.kernel.tree
    folder = guest.kernel.tree.modules
    known = modules.files(folder).keys() | modules.built_in(folder)
    names = sorted(known.intersection(modules.ON_DEMAND))
    assert {"veth", "sch_ingress", "cls_bpf", "loop", "overlay", "nf_conntrack"} <= set(names)
    shell(guest, f"modprobe -a {' '.join(names)}")
    loaded = shell(guest, "cut -d' ' -f1 /proc/modules").split()
    assert set(names) - modules.built_in(folder) <= set(loaded)


def test_opening_a_node_loads_its_module(guest):
    assert shell(guest, "exec 3<>/dev/net/tun; exec 3>&-; grep -c '^tun ' /proc/modules") == "1\n"


def test_a_module_that_is_asked_for():
    with lab.boot(modules=["zram"]) as guest:
        assert shell(guest, "modprobe zram; cat /sys/block/zram0/disksize") == "0\n"


def test_a_module_that_this_kernel_does_not_have(capsys):
    assert main(["lab", "run", "--on", "6.1", "--module", "veth", "--module", "nonesuch", "--", "true"]) == 125
    out, err = capsys.readouterr()
    assert out == ""
    assert f"kernel {lab.find('6.1').release} has no module nonesuch" in err
    assert len(err.splitlines()) == 2


@pytest.fixture
def with_disk(guest):
    if ext4.find() is None:
        pytest.skip("mkfs.ext4 is not installed")
    return guest


def test_writes_to_the_disk_are_requests_of_its_queue(with_disk):
    """Eight writes of 64 KiB past the page cache, seen by the kernel's own counters and as events."""
    program = """if 1:
        import mmap, os

        top = "/sys/kernel/tracing/"
        def switch(value):
            with open(top + "events/block/block_rq_issue/enable", "w") as file:
                file.write(value)
        def written():
            with open("/sys/block/vda/stat") as file:
                return int(file.read().split()[6])  # sectors of 512 bytes

        file = os.open("/mnt/disk/file", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
        os.posix_fallocate(file, 0, 1 << 20)
        os.fsync(file)
        page = mmap.mmap(-1, 1 << 16)
        page.write(b"x" * (1 << 16))
        os.sync()
        before = written()
        switch("1")
        for i in range(8):
            os.pwrite(file, page, i << 16)
        switch("0")
        print(written() - before >= 8 * 128)
        os.fsync(file)
        with open(top + "trace") as trace:
            events = [line.split("block_rq_issue: ")[1].split() for line in trace if "block_rq_issue: " in line]
        ours = [event for event in events if event[1].startswith("W") and event[2] == "65536"]
        major, minor = os.major(os.stat("/mnt/disk").st_dev), os.minor(os.stat("/mnt/disk").st_dev)
        print(len(ours), {event[0] for event in ours} == {f"{major},{minor}"})
    """
    done = with_disk.capture(["python3", "-c", program], timeout=60)
    assert done == lab.Result(0, b"True\n8 True\n", b"")


def test_what_is_written_to_the_disk_is_not_kept(with_disk):
    shell(with_disk, "echo kept > /mnt/disk/other; sync")
    with lab.boot(with_disk.kernel) as another:
        assert shell(another, "ls /mnt/disk; mount | grep /mnt/disk | cut -d' ' -f1-5") == (
            "lost+found\n/dev/vda on /mnt/disk type ext4\n"
        )


def test_a_guest_without_a_disk_says_so(monkeypatch):
    monkeypatch.setattr(ext4, "find", lambda: None)
    with lab.boot() as guest:
        assert "mkfs.ext4 (e2fsprogs) is not on the host" in shell(guest, "readlink /mnt/disk")
        assert guest.capture(["ls", "/mnt/disk/"], timeout=60).status != 0
