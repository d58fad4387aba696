"""The opcodes of the table against those that the kernel takes (kernel/bpf/core.c bpf_opcode_in_insntable())."""

import re

import kernel_forms
import kernel_source
import pytest

from bpfasm.isa.table import FORMS
from bpfasm.uapi import bpf, bpf_common

pytestmark = pytest.mark.oracle

#: Codes of forms that no kernel takes: what LLVM emits for a call through a pointer.
REFUSED = {0x8D}

NUMBERS = {**vars(bpf_common), **vars(bpf)}


def codes_of(source):
    """Return the codes of the kernel's table, computed from the names in it."""
    text = (source / "kernel/bpf/core.c").read_text()
    table = re.search(r"#define BPF_INSN_MAP\(.*?\n\n", text, re.S).group()
    entries = [words.split(",") for words in re.findall(r"INSN_[23]\(([^)]*)\),?\s*\\?", table)]
    more = re.search(r"public_insntable\[256\] = \{(.*?)\};", text, re.S).group(1)
    entries += [words.split("|") for words in re.findall(r"\[(BPF_\w+ \|[^\]]*)\] = true", more)]
    names = [[f"BPF_{name.strip().removeprefix('BPF_')}" for name in entry] for entry in entries]
    return [sum(NUMBERS[name] for name in entry) for entry in names]


def test_the_source_forms_have_the_kernels_codes_and_no_other(source):
    theirs = codes_of(source)
    assert len(theirs) == len(set(theirs)) > 100
    assert {form.code for form in FORMS if form.dialect == "source"} - REFUSED == set(theirs)


@pytest.mark.parametrize("series", kernel_source.SUITES)
def test_a_release_has_the_codes_that_came_with_it(series, fetched):
    """Where a code is one form's alone, or came with all its forms at once."""
    theirs = set(codes_of(fetched(lambda: kernel_source.released(series))))
    having = {}
    for form in FORMS:
        if form.dialect == "source" and form.since:
            having.setdefault(form.code, set()).add(kernel_forms.has(form, series))
    assert {code for code, had in having.items() if had == {True}} <= theirs
    assert {code for code, had in having.items() if had == {False}} & theirs == set()


def test_what_the_kernel_makes_has_codes_of_its_own(source):
    """Except marks on codes that a program has too: a form of the dumps is never taken for one that loads."""
    theirs = set(codes_of(source))
    shared = {form.name for form in FORMS if form.dialect == "xlated" and form.code in theirs}
    assert shared == {"mov_percpu", "zext", "call_args"}
