"""Read where this machine's apt gets Debian from: ``sources.list`` and ``*.sources``, text in, values out.

The lab asks the same mirror for other suites, so that it works wherever apt does.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from bpfasm.errors import LabError
from bpfasm.value import Value

#: Where Debian's packages put the keys of its archives.
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

#: The file at the top of a folder that ``bpfasm lab fetch --to`` has made.
MARK = "bpfasm-kernels.json"

_CODENAME = (
    "(?:stretch|buster|bullseye|bookworm|trixie|forky|duke|sid|unstable|testing|stable|oldstable|oldoldstable)"
)
_MAIN = re.compile(rf"{_CODENAME}(?:-updates|-backports|-proposed-updates)?")
_SECURITY = re.compile(rf"{_CODENAME}(?:-security|/updates)")


class Source(Value):
    """One place packages come from, as apt's configuration states it: one ``deb`` line or one deb822 stanza."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    architectures: tuple[str, ...] = ()


class Archive(Value):
    """A Debian archive to ask: its URI, and the keyring its signature is checked with ("" is apt's own keys)."""

    uri: str
    signed_by: str = ""


class Folder(Value):
    """A part of Debian that ``bpfasm lab fetch --to`` has made: what it holds, and the suites whose lists it has.

    One that is not whole yet holds nothing.

    ``holds`` has the names of what was asked for: versions of kernels, and ``userland-ARCH``. ``pinned`` are those of
    them that it has without signed lists, by the checksums of ``pins.toml``.
    """

    holds: tuple[str, ...]
    suites: tuple[str, ...]
    pinned: tuple[str, ...] = ()


class Mirror(Value):
    """Debian as this machine sees it: the archive, and the one of security updates when there is one.

    ``folder`` says what there is when it is one that ``bpfasm lab fetch --to`` has made.
    """

    main: Archive
    security: Archive | None = None
    folder: Folder | None = None


