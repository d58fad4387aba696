"""The table of features, by group; a group's rows are imported when it is asked for."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.syscall.probe.feature import Feature

#: Each group: the module its rows are in, and what it is.
GROUPS = {
    "machine": ("machine", "this machine and its settings"),
    "program": ("programs", "types of programs"),
    "map": ("maps", "types of maps"),
    "mapuse": ("maps", "flags of maps, and what can be done with them"),
    "attach": ("links", "where programs attach"),
    "link": ("links", "kinds of links"),
    "testrun": ("programs", "programs that can be run without a hook"),
    "isa": ("isa", "instructions"),
    "verifier": ("verifier", "what the verifier allows, and its log"),
    "kfunc": ("verifier", "functions of the kernel's that programs may call, a choice"),
    "btf": ("btf", "BTF that comes with a program, and the kernel's own"),
    "command": ("commands", "commands of bpf(2)"),
    "field": ("commands", "fields that commands have gained"),
}


def features(group: str) -> tuple[Feature, ...]:
    """Return the rows of a group."""
    rows: tuple[Feature, ...] = import_module(f"{__package__}.{GROUPS[group][0]}").FEATURES
    return tuple(row for row in rows if row.group == group)
