"""Guests with another processor than this machine's, which have Debian's Python."""

from __future__ import annotations

import os

import pytest

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab.machine import qemu
from bpfasm.lab.packages import bundle

pytestmark = pytest.mark.boots

HERE = os.uname().machine


def foreign_kernel() -> lab.Kernel:
    """Return a kernel for another processor; skip where nothing emulates that."""
    (kernel, *_) = [kernel for kernel in lab.everything() if kernel.arch != HERE]
    try:
        qemu.find(kernel.arch)
    except LabError as error:
        pytest.skip(str(error))
    return kernel


@pytest.fixture(params=["another", "this"], scope="module")
def guest(request):
    """A guest with another processor; and one with this machine's that is given Debian's Python all the same.

    The second is what the first would be on a machine of the other kind.
    """
    with pytest.MonkeyPatch.context() as patch:
        kernel = foreign_kernel()
        if request.param == "this":
            kernel = next(kernel for kernel in lab.kernels() if kernel.arch == HERE)
            patch.setattr(bundle, "is_foreign", lambda _: True)
        with lab.boot(kernel, packages=("pytest",)) as running:
            yield running


def run(guest: lab.Guest, *words: str) -> str:
    done = guest.capture(words, timeout=120)
    assert (done.status, done.stderr) == (0, b""), done
    return done.stdout.decode()


def test_it_runs_debians_python(guest):
    program = "import os, sys; print(os.uname().machine, os.path.realpath(sys.executable), sys.prefix)"
    assert run(guest, "python3", "-c", program).split() == [guest.kernel.arch, "/usr/bin/python3.13", "/usr"]


def test_its_libraries_are_whole(guest):
    """Each extension that came along finds what it is linked with."""
    program = """if 1:
        import importlib.util, os, sysconfig
        folder = sysconfig.get_path("stdlib") + "/lib-dynload"
        names = sorted({name.partition(".")[0] for name in os.listdir(folder)})
        for name in names:
            __import__(name)
        print(len(names) > 20)
        import ctypes, json, decimal, socket, ssl, sqlite3, hashlib
        print(json.dumps([1]), hashlib.sha256(b"").hexdigest()[:8])
    """
    assert run(guest, "python3", "-c", program) == "True\n[1] e3b0c442\n"


def test_nothing_is_compiled_there(guest):
    """What was compiled here is taken, whatever version of Python did it: the project, pytest, the library."""
    program = "import bpfasm.asm, pytest, argparse, typing"
    words = ["python3", "-v", "-c", program]
    done = guest.capture(words, timeout=120)
    assert done.status == 0
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("# code object from")]
    assert [line for line in lines if not line.rstrip("'").endswith(".pyc")] == []
    assert any("argparse.pyc" in line for line in lines)
    assert any("_pytest" in line for line in lines)


def test_pure_packages_go_along(guest):
    out = run(guest, "python3", "-m", "pytest", "--version")
    assert out.startswith("pytest ")


def test_packages_with_compiled_code_do_not_and_it_is_said(capsys):
    if not __import__("importlib.util").util.find_spec("capstone"):
        pytest.skip("capstone is not installed here")
    with lab.boot(foreign_kernel()) as guest:
        assert "lab: the guest goes without capstone: compiled for this machine's Python\n" in capsys.readouterr().err
        assert guest.capture(["python3", "-c", "import capstone"], timeout=60).status == 1


def test_the_shell_and_modules_on_demand(guest):
    assert run(guest, "sh", "-c", "ip link add left type veth && ip link del left && ls /lib/modules") == (
        f"{guest.release}\n"
    )


def test_kprobes_count(guest):
    words = ["python3", "-m", "bpfasm", "chowncount", "--on", "live", "--calls", "1000"]
    assert run(guest, *words).splitlines()[-1] == "counted 1000, called 1000: equal"
