"""The face of a map over the kernel's maps: the same tests as over maps in memory (tests/unit/test_mapface.py)."""

import pytest
from support.map_contract import *  # runs what is imported

from bpfasm.kernel import LoadedMap
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import system

pytestmark = pytest.mark.lab


@pytest.fixture
def cpus():
    return system.possible_cpus()


@pytest.fixture
def make():
    made = []

    def make(spec):
        if has_map_type(spec.type) is False:
            pytest.skip(f"this kernel has no {spec.row.spec}")
        made.append(LoadedMap(spec))
        return made[-1]

    yield make
    for each in made:
        each.close()
