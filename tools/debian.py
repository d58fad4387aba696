"""Packages of any Debian suite, unpacked and never installed.

apt does the work with a state of its own: the host's mirror, any suites, private lists. It checks the
archive's signature by debian-archive-keyring. Nothing needs root or is written outside the destination.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

KERNEL_SUITES = ("sid", "trixie-backports", "trixie")  # one of them has the newest kernel of Debian

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

APT_CONF = """\
Dir::Etc::SourceList "{root}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State "{root}/state";
Dir::State::Status "{root}/status";
Dir::Cache "{root}/cache";
Acquire::Languages "none";
Acquire::PDiffs "false";
APT::Sandbox::User "root";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class FetchError(Exception):
    """This host cannot get the package: no apt, no Debian mirror, no network, or no such version."""


def fetch(package: str, suites: tuple[str, ...], dest: Path | None = None, version: str = "") -> Path:
    """Return the directory ``DEST/PACKAGE_VERSION`` with the package unpacked, fetched when it is not there.

    The version is the newest of the suites unless one is given; then what is cached needs no network.
    """
    dest = dest or cache()
    conf = dest / "apt" / "+".join(suites) / "apt.conf"
    if not version:
        update(conf, suites)
        version = newest(package, conf)
    unpacked = dest / f"{package}_{version}"
    if not unpacked.exists():
        update(conf, suites)
        with tempfile.TemporaryDirectory(dir=dest) as scratch:
            run("apt-get", "-c", str(conf), "-q", "download", f"{package}={version}", cwd=scratch)
            (deb,) = Path(scratch).glob("*.deb")
            run("dpkg-deb", "-x", str(deb), f"{scratch}/root")
            Path(scratch, "root").rename(unpacked)
    return unpacked


def newest(package: str, conf: Path) -> str:
    """Return the newest version of a package in the lists of a private apt."""
    versions = run("apt-cache", "-c", str(conf), "madison", package)
    if not versions:
        raise FetchError(f"{package} is in none of the suites of {conf.parent.name}")
    return versions.split("|")[1].strip()


def update(conf: Path, suites: tuple[str, ...]) -> None:
    """Write the private configuration of apt, and bring its lists of the suites up to date."""
    root, uri = conf.parent, mirror()
    (root / "state/lists/partial").mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    (root / "sources.list").write_text("".join(f"deb [signed-by={KEYRING}] {uri} {s} main\n" for s in suites))
    conf.write_text(APT_CONF.format(root=root))
    run("apt-get", "-c", str(conf), "-q", "--error-on=any", "update")


def mirror() -> str:
    """Return the URI of the Debian archive in the host's own apt sources."""
    command = ("apt-get", "indextargets", "--no-release-info", "--format", "$(REPO_URI)", "Component: main")
    for uri in run(*command).split():
        if re.search(r"/debian(/\d+T\d+Z)?/?$|/debian\.list/?$", uri):
            return uri
    raise FetchError("apt's sources name no mirror of the Debian archive")


def cache() -> Path:
    """Return the directory for what can be fetched again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bpfasm"


def run(*command: str, cwd: str | None = None) -> str:
    """Run a command and return its output; a FetchError has the words of one that fails."""
    try:
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise FetchError(f"{command[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise FetchError(f"{' '.join(command)}: {error.stderr.strip()}") from None
