"""Getting a kernel with apt: from a signed archive on this disk or a server of this machine."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest
from support.archive import RELEASE, Archive, Key, bzimage, fill, serving

from bpfasm import lab
from bpfasm.cli import main
from bpfasm.errors import LabError
from bpfasm.lab import cache, matrix
from bpfasm.lab.packages import debian, store


def quiet(*_):
    pass


def until(condition, seconds: float = 20):
    """Poll until ``condition`` is true; fail when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        select.select([], [], [], 0.02)
    return found


def partial(version: str, name: str) -> Path | None:
    """Return the file that a package is being got into."""
    return next((cache.root() / "partial" / version).glob(f"pool/**/{name}*"), None)


MODULES = f"linux-modules-{RELEASE}"
BINARY = f"linux-binary-unsigned-{RELEASE}"


def test_an_archive_without_a_signature_is_refused(archive, tmp_path, monkeypatch):
    plain = fill(Archive(tmp_path / "plain", None))
    plain.publish()
    monkeypatch.setenv("BPFASM_MIRROR", f"file:{plain.top}")
    with pytest.raises(LabError, match="is not signed") as error:
        lab.fetch("9.9", progress=quiet)
    assert error.value.rule == "lab-fetch"
    assert not store.place("9.9").exists()


def test_an_archive_that_another_has_signed_is_refused(archive):
    archive.key = Key()
    archive.publish()
    archive.key.close()
    with pytest.raises(LabError, match="is not signed"):
        lab.fetch("9.9", progress=quiet)


def test_a_kernel_in_parts_is_put_together(archive):
    seen = []
    kernel = lab.fetch("9.9", progress=lambda *step: seen.append(step))
    assert kernel.release == RELEASE
    assert kernel.tree
    assert kernel.tree.vmlinuz.read_bytes() == bzimage(RELEASE)
    assert kernel.tree.modules and (kernel.tree.modules / "kernel/a.ko").stat().st_size == 3 << 20
    assert kernel.tree.busybox and kernel.tree.busybox.read_bytes() == b"busybox"
    assert list((cache.root() / "tmp").iterdir()) == []
    assert list((cache.root() / "partial").iterdir()) == []
    assert seen[0][0].startswith("package lists")
    last = {what: (done, total) for what, done, total in seen}
    files = [archive.find(BINARY), archive.find(MODULES), archive.find("busybox-static_2-3+bookworm_amd64")]
    size = sum(file.stat().st_size for file in files)
    assert last["9.9"] == (size, size)
    # It is here now: the mirror is not asked again.
    shutil.rmtree(archive.top)
    assert lab.fetch("9.9").release == RELEASE


def test_a_kernel_that_was_fetched_without_a_busybox_is_fetched_again(archive):
    busybox = lab.fetch("8.1", progress=quiet).tree.busybox
    busybox.unlink()
    assert lab.fetch("8.1", progress=quiet).tree.busybox == busybox


def test_a_kernel_of_another_processor(archive):
    kernel = lab.fetch("9.9-arm64", progress=quiet)
    assert (kernel.arch, kernel.release) == ("aarch64", "9.9.1+test-cloud-arm64")


def test_the_newest_is_got_again_when_it_is_asked_for(archive):
    assert lab.fetch("8.1", progress=quiet).release == "8.1.0-1-cloud-amd64"
    release = "8.1.0-2-cloud-amd64"
    archive.add("bullseye", f"linux-image-{release}", {f"boot/vmlinuz-{release}": bzimage(release)})
    archive.publish()
    assert lab.fetch("8.1", progress=quiet).release == "8.1.0-1-cloud-amd64"
    assert lab.fetch("8.1", progress=quiet, renew=True).release == release


@pytest.mark.parametrize("by_http", [False, True], ids=["file", "http"])
def test_a_package_that_was_changed_is_refused(by_http: bool, archive, monkeypatch):
    deb = archive.find(BINARY)
    data = bytearray(deb.read_bytes())
    data[-1] ^= 1
    deb.write_bytes(data)
    with serving(archive.top) as server:
        if by_http:
            monkeypatch.setenv("BPFASM_MIRROR", f"{server.url} {server.url}")
        with pytest.raises(LabError) as error:
            lab.fetch("9.9", progress=quiet)
    assert f"{deb.name} is damaged" in error.value.what
    assert hashlib.sha256(data).hexdigest() in error.value.what
    assert error.value.rule == "lab-checksum"
    assert not store.place("9.9").exists()
    assert not by_http or partial("9.9", BINARY) is None


def test_a_suite_without_the_kernel(archive, monkeypatch):
    kernel = lab.find("9.9").replace(releases="11.*-cloud-amd64")
    with pytest.raises(LabError, match=r"no kernel 11\.\*-cloud-amd64 in bookworm"):
        lab.fetch(kernel, progress=quiet)


