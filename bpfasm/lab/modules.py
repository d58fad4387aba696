"""Find kernel modules by name in a folder of modules, and what they depend on, without depmod's index.

A package of modules as Debian ships it has no index: each module's own .modinfo is asked.
"""

from __future__ import annotations

import os
from pathlib import Path

from bpfasm.lab.objects import expand, modinfo
from bpfasm.value import Value

_SUFFIXES = (".ko", ".ko.xz", ".ko.gz", ".ko.zst")


class Module(Value):
    """A kernel module: its name with "_" for "-", as the kernel has it, and its file."""

    name: str
    path: Path

    def read(self) -> bytes:
        """Return its bytes as the kernel loads them."""
        return expand(self.path.name, self.path.read_bytes())


def index(folder: Path) -> dict[str, Module]:
    """Return the modules below ``folder`` by name."""
    found = {}
    for place, _, names in os.walk(folder / "kernel"):
        for name in names:
            if name.endswith(_SUFFIXES):
                module = Module(name.partition(".ko")[0].replace("-", "_"), Path(place, name))
                found[module.name] = module
    return found


def closure(folder: Path, names: tuple[str, ...]) -> list[Module]:
    """Return these modules and all that they need, each after what it needs; what is built in is left out."""
    known = index(folder)
    ordered: dict[str, Module] = {}

    def add(name: str) -> None:
        module = known.get(name)
        if module is None or name in ordered:
            return
        depends = modinfo(module.read()).get("depends", [""])[0]
        for other in depends.split(","):
            add(other.replace("-", "_"))
        ordered[name] = module

    for name in names:
        add(name)
    return list(ordered.values())
