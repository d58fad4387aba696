"""``lab run --rw DIR`` on a real kernel: what the command did comes back, however it ended."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import gone, lab_process, machines_of, until

from bpfasm import lab
from bpfasm.errors import LabError, UsageError
from bpfasm.lab.guest import errand

pytestmark = pytest.mark.boots

ROOT = Path(__file__).resolve().parents[2]


def python(guest: lab.Guest, program: str, shared: Path, *words: str, **options) -> lab.Result:
    """Run a program in the guest, in the folder that is shared."""
    return guest.capture(["python3", "-c", program, *words], cwd=shared, rw=[shared], timeout=60, **options)


def test_what_is_made_changed_and_removed_comes_back(guest, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/changed").write_text("old")
    (tmp_path / "removed").write_text("")
    (tmp_path / "same").write_text("")
    (tmp_path / "tool").write_text("#!/usr/bin/python3\nprint('ran')\n")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to("sub/changed")
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in ("same", "tool")}
    program = """if 1:
        import os, subprocess, sys
        subprocess.run(["./tool"], check=True)
        with open("link", "a") as file: file.write(" and new")
        os.mkdir("made")
        with open("made/by", "w") as file: file.write(os.uname().release)
        os.chmod("made/by", 0o600)
        os.symlink("by", "made/link")
        os.remove("removed")
        print(sorted(os.listdir()), os.stat("same").st_mtime_ns)
        sys.exit(5)
    """
    done = python(guest, program, tmp_path)
    assert done.status == 5
    assert done.stdout.decode().splitlines() == [
        "ran",
        f"['link', 'made', 'same', 'sub', 'tool'] {times['same']}",
    ]
    assert (tmp_path / "sub/changed").read_text() == "old and new"
    assert (tmp_path / "made/by").read_text() == guest.release
    assert (tmp_path / "made/by").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "made/by").stat().st_uid == os.geteuid()
    assert abs((tmp_path / "made/by").stat().st_mtime - time.time()) < 60
    assert os.readlink(tmp_path / "made/link") == "by"
    assert not (tmp_path / "removed").exists()
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in times} == times


def test_a_folder_is_here_anew_for_each_command(guest, tmp_path):
    (tmp_path / "one").write_text("1")
    assert python(guest, "open('two', 'w').write('2')", tmp_path).status == 0
    (tmp_path / "one").unlink()
    (tmp_path / "two").write_text("two")
    assert python(guest, "import os; print(os.listdir(), open('two').read())", tmp_path).stdout == b"['two'] two\n"
    # Without --rw nothing comes back.
    guest.capture(["python3", "-c", "open('three', 'w')"], cwd=tmp_path, timeout=60)
    assert not (tmp_path / "three").exists()


def test_a_write_through_a_mapping_is_seen(guest, tmp_path):
    """It changes neither the size nor, in a tmpfs and to a page that was read before, the times."""
    (tmp_path / "f").write_bytes(b"before" * 1000)
    program = """if 1:
        import mmap, os
        before = os.stat("f")
        with open("f", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
            assert mapped[0] == ord("b")
            mapped[:6] = b"after!"
        after = os.stat("f")
        print((before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size))
    """
    assert python(guest, program, tmp_path).stdout == b"True\n"
    assert (tmp_path / "f").read_bytes() == b"after!" + b"before" * 999


def test_a_large_file_goes_and_comes_without_being_held(tmp_path):
    """100 MB each way in a guest that has not the memory for it twice, by a host that does not hold it either."""
    size = 100 << 20
    with (tmp_path / "in").open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    program = """if 1:
        data = open("in", "rb")
        with open("out", "wb") as out:
            while piece := data.read(1 << 20): out.write(piece[::-1])
        import os
        os.remove("in")
    """
    script = f"""if 1:
        import resource, sys
        from bpfasm import lab
        with lab.boot(memory_mib=640) as guest:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            status = guest.run(["python3", "-c", {program!r}], cwd={str(tmp_path)!r}, rw=[{str(tmp_path)!r}])
            print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    expected = hashlib.sha256()
    with (tmp_path / "in").open("rb") as file:
        while piece := file.read(1 << 20):
            expected.update(piece[::-1])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    status, grown_kib = map(int, done.stdout.split())
    assert status == 0
    assert grown_kib < 20 << 10
    with (tmp_path / "out").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == expected.digest()
    assert not (tmp_path / "in").exists()


def test_a_folder_that_does_not_fit_is_told_with_its_size(tmp_path):
    """With holes it would fit."""
    with (tmp_path / "large").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 600 << 20)
    with lab.boot() as guest, pytest.raises(LabError) as error:
        guest.capture(["true"], rw=[tmp_path])
    assert f"{tmp_path} holds 629 MB, and a guest of 1024 MiB has room for " in error.value.what
    assert "--memory 1" in error.value.do
    assert error.value.rule == "lab-rw"
    with (tmp_path / "large").open("wb") as file:
        file.truncate(600 << 20)
    with lab.boot() as guest:
        assert python(guest, "import os; print(os.stat('large').st_size)", tmp_path).stdout == b"629145600\n"


