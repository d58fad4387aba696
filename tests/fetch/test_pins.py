"""Packages by their checksums: what is pinned, where it is looked for, and that nothing else is taken."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from support.archive import RELEASE, Server, bzimage

from bpfasm import lab
from bpfasm.cli import main
from bpfasm.errors import LabError
from bpfasm.lab import cache, matrix
from bpfasm.lab.packages import bundle, debian, pins, sources, web
from bpfasm.lab.packages.pool import ARCHITECTURES, Package


def quiet(*_):
    pass


# What is in pins.toml


def bundles():
    return [*map(bundle.of_kernel, matrix.everything()), *map(bundle.of_userland, ARCHITECTURES)]


@pytest.mark.parametrize("wanted", bundles(), ids=lambda wanted: wanted.name)
def test_all_that_the_matrix_names_is_pinned(wanted):
    names = [package.name for package in pins.find(wanted.name)]
    releases = {name.removeprefix(image) for name in names for image in debian.IMAGES if name.startswith(image)}
    kernels = [release for release in releases if fnmatch.fnmatchcase(release, wanted.releases)]
    assert len(kernels) == bool(wanted.releases)
    parts = {prefix + release for prefix in (*debian.IMAGES, *debian.PARTS) for release in kernels}
    assert set(names) - parts == set(wanted.packages)
    for package in pins.find(wanted.name):
        assert package.path.startswith(("pool/main/", "pool/updates/main/"))
        assert package.file.endswith((f"_{ARCHITECTURES[wanted.arch]}.deb", "_all.deb"))
        assert re.fullmatch("[0-9a-f]{64}", package.sha256)
        assert package.size > 1000


def test_the_time_of_the_snapshots():
    time = pins._pins()["snapshot"]
    assert datetime.strptime(time, "%Y%m%dT%H%M%SZ").year >= 2025


def test_where_a_package_is_looked_for(archive):
    of = pins.urls(None)
    assert of(Package("pool/main/a+b/a_1~2_all.deb", 1, "")) == [
        "http://deb.debian.org/debian/pool/main/a%2Bb/a_1~2_all.deb",
        "http://snapshot.debian.org/archive/debian/20260101T000000Z/pool/main/a%2Bb/a_1~2_all.deb",
    ]
    where = sources.Mirror(sources.Archive("http://a/debian"), sources.Archive("file:///b"))
    assert pins.urls(where)(Package("pool/updates/main/a_1.deb", 1, "")) == [
        "file:///b/pool/updates/main/a_1.deb",
        "http://deb.debian.org/debian-security/pool/updates/main/a_1.deb",
        "http://snapshot.debian.org/archive/debian-security/20260101T000000Z/pool/updates/main/a_1.deb",
    ]
    # What only apt can read is left to apt.
    for uri in ("mirror+file:/etc/apt/mirrors/debian.list", "cdrom:[Debian]/"):
        where = sources.Mirror(sources.Archive(uri))
        assert len(pins.urls(where)(Package("pool/main/a_1.deb", 1, ""))) == 2


# Where there is no apt


PACKAGES = {
    "9.9": (f"linux-binary-unsigned-{RELEASE}", f"linux-modules-{RELEASE}", "busybox-static_2-3+bookworm_amd64"),
    "8.1": ("linux-image-8.1.0-1-cloud-amd64", "busybox-static_2-3+bullseye_amd64"),
}


@pytest.fixture
def pinned(archive, monkeypatch):
    """Pin what the archive has now; return what stands for pins.toml."""
    found = {
        name: [
            {
                "path": str(file.relative_to(archive.top)),
                "size": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            for file in map(archive.find, packages)
        ]
        for name, packages in PACKAGES.items()
    }
    content = {"snapshot": "20260101T000000Z", "bundles": found}
    monkeypatch.setattr(pins, "_pins", lambda: content)
    return content


@pytest.fixture
def places(archive, tmp_path, monkeypatch):
    """The mirror in use, Debian's public archive, and its snapshots: servers, each at first without files."""
    servers = []
    for name in ("mirror", "public", "snapshot"):
        (tmp_path / name).mkdir()
        servers.append(Server(tmp_path / name))
    mirror, public, snapshot = servers
    monkeypatch.setenv("BPFASM_MIRROR", f"{mirror.url} {mirror.url}")
    monkeypatch.setattr(pins, "PUBLIC", public.url + "/{archive}/")
    monkeypatch.setattr(pins, "SNAPSHOT", snapshot.url + "/{archive}/{time}/")
    yield servers
    for server in servers:
        server.close()


