"""Where a command runs: on this kernel, or on one of the lab. The only chooser.

``--on`` takes ``auto``, ``live``, a version of the lab, the path of a kernel, or ``all``; several with commas or by
repeating it. ``auto`` is the first of live and lab that can do what the command needs.
"""

from __future__ import annotations

import os
import sys

from bpfasm.errors import FeatureMissing, LabError, UsageError
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeVar

    T = TypeVar("T")

#: Places of ``--on`` that are no kernel of the lab.
NOT_THE_LABS = {"auto", "live", "sim"}

#: The status of what Ctrl-C ended.
INTERRUPTED = 130


class Place(Value):
    """A kernel to run on: this one (``live``), or one of the lab by version or path."""

    kernel: str

    @property
    def live(self) -> bool:
        """Whether it is the kernel that runs here."""
        return self.kernel == "live"

    def __str__(self) -> str:
        return "this kernel" if self.live else f"the lab's kernel {self.kernel}"


def run(
    words: Sequence[str],
    on: Sequence[str],
    needs: Iterable[str],
    here: Callable[[], int],
    *,
    files: Sequence[str] = (),
) -> int:
    """Run a command in each place that ``on`` names: ``here`` does it live, a guest runs the same ``words``.

    ``words`` are the command line after ``bpfasm``; ``needs`` are what a kernel must have for it
    (``bpfasm.kernel.needs``); ``files`` are what it reads from the current folder, copied into the guest. Returns 0,
    or the last status that is not 0.
    """
    return each(choose(on, needs), lambda place: here() if place.live else _in_the_lab(place, words, files))


def each(places: Sequence[T], do: Callable[[T], int]) -> int:
    """Do something in one place after the other, its name above it on stderr where there are several.

    Returns 0, or the last status that is not 0. Ctrl-C ends the row.
    """
    status = 0
    for place in places:
        if len(places) > 1:
            print(f"== {place}", file=sys.stderr, flush=True)
        status = do(place) or status
        if status == INTERRUPTED:
            break
    return status


def choose(on: Sequence[str], needs: Iterable[str]) -> list[Place]:
    """Return the places that ``--on`` (or BPFASM_ON) names. Raises FeatureMissing where ``auto`` finds none."""
    places: list[Place] = []
    for word in asked(on) or ["auto"]:
        if word == "auto":
            places.append(_auto(needs))
        elif word == "sim":
            raise UsageError(
                "there is no simulator yet", "--on takes auto, live, a version of the lab, all", rule="on"
            )
        else:
            places.append(Place(word))
    return places


def asked(on: Sequence[str]) -> list[str]:
    """Return the words of ``--on``, or else of BPFASM_ON; ``all`` is the versions of the lab."""
    found: list[str] = []
    for word in ",".join(on or [os.environ.get("BPFASM_ON", "")]).split(","):
        if word == "all":
            from bpfasm import lab

            found += [kernel.version for kernel in lab.kernels()]
        elif word:
            found.append(word)
    return found


def kernels(on: Sequence[str]) -> list[str]:
    """Return the kernels of the lab that ``--on`` names; or else those that BPFASM_ON names, or the default.

    Raise UsageError, or LabError, when one of them is none.
    """
    from bpfasm import lab

    words = asked(on) if on else [word for word in asked([]) if word not in NOT_THE_LABS]
    return [lab.find(word).version for word in words or [lab.default()]]


def _auto(needs: Iterable[str]) -> Place:
    """Take this kernel if it has what is needed, else the lab's default; say on stderr which, and why."""
    from bpfasm.kernel.needs import missing

    lack = missing(needs)
    if lack is None:
        return Place("live")
    from bpfasm import lab
    from bpfasm.lab.machine import qemu

    try:
        qemu.find()
    except LabError as error:
        raise FeatureMissing(f"{lack.what}, and the lab cannot run: {error.what}", error.do, rule="nowhere") from None
    print(f"bpfasm: {lack.what}; running on the lab's kernel {lab.default()}", file=sys.stderr, flush=True)
    return Place(lab.default())


def _in_the_lab(place: Place, words: Sequence[str], files: Sequence[str]) -> int:
    from pathlib import Path

    from bpfasm import lab

    kernel = lab.find(place.kernel)
    if not kernel.cached:
        _agree(
            f"{place} is a download of 20 to 60 MB",
            f"answer yes, or fetch it when it suits: bpfasm lab fetch {place.kernel}",
        )
    command = ["python3", "-m", "bpfasm", *without_on(words), "--on", "live"]
    copy = [Path(file).resolve() for file in files]
    return lab.run(kernel, command, copy=copy, cwd=os.getcwd() if files else None)


def _agree(what: str, otherwise: str) -> None:
    """Ask before something large is fetched, where ``./run`` has found a terminal and nobody said --yes."""
    if "BPFASM_ASK" not in os.environ:
        return
    print(f"{what}: go on? [Y/n] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower().startswith("n"):
        raise FeatureMissing(f"{what}, and the answer was no", otherwise, rule="not-agreed")


def without_on(words: Sequence[str]) -> list[str]:
    """Return a command line without its ``--on`` options."""
    kept: list[str] = []
    value_next = False
    for word in words:
        if value_next:
            value_next = False
        elif word == "--on":
            value_next = True
        elif not word.startswith("--on="):
            kept.append(word)
    return kept
