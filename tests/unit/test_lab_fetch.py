"""Getting a kernel with apt: from an archive on this disk, with this machine's apt and dpkg."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab import cache, debian, matrix, sources, store
from bpfasm.lab.matrix import Kernel
from bpfasm.lab.progress import Reporter

RELEASE = "9.9.1+test-cloud-amd64"
KERNEL = Kernel("9.9", suites=("bookworm", "bookworm-security"), releases="9.*-cloud-amd64")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    """An archive that is not signed, with a kernel in parts, as Debian packs its newest."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    top = tmp_path / "archive"
    index = ""
    for name, files in (
        (f"linux-binary-unsigned-{RELEASE}", {f"usr/lib/modules/{RELEASE}/vmlinuz.unsigned": bzimage()}),
        (f"linux-modules-{RELEASE}", {f"usr/lib/modules/{RELEASE}/kernel/a.ko": b"module"}),
        # An older one, which a meta-package may still lead to.
        ("linux-image-9.9.0+test-cloud-amd64", {"boot/vmlinuz-9.9.0+test-cloud-amd64": b"old"}),
        ("linux-image-8.1-cloud-amd64", {"boot/vmlinuz-8.1-cloud-amd64": b"another series"}),
        ("busybox-static", {"usr/bin/busybox": b"busybox"}),
    ):
        tree = tmp_path / "tree" / name
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: {name}\nVersion: 1\nArchitecture: amd64\nMaintainer: t <t@t>\nDescription: test\n"
        (tree / "DEBIAN/control").write_text(control)
        for path, data in files.items():
            (tree / path).parent.mkdir(parents=True)
            (tree / path).write_bytes(data)
        deb = top / "pool" / f"{name}_1_amd64.deb"
        deb.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True)
        data = deb.read_bytes()
        index += (
            control + f"Filename: pool/{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )
    packages = top / "dists/bookworm/main/binary-amd64/Packages"
    packages.parent.mkdir(parents=True)
    packages.write_text(index)
    digest = hashlib.sha256(index.encode()).hexdigest()
    (top / "dists/bookworm/Release").write_text(
        "Suite: bookworm\nCodename: bookworm\nArchitectures: amd64\nComponents: main\n"
        f"SHA256:\n {digest} {len(index)} main/binary-amd64/Packages\n"
    )
    monkeypatch.setenv("BPFASM_MIRROR", f"file:{top}")
    return top


@pytest.fixture
def trusted(archive, monkeypatch) -> Path:
    """The same archive, taken without a signature."""
    monkeypatch.setattr(sources, "to_list", lambda *_: f"deb [trusted=yes] file:{archive} bookworm main\n")
    return archive


def bzimage() -> bytes:
    head = bytearray(0x4000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x200).to_bytes(2, "little")
    head[0x400 : 0x400 + len(RELEASE) + 4] = f"{RELEASE} #1".encode() + b"\0"
    return bytes(head)


def test_an_archive_without_a_signature_is_refused(archive):
    with pytest.raises(LabError) as error:
        lab.fetch(KERNEL, progress=lambda *_: None)
    assert "not signed" in error.value.what
    assert error.value.rule == "lab-fetch"
    assert not store.place("9.9").exists()


def test_a_kernel_in_parts_is_put_together(trusted):
    seen = []
    kernel = lab.fetch(KERNEL, progress=lambda *step: seen.append(step))
    assert kernel.release == RELEASE
    assert kernel.tree
    assert kernel.tree.vmlinuz.read_bytes() == bzimage()
    assert kernel.tree.modules and (kernel.tree.modules / "kernel/a.ko").read_bytes() == b"module"
    assert kernel.tree.busybox and kernel.tree.busybox.read_bytes() == b"busybox"
    assert list((cache.root() / "tmp").iterdir()) == []
    assert seen[0][0].startswith("package lists")
    last = {what: (done, total) for what, done, total in seen}
    names = (f"linux-binary-unsigned-{RELEASE}", f"linux-modules-{RELEASE}", "busybox-static")
    size = sum((trusted / f"pool/{name}_1_amd64.deb").stat().st_size for name in names)
    assert last["9.9"] == (size, size)
    # It is here now: the mirror is not asked again.
    shutil.rmtree(trusted)
    assert lab.fetch(KERNEL.replace(tree=None)).release == RELEASE


def test_a_package_that_was_changed_is_refused(trusted):
    deb = trusted / f"pool/linux-binary-unsigned-{RELEASE}_1_amd64.deb"
    data = bytearray(deb.read_bytes())
    data[-1] ^= 1
    deb.write_bytes(data)
    with pytest.raises(LabError) as error:
        lab.fetch(KERNEL, progress=lambda *_: None)
    assert f"linux-binary-unsigned-{RELEASE}_1_amd64.deb is damaged" in error.value.what
    assert hashlib.sha256(data).hexdigest() in error.value.what
    assert error.value.rule == "lab-checksum"
    assert not store.place("9.9").exists()


def test_a_suite_without_the_kernel(trusted):
    with pytest.raises(LabError, match=r"no kernel 10\.\*-cloud-amd64 in bookworm"):
        lab.fetch(KERNEL.replace(releases="10.*-cloud-amd64"), progress=lambda *_: None)


def test_a_suite_without_a_package(trusted, monkeypatch):
    monkeypatch.setattr(matrix, "along", lambda: ("nonesuch",))
    with pytest.raises(LabError, match="no package nonesuch in bookworm"):
        lab.fetch(KERNEL, progress=lambda *_: None)


@pytest.mark.parametrize(
    "older, newer",
    [
        ("5.10.0-9-cloud-amd64", "5.10.0-46-cloud-amd64"),
        ("6.12.107+deb13-cloud-amd64", "6.12.115+deb13-cloud-amd64"),
        ("6.12.115+deb13-cloud-amd64", "6.12.115+deb13.1-cloud-amd64"),
        ("6.12.74+deb13-cloud-amd64", "6.12.74+deb13+1-cloud-amd64"),
        ("7.2.13+deb13-cloud-amd64", "7.3.4+deb13-cloud-amd64"),
        ("7.9.1+deb13-cloud-amd64", "7.10.1+deb13-cloud-amd64"),
    ],
)
def test_the_newest_release(older: str, newer: str):
    assert max(newer, older, key=lambda release: debian.order(release, "-cloud-amd64")) == newer


def test_two_at_once_fetch_once(trusted):
    program = (
        "import os; from bpfasm import lab; from bpfasm.lab import sources; from bpfasm.lab.matrix import Kernel\n"
        f"sources.to_list = lambda *_: 'deb [trusted=yes] file:{trusted} bookworm main\\n'\n"
        f"k = lab.fetch(Kernel('9.9', suites=('bookworm',), releases='9.*-cloud-amd64'))\n"
        "print(k.release)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in results] == [RELEASE + "\n"] * 2
    assert sum("package lists" in err for _, err in results) == 1
    assert sum("another bpfasm is fetching 9.9" in err for _, err in results) <= 1


def test_the_hosts_apt_is_left_alone(trusted, tmp_path, monkeypatch):
    """Hooks of the host's configuration do not run, and its folders are not written."""
    hook = tmp_path / "hook-ran"
    config = tmp_path / "host.conf"
    config.write_text(
        f'APT::Update::Pre-Invoke {{ "touch {hook}"; }};\nAPT::Update::Post-Invoke {{ "touch {hook}"; }};\n'
        f'APT::Update::Post-Invoke-Success {{ "touch {hook}"; }};\nDir::Cache "/nonexistent";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    before = {path: path.stat().st_mtime_ns for path in map(Path, ("/var/lib/apt/lists", "/var/cache/apt"))}
    assert lab.fetch(KERNEL, progress=lambda *_: None).release == RELEASE
    assert not hook.exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_suite_that_has_left_the_mirror(archive):
    with pytest.raises(LabError, match="the mirror has no suite buster") as error:
        lab.fetch(KERNEL.replace(suites=("buster",)), progress=lambda *_: None)
    assert error.value.rule == "lab-suite"


def test_a_machine_without_apt_says_what_else_there_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError) as error:
        lab.fetch(KERNEL)
    assert "--on /boot/vmlinuz" in error.value.do
    assert error.value.rule == "lab-apt"
    assert len(str(error.value).splitlines()) == 2


def test_the_python_of_another_processor_is_got_once(trusted, monkeypatch):
    wanted = matrix.Userland(("bookworm",), ("busybox-static",))
    monkeypatch.setattr(matrix, "userland", lambda: wanted)
    folder = store.userland("x86_64", progress=lambda *_: None)
    assert (folder / "usr/bin/busybox").read_bytes() == b"busybox"
    shutil.rmtree(trusted)
    assert store.userland("x86_64") == folder
    # Another list is another folder.
    monkeypatch.setattr(matrix, "userland", lambda: wanted.replace(packages=()))
    with pytest.raises(LabError):
        store.userland("x86_64", progress=lambda *_: None)


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    report = Reporter()
    for done in (0, 1_000_000, 2_000_000):
        report("linux-image 6.1", done, 2_000_000)
    report("lists", 100, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "lab: linux-image 6.1: 0.0 of 2.0 MB",
        "lab: linux-image 6.1: 2.0 of 2.0 MB",
        "lab: lists: 100 %",
    ]


def test_progress_rewrites_its_line_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    report = Reporter()
    report("a", 0, 10_000_000)
    report("a", 10_000_000, 10_000_000)
    assert capsys.readouterr().err == "\r\033[Klab: a: 0.0 of 10.0 MB\r\033[Klab: a: 10.0 of 10.0 MB\n"
