"""Objects by clang on the lab's kernels: as we load them there, and as libbpf does."""

import pytest
from support import objects

pytestmark = pytest.mark.boots

#: What differs between kernels: their types, symbols, functions and configuration. Each is loaded whole: an emulated
#: guest takes a second to read its types, and libbpf reads them for each object.
NAMES = (
    "callbacks", "core_enums", "core_fields", "core_types", "functions", "globals", "hooks", "kconfig", "kfuncs",
    "ksyms", "map_in_map", "map_types", "prog_array",
)  # fmt: skip
OURS = objects.HERE / "object_ours.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    lack = objects.lacking()
    if lack:
        pytest.skip(f"needs {lack} (apt install clang-14 clang-19 gcc libbpf-dev libelf-dev zlib1g-dev)")
    root = objects.compile_all(tmp_path_factory.mktemp("objects"), NAMES, objects.COMPILERS[1:])
    objects.build_loader(root)
    return root


def test_objects_are_loaded_as_by_libbpf(guest, folder):
    if guest.kernel.arch != "x86_64":
        pytest.skip("the loader is this machine's")
    words = [word for name in NAMES for word in ("-a", f"{name}.19.o")]
    told = []
    for command in (["./object_load"], ["python3", str(OURS)]):
        done = guest.capture([*command, *words], cwd=folder, rw=[folder], timeout=300)
        assert done.status == 0, done.stderr.decode()
        told.append(objects.rows(done.stdout.decode()))
    theirs, ours = told
    assert ours.keys() == theirs.keys()
    loaded = 0
    for key, row in ours.items():
        assert ("xlated" in row) == ("xlated" in theirs[key]), (key, row.get("error"), theirs[key].get("errno"))
        if "xlated" in row:
            theirs[key]["maps"].pop("house", None)  # a map that holds a struct of functions is none that we make
            assert objects.without_ids(row) == objects.without_ids(theirs[key]), key
            assert objects.code(row) == objects.code(theirs[key]), key
            loaded += 1
    assert loaded > 20
