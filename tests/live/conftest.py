"""What live tests need of the running kernel."""

import errno

import pytest
from support.bpf2 import Prog, Refused


@pytest.fixture(scope="session")
def may_load():
    """Skip where this user may not load programs."""
    try:
        with Prog(bytes.fromhex("b7000000000000009500000000000000")):
            pass
    except Refused as refused:
        if refused.errno != errno.EPERM:
            raise
        pytest.skip("needs root, or CAP_BPF and CAP_NET_ADMIN")
