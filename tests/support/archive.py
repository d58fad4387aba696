"""A small archive of Debian's shape, signed with a key of its own, and a server that can be made to stop half-way."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import lzma
import os
import random
import re
import select
import shutil
import subprocess
import tempfile
import threading
from email.utils import formatdate
from pathlib import Path

from bpfasm.lab import matrix
from bpfasm.lab.packages import pins, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pytest

TOOLS = ("apt-get", "apt-cache", "dpkg-deb", "gpg", "gpgconf", "gpg-connect-agent")


class Key:
    """A key to sign archives with, and the keyring that knows it. The agent that gpg starts is ended by ``close``."""

    def __init__(self) -> None:
        # The agent's socket needs a short path.
        self.home = Path(tempfile.mkdtemp(prefix="k"))
        self.environment = os.environ | {"GNUPGHOME": str(self.home)}
        self.gpg("--quick-gen-key", "test@example", "ed25519", "sign", "never")
        self.keyring = self.home / "debian-archive-test.gpg"
        self.gpg("--export", "--output", str(self.keyring))

    def gpg(self, *words: str) -> None:
        # Its key has no passphrase, and nobody is to be asked for it.
        self.run("gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", *words)

    def run(self, *words: str) -> bytes:
        return subprocess.run(words, env=self.environment, check=True, capture_output=True).stdout

    def sign(self, release: Path, signed: Path) -> None:
        signed.unlink(missing_ok=True)
        self.gpg("--digest-algo", "SHA512", "--output", str(signed), "--clearsign", str(release))

    def close(self) -> None:
        answer = self.run("gpg-connect-agent", "--no-autostart", "getinfo pid", "/bye")
        agent = os.pidfd_open(int(answer.split()[1]))
        try:
            self.run("gpgconf", "--kill", "all")
            # It removes its sockets as it ends, from the folder that is removed here.
            ended, _, _ = select.select([agent], [], [], 60)
            assert ended
        finally:
            os.close(agent)
        shutil.rmtree(self.home)


class Archive:
    """An archive in a folder: packages are added, then the suites that list them are published."""

    def __init__(self, top: Path, key: Key | None) -> None:
        self.top = top
        self.key = key
        self.index: dict[tuple[str, str], str] = {}

    def copy(self, top: Path) -> Archive:
        """Return the same archive in another folder."""
        other = Archive(shutil.copytree(self.top, top), self.key)
        other.index = dict(self.index)
        return other

    def find(self, name: str) -> Path:
        """Return the file of the one package whose file's name begins so."""
        (file,) = self.top.glob(f"pool/**/{name}*.deb")
        return file

    def add(
        self, suite: str, name: str, files: dict[str, bytes], version: str = "1", architecture: str = "amd64"
    ) -> Path:
        """Build a package and list it in a suite; return its file."""
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch)
            (tree / "DEBIAN").mkdir()
            control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
            control += "Maintainer: t <t@t>\nDescription: test\n"
            (tree / "DEBIAN/control").write_text(control)
            for path, data in files.items():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                (tree / path).write_bytes(data)
            pool = "pool/updates/main/t" if suite.endswith("-security") else "pool/main/t"
            deb = self.top / pool / f"{name}_{version.partition(':')[2] or version}_{architecture}.deb"
            deb.parent.mkdir(parents=True, exist_ok=True)
            words = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z0", "-b", str(tree), str(deb)]
            subprocess.run(words, check=True, capture_output=True)
        data = deb.read_bytes()
        control += f"Filename: {deb.relative_to(self.top)}\nSize: {len(data)}\n"
        control += f"SHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        at = suite, architecture
        self.index[at] = self.index.get(at, "") + control
        return deb

    def publish(self, *, suffixes: tuple[str, ...] = ("", ".xz"), **fields: str) -> None:
        """Write each suite's lists and sign them; ``fields`` are added to its Release file."""
        for suite in {suite for suite, _ in self.index}:
            dists = self.top / "dists" / suite
            sums = ""
            of_suite = {architecture: text for (where, architecture), text in self.index.items() if where == suite}
            for architecture, text in of_suite.items():
                folder = dists / f"main/binary-{architecture}"
                folder.mkdir(parents=True, exist_ok=True)
                for suffix in suffixes:
                    data = lzma.compress(text.encode()) if suffix else text.encode()
                    name = f"main/binary-{architecture}/Packages{suffix}"
                    (dists / name).write_bytes(data)
                    sums += f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n"
            release = {
                "Origin": "Debian",
                "Suite": suite,
                "Codename": suite,
                "Date": formatdate(usegmt=True),
                "Acquire-By-Hash": "no",
                "Architectures": " ".join(of_suite),
                "Components": "main",
            } | {name.replace("_", "-"): value for name, value in fields.items()}
            text = "".join(f"{name}: {value}\n" for name, value in release.items()) + f"SHA256:\n{sums}"
            (dists / "Release").write_text(text)
            if self.key:
                self.key.sign(dists / "Release", dists / "InRelease")
                (dists / "Release").unlink()


#: What the tests have for kernels.toml, and the release of the newest kernel in it.
RELEASE = "9.9.1+test-cloud-amd64"
MATRIX = {
    "default": "9.9",
    "along": ["busybox-static"],
    "kernel": [
        {
            "version": "9.9",
            "releases": "9.*-cloud-amd64",
            "suites": ["bookworm", "bookworm-security"],
            "lacks": [],
        },
        {"version": "8.1", "releases": "8.*-cloud-amd64", "suites": ["bullseye"], "lacks": []},
        {
            "version": "9.9-arm64",
            "releases": "9.*-cloud-arm64",
            "suites": ["bookworm"],
            "arch": "aarch64",
            "all": False,
            "lacks": [],
        },
    ],
    "userland": {"suites": ["bookworm"], "packages": ["python-test"]},
    "options": {},
}


