"""The Python packages that go along into a guest: those asked for, and what they require."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import Distribution

    from bpfasm.lab.image.python import Python

#: What a package brings for compilers, which a guest has none of.
_FOR_COMPILERS = {".h", ".hpp", ".pxd", ".a"}


def distributions(names: Iterable[str]) -> dict[str, Distribution]:
    """Return these distributions and those they require, by name; what this Python does not have is left out."""
    found: dict[str, Distribution] = {}
    wanted = list(names)
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in found[name].requires or []:
            requirement, _, marker = line.partition(";")
            if "extra ==" not in marker:
                wanted.append(_name_of(requirement))
    return found


def fitting(found: dict[str, Distribution], runs: Python) -> dict[str, Distribution]:
    """Return those that this Python can run; say on stderr which have code for this machine's processor only."""
    if runs.native:
        return found
    compiled = sorted(name for name in found if any(path.suffix == ".so" for path in paths(found[name])))
    if compiled:
        print(
            f"lab: the guest goes without {', '.join(compiled)}: compiled for this machine's Python",
            file=sys.stderr,
            flush=True,
        )
    return {name: found[name] for name in found if name not in compiled}


def paths(distribution: Distribution) -> list[Path]:
    """Return the files of a distribution that a guest has a use for."""
    places = [Path(os.path.normpath(str(distribution.locate_file(file)))) for file in distribution.files or []]
    return [
        path
        for path in places
        if "__pycache__" not in path.parts and path.suffix not in _FOR_COMPILERS and path.is_file()
    ]


def _name_of(requirement: str) -> str:
    name = requirement.strip()
    for i, character in enumerate(name):
        if not (character.isalnum() or character in "-_."):
            return name[:i]
    return name
