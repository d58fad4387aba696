"""How QEMU is found and started, without starting it."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from bpfasm.errors import LabError
from bpfasm.lab.machine import qemu
from bpfasm.lab.machine.boards import BOARDS
from bpfasm.lab.packages.pool import ARCHITECTURES

IMAGE = Path("/k/vmlinuz")


def tool(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("arch", list(BOARDS))
@pytest.mark.parametrize("manager", ["apt", "dnf", "pacman", "zypper", "brew"])
def test_missing_qemu_names_the_package_for_the_manager_here(manager: str, arch: str, tmp_path, monkeypatch):
    tool(tmp_path, manager)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        qemu.find(arch)
    assert f"qemu-system-{arch}" in error.value.what
    assert error.value.do == f"install it: {BOARDS[arch].packages[manager]}"


@pytest.mark.parametrize("arch", list(BOARDS))
def test_missing_qemu_and_no_manager_names_them_all(arch: str, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        qemu.find(arch)
    for line in BOARDS[arch].packages.values():
        assert line in error.value.do
    assert len(str(error.value).splitlines()) == 2
    assert error.value.rule == "lab-qemu"


def test_a_host_that_is_not_linux(monkeypatch):
    qemu.check_host()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LabError, match="not Linux") as error:
        qemu.check_host()
    assert error.value.rule == "lab-host"


def test_qemu_is_found(tmp_path, monkeypatch):
    tool(tmp_path, "qemu-system-x86_64")
    tool(tmp_path, "qemu-system-aarch64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert qemu.find() == str(tmp_path / "qemu-system-x86_64")
    assert qemu.find("aarch64") == str(tmp_path / "qemu-system-aarch64")


def options(words: list[str]) -> dict[str, str]:
    return dict(pairwise(words))


def line(machine: qemu.Machine, cmdline: str = "", **more) -> list[str]:
    """Return the command line of a machine that boots, with the initrd in file 7 and the port in file 8."""
    return qemu.command(machine, qemu.boot(machine, IMAGE, cmdline, 7), 8, **more)


def test_the_command_line_names_no_file_of_ours():
    words = line(qemu.Machine("/q", "tcg", memory_mib=512, cpus=2), "lsm=bpf")
    assert words[0] == "/q"
    given = options(words)
    assert given["-kernel"] == "/k/vmlinuz"
    assert given["-initrd"] == "/proc/self/fd/7"
    assert "fd=8" in " ".join(words)
    assert given["-smp"] == "2"
    assert given["-m"] == "512"
    assert "thread=single" in given["-accel"]
    # Ours, then the kernel's own, then the init's.
    assert given["-append"].endswith("lsm=bpf rdinit=/lab/python -- -ISEB /lab/init")


def test_kvm_is_asked_for_the_processor_that_is_here():
    given = options(line(qemu.Machine("/q", "kvm")))
    assert (given["-accel"], given["-cpu"]) == ("kvm", "host")
    assert "lpj" not in given["-append"]


def test_each_architecture_has_its_board_and_console():
    assert set(BOARDS) == set(ARCHITECTURES)
    x86 = options(line(qemu.Machine("/q", "tcg")))
    arm = options(line(qemu.Machine("/q", "tcg", arch="aarch64")))
    assert "console=ttyS0" in x86["-append"]
    assert "console=ttyAMA0" in arm["-append"]
    assert arm["-machine"] == "virt"


def test_a_disk_is_an_open_file_too():
    plain = line(qemu.Machine("/q", "tcg"))
    words = line(qemu.Machine("/q", "tcg", disk=Path("/d")), disk_fd=9)
    assert "virtio-blk" not in " ".join(plain)
    assert "file.filename=/proc/self/fd/9" in options(words)["-blockdev"]
    assert options(words)["-append"] == options(plain)["-append"] + " disk"


@pytest.mark.parametrize(("kept", "share"), [(True, "on"), (False, "off")])
def test_memory_may_be_a_file(kept: bool, share: str):
    plain = line(qemu.Machine("/q", "tcg", memory_mib=512))
    given = options(line(qemu.Machine("/q", "tcg", memory_mib=512), memory=qemu.Memory(Path("/a,b/ram"), kept)))
    assert "-object" not in plain
    assert given["-machine"] == options(plain)["-machine"] + ",memory-backend=ram"
    assert given["-object"] == f"memory-backend-file,id=ram,size=512M,mem-path=/a,,b/ram,share={share}"


def test_the_initrd_is_its_parts_one_after_the_other(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * 5000)
    fd = qemu.in_memory([tmp_path / "a", b"bb", tmp_path / "a"])
    try:
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            assert file.read() == b"a" * 5000 + b"bb" + b"a" * 5000
    finally:
        os.close(fd)


def test_holes_stay_holes(tmp_path):
    with (tmp_path / "sparse").open("wb") as file:
        for at in (0, 5 << 20, 20 << 20):
            file.seek(at)
            file.write(bytes(range(256)) * 16)
        file.truncate(64 << 20)
    (tmp_path / "empty").write_bytes(b"")
    fd = qemu.in_memory([tmp_path / "sparse", tmp_path / "empty", b"after"])
    try:
        assert os.stat(fd).st_size == (64 << 20) + 5
        assert os.stat(fd).st_blocks * 512 <= 1 << 20
        with open(f"/proc/self/fd/{fd}", "rb") as copy:
            assert copy.read() == (tmp_path / "sparse").read_bytes() + b"after"
    finally:
        os.close(fd)


def test_the_verdict_on_kvm_is_kept_until_the_host_boots_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kvm = qemu.Kvm()
    assert not kvm.proven()
    kvm.note(True)
    assert qemu.Kvm().proven()
    kvm.note(False)
    assert not qemu.Kvm().proven()
    assert not qemu.Kvm().worth_trying()
    kvm.file.write_text("another-boot no\n")
    assert qemu.Kvm().worth_trying() == qemu.Kvm._answers()
    kvm.file.write_text("nonsense")
    assert not qemu.Kvm().proven()
