"""All types as lines and in C: of broken bytes they are told, or an error is."""

import random

import pytest

from bpfasm.btf.dump import raw_lines
from bpfasm.btf.ordered import ordered_lines
from bpfasm.btf.read import Btf
from bpfasm.errors import BpfasmError
from tests.unit.test_core import KERNEL


@pytest.mark.parametrize("lines", [raw_lines, ordered_lines])
def test_broken_bytes(lines):
    chance = random.Random(11)
    good = bytes(KERNEL.data)
    assert len(list(lines(KERNEL))) > 20
    for _ in range(500):
        data = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.choice([0, 1, 2, 0x7F, 0xFF, chance.randrange(256)])
        try:
            assert list(lines(Btf(bytes(data)))) is not None
        except BpfasmError:
            continue
