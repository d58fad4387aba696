"""How much the tests of random inputs do: a sample here, the full counts in ``./run fuzz``."""

import os

import pytest


@pytest.fixture
def mutations():
    """Give how many mutated inputs a test tries."""
    return int(os.environ.get("BPFASM_MUTATIONS", "600"))
