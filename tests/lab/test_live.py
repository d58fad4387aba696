"""The live tests in every kernel of the matrix: what cannot be tried on the machine at hand is tried there."""

import pytest

from bpfasm import lab
from bpfasm.errors import LabError
from bpfasm.lab import qemu

pytestmark = pytest.mark.lab

#: Seconds for all of them; a minute where the processor is emulated.
TIMEOUT_S = 900


@pytest.mark.parametrize("version", [kernel.version for kernel in lab.kernels()])
def test_live_tests(version):
    try:
        qemu.find()
    except LabError as error:
        pytest.skip(str(error))
    pytest_there = ["python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests/live"]
    done = lab.capture(version, pytest_there, packages=("pytest",), timeout=TIMEOUT_S)
    print(done.stdout.decode())
    assert (done.status, done.stderr) == (0, b"")
