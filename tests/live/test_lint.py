"""What lint says of a program, and what the kernel says: what it takes is silent, what is a mistake it refuses."""

import ctypes
import os
import struct

import pytest
from support import bpf2
from support.chance import Chance
from support.each import each
from support.mistakes import counts, mistakes, ring, slots
from support.zygote import IN_GUEST

from bpfasm.asm import *
from bpfasm.asm.lint import lint
from bpfasm.errors import BpfasmError

pytestmark = pytest.mark.lab

#: Kernels from 6.4 on let a program read what is left on the stack; old ones (5.10) overlook a jump between the slots
#: of an instruction that a constant never lets run. Lint says it all the same.
WARNED = {"stack-unwritten", "jump-inside"}


@pytest.fixture(scope="module")
def verdict():
    """Return whether the kernel takes a program, with maps that are there."""
    with bpf2.Map(1, 4, 8, 8) as one, bpf2.Map(2, 4, 8, 4) as two, bpf2.Map(27, 0, 0, 4096) as three:
        target = Target(map_fds={counts.name: one.number, slots.name: two.number, ring.name: three.number})

        def ask(program):
            code = ctypes.create_string_buffer(link(program, target).code)
            license = ctypes.create_string_buffer(program.license.encode())
            insns, words = ctypes.addressof(code), ctypes.addressof(license)
            try:
                number, _ = bpf2.bpf(bpf2.PROG_LOAD, struct.pack("=IIQQ", program.type, len(code) // 8, insns, words))
            except OSError:
                return False
            os.close(number)
            return True

        yield ask


def test_programs_that_the_kernel_takes_are_silent(verdict):
    """Random ones: a fixed sample; more of them were tried than every run has time for."""
    taken, wrong = 0, []
    for seed in range(100 if IN_GUEST else 200):
        program = Chance(seed).program(counts, slots, ring)
        try:
            accepted = verdict(program)
        except BpfasmError:
            continue  # a jump that leads nowhere by label
        if accepted:
            taken += 1
            wrong += [(seed, each) for each in lint(program) if each.rule not in WARNED]
    assert wrong == []
    assert taken > 5


@each([mistake for mistake in mistakes() if not mistake.taken], named=lambda mistake: mistake.id)
def test_a_mistake_is_refused(mistake, verdict):
    assert not verdict(mistake.program())
