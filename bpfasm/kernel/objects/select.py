"""Objects by what a user calls them: ``id 12``, ``tag 6deef7357e7b4530``, ``name chowncount``, ``pinned PATH``."""

from __future__ import annotations

from bpfasm.asm.maps import NAME_MAX
from bpfasm.errors import InputError
from bpfasm.kernel.base.owned import Owned
from bpfasm.kernel.objects import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: How a user names an object of each kind.
SELECTORS = {
    "prog": ("id", "tag", "name", "pinned"),
    "map": ("id", "name", "pinned"),
    "link": ("id", "pinned"),
    "btf": ("id",),
}


class Opened(Owned):
    """An object that is in the kernel already, by an fd of ours; ``kind`` is prog, map, link or btf."""

    def __init__(self, kind: str, fd: int) -> None:
        super().__init__(fd)
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def every(kind: str) -> Iterator[Opened]:
    """Open each object of a kind, one at a time: it is closed when the next one is asked for.

    What vanishes meanwhile is passed over. Raises FeatureMissing for who may not.
    """
    for id in ids.ids(kind):
        fd = ids.open_id(kind, id)
        if fd is not None:
            with Opened(kind, fd) as opened:
                yield opened


def matching(kind: str, how: str, what: str) -> Iterator[Opened]:
    """Open each object that a selector means, one at a time: one by id or path, several perhaps by tag or name.

    Raises InputError where there is none, FeatureMissing for who may not.
    """
    if how == "id":
        with Opened(kind, _by_id(kind, what)) as opened:
            yield opened
    elif how == "pinned":
        with Opened(kind, ids.open_path(kind, what)) as opened:
            yield opened
    else:
        found = False
        for opened in every(kind):
            if _is(kind, opened.fd, how, what):
                found = True
                yield opened
        if not found:
            raise _none(kind, how, what)


def _by_id(kind: str, what: str) -> int:
    fd = ids.open_id(kind, int(what)) if what.isdecimal() and 0 < int(what) < 1 << 32 else None
    if fd is None:
        raise _none(kind, "id", what)
    return fd


def _is(kind: str, fd: int, how: str, what: str) -> bool:
    about = ids.info(kind, fd)
    if how == "tag":
        return bool(about["tag"].hex() == what.lower())
    name = ids.text(about["name"])
    if len(name) < NAME_MAX or not what.startswith(name):
        return name == what
    if kind != "prog":
        return True
    from bpfasm.kernel.programs.dump import full_name
    from bpfasm.kernel.programs.info import prog_info

    # A program's types may have its name whole.
    return what == name or full_name(prog_info(fd)) in (name, what)


def _none(kind: str, how: str, what: str) -> InputError:
    number = "" if how != "id" or what.isdecimal() else "an id is a number: "
    return InputError(
        f"there is no {ids.WORDS[kind]} with {how} {what}",
        f"{number}bpfasm {kind} list shows what there is",
        rule="object-unknown",
    )
