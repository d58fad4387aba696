"""Folders for rooms without a network: what is in them, that apt still checks them, and every way to name one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.archive import RELEASE, Key, bzimage, serving, trust

from bpfasm import lab
from bpfasm.cli import main
from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.packages import bundle, room, sources


def quiet(*_):
    pass


def make(folder: Path, *versions: str, **options):
    return room.fill(folder, [bundle.of_kernel(lab.find(version)) for version in versions], progress=quiet, **options)


@pytest.fixture(scope="module")
def _folder(_archive, tmp_path_factory) -> Path:
    scratch = tmp_path_factory.mktemp("folder")
    with pytest.MonkeyPatch.context() as monkeypatch:
        trust(_archive, scratch, monkeypatch)
        held = make(scratch / "folder", "9.9", "8.1")
    assert held == sources.Folder(("9.9", "8.1"), ("bookworm", "bookworm-security", "bullseye"))
    return scratch / "folder"


@pytest.fixture
def folder(_folder, archive, tmp_path, monkeypatch) -> Path:
    """A folder with both kernels of ``all``; no mirror is named."""
    monkeypatch.setenv("BPFASM_MIRROR", "")
    return shutil.copytree(_folder, tmp_path / "a folder for Zoë")


def fetch(version: str, folder: Path | str) -> lab.Kernel:
    return lab.fetch(version, progress=quiet, mirror=str(folder))


def test_it_holds_the_signed_lists_and_the_packages_as_they_are(archive, folder):
    """And nothing else: no package that was not asked for, no link, nothing half-made."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    packages = [path for path in files if path.endswith(".deb")]
    assert sorted(Path(path).name for path in packages) == [
        "busybox-static_2-3+bookworm_amd64.deb",
        "busybox-static_2-3+bullseye_amd64.deb",
        f"linux-binary-unsigned-{RELEASE}_1_amd64.deb",
        "linux-image-8.1.0-1-cloud-amd64_1_amd64.deb",
        f"linux-modules-{RELEASE}_1_amd64.deb",
    ]
    lists = [f"dists/{suite}/InRelease" for suite in ("bookworm", "bookworm-security", "bullseye")]
    lists += [
        f"dists/{suite}/main/binary-amd64/Packages.xz" for suite in ("bookworm", "bookworm-security", "bullseye")
    ]
    assert files == {*packages, *lists, sources.MARK}
    for path in (*packages, *lists):
        assert (folder / path).read_bytes() == (archive.top / path).read_bytes()


def names(folder: Path):
    """Return the ways to name a folder."""
    return {
        "path": str(folder),
        "relative path": os.path.relpath(folder),
        "path with a slash": f"{folder}/",
        "URI": folder.as_uri(),
    }


@pytest.mark.parametrize("way", ["path", "relative path", "path with a slash", "URI"])
def test_kernels_are_got_from_it(way: str, folder, monkeypatch):
    assert fetch("9.9", names(folder)[way]).release == RELEASE
    monkeypatch.setenv("BPFASM_MIRROR", names(folder)[way])
    assert lab.fetch("8.1", progress=quiet).release == "8.1.0-1-cloud-amd64"