def test_two_folders_one_in_another_and_one_that_is_not_there(guest, tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    program = "import sys\nfor name in sys.argv[1:]: open(name + '/made', 'w').write('1')"
    shared = [tmp_path / "a", tmp_path / "a/b", tmp_path / "c"]
    assert guest.run(["python3", "-c", program, *map(str, shared)], rw=shared, timeout=60) == 0
    assert all((folder / "made").exists() for folder in shared)
    with pytest.raises(UsageError, match="no such folder"):
        guest.run(["true"], rw=[tmp_path / "nothing"])
    assert not guest.over


def test_what_has_changed_here_meanwhile_is_not_lost(guest, tmp_path, capfd):
    (tmp_path / "both").write_text("0")
    read, write = os.pipe()

    class Meanwhile:
        def write(self, data: bytes) -> None:
            assert data == b"on\n"
            (tmp_path / "both").write_text("here")
            (tmp_path / "mine").write_text("mine")
            os.close(write)  # now it goes on

    program = """if 1:
        import sys
        print("on", flush=True)
        sys.stdin.read()
        open("both", "w").write("there")
        open("mine", "w").write("theirs")
    """
    try:
        status = guest.run(
            ["python3", "-c", program], cwd=tmp_path, rw=[tmp_path], stdin=read, stdout=Meanwhile(), timeout=60
        )
    finally:
        os.close(read)
    assert status == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "both": "here",
        "both.guest": "there",
        "mine": "mine",
        "mine.guest": "theirs",
    }
    assert (
        f"lab: {tmp_path}/both has changed here too, and stays: the guest's is both.guest\n" in capfd.readouterr().err
    )


WORKS = """if 1:
    import signal, sys, time
    for number in map(int, sys.argv[1:]): signal.signal(number, signal.SIG_IGN)
    open("made", "w").write("half")
    print("on", flush=True)
    while 1: time.sleep(100)
"""


def test_the_timeout_brings_back_what_there_is(tmp_path):
    process = lab_process("--timeout", "10", "--rw", ".", "--", "python3", "-c", WORKS, "15", "2", cwd=tmp_path)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (124, b"on\n")
    assert (tmp_path / "made").read_text() == "half"


@pytest.mark.parametrize("ignored", [(), ("2",)])
def test_ctrl_c_brings_back_what_there_is(tmp_path, ignored: tuple[str, ...]):
    """At the first when the command ends by it, else at the second."""
    process = lab_process("--rw", ".", "--", "python3", "-c", WORKS, *ignored, cwd=tmp_path)
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGINT)
    if ignored:
        while b"Ctrl-C again" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert (tmp_path / "made").read_text() == "half"


