"""Get Debian packages as an ordinary user: apt does it, with its signature checks, and with state of our own.

The host's apt configuration is read (its proxy and credentials may be needed to get anywhere) and its lists,
caches and hooks are left alone.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import urllib.parse
from functools import partial
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache
from bpfasm.lab.child import DieWithParent
from bpfasm.lab.packages import sources
from bpfasm.lab.packages.pool import Package, bytes_of, mismatch, missing
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bpfasm.lab.packages.pool import Progress
    from bpfasm.lab.packages.sources import Mirror

#: What a package with a kernel's image may be called, before the release: the first there is holds the image. The
#: unsigned one lacks the signature for Secure Boot, and is packaged days or weeks earlier.
IMAGES = ("linux-binary-", "linux-binary-unsigned-", "linux-image-")

#: What else a kernel may come in, from 7.x on.
PARTS = ("linux-modules-", "linux-base-")

_HELPER = "/usr/lib/apt/apt-helper"

#: Errors of apt's that follow from the one before.
_NOTHING_NEW = ("They have been ignored, or old ones used instead.", "Download Failed")

#: What stays as it is in a URI that apt has printed.
_PRINTED = "!#$%&'()*+,/:;=?@[]~"

#: What apt says of a file that it got whole and that is another: the checksum expected, and that of the file.
_HASHES = re.compile(r"Hashes of expected file:\s+- SHA256:(\w+)\s+Hashes of received file:\s+- SHA256:(\w+)")

_CONFIG = """\
Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::State::extended_states "{state}/extended_states";
Dir::Cache "{state}/cache";
Dir::Log "{state}/log";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "{state}/empty";
Dir::Etc::preferences "{state}/no-preferences";
Dir::Etc::preferencesparts "{state}/empty";
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Sandbox::User "root";
APT::Default-Release "";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::GzipIndexes "true";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::Contents-deb;
"""


class Apt(Value):
    """An apt with state of its own in the folder ``state``, looking only at ``suites``."""

    state: Path
    suites: tuple[str, ...]


def available() -> bool:
    """Whether this machine has apt."""
    return not [tool for tool in ("apt-get", "apt-cache", _HELPER) if shutil.which(tool) is None]


def prepare(state: Path, where: Mirror, suites: tuple[str, ...], architecture: str = "amd64") -> Apt:
    """Return an apt for these suites of a mirror whose state is the folder ``state``."""
    text = sources.to_list(where, suites)
    with cache.writing(state):
        for folder in ("lists/partial", "cache/archives/partial", "log", "empty"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        (state / "sources.list").write_text(text)
        (state / "status").write_text("")
        (state / "apt.conf").write_text(_CONFIG.format(state=state, architecture=architecture))
    return Apt(state, suites)


def update(apt: Apt, progress: Progress) -> None:
    """Get the package lists of the suites."""
    what = f"package lists of {', '.join(apt.suites)}"
    _run(apt, ["apt-get", "update", "--error-on=any"], what, lambda percent: progress(what, int(percent), 100))


def find(apt: Apt, releases: str, names: Sequence[str]) -> list[Package]:
    """Return the packages of the newest kernel whose release matches ``releases`` ("": none), and those named.

    A name may be ``NAME=VERSION``. Raise LabError when the suites do not have them.
    """
    wanted = [*(_kernel(apt, releases) if releases else ()), *names]
    lines = _run(apt, ["apt-get", "download", "--print-uris", *wanted], ", ".join(wanted))
    found = []
    for uri, size, digest in re.findall(r"^'(.*)' \S+ (\d+) SHA256:(\w+)$", lines, re.MULTILINE):
        path = "pool/" + urllib.parse.unquote(uri).rpartition("/pool/")[2]
        # apt prints a blank, and what is not ASCII, as they are, and does not take them so.
        found.append(Package(path, int(size), digest, urllib.parse.quote(uri, safe=_PRINTED)))
    return found


def _kernel(apt: Apt, releases: str) -> list[str]:
    """Return the names of the packages that the newest kernel comes in."""
    names = set(_run(apt, ["apt-cache", "pkgnames", "linux-"], "the names of packages").split())
    known = {
        release
        for name in names
        for prefix in IMAGES
        if fnmatch.fnmatchcase(release := name.removeprefix(prefix), releases)
    }
    if not known:
        raise LabError(
            f"no kernel {releases} in {', '.join(apt.suites)}",
            "the mirror may be behind; try another kernel (bpfasm lab kernels)",
            rule="lab-fetch",
        )
    release = max(known, key=partial(order, tail=releases.rpartition("*")[2]))
    image = next(prefix for prefix in IMAGES if prefix + release in names)
    return [image + release, *(prefix + release for prefix in PARTS if prefix + release in names)]


def order(release: str, tail: str) -> list[tuple[int, str]]:
    """Return what a release sorts by: numbers as numbers, and the flavour (``tail``), which all have, left out."""
    pieces = re.findall(r"(\d+)|(\D+)", release.removesuffix(tail))
    return [(int(number or 0), text) for number, text in pieces]


def newest(apt: Apt, name: str) -> str:
    """Return the newest version of a package in the suites, whatever their priorities (backports have a low one)."""
    rows = _run(apt, ["apt-cache", "madison", name], f"the versions of {name}").splitlines()
    if not rows:
        raise LabError(
            f"no package {name} in {', '.join(apt.suites)}",
            "the mirror may be behind or without it",
            rule="lab-fetch",
        )
    return rows[0].split("|")[1].strip()


def download(apt: Apt, packages: list[Package], into: Path, what: str, progress: Progress) -> None:
    """Get the packages into the folder ``into``; what is there already stays, and what is there in part goes on.

    apt checks each against the signed lists. Raise LabError: no network, no space, or a file that is not as listed.
    """
    total = sum(package.size for package in packages)
    left = missing(packages, into)
    begun = {package for package in left if (into / package.path).exists()}
    with cache.writing(into):
        for package in left:
            (into / package.path).parent.mkdir(parents=True, exist_ok=True)
    words = [word for package in left for word in (package.uri, str(into / package.path), f"SHA256:{package.sha256}")]

    def show(_: float) -> None:
        progress(what, min(bytes_of(packages, into), total), total)

    try:
        if left:
            _do(apt, [_HELPER, "download-file", *words], show)
    except _Complaint as complaint:
        wrong = dict(_HASHES.findall(complaint.text))
        damaged = {package for package in left if package.sha256 in wrong}
        for package in damaged:
            (into / f"{package.path}.FAILED").unlink(missing_ok=True)
        if not damaged:
            raise _refused(apt, what, complaint) from None
        for package in sorted(damaged - begun, key=lambda package: package.file):
            raise mismatch(package.file, package.sha256, wrong[package.sha256]) from None
        # What was here from another time was damaged, and is gone: once more from the start.
        download(apt, packages, into, what, progress)
    progress(what, total, total)


def get(apt: Apt, uri: str, file: Path, digest: str, what: str) -> None:
    """Get one file whose SHA-256 the signed lists name."""
    _run(apt, [_HELPER, "download-file", uri, str(file), f"SHA256:{digest}"], what)


class _Complaint(Exception):
    """What apt wrote before it ended with a status other than 0."""

    def __init__(self, text: str, status: int) -> None:
        self.text = text
        self.status = status


def _run(apt: Apt, command: list[str], what: str, progress: Callable[[float], None] | None = None) -> str:
    """Run one apt command; return its output, or raise LabError with its reason."""
    try:
        return _do(apt, command, progress)
    except _Complaint as complaint:
        raise _refused(apt, what, complaint) from None


def _do(apt: Apt, command: list[str], progress: Callable[[float], None] | None) -> str:
    """Run one apt command with the configuration of ``apt``; return its output, or raise _Complaint with it."""
    read, write = os.pipe()
    words = [command[0], "-c", str(apt.state / "apt.conf"), "-q", "-o", f"APT::Status-Fd={write}", *command[1:]]
    environment = os.environ | {"LC_ALL": "C"}
    with open(read, "rb") as status, (apt.state / "output").open("w+b") as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                pass_fds=[write], env=environment,
                preexec_fn=DieWithParent(),  # noqa: PLW1509 - two system calls and nothing else
            )  # fmt: skip
        finally:
            os.close(write)
        with process:
            try:
                for line in status:
                    # dlstatus:NUMBER:PERCENT:WORDS
                    fields = line.split(b":")
                    if progress and fields[0] == b"dlstatus" and len(fields) > 2:
                        progress(float(fields[2]))
            except BaseException:
                process.kill()
                raise
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        raise _Complaint(text, process.returncode)
    return text


def _refused(apt: Apt, what: str, complaint: _Complaint) -> LabError:
    """Return the error for what apt says."""
    text = complaint.text
    if "No space left on device" in text:
        return cache.no_space(apt.state)
    gone = re.search(r"The repository '\S+ (\S+) Release' does not have a Release file", text)
    if gone:
        return LabError(
            f"the mirror has no suite {gone[1]}",
            "name another mirror in BPFASM_MIRROR, or take the pinned packages: bpfasm lab fetch --pinned",
            rule="lab-suite",
        )
    lost = re.search(r"Unable to locate package (\S+)|Version '.*' for '(\S+)' was not found", text)
    if lost:
        return LabError(
            f"no package {lost[1] or lost[2]} in {', '.join(apt.suites)}",
            "the mirror may be behind; try another kernel (bpfasm lab kernels)",
            rule="lab-fetch",
        )
    errors = [
        line for line in re.findall(r"^(?:E|Error): (.*)$", text, re.MULTILINE) if not line.endswith(_NOTHING_NEW)
    ]
    reason = "; ".join(errors[:2]) or f"apt ended with status {complaint.status}"
    return LabError(
        f"cannot get {what}: {reason}",
        "is the network up? Without one: bpfasm lab fetch --from DIR, a folder made elsewhere with --to DIR",
        rule="lab-fetch",
    )
