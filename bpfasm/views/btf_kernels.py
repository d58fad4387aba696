"""One type or field in several kernels: which have it, and what it may be called in those that do not."""

from __future__ import annotations

from bpfasm.btf.core import Step, resolve
from bpfasm.btf.core_missing import renamed
from bpfasm.errors import DecodeError
from bpfasm.views.btf_types import Shown
from bpfasm.views.documents import error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from bpfasm.btf.core import Sought
    from bpfasm.btf.read import Btf


def looked_up(types: Mapping[str, Btf], name: str) -> dict[str, Shown | DecodeError]:
    """Return what a name stands for in the types of each kernel, or why it stands for nothing there."""
    found: dict[str, Shown | DecodeError] = {}
    names: dict[str, Sought] = {}
    for kernel, btf in types.items():
        try:
            found[kernel] = shown = Shown(btf, name)
            if shown.sought:
                names[kernel] = shown.sought
        except DecodeError as error:
            found[kernel] = error
    while names and (guess := _guessed(types, names)):
        kernel, known, names[kernel] = guess
        missing = found[kernel]
        assert isinstance(missing, DecodeError)
        called = names[kernel].steps[-1].name
        do = f'it may be called "{called}" there: that is in the place it has in {known}'
        found[kernel] = DecodeError(missing.what, do, rule=missing.rule)
    return found


def _guessed(types: Mapping[str, Btf], names: Mapping[str, Sought]) -> tuple[str, str, Sought] | None:
    """Return a kernel where a field may have another name, a kernel in which it has the place of it, and that field.

    ``names`` is what it is called in the kernels where that is known.
    """
    for kernel, btf in types.items():
        for known, sought in names.items() if kernel not in names else ():
            *way, last = sought.steps
            name = last.name if resolve(sought, [btf]).found else renamed(sought, types[known], btf)
            if name:
                return kernel, known, sought.replace(steps=(*way, Step(name)))
    return None


def document(found: Mapping[str, Shown | DecodeError]) -> dict[str, Any]:
    """Return what ``looked_up`` found as one document: each kernel's types and fields, or its error."""
    rows = []
    for kernel, shown in found.items():
        told = error(shown) if isinstance(shown, DecodeError) else shown.document()
        rows.append({"kernel": kernel} | {key: value for key, value in told.items() if key != "schema"})
    return {"schema": "bpfasm/btf-kernels/1", "kernels": rows}


def summary(found: Mapping[str, Shown | DecodeError]) -> str:
    """Return which kernels have it and which have not, in a line; nothing where all or none have it."""
    having = [kernel for kernel, shown in found.items() if isinstance(shown, Shown)]
    lacking = [kernel for kernel in found if kernel not in having]
    return f"in {', '.join(having)}; not in {', '.join(lacking)}" if having and lacking else ""
