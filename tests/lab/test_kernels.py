"""What the matrix says of its kernels, proven twice: by the configuration in their packages, and by the kernels."""

import json
import os
import re
import subprocess

import pytest
from support.options import PROBES

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab.kernel.modules import closure
from bpfasm.lab.packages import deb, pins, sources, web

pytestmark = pytest.mark.boots


def configuration(kernel):
    """Return the options that a kernel's packages say it was built with."""
    top = kernel.tree.vmlinuz.parent
    (file,) = [path for path in (top / f"config-{kernel.release}", top / "config") if path.is_file()]
    return set(re.findall(r"^CONFIG_(\w+)=[ym]$", file.read_text(), re.MULTILINE))


def test_there_is_a_probe_for_each_option():
    assert sorted(PROBES) == sorted(lab.options())


@pytest.mark.parametrize("version", [kernel.version for kernel in lab.everything()])
def test_what_the_configuration_lacks(version):
    kernel = lab.fetch(version)
    assert sorted(kernel.lacks) == sorted(lab.options().keys() - configuration(kernel))


def test_a_pinned_package_of_debians(tmp_path):
    """Got by its URL, and unpacked as dpkg-deb does it."""
    (package,) = [package for package in pins.find("6.12") if package.name == "busybox-static"]
    try:
        web.download([package], tmp_path, pins.urls(sources.mirror()), "busybox", lambda *_: None)
    except LabError as error:
        if error.rule != "lab-fetch":
            raise
        pytest.skip(str(error))
    deb.unpack(tmp_path / package.path, tmp_path / "ours")
    subprocess.run(["dpkg-deb", "-x", tmp_path / package.path, tmp_path / "theirs"], check=True)
    assert subprocess.run(["diff", "-r", tmp_path / "ours", tmp_path / "theirs"], check=False).returncode == 0
    done = subprocess.run([tmp_path / "ours/usr/bin/busybox", "echo", "here"], capture_output=True, check=True)
    assert done.stdout == b"here\n"


def test_what_the_kernel_lacks(guest):
    module = closure(guest.kernel.tree.modules, ["dummy"])[-1].data
    fd = os.memfd_create("module")
    os.write(fd, module)
    os.lseek(fd, 0, os.SEEK_SET)
    done = guest.capture(["python3", "tests/support/options.py"], stdin=fd, timeout=60)
    os.close(fd)
    assert (done.status, done.stderr) == (0, b"")
    found = json.loads(done.stdout)
    assert sorted(guest.kernel.lacks) == sorted(name for name, here in found.items() if not here)