def test_a_suite_without_a_package(archive, monkeypatch):
    monkeypatch.setattr(matrix, "along", lambda: ("nonesuch",))
    with pytest.raises(LabError, match="no package nonesuch in bookworm"):
        lab.fetch("9.9", progress=quiet)


def test_a_suite_that_has_left_the_mirror(archive):
    shutil.rmtree(archive.top / "dists/bullseye")
    with pytest.raises(LabError, match="the mirror has no suite bullseye") as error:
        lab.fetch("8.1", progress=quiet)
    assert error.value.rule == "lab-suite"
    assert "--pinned" in error.value.do


def test_a_list_of_mirrors(archive, tmp_path, monkeypatch):
    """As on Debian's images for clouds. The first of them has nothing."""
    with serving(tmp_path / "none") as empty, serving(archive.top) as server:
        (tmp_path / "mirrors.list").write_text(f"{empty.url}/\tpriority:1\n{server.url}/\tpriority:2\n")
        uri = f"mirror+file:{tmp_path}/mirrors.list"
        monkeypatch.setenv("BPFASM_MIRROR", f"{uri} {uri}")
        assert lab.fetch("9.9", progress=quiet).release == RELEASE
        folder = tmp_path / "folder"
        assert main(["lab", "fetch", "9.9", "--to", str(folder)]) == 0
    assert lab.fetch("9.9", progress=quiet, renew=True, mirror=str(folder)).release == RELEASE


def test_a_mirror_without_an_archive_of_security_updates(archive, monkeypatch):
    monkeypatch.setenv("BPFASM_MIRROR", f"file:{archive.top}")
    assert lab.fetch("9.9", progress=quiet).release == "9.9.0+test-cloud-amd64"


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


def test_two_at_once_fetch_once(command):
    both = [command("lab", "fetch", "9.9") for _ in range(2)]
    results = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in results] == [f"9.9: {RELEASE}\n"] * 2
    assert sum("package lists" in err for _, err in results) == 1


def test_who_waits_for_another_says_so(archive, command):
    with serving(archive.top) as server:
        words = ("lab", "fetch", "9.9", "--from", f"{server.url} {server.url}")
        server.stop_at[f"{MODULES}_1_amd64.deb"] = 1 << 20
        first = command(*words)
        assert server.stopped.wait(20)
        second = command(*words)
        assert second.stderr.readline() == "lab: waiting: another bpfasm is fetching 9.9\n"
        server.go_on()
        results = [process.communicate(timeout=60) for process in (first, second)]
    assert [out for out, _ in results] == [f"9.9: {RELEASE}\n"] * 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_an_interrupted_download_goes_on_where_it_stopped(number: int, archive, command, monkeypatch):
    half = 1 << 20
    with serving(archive.top) as server:
        monkeypatch.setenv("BPFASM_MIRROR", f"{server.url} {server.url}")
        server.stop_at[f"{MODULES}_1_amd64.deb"] = half
        process = command("lab", "fetch", "9.9")
        assert server.stopped.wait(20)
        file = until(lambda: partial("9.9", MODULES))
        until(lambda: file.stat().st_size == half)
        apt = children(process.pid)
        assert apt
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
        assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}[number]
        assert "Traceback" not in err
        # apt does not outlive it.
        until(lambda: not any(map(alive, apt)))
        assert file.stat().st_size == half
        whole = [path.name for path in (cache.root() / "partial/9.9").glob("pool/**/*.deb") if path != file]
        server.go_on()
        server.log.clear()
        seen = []
        assert lab.fetch("9.9", progress=lambda *step: seen.append(step)).release == RELEASE
        assert server.starts(f"{MODULES}_1_amd64.deb") == [half]
        assert [server.starts(name) for name in whole] == [[] for _ in whole]
    assert min(done for what, done, _ in seen if what == "9.9") >= half
    assert list((cache.root() / "partial").iterdir()) == []


def test_what_an_interrupted_download_left_is_checked(archive, monkeypatch):
    """Of three files, one is whole and wrong, one is wrong so far, and one is whole and right."""
    sizes = {
        name: archive.find(name).stat().st_size for name in (BINARY, MODULES, "busybox-static_2-3+bookworm_amd64")
    }
    right = archive.find("busybox-static_2-3+bookworm_amd64")
    for name, data in (
        (BINARY, bytes(sizes[BINARY])),
        (MODULES, bytes(1 << 20)),
        ("busybox-static_2-3+bookworm_amd64", right.read_bytes()),
    ):
        file = cache.root() / "partial/9.9" / archive.find(name).relative_to(archive.top)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    with serving(archive.top) as server:
        monkeypatch.setenv("BPFASM_MIRROR", f"{server.url} {server.url}")
        kernel = lab.fetch("9.9", progress=quiet)
        assert server.starts(archive.find(BINARY).name) == [0]
        assert server.starts(archive.find(MODULES).name) == [1 << 20, 0]
        assert server.starts(right.name) == []
    assert kernel.tree and kernel.tree.modules
    assert any((kernel.tree.modules / "kernel/a.ko").read_bytes()[:100])