def test_kernels_are_got_from_where_it_is_served(folder):
    """By the server that the docs name."""
    words = [sys.executable, "-u", "-m", "http.server", "-b", "127.0.0.1", "-d", str(folder), "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            port = server.stdout.readline().split("port ")[1].split()[0]
            assert fetch("9.9", f"http://127.0.0.1:{port}/").release == RELEASE
            assert fetch("8.1", f"http://127.0.0.1:{port}").release == "8.1.0-1-cloud-amd64"
        finally:
            server.terminate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may leave the network")
def test_all_are_got_without_a_network(folder, command):
    process = command("lab", "fetch", "all", "--from", str(folder), before=("unshare", "-n"))
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (f"9.9: {RELEASE}\n8.1: 8.1.0-1-cloud-amd64\n", 0), err


def test_a_folder_is_good_after_the_last_day_of_its_lists(archive, tmp_path, monkeypatch):
    """The same lists are refused from any other mirror: test_fetch.py."""
    with (tmp_path / "apt.conf").open("a") as config:
        config.write('Acquire::Check-Valid-Until "false";\n')  # for the making alone
    archive.publish(Date="Mon, 01 Jan 2024 00:00:00 GMT", Valid_Until="Mon, 08 Jan 2024 00:00:00 GMT")
    make(tmp_path / "folder", "8.1")
    (tmp_path / "apt.conf").write_text((tmp_path / "apt.conf").read_text().replace('"false"', '"true"'))
    assert fetch("8.1", tmp_path / "folder").release == "8.1.0-1-cloud-amd64"
    with pytest.raises(LabError, match="expired"):
        lab.fetch("8.1", progress=quiet, renew=True)


def test_its_lists_are_checked(folder):
    """A list that was changed, with a Release file that names it, has no signature."""
    text = (folder / "dists/bullseye/InRelease").read_text()
    (folder / "dists/bullseye/InRelease").write_text(text.replace("Origin: Debian", "Origin: Debjan"))
    with pytest.raises(LabError, match=r"not signed|invalid") as error:
        fetch("8.1", folder)
    assert error.value.rule == "lab-fetch"


def test_lists_that_another_has_signed_are_refused(folder, archive, tmp_path):
    archive.key = Key()
    archive.publish()
    archive.key.close()
    shutil.copytree(archive.top / "dists", folder / "dists", dirs_exist_ok=True)
    with pytest.raises(LabError, match="not signed"):
        fetch("8.1", folder)


def test_a_list_that_is_not_the_signed_one_is_refused(folder):
    index = folder / "dists/bullseye/main/binary-amd64/Packages.xz"
    index.write_bytes((folder / "dists/bookworm/main/binary-amd64/Packages.xz").read_bytes())
    with pytest.raises(LabError, match="cannot get package lists"):
        fetch("8.1", folder)


def test_a_damaged_package_is_refused(folder):
    (deb,) = folder.glob("pool/**/linux-image-8.1*")
    deb.write_bytes(deb.read_bytes()[:-1] + b"x")
    with pytest.raises(LabError, match=rf"{deb.name} is damaged") as error:
        fetch("8.1", folder)
    assert error.value.rule == "lab-checksum"
    deb.write_bytes(b"short")
    with pytest.raises(LabError, match=deb.name.replace("+", r"(\+|%2b)")):
        fetch("8.1", folder)


def test_a_folder_without_the_kernel(folder):
    with pytest.raises(LabError, match=r"no 9\.9-arm64 in file:.*: it holds 9\.9, 8\.1") as error:
        fetch("9.9-arm64", folder)
    assert "bpfasm lab fetch 9.9-arm64 --to DIR" in error.value.do
    assert error.value.rule == "lab-mirror"


@pytest.mark.parametrize(
    ("name", "what"),
    [("empty", "holds no kernels"), ("nowhere", "no folder"), ("file:///nowhere", "holds no kernels")],
)
def test_folders_that_are_none(name: str, what: str, archive, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match=what) as error:
        fetch("9.9", name)
    assert error.value.rule == "lab-mirror"
    assert "--to DIR" in error.value.do


def test_a_mark_that_is_damaged_is_none(folder):
    (folder / sources.MARK).write_text("{")
    # It is a mirror like any other then, one that has no security updates.
    assert fetch("8.1", folder).release == "8.1.0-1-cloud-amd64"


def test_other_files_are_left_alone(archive, tmp_path):
    (tmp_path / "photos/pool").mkdir(parents=True)
    (tmp_path / "photos/pool/a.jpg").write_text("")
    for folder in (tmp_path / "photos", archive.top):
        before = sorted(folder.rglob("*"))
        with pytest.raises(LabError, match="has other files in it") as error:
            make(folder, "9.9")
        assert error.value.rule == "lab-mirror"
        assert sorted(folder.rglob("*")) == before


def test_a_kernel_is_added_and_the_rest_renewed(archive, tmp_path):
    folder = tmp_path / "folder"
    make(folder, "8.1")
    release = "8.1.0-2-cloud-amd64"
    archive.add("bullseye", f"linux-image-{release}", {f"boot/vmlinuz-{release}": bzimage(release)})
    archive.publish()
    assert make(folder, "9.9").holds == ("8.1", "9.9")
    images = [path.name for path in folder.glob("pool/**/linux-image-*")]
    assert images == [f"linux-image-{release}_1_amd64.deb"]
    shutil.rmtree(archive.top)
    assert fetch("8.1", folder).release == release
    assert fetch("9.9", folder).release == RELEASE


def test_an_interrupted_making_goes_on(archive, tmp_path, command, monkeypatch):
    folder = tmp_path / "folder"
    deb = f"linux-modules-{RELEASE}_1_amd64.deb"
    with serving(archive.top) as server:
        monkeypatch.setenv("BPFASM_MIRROR", f"{server.url} {server.url}")
        server.stop_at[deb] = 1 << 20
        process = command("lab", "fetch", "9.9", "--to", str(folder))
        assert server.stopped.wait(20)
        process.kill()
        process.communicate()
        with pytest.raises(LabError, match="it holds nothing yet"):
            fetch("9.9", folder)
        server.go_on()
        server.log.clear()
        # What it was to hold is not forgotten.
        assert make(folder, "8.1").holds == ("9.9", "8.1")
        (start,) = server.starts(deb)
        assert 0 < start <= 1 << 20
    assert fetch("9.9", folder).release == RELEASE


def test_a_folder_from_a_folder(folder, tmp_path):
    make(tmp_path / "second", "8.1", mirror=str(folder))
    shutil.rmtree(folder)
    assert fetch("8.1", tmp_path / "second").release == "8.1.0-1-cloud-amd64"


def test_a_mirror_without_the_list_that_is_carried(archive, tmp_path):
    archive.publish(suffixes=("",))
    with pytest.raises(LabError, match=r"bullseye of this .* no InRelease that lists .*/Packages\.xz") as error:
        make(tmp_path / "folder", "8.1")
    assert error.value.rule == "lab-mirror"


def test_the_command(archive, tmp_path, capsys):
    folder = tmp_path / "folder"
    assert main(["lab", "fetch", "all", "9.9-arm64", "--to", str(folder)]) == 0
    out = capsys.readouterr().out.splitlines()
    foreign = "".join(f", userland-{arch}" for arch in bundle.userlands(lab.find("9.9-arm64")))
    assert out[0].startswith(f"{folder} holds 9.9, 8.1, 9.9-arm64{foreign}: ")
    assert "--from DIR" in out[2]
    shutil.rmtree(archive.top)
    assert main(["lab", "fetch", "9.9-arm64", "--from", str(folder)]) == 0
    assert capsys.readouterr().out == "9.9-arm64: 9.9.1+test-cloud-arm64\n"
    assert bool(foreign) == (cache.root() / "userland").exists()


def test_the_command_in_json(archive, tmp_path, capsys):
    assert main(["lab", "fetch", "8.1", "--to", str(tmp_path / "folder"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "bpfasm/lab-folder/1"
    assert document["holds"] == ["8.1"]
    assert document["folder"] == str(tmp_path / "folder")
    assert document["bytes"] > 0


def test_a_file_is_no_kernel_for_a_folder(archive, tmp_path, capsys):
    (tmp_path / "vmlinuz").write_bytes(bzimage(RELEASE))
    assert main(["lab", "fetch", str(tmp_path / "vmlinuz"), "--to", str(tmp_path / "folder")]) == 2
    assert "is a file, not a kernel to fetch" in capsys.readouterr().err
