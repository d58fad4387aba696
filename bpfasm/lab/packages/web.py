"""Get a package by its URL, without apt: from one place after the other, going on where an earlier try stopped."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.parse
import urllib.request

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.packages.pool import bytes_of, mismatch, missing, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bpfasm.lab.packages.pool import Package, Progress

_CHUNK = 1 << 18
_TIMEOUT_S = 30


def download(
    packages: list[Package], into: Path, urls: Callable[[Package], Sequence[str]], what: str, progress: Progress
) -> None:
    """Get the packages into the folder ``into``, each from the first of its ``urls`` that has it as it should be.

    Raise LabError with what each place answered when none has, and where the disk is full.
    """
    total = sum(package.size for package in packages)
    for package in missing(packages, into):
        _get(package, into / package.path, urls(package), lambda: progress(what, bytes_of(packages, into), total))
    progress(what, total, total)


def _get(package: Package, file: Path, urls: Sequence[str], show: Callable[[], None]) -> None:
    with cache.writing(file.parent):
        file.parent.mkdir(parents=True, exist_ok=True)
    answers = []
    damaged = None
    for url in urls:
        try:
            _read(url, file, package.size, show)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            answers.append(f"{url.partition('/pool/')[0]}: {getattr(error, 'reason', None) or error}")
            continue
        got = sha256(file)
        if got == package.sha256:
            return
        damaged = mismatch(package.file, package.sha256, got)
        file.unlink()
    raise damaged or LabError(
        f"cannot get {package.file}: {'; '.join(answers)}",
        "is the network up? Without one: --from DIR, a folder made elsewhere by bpfasm lab fetch --pinned --to DIR",
        rule="lab-fetch",
    )


def _read(url: str, file: Path, size: int, show: Callable[[], None]) -> None:
    """Read a URL into a file, from its first byte that is not there; nothing more than ``size`` bytes is taken."""
    have = file.stat().st_size if file.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        # A place that knows no ranges sends all of it.
        goes_on = getattr(answer, "status", 200) == http.client.PARTIAL_CONTENT
        have = have if goes_on else 0
        with cache.writing(file):
            out = file.open("r+b" if goes_on else "wb", buffering=0)
        with out:
            out.seek(have)
            while have < size and (data := answer.read(min(_CHUNK, size - have))):
                left = memoryview(data)
                with cache.writing(file):
                    while left:
                        left = left[out.write(left) :]
                have += len(data)
                show()
    if have < size:
        raise OSError(f"it ended after {have} of {size} bytes")
