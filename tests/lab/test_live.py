"""The live tests in every kernel of the matrix: what cannot be tried on the machine at hand is tried there."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from bpfasm import lab
from bpfasm.errors import LabError

pytestmark = pytest.mark.lab

VERSIONS = [kernel.version for kernel in lab.kernels()]

#: Seconds for all of them; two or three minutes where the processor is emulated.
TIMEOUT_S = 900

COMMAND = ["python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests/live"]


def run(version):
    """Return what the live tests gave on a kernel, or the exception of a lab that failed."""
    try:
        return lab.capture(version, COMMAND, packages=("pytest",), timeout=TIMEOUT_S)
    except LabError as error:
        return error


@pytest.fixture(scope="module")
def results():
    """Run the live tests on each kernel, as many at a time as there are processors: a guest keeps one busy."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(VERSIONS, pool.map(run, VERSIONS), strict=True))


@pytest.mark.parametrize("version", VERSIONS)
def test_live_tests(results, version):
    done = results[version]
    assert isinstance(done, lab.Result), done
    print(done.stdout.decode())
    assert (done.status, done.stderr) == (0, b"")
