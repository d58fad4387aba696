"""The kernels there are: the matrix, what is unpacked, and images named by their path."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bpfasm import lab
from bpfasm.errors import LabError, UsageError
from bpfasm.lab import matrix

RELEASE = "6.1.0-1-cloud-amd64"


def image(path: Path, release: str = RELEASE) -> Path:
    """Write the head of a bzImage: what the lab reads of it."""
    head = bytearray(0x4000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x3000 - 0x200).to_bytes(2, "little")
    words = f"{release} (debian-kernel@lists) #1 SMP".encode() + b"\0"
    head[0x3000 : 0x3000 + len(words)] = words
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head)
    return path


def busybox(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_matrix():
    kernels = lab.kernels()
    assert [kernel.version for kernel in kernels] == ["5.10", "6.1", "6.12", "7"]
    assert lab.default() == "6.1"
    assert "bpf" in kernels[0].cmdline.split("lsm=")[1].split(",")
    for kernel in kernels:
        assert not kernel.cached
        assert kernel.release is None
        assert kernel.arch == "x86_64"
        assert kernel.releases.startswith(kernel.version + ".")
        assert kernel.suites
    assert "FPROBE" in kernels[1].lacks


def test_a_kernel_that_is_not_one_of_all():
    *those_of_all, arm64 = lab.everything()
    assert those_of_all == lab.kernels()
    assert (arm64.version, arm64.arch, arm64.in_all) == ("6.12-arm64", "aarch64", False)
    assert lab.find("6.12-arm64") == arm64


@pytest.mark.parametrize(
    "image_at, modules_at",
    [
        ("boot/vmlinuz-" + RELEASE, "lib/modules/" + RELEASE),
        ("boot/vmlinuz-" + RELEASE, "usr/lib/modules/" + RELEASE),
        ("usr/lib/modules/" + RELEASE + "/vmlinuz", "usr/lib/modules/" + RELEASE),
        ("usr/lib/modules/" + RELEASE + "/vmlinuz.unsigned", "usr/lib/modules/" + RELEASE),
    ],
    ids=["6.1", "6.12", "7", "7 before it is signed"],
)
def test_the_trees_that_debian_packs(image_at: str, modules_at: str):
    top = matrix.place("6.1")
    image(top / image_at)
    (top / modules_at / "kernel").mkdir(parents=True)
    busybox(top / "bin/busybox")
    kernel = lab.find("6.1")
    assert kernel.release == RELEASE
    assert kernel.tree and kernel.tree.modules == top / modules_at
    # The same image, named by its path.
    assert lab.find(str(top / image_at)).tree == kernel.tree


@pytest.mark.parametrize("place", ["bin/busybox", "usr/bin/busybox"])
def test_the_busybox_of_a_tree(place: str):
    top = matrix.place("6.1")
    image(top / f"boot/vmlinuz-{RELEASE}")
    busybox(top / place)
    kernel = lab.find("6.1")
    assert kernel.tree and kernel.tree.busybox == top / place


def test_a_tree_of_before_there_was_a_busybox_is_not_the_kernel():
    image(matrix.place("6.1") / f"boot/vmlinuz-{RELEASE}")
    assert not lab.find("6.1").cached


def test_an_image_borrows_a_busybox_for_its_processor(tmp_path):
    for version in ("6.1", "6.12-arm64"):
        top = matrix.place(version)
        image(top / f"boot/vmlinuz-{RELEASE}")
        busybox(top / "bin/busybox")
    kernel = lab.find(str(image(tmp_path / "vmlinuz")))
    assert kernel.tree and kernel.tree.busybox == matrix.place("6.1") / "bin/busybox"


def test_a_kernel_without_modules(tmp_path):
    kernel = lab.find(str(image(tmp_path / "vmlinuz", "9.9.9-mine")))
    assert kernel.tree == lab.Tree("9.9.9-mine", tmp_path / "vmlinuz", None)


def test_a_path_may_be_relative(tmp_path, monkeypatch):
    image(tmp_path / "vmlinuz")
    monkeypatch.chdir(tmp_path)
    assert lab.find("./vmlinuz").version == str(tmp_path / "vmlinuz")


def test_no_version_is_the_default():
    assert lab.find(None).version == "6.1"


def test_a_version_that_is_not_there():
    with pytest.raises(UsageError) as error:
        lab.find("6.2")
    assert "'6.2'" in error.value.what
    assert error.value.rule == "lab-version"
    assert "5.10, 6.1, 6.12, 7, 6.12-arm64" in error.value.do


def test_files_that_are_no_kernel(tmp_path):
    with pytest.raises(LabError, match="cannot read"):
        lab.find(str(tmp_path / "nothing"))
    for content in (b"", b"\x7fELF", bytes(0x4000), b"\x1f\x8b", gzip.compress(bytes(0x4000))):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(LabError, match="bzImage") as error:
            lab.find(str(tmp_path / "x"))
        assert error.value.rule == "lab-kernel"


def arm64(banner: bytes) -> bytes:
    """Return an Image of arm64: its header, and somewhere in it the banner."""
    return bytes(0x38) + b"ARM\x64" + bytes(200_000) + b"Linux version %s (%s)" + bytes(9) + banner + bytes(99)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["Image", "Image.gz"])
def test_an_image_of_arm64(pack, tmp_path):
    release = "6.12.1+deb13-cloud-arm64"
    (tmp_path / "Image").write_bytes(pack(arm64(b"Linux version " + release.encode() + b" (me@here) (gcc) #1 SMP")))
    (tmp_path / "lib/modules" / release / "kernel").mkdir(parents=True)
    (tmp_path / "boot").mkdir()
    (tmp_path / "Image").rename(tmp_path / "boot/vmlinuz")
    kernel = lab.find(str(tmp_path / "boot/vmlinuz"))
    assert (kernel.arch, kernel.release) == ("aarch64", release)
    assert kernel.tree and kernel.tree.modules == tmp_path / "lib/modules" / release


def test_an_image_of_arm64_that_does_not_say_its_release(tmp_path):
    (tmp_path / "Image").write_bytes(arm64(b""))
    assert lab.find(str(tmp_path / "Image")).release == "unknown"


def test_a_file_cannot_be_fetched(tmp_path):
    kernel = lab.find(str(image(tmp_path / "vmlinuz")))
    assert lab.fetch(kernel) == kernel
    with pytest.raises(UsageError):
        lab.fetch(kernel, renew=True)
