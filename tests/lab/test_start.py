"""How a guest starts: from nothing, or from a snapshot; nobody who works in one can tell."""

import os
import shutil
import time

import pytest

from bpfasm import lab
from bpfasm.lab import cache
from bpfasm.lab.guest import start
from bpfasm.lab.image import parts as image
from bpfasm.lab.image.cpio import CpioWriter
from bpfasm.lab.image.unpack import entries
from bpfasm.lab.machine import qemu

pytestmark = pytest.mark.boots

VERSIONS = [kernel.version for kernel in lab.kernels()]


@pytest.fixture(autouse=True)
def _emulated():
    if qemu.Kvm().proven():
        pytest.skip("guests with KVM start from nothing")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache with this machine's kernels and image, and no snapshots."""
    here = cache.root()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for path in [here / "kernels", *(here / "image").iterdir()]:
        if not path.name.startswith("snapshot-"):
            place = cache.root() / path.relative_to(here)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
    shutil.copy(here / "kvm", cache.root() / "kvm")  # what the first boot of all has shown
    return cache.root() / "image"


def look(guest, program):
    done = guest.capture(["python3", "-c", program], timeout=60)
    assert (done.status, done.stderr) == (0, b"")
    return done.stdout.decode().split()


@pytest.mark.parametrize("version", VERSIONS)
def test_guests_of_one_snapshot_share_neither_clock_nor_random_numbers(version):
    program = "import os, time; print(os.urandom(16).hex(), time.time())"
    seen = []
    for _ in range(2):
        with lab.boot(version) as guest:
            before = time.time()
            number, clock = look(guest, program)
            assert before - 1 < float(clock) < time.time() + 1
            seen.append(number)
    assert len(set(seen)) == 2


def test_what_one_guest_does_the_next_one_does_not_see():
    for _ in range(2):
        with lab.boot("6.1", disk=True) as guest:
            places = "'/tmp/x', '/lab/x', '/mnt/disk/x'"
            assert look(guest, f"import os; print([os.path.exists(path) for path in ({places})])") == [
                "[False,", "False,", "False]",
            ]  # fmt: skip
            look(guest, f"import os\nfor path in ({places}): open(path, 'w').write('x')\nos.sync()")


def test_it_has_the_project_as_it_is_now(own_cache, tmp_path):
    """A snapshot holds the project of when it was taken: what changed since comes after it."""
    files = {path: path.read_bytes() for path in image.project_root().glob("examples/*.py")}
    kernel, machine = lab.fetch("6.1"), qemu.Machine(qemu.find(), "tcg")
    taken = image.parts(kernel.tree)
    start.warm(machine, kernel, taken, 120).close()
    (snapshot,) = own_cache.glob("snapshot-*")
    before = os.stat(snapshot).st_ino
    edited = tmp_path / "project.cpio"
    path = next(iter(files))
    with edited.open("wb") as file:
        cpio = CpioWriter(file)
        for name, mode, device, content in entries(taken.project.read_bytes()):
            data = b"# new\n" if name == str(path).lstrip("/") else content
            cpio.entry(name, mode, data, os.major(device), os.minor(device))
        cpio.close()
    copy = tmp_path / "copied"
    copy.write_text("copied\n")
    with start.warm(machine, kernel, image.Parts(taken.common, edited, image.copies([copy])), 120) as guest:
        assert look(guest, f"print(open({str(path)!r}).read(), open({str(copy)!r}).read())") == ["#", "new", "copied"]
    assert os.stat(snapshot).st_ino == before  # the same snapshot

    with edited.open("wb") as file:  # a project that has lost its files
        CpioWriter(file).close()
    assert start._changed(snapshot, edited) is None


def test_a_snapshot_that_is_damaged_is_told_and_done_without(own_cache, capsys):
    lab.boot("6.1").close()
    (snapshot,) = own_cache.glob("snapshot-*")
    (snapshot / "state").write_bytes(b"no state")
    with lab.boot("6.1") as guest:
        assert look(guest, "print(1)") == ["1"]
    assert "trying once more" in capsys.readouterr().err


def test_a_qemu_that_keeps_no_guests_is_told_once(own_cache, monkeypatch, capsys):
    """One whose monitor knows no such capability: an older QEMU, here by a name that none knows."""
    monkeypatch.setattr(start, "_MEMORY_APART", [{"capability": "no-such-capability", "state": True}])
    for said in (True, False):
        with lab.boot("6.1") as guest:
            assert look(guest, "print(1)") == ["1"]
        assert ("every guest will start from nothing" in capsys.readouterr().err) is said