def children(pid: int) -> list[int]:
    """Return the processes that ``pid`` has started, and theirs."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [other for child in found for other in children(child)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_hosts_apt_is_left_alone(archive, tmp_path):
    """Hooks of the host's configuration do not run, and its folders are not written."""
    hook = tmp_path / "hook-ran"
    with (tmp_path / "apt.conf").open("a") as config:
        config.write(
            f'APT::Update::Pre-Invoke {{ "touch {hook}"; }};\nAPT::Update::Post-Invoke {{ "touch {hook}"; }};\n'
            f'APT::Update::Post-Invoke-Success {{ "touch {hook}"; }};\nDir::Cache "/nonexistent";\n'
        )
    before = {path: path.stat().st_mtime_ns for path in map(Path, ("/var/lib/apt/lists", "/var/cache/apt"))}
    assert lab.fetch("9.9", progress=quiet).release == RELEASE
    assert not hook.exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_lists_that_are_out_of_date_are_refused(archive):
    archive.publish(Date="Mon, 01 Jan 2024 00:00:00 GMT", Valid_Until="Mon, 08 Jan 2024 00:00:00 GMT")
    with pytest.raises(LabError, match="expired"):
        lab.fetch("9.9", progress=quiet)


def test_the_python_of_another_processor_is_got_once(archive, monkeypatch):
    folder = store.userland("aarch64", progress=quiet)
    assert (folder / "usr/bin/python3").read_bytes() == b"python"
    shutil.rmtree(archive.top)
    assert store.userland("aarch64") == folder
    # Another list is another folder.
    monkeypatch.setattr(matrix, "userland", lambda: matrix.Userland(("bookworm",), ("busybox-static",)))
    with pytest.raises(LabError):
        store.userland("aarch64", progress=quiet)


def test_without_a_network_two_lines_name_the_way_out(command):
    """No QEMU is needed to find that out, but it is asked for first."""
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed")
    environment = {"BPFASM_MIRROR": "http://127.0.0.1:9 http://127.0.0.1:9"}
    for words in (("lab", "run", "--on", "9.9", "--", "true"), ("lab", "fetch", "9.9")):
        process = command(*words, before=("env", *(f"{name}={value}" for name, value in environment.items())))
        out, err = process.communicate(timeout=60)
        what, do = [line for line in err.splitlines() if not line.startswith("lab: ")]
        assert out == ""
        assert process.returncode == (125 if "run" in words else 3)
        assert "127.0.0.1" in what and what.endswith("[lab-fetch]")
        assert "bpfasm lab fetch --from DIR" in do


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("size_kib", [64, 1 << 11], ids=["while lists are got", "while packages are got"])
def test_a_disk_that_is_full(size_kib: int, command, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    script = f'mount -t tmpfs -o size={size_kib}k none "{small}" && exec env XDG_CACHE_HOME="{small}" "$0" "$@"'
    process = command("lab", "fetch", "9.9", before=("unshare", "-m", "sh", "-c", script))
    out, err = process.communicate(timeout=60)
    what, do = [line for line in err.splitlines() if not line.startswith("lab: ")]
    assert (out, process.returncode) == ("", 3)
    assert what.startswith(f"error: no space left for the lab in {small}")
    assert "XDG_CACHE_HOME" in do


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone becomes another user")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["may look", "may not look"])
def test_a_user_who_may_not_write_there(mode: int, archive, monkeypatch, capfd):
    with tempfile.TemporaryDirectory() as closed:
        os.chmod(closed, mode)
        monkeypatch.setenv("XDG_CACHE_HOME", closed)
        for words in (["lab", "fetch", "9.9"], ["lab", "fetch", "9.9", "--to", f"{closed}/folder"]):
            pid = os.fork()
            if pid == 0:
                try:
                    os.setuid(65534)
                    os._exit(main(words))
                finally:
                    os._exit(99)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
            what, do = capfd.readouterr().err.splitlines()
            assert "cannot write in" in what and "Permission denied" in what
            assert do == "make it writable, or name another place in XDG_CACHE_HOME"


def test_a_folder_that_cannot_be_made(archive, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["lab", "fetch", "9.9", "--to", str(tmp_path / "file/folder")]) == 3
    assert "make it writable, or name another folder" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written(archive, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/bpfasm").write_text("")
    with pytest.raises(LabError, match="cannot write in") as error:
        lab.fetch("9.9")
    assert error.value.rule == "lab-cache"
