"""The table of helper functions: whole, and of one piece with the header."""

import pytest

from bpfasm.isa.helpers import HELPERS, all_helpers, helper_of, since
from bpfasm.uapi import bpf
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
    assert len(row.meaning) <= 110
    assert not row.meaning or row.meaning.endswith(".")


def test_arguments_are_those_that_are_named():
    assert helper_of(bpf.BPF_FUNC_ktime_get_ns).arguments == 0
    assert helper_of(bpf.BPF_FUNC_trace_printk).parameters == ("const char *fmt", "u32 fmt_size")
    assert helper_of(bpf.BPF_FUNC_map_update_elem).arguments == 4
    assert helper_of(212) is helper_of(0) is None


def test_what_programs_are_mostly_made_of_is_explained():
    assert sum(bool(row.meaning) for row in ROWS) >= 108
