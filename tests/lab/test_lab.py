"""The lab itself, on real kernels: what goes in comes out unchanged, and every way to end is told apart."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import gone, lab_process, machines_of, until

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.api import PACKAGES
from bpfasm.lab.guest import start
from bpfasm.lab.image import parts as image
from bpfasm.lab.image.distributions import distributions, paths
from bpfasm.lab.kernel.vmlinux import directly, has_pvh_entry
from bpfasm.lab.machine import qemu
from bpfasm.lab.packages import bundle

pytestmark = pytest.mark.boots

ROOT = Path(__file__).resolve().parents[2]


def run(guest: lab.Guest, *argv: str | bytes, **options) -> tuple[int, bytes, bytes]:
    done = guest.capture(argv, timeout=60, **options)
    return done.status, done.stdout, done.stderr


def python(guest: lab.Guest, program: str, *argv: str | bytes, **options) -> tuple[int, bytes, bytes]:
    return run(guest, "python3", "-c", program, *argv, **options)


def test_the_kernel_is_the_one_asked_for(guest):
    assert python(guest, "print(1)") == (0, b"1\n", b"")
    _, out, _ = python(guest, "import os; print(os.uname().release, os.cpu_count())")
    release, cpus = out.decode().split()
    assert release == guest.release == guest.kernel.release
    assert release.startswith(guest.kernel.version.partition("-")[0] + ".")
    assert cpus == "2"


#: Write to a file of tracefs. Truncating kprobe_events would remove every event that is not in use.
PUT = """if 1:
        import os

        def put(name, text):
            fd = os.open("/sys/kernel/tracing/" + name, os.O_WRONLY)
            os.write(fd, text.encode())
            os.close(fd)
"""


def test_a_kprobe_counts(guest):
    """Through tracefs alone: this tests the lab, not our loader."""
    program = """
        function = {"x86_64": "__x64_sys_fchownat", "aarch64": "__arm64_sys_fchownat"}[os.uname().machine]
        put("kprobe_events", "p:lab/chown " + function)
        put("events/lab/chown/enable", "1")
        for _ in range(100):
            os.chown("etc", 0, 0, dir_fd=os.open("/", os.O_RDONLY))
        put("events/lab/chown/enable", "0")
        print(open("/sys/kernel/tracing/kprobe_profile").read().split()[1:])
        put("kprobe_events", "-:lab/chown")
    """
    assert python(guest, PUT + program) == (0, b"['100', '0']\n", b"")


def test_tracing_while_the_other_processor_runs_what_is_traced(guest):
    """A kernel rewrites its own code here, which is where an emulator's threads go wrong."""
    program = """
        busy = os.fork()
        while busy == 0:
            os.stat("/")
        put("kprobe_events", "p:lab/stat vfs_statx")
        for _ in range(6):
            for switch in "10":
                for event in ("lab/stat", "sched/sched_switch", "raw_syscalls"):
                    put(f"events/{event}/enable", switch)
        put("kprobe_events", "-:lab/stat")
        os.kill(busy, 9)
        print("alive")
    """
    assert python(guest, PUT + program) == (0, b"alive\n", b"")


def test_the_file_systems_are_mounted(guest):
    status, out, _ = python(guest, "print(open('/proc/self/mounts').read())")
    mounts = {tuple(line.split()[1:3]) for line in out.decode().splitlines() if line}
    assert status == 0
    assert mounts >= {
        ("/proc", "proc"),
        ("/sys", "sysfs"),
        ("/dev", "devtmpfs"),
        ("/sys/kernel/tracing", "tracefs"),
        ("/sys/kernel/debug", "debugfs"),
        ("/sys/kernel/security", "securityfs"),
        ("/sys/fs/bpf", "bpf"),
        ("/sys/fs/cgroup", "cgroup2"),
    }


def test_the_loopback_is_up(guest):
    program = """if 1:
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        print(server.accept()[1] == client.getsockname())
    """
    assert python(guest, program) == (0, b"True\n", b"")


def test_status_and_outputs_arrive_apart_and_unchanged(guest):
    program = "import sys; sys.stdout.write('out'); sys.stderr.write('err'); sys.exit(7)"
    assert python(guest, program) == (7, b"out", b"err")


@pytest.mark.parametrize(("number", "status"), [(9, 137), (15, 143), (11, 139)])
def test_a_signal_is_128_and_its_number(guest, number: int, status: int):
    assert python(guest, f"import os; os.kill(os.getpid(), {number})")[0] == status


def test_ten_megabytes_of_binary_output_arrive_intact(guest):
    program = """if 1:
        import hashlib, random, sys
        data = random.Random(1).randbytes(10 << 20)
        sys.stdout.buffer.write(data)
        sys.stderr.write(hashlib.sha256(data).hexdigest())
    """
    status, out, err = python(guest, program)
    assert status == 0
    assert len(out) == 10 << 20
    assert hashlib.sha256(out).hexdigest() == err.decode()


def test_every_byte_value_arrives(guest):
    data = bytes(range(256)) * 3
    assert python(guest, "import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)") == (0, data, b"")