def put(archive, place: Path, only: str = "") -> None:
    """Copy the archive's packages to a place."""
    for deb in archive.top.glob("pool/**/*.deb"):
        if only in deb.name:
            copy = place / deb.relative_to(archive.top)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(deb, copy)


@pytest.fixture
def no_apt(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


MODULES = f"linux-modules-{RELEASE}_1_amd64.deb"


def test_each_place_is_asked_in_its_turn(archive, pinned, places, no_apt):
    """The security archive's package is on the public one, the busybox on the snapshots', the rest on the mirror."""
    mirror, public, snapshot = places
    put(archive, mirror.top, "linux-modules")
    put(archive, public.top / "debian-security", "linux-binary")
    put(archive, snapshot.top / "debian/20260101T000000Z", "busybox")
    seen = []
    kernel = lab.fetch("9.9", progress=lambda *step: seen.append(step))
    assert kernel.release == RELEASE
    assert kernel.tree and kernel.tree.vmlinuz.read_bytes() == bzimage(RELEASE)
    assert kernel.tree.modules and kernel.tree.busybox
    asked = {name: [len(server.starts(name)) for server in places] for name in (MODULES, "bookworm_amd64.deb")}
    assert asked == {MODULES: [1, 0, 0], "bookworm_amd64.deb": [1, 1, 1]}
    total = sum(row["size"] for row in pinned["bundles"]["9.9"])
    assert ("9.9", total, total) in seen
    assert seen[-1] == ("unpacking 9.9", total, total)
    assert list((cache.root() / "partial").iterdir()) == []


def test_a_folder_is_a_place_too(archive, pinned, places, no_apt, tmp_path):
    put(archive, tmp_path / "stick")
    (tmp_path / "stick/dists").mkdir()
    assert lab.fetch("9.9", progress=quiet, mirror=str(tmp_path / "stick")).release == RELEASE
    assert [server.log for server in places[1:]] == [[], []]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_is_there_in_part_goes_on(ranges: bool, archive, pinned, places, no_apt):
    mirror, *_ = places
    mirror.ranges = ranges
    put(archive, mirror.top)
    whole = archive.find("linux-modules").read_bytes()
    (row,) = [row for row in pinned["bundles"]["9.9"] if row["path"].endswith(MODULES)]
    file = cache.root() / "partial/9.9" / row["path"]
    file.parent.mkdir(parents=True)
    file.write_bytes(whole[: 1 << 20])
    assert lab.fetch("9.9", progress=quiet).release == RELEASE
    assert mirror.starts(MODULES) == [1 << 20 if ranges else 0]


def test_a_connection_that_breaks_goes_on_elsewhere(archive, pinned, places, no_apt):
    mirror, public, _ = places
    put(archive, mirror.top)
    put(archive, public.top / "debian")
    mirror.break_at[MODULES] = 1 << 20
    assert lab.fetch("9.9", progress=quiet).release == RELEASE
    assert (mirror.starts(MODULES), public.starts(MODULES)) == ([0], [1 << 20])


def test_a_package_that_is_another_is_taken_from_the_next_place(archive, pinned, places, no_apt):
    mirror, public, _ = places
    put(archive, mirror.top)
    put(archive, public.top / "debian")
    (other,) = mirror.top.glob(f"pool/**/{MODULES}")
    other.write_bytes(bytes(other.stat().st_size))
    assert lab.fetch("9.9", progress=quiet).release == RELEASE
    assert public.starts(MODULES) == [0]


@pytest.mark.parametrize("change", ["shorter", "longer", "other"])
def test_a_package_that_is_another_everywhere_is_refused(change: str, archive, pinned, places, no_apt):
    mirror, *_ = places
    put(archive, mirror.top)
    (other,) = mirror.top.glob(f"pool/**/{MODULES}")
    data = other.read_bytes()
    other.write_bytes({"shorter": data[:-9], "longer": b"x" + data, "other": b"x" + data[1:]}[change])
    with pytest.raises(LabError) as error:
        lab.fetch("9.9", progress=quiet)
    assert MODULES in error.value.what
    if change == "shorter":
        assert error.value.rule == "lab-fetch"
        assert f"it ended after {len(data) - 9} of {len(data)} bytes" in error.value.what
    else:
        assert error.value.rule == "lab-checksum"
        assert hashlib.sha256(data).hexdigest() in error.value.what
    assert not matrix.place("9.9").exists()


def test_a_package_that_is_nowhere(pinned, places, no_apt):
    with pytest.raises(LabError) as error:
        lab.fetch("8.1", progress=quiet)
    assert all(server.url in error.value.what for server in places)
    assert "Not Found" in error.value.what
    assert "--from DIR" in error.value.do
    assert error.value.rule == "lab-fetch"


def test_no_apt_and_no_pin(archive, no_apt):
    with pytest.raises(LabError, match=r"no packages of 9\.9 are pinned") as error:
        lab.fetch("9.9")
    assert "--on /boot/vmlinuz" in error.value.do
    assert error.value.rule == "lab-apt"
    assert len(str(error.value).splitlines()) == 2


def test_an_apt_that_knows_no_debian(archive, pinned, places, monkeypatch):
    """As on a system that is like Debian and is not."""
    _, public, _ = places
    put(archive, public.top / "debian")
    monkeypatch.setenv("BPFASM_MIRROR", "")
    monkeypatch.setattr("bpfasm.lab.packages.sources.read", list)
    assert lab.fetch("8.1", progress=quiet).release == "8.1.0-1-cloud-amd64"


# Where there is apt


def test_a_suite_that_has_left_the_mirror(archive, pinned, places, monkeypatch, capsys):
    _, _, snapshot = places
    put(archive, snapshot.top / "debian/20260101T000000Z")
    assert lab.fetch("8.1", progress=quiet).release == "8.1.0-1-cloud-amd64"
    assert capsys.readouterr().err == "lab: the mirror has no suite bullseye; getting 8.1 as it is pinned\n"


def test_exactly_the_pinned_packages(archive, pinned, monkeypatch):
    release = "8.1.0-2-cloud-amd64"
    archive.add("bullseye", f"linux-image-{release}", {f"boot/vmlinuz-{release}": bzimage(release)})
    archive.publish()
    assert lab.fetch("8.1", progress=quiet).release == release
    assert lab.fetch("8.1", progress=quiet, pinned=True).release == "8.1.0-1-cloud-amd64"
    # They are here now, and not got again.
    monkeypatch.setattr(web, "download", None)
    assert lab.fetch("8.1", progress=quiet, pinned=True).release == "8.1.0-1-cloud-amd64"
    assert lab.fetch("8.1", progress=quiet).release == "8.1.0-1-cloud-amd64"


@pytest.mark.parametrize("made_with_apt", [True, False])
def test_a_folder_of_pinned_packages(made_with_apt: bool, archive, pinned, places, tmp_path, monkeypatch, capsys):
    """Made with and without apt. A machine with apt takes them by their checksums too: there are no lists."""
    _, public, _ = places
    put(archive, public.top / "debian")
    put(archive, public.top / "debian-security")
    folder = tmp_path / "folder"
    with monkeypatch.context() as without:
        if not made_with_apt:
            without.setenv("PATH", str(tmp_path / "none"))
        words = ["lab", "fetch", "9.9", "8.1", "--to", str(folder), "--json"]
        assert main([*words, "--pinned"] if made_with_apt else words) == 0
    assert json.loads(capsys.readouterr().out)["pinned"] == ["9.9", "8.1"]
    assert not (folder / "dists").exists()
    shutil.rmtree(public.top)
    assert lab.fetch("9.9", progress=quiet, mirror=str(folder)).release == RELEASE
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path / "none"))
        assert lab.fetch("8.1", progress=quiet, mirror=str(folder)).release == "8.1.0-1-cloud-amd64"


def test_a_disk_that_is_full(archive, pinned, places, no_apt):
    mirror, *_ = places
    put(archive, mirror.top)
    package = pins.find("8.1")[0]
    full = cache.directory("partial/8.1") / package.path
    full.parent.mkdir(parents=True)
    full.symlink_to("/dev/full")
    with pytest.raises(LabError, match="no space left"):
        web._read(f"{mirror.url}/{package.path}", full, package.size, lambda: None)
