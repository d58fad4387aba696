"""The table of helper functions: whole, and of one piece with the header."""

import errno
import re

import pytest

from bpfasm.isa.helper_meanings import MEANINGS
from bpfasm.isa.helpers import HELPERS, all_helpers, helper_of, since
from bpfasm.uapi import bpf, if_ether
from bpfasm.uapi.helpers import prototypes

ROWS = list(all_helpers())


def test_every_helper_of_the_header_has_a_row():
    ids = {getattr(bpf, name) for name in bpf.enum_bpf_func_id if name.startswith("BPF_FUNC_")} - {0}
    assert [row.id for row in ROWS] == sorted(ids) == list(range(1, 212))
    assert prototypes.keys() == set(HELPERS.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_whole(row):
    assert f"bpf_{row.name}(" in row.prototype
    assert row.arguments <= 5
    assert row.since == since(row.id)
    assert 30 <= len(row.meaning) <= 110
    assert row.meaning[0].isupper()
    assert row.meaning.endswith(".")


def test_arguments_are_those_that_are_named():
    assert helper_of(bpf.BPF_FUNC_ktime_get_ns).arguments == 0
    assert helper_of(bpf.BPF_FUNC_trace_printk).parameters == ("const char *fmt", "u32 fmt_size")
    assert helper_of(bpf.BPF_FUNC_map_update_elem).arguments == 4
    assert helper_of(212) is helper_of(0) is None


def test_no_two_helpers_have_one_meaning_and_no_meaning_has_no_helper():
    assert len({row.meaning for row in ROWS}) == len(ROWS) == len(MEANINGS)


def test_a_meaning_names_constants_that_there_are():
    """Flags and sizes by the names of the headers; ``_CB_FLAG`` and the like are the ends of several."""
    known = {*dir(bpf), *dir(if_ether), *dir(errno)}
    whole = re.compile(r"(?<![\w*])-?(?:BPF|BTF|ETH|E)[A-Z0-9_]*[A-Z0-9](?![\w*])")
    for row in ROWS:
        for name in whole.findall(row.meaning):
            if "_" in name or name.startswith("-E"):
                assert name.lstrip("-") in known, (row.name, name)