def bzimage(release: str) -> bytes:
    """Return the head of a bzImage: what the lab reads of it."""
    head = bytearray(0x4000)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x200).to_bytes(2, "little")
    head[0x400 : 0x400 + len(release) + 4] = f"{release} #1".encode() + b"\0"
    return bytes(head)


def fill(archive: Archive) -> Archive:
    """Add what MATRIX names: 9.9 comes in parts of two suites, as Debian packs its newest, beside older ones."""
    modules = random.Random(1).randbytes(3 << 20)
    archive.add(
        "bookworm-security",
        f"linux-binary-unsigned-{RELEASE}",
        {f"usr/lib/modules/{RELEASE}/vmlinuz.unsigned": bzimage(RELEASE)},
    )
    archive.add("bookworm", f"linux-modules-{RELEASE}", {f"usr/lib/modules/{RELEASE}/kernel/a.ko": modules})
    for suite, release, architecture in (
        ("bookworm", "9.9.0+test-cloud-amd64", "amd64"),
        ("bookworm", "10.1-cloud-amd64", "amd64"),
        ("bookworm", "9.9.1+test-cloud-arm64", "arm64"),
        ("bullseye", "8.1.0-1-cloud-amd64", "amd64"),
    ):
        files = {f"boot/vmlinuz-{release}": bzimage(release)}
        archive.add(suite, f"linux-image-{release}", files, architecture=architecture)
    for suite, architecture in (("bookworm", "amd64"), ("bookworm", "arm64"), ("bullseye", "amd64")):
        version = f"1:2-3+{suite}"
        archive.add(suite, "busybox-static", {"usr/bin/busybox": b"busybox"}, version, architecture)
    for architecture in ("amd64", "arm64"):
        archive.add("bookworm", "python-test", {"usr/bin/python3": b"python"}, architecture=architecture)
    return archive


#: What the tests have for pins.toml.
NO_PINS = {"snapshot": "20260101T000000Z", "bundles": {}}


def trust(archive: Archive, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make bpfasm use the archive and MATRIX, with its cache in ``scratch`` and without this machine's settings."""
    (scratch / "none").mkdir()
    (scratch / "apt.conf").write_text(f'Dir::Etc::Parts "{scratch}/none";\nDir::Etc::Main "{scratch}/none/main";\n')
    monkeypatch.setenv("APT_CONFIG", str(scratch / "apt.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(scratch / "cache"))
    monkeypatch.setenv("BPFASM_MIRROR", f"file:{archive.top} file:{archive.top}")
    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    assert archive.key
    monkeypatch.setattr(sources, "KEYRING", str(archive.key.keyring))
    monkeypatch.setattr(matrix, "_matrix", lambda: MATRIX)
    monkeypatch.setattr(pins, "_pins", lambda: NO_PINS)


class Server:
    """A server of a folder. ``log`` has each request's path and the first byte it asks for.

    ``stop_at[suffix] = n`` lets a file whose path ends in the suffix go out up to byte n, and then nothing more;
    ``stopped`` is set when that has happened, and ``go_on()`` ends it. ``break_at`` closes the connection instead.
    """

    def __init__(self, top: Path, *, ranges: bool = True) -> None:
        self.top, self.ranges = top, ranges
        self.log: list[tuple[str, int]] = []
        self.stop_at: dict[str, int] = {}
        self.break_at: dict[str, int] = {}
        self.stopped, self._go = threading.Event(), threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = False

            def handle_error(self, *_: object) -> None:
                pass  # a client that was killed

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Send a file, or from its middle."""
        from urllib.parse import unquote

        path = unquote(request.path)
        asked = re.match(r"bytes=(\d+)-", request.headers.get("Range", "")) if self.ranges else None
        start = int(asked[1]) if asked else 0
        self.log.append((path, start))
        file = self.top / path.lstrip("/")
        if not file.is_file():
            request.send_error(404)
            return
        data = file.read_bytes()
        request.send_response(206 if asked else 200)
        if asked:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.send_header("Content-Length", str(len(data) - start))
        request.send_header("Last-Modified", request.date_time_string(int(file.stat().st_mtime)))
        request.end_headers()
        broken = next((at for suffix, at in self.break_at.items() if path.endswith(suffix)), len(data))
        if start < broken < len(data):
            request.wfile.write(data[start:broken])
            request.close_connection = True
            return
        stop = next((at for suffix, at in self.stop_at.items() if path.endswith(suffix)), len(data))
        request.wfile.write(data[start:stop])
        if start < stop < len(data):
            self.stopped.set()
            self._go.wait(60)
            request.close_connection = True
        elif stop < len(data):
            request.wfile.write(data[start:])

    def starts(self, name: str) -> list[int]:
        """Return the first bytes that were asked for of a file."""
        return [start for path, start in self.log if path.endswith(name)]

    def go_on(self) -> None:
        self.stop_at.clear()
        self._go.set()

    def close(self) -> None:
        self.go_on()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@contextlib.contextmanager
def serving(top: Path, **options: bool):
    """Serve a folder for the block."""
    server = Server(top, **options)
    try:
        yield server
    finally:
        server.close()
