"""What the independent oracles need; where one is missing, the tests that ask it skip and name its package."""

import shutil

import debian
import kernel_source
import pytest


@pytest.fixture(scope="session")
def gcc():
    """Skip without a C compiler."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc (apt install gcc libc6-dev)")


@pytest.fixture(scope="session")
def fetched():
    """Give a function that calls another, and skips where this host cannot fetch what that needs."""

    def fetched(function):
        try:
            return function()
        except debian.FetchError as error:
            pytest.skip(f"needs a Debian mirror, or an earlier run's cache of its linux-source: {error}")

    return fetched


@pytest.fixture(scope="session")
def source(fetched):
    """Give the directory of the newest kernel's source files."""
    return fetched(kernel_source.newest)
