"""The layers of the house, from the syntax trees: an import goes to a lower level only."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bpfasm"

#: The rooms of the package by level, from the bottom. What is imported by all (the version) counts as level 0.
LEVELS = [
    {"__init__", "uapi", "errors", "value"},
    {"isa"},
    {"asm", "btf", "elf"},
    {"syscall", "sim", "vlog"},
    {"kernel", "native"},
    {"lab", "gadgets", "lesson", "views"},
    {"inputs", "place", "testing"},
    {"cli", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

#: Edges between rooms of one level: from, to.
SAME_LEVEL = {
    ("asm", "btf"),
    ("elf", "asm"),
    ("elf", "btf"),
    ("syscall", "vlog"),
    ("__main__", "cli"),
    ("testing", "place"),
}

#: What has no place below level 3, or anywhere in asm: nothing of a kernel, so that it imports on any system.
OF_THE_SYSTEM = {"fcntl", "mmap", "ctypes", "subprocess", "resource", "select", "socket", "signal", "pwd", "grp"}

MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ("lessons", "examples")
)


def name_of(path):
    parts = ["bpfasm", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def room_of(module):
    """Return the room of a dotted name in the package."""
    return [*module.split("."), "__init__"][1]


class Imports(ast.NodeVisitor):
    """The imports of a module: (dotted name, whether it runs when the module is imported, line)."""

    def __init__(self, tree):
        self.found = []
        self.when_imported = True
        self.visit(tree)

    def visit_Import(self, node):
        self.found += [(alias.name, self.when_imported, node.lineno) for alias in node.names]

    def visit_ImportFrom(self, node):
        assert not node.level, f"line {node.lineno}: imports are absolute"
        # ``from bpfasm import errors`` names a room, and so may ``from bpfasm.isa import match``.
        self.found += [(f"{node.module}.{alias.name}", self.when_imported, node.lineno) for alias in node.names]

    def visit_FunctionDef(self, node):
        before, self.when_imported = self.when_imported, False
        self.generic_visit(node)
        self.when_imported = before

    def visit_If(self, node):
        """Leave out what only the type checker runs: it may know of higher levels."""
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)
            return
        for statement in node.body if "not" in ast.unparse(node.test) else node.orelse:
            self.visit(statement)


@cache
def imports_of(path):
    return Imports(ast.parse(path.read_text())).found


every_room = pytest.mark.parametrize("room", sorted({room_of(name_of(path)) for path in MODULES}))


def imports_in(room):
    """Yield what the modules of a room import: the module, the name, the line."""
    for path in MODULES:
        if room_of(name_of(path)) == room:
            for name, _, line in imports_of(path):
                yield path, name, line


def test_every_room_has_a_level():
    rooms = {room_of(name_of(path)) for path in MODULES}
    assert rooms - LEVEL.keys() == set()
    assert len(LEVEL) == sum(map(len, LEVELS))


@every_room
def test_an_import_goes_down(room):
    up = []
    for path, name, line in imports_in(room):
        if not name.startswith("bpfasm"):
            continue
        other = room_of(name)
        if other not in LEVEL:  # a name of the package itself, such as __version__
            other = "__init__"
        if other != room and LEVEL[other] >= LEVEL[room] and (room, other) not in SAME_LEVEL:
            up.append(f"{path.name}:{line}: {room} (level {LEVEL[room]}) imports {name} (level {LEVEL[other]})")
    assert up == []


@every_room
def test_the_lower_levels_know_no_system(room):
    if LEVEL[room] > LEVEL["vlog"] or room == "syscall":
        return
    assert [found for found in imports_in(room) if found[1].split(".")[0] in OF_THE_SYSTEM] == []


def rooms_within(package):
    """Return which rooms of a package (its folders, and the modules beside them) import which when imported."""
    known = {path.stem for path in (PACKAGE / package).iterdir()} - {"__init__"}
    edges = {}
    for path in (PACKAGE / package).rglob("*.py"):
        own = name_of(path).split(".")[2:3]
        for name, at_once, _ in imports_of(path):
            if at_once and own and name.startswith(f"bpfasm.{package}."):
                edges.setdefault(own[0], set()).update({name.split(".")[2]} & (known - {own[0]}))
    return edges


@pytest.mark.parametrize("package", ["elf", "kernel", "lab"])
def test_rooms_of_a_package_import_one_way(package):
    assert len(list(TopologicalSorter(rooms_within(package)).static_order())) > 5


def test_edges_within_a_level_are_in_use():
    used = set()
    for path in MODULES:
        for name, _, _ in imports_of(path):
            if name.startswith("bpfasm"):
                other = room_of(name)
                used.add((room_of(name_of(path)), other if other in LEVEL else "__init__"))
    assert SAME_LEVEL - used == set()


@pytest.mark.parametrize("package", ["pyroute2", "capstone"])
def test_a_dependency_is_imported_by_one_file(package):
    at = {"pyroute2": "bpfasm.kernel.links.network.netlink", "capstone": "bpfasm.native"}[package]
    users = {name_of(path) for path in MODULES for name, _, _ in imports_of(path) if name.split(".")[0] == package}
    assert users <= {at}
    assert all(
        not at_once for path in MODULES for name, at_once, _ in imports_of(path) if name.split(".")[0] == package
    )
