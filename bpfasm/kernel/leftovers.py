"""What outlives a process and carries its owner: finding it, and taking away what the dead have left.

Kept on purpose, and no leftovers, are pins outside of a folder with an owner's tag: a pin is made to stay.
"""

from __future__ import annotations

import os

from bpfasm.syscall import system, tracefs
from bpfasm.syscall.owner import owner_of
from bpfasm.uapi.bpf import BPF_MAP_TYPE_STRUCT_OPS
from bpfasm.uapi.btf import BTF_KIND_INT
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.syscall.owner import Owner

#: The folder for pins, below each bpf file system.
PINS = "bpfasm"

#: The files of tracefs that events are made and removed by.
_EVENT_FILES = ("kprobe_events", "uprobe_events")


class Leftover(Value):
    """Something of a process that may have ended: what ``kind`` it is, its ``place``, and its parts.

    ``alive`` is whether the owner runs; None where that cannot be seen from here.
    """

    kind: str
    place: str
    parts: tuple[str, ...]
    owner: Owner
    alive: bool | None

    @property
    def name(self) -> str:
        """What it is called: events by group and name, pins by their folder, structs of functions by name and id,
        programs by where they are attached."""
        if self.kind == "ops":
            return f"{self.parts[0]} (map {self.place})"
        return self.place if self.kind == "pin" else " ".join(self.parts)

    def remove(self) -> None:
        """Remove it; what is gone already counts as removed. Raises OSError."""
        _REMOVE[self.kind](self)


def find() -> list[Leftover]:
    """Return everything with an owner's tag, the living's too."""
    return [*_events(), *_pins(), *_struct_ops(), *_programs()]


def not_seen() -> list[str]:
    """Return what this user may not look at, where something may be left: none for root."""
    from bpfasm.errors import FeatureMissing
    from bpfasm.kernel.objects import ids

    root = tracefs.find()
    # debugfs has it, too, and nobody but root may see that it does.
    roots = [root] if root else [f"{point}/tracing" for point in system.mounts("debugfs") if not _readable(point)]
    found = [f"events in {each}" for each in roots if not _readable(each)]
    if not found:
        files = [f"{root}/{file}" for file in _EVENT_FILES]
        found = [f"events in {file}" for file in files if os.path.exists(file) and not os.access(file, os.R_OK)]
    for point in dict.fromkeys(system.mounts("bpf")):
        folder = f"{point}/{PINS}"
        if not os.access(point, os.X_OK) or (os.path.exists(folder) and not _readable(folder)):
            found.append(f"pins in {folder}")
    try:
        next(ids.ids("map"), None)
    except FeatureMissing:
        found.append("structs of functions and programs that are attached: it takes CAP_SYS_ADMIN to list maps")
    return found


def _readable(folder: str) -> bool:
    return os.access(folder, os.R_OK | os.X_OK)


def kept_pins() -> list[str]:
    """Return the pins that belong to no process: those of ours that were made to stay."""
    return [
        path
        for folder in pin_folders()
        for path in _files(folder)
        if owner_of(os.path.relpath(path, folder).partition("/")[0]) is None
    ]


def pin_folders() -> list[str]:
    """Return our folder in each bpf file system, where there is one that can be read."""
    found = [f"{point}/{PINS}" for point in dict.fromkeys(system.mounts("bpf"))]
    return [folder for folder in found if _readable(folder)]


def _events() -> list[Leftover]:
    root = tracefs.find()
    groups: dict[tuple[str, str], list[str]] = {}
    for file in _EVENT_FILES if root else ():
        for group, event in tracefs.events_of(f"{root}/{file}"):
            groups.setdefault((f"{root}/{file}", group), []).append(event)
    found = []
    for (file, group), events in groups.items():
        owner = owner_of(group)
        if owner:
            found.append(Leftover("event", file, tuple(f"{group}/{event}" for event in events), owner, owner.alive()))
    return found


def _pins() -> list[Leftover]:
    found = []
    for folder in pin_folders():
        for name in sorted(os.listdir(folder)):
            owner = owner_of(name)
            if owner:
                path = f"{folder}/{name}"
                found.append(Leftover("pin", path, tuple(_files(path)), owner, owner.alive()))
    return found


def _struct_ops() -> list[Leftover]:
    """Return structs of functions whose maps bear an owner's tag: before 6.4 they stay registered without him."""
    from bpfasm.errors import FeatureMissing
    from bpfasm.kernel.btf.targets import read
    from bpfasm.kernel.objects import ids

    found: list[Leftover] = []
    try:
        for id in ids.ids("map"):
            fd = ids.open_id("map", id)
            if fd is None:
                continue
            try:
                about = ids.info("map", fd)
            finally:
                os.close(fd)
            types = read(about["btf_id"]) if about["type"] == BPF_MAP_TYPE_STRUCT_OPS and about["btf_id"] else None
            owners = [owner_of(name) for name in types.names(BTF_KIND_INT)] if types else []
            name = ids.text(about["name"])
            found += [Leftover("ops", str(id), (name,), each, each.alive()) for each in owners if each]
    except FeatureMissing:
        pass  # not_seen() says it
    return found


def _programs() -> list[Leftover]:
    """Return programs that are attached without a link, by those whose name they carry."""
    from bpfasm.errors import FeatureMissing
    from bpfasm.kernel.links import signature
    from bpfasm.kernel.links.signed import place

    found: dict[tuple[str, int], Leftover] = {}
    try:
        for each in signature.signatures():
            there = place(each)
            if there is None:
                continue
            left = Leftover("prog", str(each.map_id), there[:1], each.owner, each.owner.alive())
            # A program may have been signed by several processes in turn: what one of the living has attached stays.
            if there not in found or found[there].alive is False:
                found[there] = left
    except FeatureMissing:
        pass  # not_seen() says it
    return [*found.values()]


def _files(folder: str) -> list[str]:
    return sorted(os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)


def _remove_events(left: Leftover) -> None:
    for event in left.parts:
        try:
            tracefs.remove_event(left.place, event)
        except FileNotFoundError:
            continue


def _remove_pins(left: Leftover) -> None:
    for place, folders, names in os.walk(left.place, topdown=False):
        for name in names:
            os.unlink(os.path.join(place, name))
        for name in folders:
            os.rmdir(os.path.join(place, name))
    os.rmdir(left.place)


def _remove_struct_ops(left: Leftover) -> None:
    from bpfasm.kernel.links.struct_ops import unregister
    from bpfasm.kernel.objects import ids

    fd = ids.open_id("map", int(left.place))
    if fd is not None:
        try:
            unregister(fd)
        finally:
            os.close(fd)


def _remove_program(left: Leftover) -> None:
    from bpfasm.kernel.links import signature
    from bpfasm.kernel.links.signed import remove

    for each in signature.signatures():
        if str(each.map_id) == left.place and each.owner == left.owner:
            remove(each)


_REMOVE = {"event": _remove_events, "pin": _remove_pins, "ops": _remove_struct_ops, "prog": _remove_program}