def test_words_keep_spaces_newlines_and_bytes_that_are_no_text(guest):
    words = ["a b", "", "line\nline", "--", "-c", b"\xff\xfe\x80", "caf\u00e9", "*", "$HOME", '"']
    _, out, _ = python(guest, "import os, sys; print([os.fsencode(w) for w in sys.argv[1:]])", *words)
    assert out.decode().strip() == repr([os.fsencode(word) for word in words])


def test_the_environment_is_the_callers_and_a_few_more(guest, monkeypatch):
    monkeypatch.setenv("NOT_PASSED_ON", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    given = {"A": "b c", "LINES_OF": "1\n2", "BYTES": "caf\udce9"}
    _, out, _ = python(guest, "import os; print(sorted(os.environb.items()))", env=given)
    found = dict(eval(out))
    assert found.items() >= {b"A": b"b c", b"LINES_OF": b"1\n2", b"BYTES": b"caf\xe9", b"NO_COLOR": b"1"}.items()
    assert b"NOT_PASSED_ON" not in found
    assert found[b"HOME"] == b"/root"


def test_the_folder_is_the_callers(guest):
    assert python(guest, "import os; print(os.getcwd())", cwd="/sys/kernel")[1] == b"/sys/kernel\n"
    # By default it is the project, and the project can be imported.
    _, out, _ = python(guest, "import os, bpfasm; print(os.getcwd(), bpfasm.__file__)")
    assert out.decode().split() == [str(ROOT), str(ROOT / "bpfasm/__init__.py")]


def test_a_folder_that_is_not_there(guest):
    status, out, err = python(guest, "print(1)", cwd="/no such folder")
    assert (status, out) == (125, b"")
    assert b"/no such folder: No such file" in err


def test_a_command_that_is_not_there(guest):
    assert run(guest, "nonesuch") == (127, b"", b"lab: cannot run nonesuch: No such file or directory\n")
    assert run(guest, "/etc/passwd")[0] == 126


def test_bytes_go_in(guest):
    read, write = os.pipe()
    data = os.urandom(1 << 20)
    if os.fork() == 0:
        with os.fdopen(write, "wb") as file:
            file.write(data)
        os._exit(0)
    os.close(write)
    program = "import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    assert python(guest, program, stdin=read) == (0, hashlib.sha256(data).hexdigest().encode() + b"\n", b"")
    os.close(read)
    os.wait()


def test_a_command_that_reads_nothing_ends_all_the_same(guest):
    with open("/dev/zero", "rb") as endless:
        assert python(guest, "print(1)", stdin=endless.fileno()) == (0, b"1\n", b"")


def test_without_stdin_there_is_an_end_of_file_at_once(guest):
    assert python(guest, "import sys; print(repr(sys.stdin.read()))") == (0, b"''\n", b"")


def test_output_comes_as_it_is_written(guest):
    class Times:
        def __init__(self) -> None:
            self.seen: list[tuple[float, bytes]] = []

        def write(self, data: bytes) -> None:
            self.seen.append((time.monotonic(), data))

    program = "import time\nfor i in range(3): print(i, flush=True); time.sleep(0.3)"
    out = Times()
    assert guest.run(["python3", "-c", program], stdout=out, timeout=30) == 0
    assert [data for _, data in out.seen] == [b"0\n", b"1\n", b"2\n"]
    assert out.seen[-1][0] - out.seen[0][0] > 0.4


def test_what_a_command_leaves_running_ends_with_it(guest):
    program = "import os, time\nif os.fork() == 0:\n os.setsid(); time.sleep(1000)\nprint('parent')"
    assert python(guest, program) == (0, b"parent\n", b"")
    _, out, _ = python(guest, "import os; print(sum(n.isdigit() and int(n) > 1 and os.path.exists(f'/proc/{n}/exe') "
                              "for n in os.listdir('/proc')))")  # fmt: skip
    assert out == b"1\n"  # the one that counts


def test_many_processes_that_end_are_all_collected(guest):
    program = """if 1:
        import os, time
        for _ in range(50):
            if os.fork() == 0:
                if os.fork() == 0:
                    os._exit(0)      # an orphan: the first process collects it
                os._exit(0)
            os.wait()
        def zombies():
            states = [open(f"/proc/{n}/stat").read().rpartition(")")[2].split()[0]
                      for n in os.listdir("/proc") if n.isdigit() and os.path.exists(f"/proc/{n}/stat")]
            return states.count("Z")
        deadline = time.monotonic() + 20
        while zombies() and time.monotonic() < deadline:
            pass
        print(zombies())
    """
    assert python(guest, program) == (0, b"0\n", b"")


def test_files_named_by_the_caller_are_there(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/caf\u00e9.py").write_text("print('copied')\n")
    (tmp_path / "tool").write_text("#!/usr/bin/python3\nprint('tool')\n")
    (tmp_path / "tool").chmod(0o755)
    with lab.boot(copy=[tmp_path / "folder", tmp_path / "tool"]) as guest:
        assert run(guest, "python3", "caf\u00e9.py", cwd=tmp_path / "folder") == (0, b"copied\n", b"")
        assert run(guest, tmp_path.joinpath("tool").as_posix()) == (0, b"tool\n", b"")


def test_the_timeout_ends_a_guest_that_hangs():
    with lab.boot() as guest:
        started = time.monotonic()
        program = """if 1:
            import signal
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
            print("on", flush=True)
            while 1: pass
        """
        out = io.BytesIO()
        assert guest.run(["python3", "-c", program], timeout=15, stdout=out) == 124
        assert time.monotonic() - started < 60
        assert out.getvalue() == b"on\n"
        assert gone(guest.pid)
        with pytest.raises(LabError, match="is over") as error:
            guest.run(["true"])
        assert error.value.rule == "lab-over"


def test_a_panic_is_told_with_the_consoles_words():
    with lab.boot() as guest:
        with pytest.raises(LabError) as error:
            python(guest, "open('/proc/sysrq-trigger', 'w').write('c')")
        assert "Kernel panic - not syncing: sysrq triggered crash" in error.value.what
        assert guest.release in error.value.what
        assert error.value.rule == "lab-guest"
        assert "sysrq_handle_crash" in error.value.do
        assert gone(guest.pid)


def test_a_guest_that_does_not_come_up_is_told_with_the_consoles_words():
    kernel = lab.fetch()
    with pytest.raises(LabError) as error:
        start.cold(qemu.Machine(qemu.find(), "tcg"), kernel, image.Parts((), Path(os.devnull), b""), 60)  # no init
    assert "Kernel panic" in error.value.what


def test_qemus_own_words_are_told():
    machine = qemu.Machine(qemu.find(), "tcg", memory_mib=1 << 40)
    with pytest.raises(LabError) as error:
        start.cold(machine, lab.fetch(), image.Parts((), Path(os.devnull), b""), 60)
    assert error.value.do.startswith("QEMU said: ")


def test_ctrl_c_goes_to_the_command_and_the_guest_ends():
    process = lab_process("--", "python3", "-c", "print('on', flush=True)\nimport time\ntime.sleep(1000)")
    assert process.stdout
    assert process.stdout.readline() == b"on\n"
    (machine,) = machines_of(process.pid)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"KeyboardInterrupt" in err  # the command's own words
    assert b'File "<string>", line ' in err
    assert gone(machine)


def test_a_command_may_finish_after_ctrl_c():
    program = """if 1:
        import time
        try: print("on", flush=True); time.sleep(1000)
        except KeyboardInterrupt: print("total 5"); exit(3)
    """
    process = lab_process("--", "python3", "-c", program)
    assert process.stdout
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (3, b"total 5\n")


def test_ctrl_c_twice_ends_a_command_that_does_not_listen():
    program = "import signal\nsignal.signal(2, signal.SIG_IGN)\nprint('on', flush=True)\nwhile 1: pass"
    process = lab_process("--", "python3", "-c", program)
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline() == b"on\n"
    process.send_signal(signal.SIGINT)
    while b"Ctrl-C again" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lab_that_is_killed_leaves_nothing(number: signal.Signals):
    process = lab_process("--", "python3", "-c", "print('on', flush=True)\nimport time\ntime.sleep(1000)")
    assert process.stdout
    assert process.stdout.readline() == b"on\n"
    (machine,) = machines_of(process.pid)
    process.send_signal(number)
    process.communicate(timeout=30)
    until(lambda: gone(machine))
    cache.sweep()
    left = [path.name for path in (cache.root() / "tmp").iterdir()]
    assert [name for name in left if name.startswith(f"{process.pid}-")] == []


def test_the_command_line_passes_everything_on():
    program = "import sys; print(sys.argv[1:], sys.stdin.read()); print('e', file=sys.stderr); sys.exit(9)"
    process = subprocess.run(
        [sys.executable, "-m", "bpfasm", "lab", "run", "--timeout", "60", "--", "python3", "-c", program, "--", "-x"],
        cwd=ROOT,
        input=b"from stdin",
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert (process.returncode, process.stdout) == (9, b"['--', '-x'] from stdin\n")
    assert process.stderr.endswith(b"e\n")


def test_nothing_is_left_open():
    lab.capture("6.1", ["true"])
    before = os.listdir("/proc/self/fd")
    assert lab.capture("6.1", ["python3", "-c", "print(1)"]) == lab.Result(0, b"1\n", b"")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("version", [kernel.version for kernel in lab.kernels()])
def test_every_kernel_is_started_directly(version: str):
    tree = lab.fetch(version).tree
    assert tree
    made = directly(tree.vmlinuz)
    assert made != tree.vmlinuz
    assert has_pvh_entry(made.read_bytes())
    assert f"Linux version {tree.release} ".encode() in made.read_bytes()


@pytest.mark.parametrize("name", PACKAGES)
def test_the_packages_that_are_here_are_there(guest, name: str):
    found = distributions([name])
    if not found:
        pytest.skip(f"{name} is not installed here")
    if bundle.userlands(guest.kernel) and any(path.suffix == ".so" for path in paths(found[name])):
        pytest.skip(f"{name} has code for this machine's processor, and the guest has another")
    assert python(guest, f"import {name}; print({name}.__name__)") == (0, name.encode() + b"\n", b"")
