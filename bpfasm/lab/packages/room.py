"""Make a folder of kernels for a room without a network: a part of Debian's archive, with its signed lists.

The lists name every package of a suite, and are signed as a whole: they go along unchanged, so that where the folder
is carried to, or served from, apt checks the same signatures as on any mirror.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.packages import bundle, debian, sources, store
from bpfasm.lab.packages.pool import ARCHITECTURES, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from bpfasm.lab.packages.bundle import Bundle
    from bpfasm.lab.packages.pool import Package, Progress
    from bpfasm.lab.packages.sources import Folder


def fill(
    folder: Path,
    bundles: Iterable[Bundle],
    *,
    progress: Progress | None = None,
    mirror: str = "",
    pinned: bool = False,
) -> Folder:
    """Make a folder that holds these bundles, or add them to one, and return what is in it then.

    What it held before is renewed: lists and packages have to be of one day. What an interrupted run has left in it
    is used. ``mirror`` and ``pinned`` are as in ``lab.fetch``; pinned packages come without lists. LabError as there,
    and for a folder with other files in it.
    """
    folder = Path(os.path.abspath(folder))
    with cache.locked("folder", "making a folder"):
        wanted = _before(folder) | {each.name: (each, pinned) for each in bundles}
        asked = {name: of_pins for name, (_, of_pins) in wanted.items()}
        _mark(folder, sources.Folder((), ()), asked)
        lists: dict[str, bytes] = {}
        packages: list[Package] = []
        by_pins = []
        for each, of_pins in wanted.values():
            with cache.workdir() as work:
                found = store.get(each, folder, work / "apt", progress, mirror, of_pins)
                packages += found
                if all(package.uri for package in found):
                    _lists(each, debian.Apt(work / "apt", each.suites), folder, mirror, lists)
                else:
                    by_pins.append(each.name)
        with cache.writing(folder):
            _tidy(folder, {folder / package.path for package in packages})
        held = sources.Folder(tuple(wanted), tuple(lists), tuple(by_pins))
        _mark(folder, held, asked)
    return held


def _before(folder: Path) -> dict[str, tuple[Bundle, bool]]:
    """Return what a folder was made for, by name; raise LabError for one with files that are not ours to renew."""
    with cache.writing(folder):
        if not os.path.isdir(folder) or not os.listdir(folder):
            return {}
    try:
        asked = json.loads((folder / sources.MARK).read_text())["asked"].items()
    except (OSError, ValueError, KeyError, AttributeError):
        raise LabError(
            f"{folder} has other files in it",
            "name a folder that is empty or not there yet, or one that `bpfasm lab fetch --to` has made",
            rule="lab-mirror",
        ) from None
    return {name: (each, of_pins) for name, of_pins in asked if (each := bundle.named(name))}


def _mark(folder: Path, held: Folder, asked: dict[str, bool]) -> None:
    """Write what a folder holds, and what it was asked to hold (with true: as pinned)."""
    facts = {"schema": "bpfasm/lab-folder/1", "holds": held.holds, "suites": held.suites, "pinned": held.pinned}
    with cache.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / sources.MARK).write_text(json.dumps(facts | {"asked": asked}, indent=2) + "\n")


def _lists(wanted: Bundle, apt: debian.Apt, folder: Path, mirror: str, lists: dict[str, bytes]) -> None:
    """Put the lists that a bundle was found in into the folder, and each suite's signed one into ``lists``."""
    where = sources.mirror(mirror)
    index = f"main/binary-{ARCHITECTURES[wanted.arch]}/Packages.xz"
    for suite in wanted.suites:
        archive = sources.archive_of(where, suite)
        if archive is None:
            continue
        content = b"".join(path.read_bytes() for path in (apt.state / "lists").glob(f"*_dists_{suite}_InRelease"))
        if lists.setdefault(suite, content) != content:
            raise LabError(
                f"the mirror has renewed {suite} while packages were got from it", "do it again", rule="lab-fetch"
            )
        listed = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(index)}$", content.decode(), re.MULTILINE)
        if listed is None:
            raise LabError(
                f"{suite} of this mirror has no InRelease that lists {index}",
                "name a full mirror of Debian in BPFASM_MIRROR",
                rule="lab-mirror",
            )
        place = folder / "dists" / suite
        with cache.writing(folder):
            (place / index).parent.mkdir(parents=True, exist_ok=True)
            (place / "InRelease").write_bytes(content)
            if (place / index).is_file() and sha256(place / index) == listed[1]:
                continue
            (place / index).unlink(missing_ok=True)
        uri = f"{archive.uri}/dists/{suite}/{index}"
        debian.get(apt, uri, place / index, listed[1], f"the package list of {suite}")


def _tidy(folder: Path, wanted: set[Path]) -> None:
    """Remove packages that nothing needs any more, and turn what apt has linked to into files."""
    for place, _, names in os.walk(folder / "pool"):
        for name in names:
            if Path(place, name) not in wanted:
                Path(place, name).unlink()
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_symlink():
                target = path.resolve()
                path.unlink()
                shutil.copyfile(target, path)
