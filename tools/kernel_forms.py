"""Which kernels have a form of an instruction: what a test must not find out by trying."""

from __future__ import annotations

from bpfasm.isa.form import Form

#: Forms that a stable series got after its release.
BACKPORTED = {("6.1", "gotol")}


def has(form: Form, series: str) -> bool:
    """Tell whether a kernel series has a form: from the form's release on, or because it was given it later."""
    since, running = (tuple(map(int, version.split("."))) for version in (form.since or "999.0", series))
    return since <= running or (series, form.name) in BACKPORTED
