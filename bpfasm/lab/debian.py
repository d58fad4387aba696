"""Get Debian packages as an ordinary user: apt does it, with its signature checks, and with state of our own.

The host's apt configuration is read (its proxy and credentials may be needed to get anywhere) and its lists,
caches and hooks are left alone.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.lab import cache, sources
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: Called as ``progress(what, done, total)`` with bytes; total is 0 while it is not known.
    Progress = Callable[[str, int, int], None]

#: The packages that the parts of one kernel come in. Debian 7.x keeps image, modules and configuration apart.
PARTS = ("linux-image-", "linux-binary-", "linux-modules-", "linux-base-")

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
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
#clear Acquire::IndexTargets::deb::DEP-11-icons-small;
#clear Acquire::IndexTargets::deb::DEP-11-icons;
#clear Acquire::IndexTargets::deb::DEP-11-icons-large;
#clear Acquire::IndexTargets::deb::Contents-deb;
"""


class Package(Value):
    """A package that apt can get: its name, version, size in bytes, and the names it depends on."""

    name: str
    version: str
    size: int
    depends: tuple[str, ...]


class Apt(Value):
    """An apt with state of its own in the folder ``state``, looking only at ``suites``."""

    state: Path
    suites: tuple[str, ...]


def prepare(state: Path, suites: tuple[str, ...], architecture: str = "amd64") -> Apt:
    """Return an apt for these suites whose state is the folder ``state``; raise LabError where there is no apt."""
    missing = [tool for tool in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise LabError(
            f"the lab gets its kernels with apt, and {', '.join(missing)} is not on this machine",
            "name a kernel of yours instead: --on /boot/vmlinuz-... with its modules in /lib/modules",
            rule="lab-apt",
        )
    text = sources.to_list(sources.mirror(), suites)
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
    _run(apt, ["apt-get", "update", "--error-on=any"], what, partial(_share, progress, what, 100))


def find(apt: Apt, meta: str) -> list[Package]:
    """Return the packages that ``meta`` leads to and that hold a kernel, each once."""
    found: dict[str, Package] = {}
    wanted = [meta]
    while wanted:
        name = wanted.pop(0)
        if name in found:
            continue
        found[name] = package = _show(apt, name)
        wanted += [other for other in package.depends if other.startswith(PARTS)]
    return [package for name, package in found.items() if name != meta]


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


def download(apt: Apt, packages: list[Package], into: Path, progress: Progress) -> list[Path]:
    """Get the packages into the folder ``into`` and return their files; apt checks each against the signed lists."""
    files = []
    for package in packages:
        done = set(into.glob("*.deb"))
        what, size = f"{package.name} {package.version}", package.size
        progress(what, 0, size)
        _run(
            apt,
            ["apt-get", "download", f"{package.name}={package.version}"],
            what,
            partial(_share, progress, what, size),
            cwd=into,
        )
        progress(what, size, size)
        files += sorted(set(into.glob("*.deb")) - done)
    return files


def _share(progress: Progress, what: str, size: int, percent: float) -> None:
    progress(what, int(size * percent / 100), size)


def unpack(package: Path, into: Path) -> None:
    """Unpack the files of a ``.deb`` below the folder ``into``, without its scripts."""
    done = subprocess.run(
        ["dpkg-deb", "-x", package, into], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        raise LabError(
            f"cannot unpack {package.name}: {done.stderr.decode(errors='replace').strip()}",
            "try again; is the disk full?",
            rule="lab-fetch",
        )


def _show(apt: Apt, name: str) -> Package:
    text = _run(apt, ["apt-cache", "show", "--no-all-versions", name], f"the description of {name}")
    fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", text, re.MULTILINE))
    if not fields.keys() >= {"Package", "Version", "Size"}:
        raise LabError(
            f"no package {name} in {', '.join(apt.suites)}",
            "the mirror may be behind or without this suite; try another kernel (bpfasm lab kernels)",
            rule="lab-fetch",
        )
    depends = re.split(r"[,|]", fields.get("Depends", ""))
    names = tuple(part.split()[0].partition(":")[0] for part in depends if part.strip())
    return Package(fields["Package"], fields["Version"], int(fields["Size"]), names)


def _run(
    apt: Apt,
    command: list[str],
    what: str,
    progress: Callable[[float], None] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run one apt command with the configuration of ``apt``; return its stdout, or raise LabError with its reason."""
    read, write = os.pipe()
    words = [
        command[0],
        "-c",
        str(apt.state / "apt.conf"),
        "-q",
        "-o",
        f"APT::Status-Fd={write}",
        *command[1:],
    ]
    environment = os.environ | {"LC_ALL": "C"}
    with open(read, "rb") as status, (apt.state / "output").open("w+b") as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                pass_fds=[write], cwd=cwd, env=environment,
            )  # fmt: skip
        finally:
            os.close(write)
        with process:
            for line in status:
                # dlstatus:NUMBER:PERCENT:WORDS
                fields = line.split(b":")
                if progress and fields[0] == b"dlstatus" and len(fields) > 2:
                    progress(float(fields[2]))
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        complaints = [line for line in text.splitlines() if line.startswith(("E:", "W:", "Err"))]
        reason = "; ".join(complaints[:3]) or f"{command[0]} ended with status {process.returncode}"
        raise LabError(
            f"cannot get {what}: {reason}",
            "is the network up? apt's mirror is used (BPFASM_MIRROR names another); what is cached works without it",
            rule="lab-fetch",
        )
    return text
