"""Objects by clang as we load them, and as libbpf does: the same code in the kernel, which does the same."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import objects

from bpfasm.elf.object import read_object
from bpfasm.kernel.needs import missing

pytestmark = pytest.mark.oracle

OURS = Path(objects.HERE) / "object_ours.py"

#: What libbpf 1.1 does not know or refuse: newer names of sections, maps of before BTF.
BEYOND = ("sections_newer", "legacy_maps")

#: Functions are laid out in the order of first use; libbpf follows each call at once.
OTHER_ORDER = ("many_functions",)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lack = objects.lacking()
    if lack:
        pytest.skip(f"needs {lack} (apt install clang-14 clang-19 gcc libbpf-dev libelf-dev zlib1g-dev)")
    return objects.compile_all(tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="module")
def both(folder):
    """Load every object on this kernel, with libbpf and with bpfasm."""
    lack = missing(["bpf"])
    if lack:
        pytest.skip(lack.what)
    words = objects.words(objects.OBJECTS)
    loader = objects.build_loader(folder)
    theirs = subprocess.run([loader, *words], cwd=folder, capture_output=True, text=True, check=True).stdout
    ours = subprocess.run([sys.executable, OURS, *words], cwd=folder, capture_output=True, text=True, check=True)
    return objects.rows(ours.stdout), objects.rows(theirs)


def test_there_are_enough():
    assert len(objects.OBJECTS) >= 40


@pytest.mark.parametrize("name", objects.OBJECTS)
def test_an_object_is_read_without_a_kernel(folder, name):
    found = read_object((folder / name).read_bytes(), name)
    assert found.license == "GPL"
    assert len(found.programs) == len({each.name for each in found.programs}) >= 1
    assert all(each.type for each in found.programs)
    assert all(each.types for each in found.programs)


@pytest.mark.parametrize("name", objects.OBJECTS)
def test_it_is_loaded_as_by_libbpf(both, name):
    ours, theirs = ([(key, row) for key, row in side.items() if key[0] == name] for side in both)
    if name.split(".")[0] in BEYOND:
        assert [row for _, row in ours if "xlated" in row]
        return
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    for (key, our), (_, their) in zip(ours, theirs, strict=True):
        same(key, our, their)


def same(key, ours, theirs):
    """Compare a program of both."""
    assert ("xlated" in ours) == ("xlated" in theirs), (key, ours.get("error"), theirs.get("errno"))
    if "xlated" not in ours:
        return
    theirs["maps"].pop("house", None)  # a map that holds a struct of functions is none that we make
    assert objects.without_ids(ours) == objects.without_ids(theirs), key
    if key[0].split(".")[0] not in OTHER_ORDER:
        assert objects.code(ours) == objects.code(theirs), key