def parse_list(text: str) -> list[Source]:
    """Return the ``deb`` lines of a ``sources.list``; ``deb-src``, comments and broken lines are passed over."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?([^#]*)", line)
        words = match[2].split() if match else []
        if match is None or len(words) < 2:
            continue
        options = dict(word.partition("=")[::2] for word in (match[1] or "").split())
        architectures = options.get("arch", "")
        found.append(
            Source(
                uris=(words[0],),
                suites=(words[1],),
                components=tuple(words[2:]),
                signed_by=options.get("signed-by", ""),
                architectures=tuple(architectures.split(",")) if architectures else (),
            )
        )
    return found


def parse_deb822(text: str) -> list[Source]:
    """Return the enabled binary stanzas of a ``*.sources`` file (deb822: fields, continuation lines, comments)."""
    found = []
    for fields in _stanzas(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {
            "no",
            "false",
        }:
            continue
        signed_by = fields.get("signed-by", "").strip()
        found.append(
            Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=tuple(fields.get("suites", "").split()),
                components=tuple(fields.get("components", "").split()),
                # A key block may stand in the field itself; only a path is of use in another list.
                signed_by=signed_by if "\n" not in signed_by else "",
                architectures=tuple(fields.get("architectures", "").split()),
            )
        )
    return found


def _stanzas(text: str) -> list[dict[str, str]]:
    stanzas: list[dict[str, str]] = [{}]
    last = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            stanzas.append({})
            last = ""
        elif line[0] in " \t":
            if last:
                stanzas[-1][last] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            stanzas[-1][last] = value.strip()
    return [stanza for stanza in stanzas if stanza]


def read(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Return every source that apt reads below ``etc``, in apt's order."""
    found: list[Source] = []
    folder = etc / "sources.list.d"
    names = [etc / "sources.list", *(sorted(folder.iterdir()) if folder.is_dir() else [])]
    for path in names:
        parse = {".list": parse_list, ".sources": parse_deb822}.get(path.suffix)
        if parse is None:
            continue
        try:
            found += parse(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return found


def choose(sources: list[Source], keyring: str = "") -> Mirror:
    """Return the Debian archives among ``sources``, best first; raise LabError when there is none.

    A third party may name its suites as Debian does: one that brings its own key is not Debian. ``keyring`` is
    used for both archives when given.
    """
    main = _best(sources, _MAIN, "debian")
    security = _best(sources, _SECURITY, "debian-security")
    if main is None:
        raise LabError(
            "apt on this machine has no Debian archive in its sources",
            "name a Debian mirror in BPFASM_MIRROR, or add one to apt (its keys: package debian-archive-keyring)",
            rule="lab-mirror",
        )
    if keyring:
        main = main.replace(signed_by=keyring)
        security = security and security.replace(signed_by=keyring)
    return Mirror(main, security)


def _best(sources: list[Source], suite: re.Pattern[str], folder: str) -> Archive | None:
    ranked: list[tuple[int, Archive]] = []
    for source in sources:
        if not any(suite.fullmatch(name) for name in source.suites) or "main" not in source.components:
            continue
        key = os.path.basename(source.signed_by)
        if key and not key.startswith("debian-archive"):
            continue
        for uri in source.uris:
            if uri.startswith("cdrom:"):
                continue
            rank = 2 * uri.rstrip("/").endswith("/" + folder) + bool(key)
            ranked.append((-rank, Archive(uri.rstrip("/"), source.signed_by)))
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def mirror(named: str = "") -> Mirror:
    """Return the archives to use: ``named``, or BPFASM_MIRROR, else what apt is set up with.

    A name is a folder, a URI, or "URI SECURITY-URI". Raise LabError for one that is none.
    """
    keyring = KEYRING if os.path.exists(KEYRING) else ""
    named = named or os.environ.get("BPFASM_MIRROR", "")
    if not named.strip():
        return choose(read(), keyring)
    uris = [Path(os.path.abspath(named)).as_uri()] if os.path.isdir(named) else named.split()
    if not all(re.match(r"[a-z][a-z0-9+-]*:", uri) for uri in uris):
        raise LabError(
            f"there is no folder {named!r} to get kernels from",
            "name one that `bpfasm lab fetch all --to DIR` has made, or the URL of a Debian mirror",
            rule="lab-mirror",
        )
    archives = [Archive(uri.rstrip("/"), keyring) for uri in uris[:2]]
    folder = folder_at(archives[0].uri) if len(archives) == 1 else None
    return Mirror(archives[0], archives[0] if folder else archives[1] if len(archives) > 1 else None, folder)


def folder_at(uri: str) -> Folder | None:
    """Return what the folder at a URI holds, or None where it is a mirror like any other.

    Raise LabError for a folder of this machine that is neither.
    """
    import json
    import urllib.parse
    import urllib.request

    if uri.partition(":")[0] not in {"file", "http", "https"}:
        return None
    try:
        with urllib.request.urlopen(f"{uri}/{MARK}", timeout=10) as answer:
            found = json.loads(answer.read(1 << 20))
        return Folder(tuple(found["holds"]), tuple(found["suites"]), tuple(found["pinned"]))
    except (OSError, ValueError, KeyError, TypeError):
        # No such file, or no answer: apt will say more of a mirror that does not answer.
        pass
    place = Path(urllib.parse.unquote(urllib.parse.urlsplit(uri).path))
    if uri.startswith("file:") and not (place / "dists").is_dir():
        raise LabError(
            f"{place} holds no kernels: it is no folder of `bpfasm lab fetch --to`, and no mirror of Debian",
            "make one where there is a network: bpfasm lab fetch all --to DIR",
            rule="lab-mirror",
        )
    return None


def to_list(where: Mirror, suites: tuple[str, ...]) -> str:
    """Return a ``sources.list`` for these suites of Debian; a suite is left out when no archive has it.

    The lists of a folder are good after their last day too: it is carried to where there is no newer one. They
    are named as on a mirror of old, not by their checksum.
    """
    lines = []
    for suite in suites:
        archive = archive_of(where, suite)
        if archive is None:
            continue
        options = [f"signed-by={archive.signed_by}"] if archive.signed_by else []
        options += ["check-valid-until=no", "by-hash=no"] if where.folder else []
        option = f"[{' '.join(options)}] " if options else ""
        lines.append(f"deb {option}{archive.uri} {suite} main\n")
    return "".join(lines)


def archive_of(where: Mirror, suite: str) -> Archive | None:
    """Return the archive that has a suite, or None."""
    if where.folder and suite not in where.folder.suites:
        return None
    return where.security if suite.endswith("-security") else where.main
