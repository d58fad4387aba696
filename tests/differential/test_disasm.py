"""The kernel's text against the kernel's own disassembler, compiled from its source."""

import os

import kernel_source
import kernel_wording
import pytest
from samples import samples

from bpfasm.asm.syntax import kernel
from bpfasm.isa.insn import Insn, encode
from bpfasm.isa.match import form_of
from bpfasm.isa.table import FORMS

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def disassembler(gcc, source, tmp_path_factory):
    return kernel_source.Disassembler(source, tmp_path_factory.mktemp("disasm"))


def test_every_form_is_printed_word_for_word(disassembler):
    # 13 registers: the kernel's own forms have R11 and R12 as well.
    count = int(os.environ.get("BPFASM_SAMPLES", "150"))
    pairs = samples(count, seed=2, registers=13)
    ours = [kernel.words(insn, form) for form, insn in pairs]
    theirs = disassembler.texts([encode([insn]) for _, insn in pairs])
    assert len(theirs) == count * len(FORMS)
    assert [both for both in zip(ours, theirs, strict=True) if both[0] != both[1]] == []


def test_every_helper_has_the_kernels_name(disassembler):
    calls = [Insn(0x85, imm=number) for number in [*range(-2, 300), 2**31 - 1, -(2**31)]]
    theirs = disassembler.texts([encode([insn]) for insn in calls])
    assert [kernel.words(insn, form_of(insn)) for insn in calls] == theirs
    assert "(85) call bpf_map_lookup_elem#1" in theirs


def test_the_page_of_older_kernels_words_is_up_to_date(gcc, fetched):
    """Else run tools/kernel_wording.py."""
    assert kernel_wording.PAGE.read_text() == fetched(kernel_wording.page)
