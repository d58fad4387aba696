"""How QEMU is found and started, without starting it."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from bpfasm.errors import LabError
from bpfasm.lab import qemu

IMAGE = Path("/k/vmlinuz")


def tool(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("manager", list(qemu.PACKAGES))
def test_missing_qemu_names_the_package_for_the_manager_here(manager: str, tmp_path, monkeypatch):
    tool(tmp_path, manager)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        qemu.find()
    assert "qemu-system-x86_64" in error.value.what
    assert error.value.do == f"install it: {qemu.PACKAGES[manager]}"


def test_missing_qemu_and_no_manager_names_them_all(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        qemu.find()
    for line in qemu.PACKAGES.values():
        assert line in error.value.do
    assert len(str(error.value).splitlines()) == 2
    assert error.value.rule == "lab-qemu"


def test_a_host_whose_python_cannot_be_a_guests(monkeypatch):
    with pytest.raises(LabError) as error:
        qemu.check_host("another")
    assert error.value.rule == "lab-host"
    assert os.uname().machine in error.value.what
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(LabError, match="not Linux"):
        qemu.check_host("x86_64")


def test_qemu_is_found(tmp_path, monkeypatch):
    tool(tmp_path, "qemu-system-x86_64")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert qemu.find() == str(tmp_path / "qemu-system-x86_64")


def test_the_command_line_names_no_file_of_ours():
    words = qemu.command(qemu.Machine("/q", "tcg", memory_mib=512, cpus=2), IMAGE, "lsm=bpf", 7, 8)
    assert words[0] == "/q"
    options = dict(pairwise(words))
    assert options["-kernel"] == "/k/vmlinuz"
    assert options["-initrd"] == "/proc/self/fd/7"
    assert "fd=8" in " ".join(words)
    assert options["-smp"] == "2"
    assert options["-m"] == "512"
    assert "thread=single" in options["-accel"]
    # Ours, then the kernel's own, then the init's.
    assert options["-append"].endswith("lsm=bpf rdinit=/lab/python -- -ISEB /lab/init")
    assert qemu.command(qemu.Machine("/q", "kvm"), IMAGE, "", 7, 8)[words.index("-accel") + 1] == "kvm"


def test_the_initrd_is_its_parts_one_after_the_other(tmp_path):
    (tmp_path / "a").write_bytes(b"a" * 5000)
    fd = qemu.initrd([tmp_path / "a", b"bb", tmp_path / "a"])
    try:
        with open(f"/proc/self/fd/{fd}", "rb") as file:
            assert file.read() == b"a" * 5000 + b"bb" + b"a" * 5000
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