def test_what_does_not_come_back_in_time_is_told(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(errand, "RETURN_S", 0.3)
    program = "open('large', 'wb').write(bytes(200 << 20)); print('on', flush=True)\nwhile 1: pass"
    with lab.boot() as guest:
        with pytest.raises(LabError, match=r"did not come back within 0\.3 s") as error:
            guest.run(["python3", "-c", program], cwd=tmp_path, rw=[tmp_path], timeout=10)
        assert gone(guest.pid)
    assert error.value.rule == "lab-rw"
    assert f"of what the command did in {tmp_path} has come back\n" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_does_not_cost_the_files(tmp_path):
    process = lab_process(
        "--rw", ".", "--", "python3", "-c", "open('made', 'w').write('1')\nwhile 1: print('y')", cwd=tmp_path
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
    assert (tmp_path / "made").read_text() == "1"


def test_a_panic_brings_nothing_back_and_says_so(tmp_path):
    program = "open('made', 'w').write('1'); open('/proc/sysrq-trigger', 'w').write('c')"
    process = lab_process("--rw", ".", "--", "python3", "-c", program, cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 125
    assert f"lab: nothing of what the command did in {tmp_path} has come back\n".encode() in err
    assert b"Kernel panic" in err
    assert list(tmp_path.iterdir()) == []


def test_a_lab_that_is_killed_while_files_come_back_leaves_no_half_file(tmp_path):
    program = "open('large', 'wb').write(bytes(200 << 20)); print('on', flush=True)"
    process = lab_process("--rw", ".", "--", "python3", "-c", program, cwd=tmp_path)
    assert process.stdout
    assert process.stdout.readline() == b"on\n"
    (machine,) = machines_of(process.pid)
    # It has a file open in the folder that has no name yet.
    fds = Path(f"/proc/{process.pid}/fd")
    until(lambda: any(str(tmp_path) in os.readlink(fd) and "deleted" in os.readlink(fd) for fd in fds.iterdir()), 60)
    process.kill()
    process.communicate(timeout=30)
    until(lambda: gone(machine))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_here_is_told(tmp_path):
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", tmp_path], check=False).returncode
    ):
        pytest.skip("this process may mount nothing")
    try:
        program = "open('a', 'wb').write(bytes(4 << 20)); open('b', 'w').write('1')"
        process = lab_process("--rw", str(tmp_path), "--", "python3", "-c", program, cwd=tmp_path)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 125
        assert f"{tmp_path}/a: No space left on device [lab-rw]\n".encode() in err
        assert [path.name for path in tmp_path.iterdir()] == ["b"]
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


#: Take the port out of the first process, which alone can have it open, and write what no guest of ours would.
FORGES = """if 1:
    import ctypes, os, sys
    libc = ctypes.CDLL(None)
    first = libc.syscall(434, 1, 0)                                     # pidfd_open
    ports = [int(fd) for fd in os.listdir("/proc/1/fd") if "vport" in os.readlink("/proc/1/fd/" + fd)]
    port = libc.syscall(438, first, ports[0], 0)                        # pidfd_getfd
    os.write(port, bytes.fromhex(sys.argv[1]))
    import time
    time.sleep(100)
"""


def frames(*content: tuple[bytes, bytes]) -> str:
    return b"".join(kind + len(data).to_bytes(4, "little") + data for kind, data in content).hex()


@pytest.mark.parametrize(
    ("forged", "says"),
    [
        (
            frames((b"F", b"\0" + b"100644\0000\0004\0../evil\0"), (b"B", b"\0" + bytes(8) + b"evil")),
            "leads elsewhere",
        ),
        (
            frames((b"F", b"\0" + b"100644\0000\0004\0/tmp/evil\0"), (b"B", b"\0" + bytes(8) + b"evil")),
            "leads elsewhere",
        ),
        (frames((b"U", b"\0../keep")), "leads elsewhere"),
        (frames((b"F", b"\7" + b"100644\0000\0004\0evil\0")), "not shared"),
        (frames((b"X", b"no number")), "invalid literal"),
        (b"O\xff\xff\xff\xff".hex(), "a frame of 4294967295 bytes"),
    ],
)
def test_a_hostile_guest_writes_nothing_elsewhere(tmp_path, forged: str, says: str):
    shared = tmp_path / "shared"
    shared.mkdir()
    (tmp_path / "keep").write_text("")
    with lab.boot() as guest, pytest.raises(LabError, match=says) as error:
        guest.capture(["python3", "-c", FORGES, forged], rw=[shared], timeout=30)
    assert error.value.rule == "lab-guest"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keep", "shared"]
    assert list(shared.iterdir()) == []
    assert not Path("/tmp/evil").exists()
