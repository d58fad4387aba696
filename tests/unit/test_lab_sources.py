"""What apt's configuration says of Debian's archives, in all the ways people write it."""

from __future__ import annotations

import pytest

from bpfasm.errors import LabError
from bpfasm.lab.packages import sources
from bpfasm.lab.packages.sources import Archive, Mirror, Source, choose, parse_deb822, parse_list

MAIN, SECURITY = "https://mirror.example/debian", "https://mirror.example/debian-security"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"deb {MAIN} bookworm main", Source((MAIN,), ("bookworm",), ("main",))),
        (f"deb\t{MAIN}\tbookworm\tmain contrib", Source((MAIN,), ("bookworm",), ("main", "contrib"))),
        (f"  deb {MAIN} bookworm main # the mirror", Source((MAIN,), ("bookworm",), ("main",))),
        (
            f"deb [signed-by=/k/debian-archive-keyring.gpg] {MAIN} sid main",
            Source((MAIN,), ("sid",), ("main",), "/k/debian-archive-keyring.gpg"),
        ),
        (
            f"deb [ arch=amd64,arm64 signed-by=/k/a.gpg ] {MAIN} sid main",
            Source((MAIN,), ("sid",), ("main",), "/k/a.gpg", ("amd64", "arm64")),
        ),
        (f"deb [trusted=yes] {MAIN} ./", Source((MAIN,), ("./",), ())),
    ],
)
def test_one_line(line: str, expected: Source):
    assert parse_list(line) == [expected]


@pytest.mark.parametrize(
    "line",
    ["", "# deb http://a b main", f"deb-src {MAIN} bookworm main", "deb", "deb http://only-a-uri", "debian here"],
)
def test_lines_that_are_no_binary_source(line: str):
    assert parse_list(line) == []


def test_deb822_with_continued_lines_and_comments():
    text = f"""\
# a comment before
Types: deb deb-src
# a comment between
URIs: {MAIN}
  https://other.example/debian/
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Architectures: amd64

Types: deb
URIs: {SECURITY}
Suites: bookworm-security
Components: main
"""
    first, second = parse_deb822(text)
    assert first == Source(
        (MAIN, "https://other.example/debian/"),
        ("bookworm", "bookworm-updates"),
        ("main", "contrib"),
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        ("amd64",),
    )
    assert second.suites == ("bookworm-security",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        f"Types: deb-src\nURIs: {MAIN}\nSuites: sid\nComponents: main\n",
        f"Types: deb\nURIs: {MAIN}\nSuites: sid\nComponents: main\nEnabled: no\n",
        " a continuation of nothing\n",
        "no colon here\n",
    ],
)
def test_deb822_stanzas_that_are_no_binary_source(text: str):
    assert parse_deb822(text) == []


def test_a_key_inside_the_stanza_is_no_path():
    (source,) = parse_deb822(
        f"types: deb\nuris: {MAIN}\nsuites: sid\ncomponents: main\n"
        "signed-by:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQIN\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )
    assert source.signed_by == ""


def debian(uri: str, suite: str, *, key: str = "", components: tuple[str, ...] = ("main",)) -> Source:
    return Source((uri,), (suite,), components, key)


def test_archive_and_security_archive_are_told_apart():
    found = choose([debian(SECURITY, "bookworm-security"), debian(MAIN + "/", "bookworm-updates")])
    assert found == Mirror(Archive(MAIN), Archive(SECURITY))


def test_the_old_name_of_a_security_suite():
    assert choose([debian(MAIN, "buster"), debian(SECURITY, "buster/updates")]).security == Archive(SECURITY)


def test_a_third_party_with_debians_suite_names_is_not_debian():
    vendor = debian("https://apt.vendor.example", "bookworm", key="/usr/share/keyrings/vendor.gpg")
    assert choose([vendor, debian(MAIN, "bookworm")]).main == Archive(MAIN)
    with pytest.raises(LabError, match="no Debian archive"):
        choose([vendor])


@pytest.mark.parametrize(
    "other",
    [
        debian("https://apt.vendor.example", "bookworm-tools"),
        debian("https://apt.vendor.example", "nodistro"),
        debian("https://apt.vendor.example", "bookworm", components=("stable",)),
        debian("cdrom:[Debian GNU/Linux 12]/", "bookworm"),
    ],
)
def test_what_is_no_archive_of_debian(other: Source):
    with pytest.raises(LabError) as error:
        choose([other])
    assert "BPFASM_MIRROR" in error.value.do
    assert error.value.rule == "lab-mirror"


def test_a_name_that_looks_like_debians_wins_over_one_that_does_not():
    plain = debian("https://packages.example/all", "bookworm")
    assert choose([plain, debian(MAIN, "bookworm")]).main.uri == MAIN
    assert choose([plain]).main.uri == "https://packages.example/all"


def test_a_mirror_list_is_kept_as_apt_has_it():
    assert choose([debian("mirror+file:/etc/apt/mirrors/debian.list", "bookworm")]).main.uri.startswith(
        "mirror+file:"
    )


def test_every_file_that_apt_reads_is_read(tmp_path):
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (tmp_path / "sources.list").write_text(f"deb {MAIN} bookworm main\n")
    (folder / "a.list").write_text(f"deb {SECURITY} bookworm-security main\n")
    (folder / "b.sources").write_text(f"Types: deb\nURIs: {MAIN}\nSuites: trixie\nComponents: main\n")
    (folder / "c.list.save").write_text("deb http://old.example/debian sid main\n")
    (folder / "d.list").write_bytes(b"# caf\xe9\ndeb http://latin.example/debian sid main\n")
    uris = [source.uris[0] for source in sources.read(tmp_path)]
    assert uris == [MAIN, SECURITY, MAIN, "http://latin.example/debian"]


def test_a_machine_without_sources(tmp_path):
    assert sources.read(tmp_path) == []


def test_the_suites_go_to_the_archive_that_has_them():
    where = Mirror(Archive(MAIN, "/k/debian-archive-keyring.gpg"), Archive(SECURITY))
    text = sources.to_list(where, ("trixie", "trixie-security"))
    assert text == (
        f"deb [signed-by=/k/debian-archive-keyring.gpg] {MAIN} trixie main\ndeb {SECURITY} trixie-security main\n"
    )
    assert sources.to_list(Mirror(Archive(MAIN)), ("sid", "sid-security")) == f"deb {MAIN} sid main\n"


def test_what_is_written_is_read_back():
    where = Mirror(Archive(MAIN, "/k/debian-archive-keyring.gpg"), Archive(SECURITY, "/k/debian-archive-keyring.gpg"))
    assert choose(parse_list(sources.to_list(where, ("bookworm", "bookworm-security")))) == where


def test_a_mirror_named_in_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BPFASM_MIRROR", "http://room.example/debian/ http://room.example/debian-security")
    found = sources.mirror()
    assert found.main.uri == "http://room.example/debian"
    assert found.security and found.security.uri == "http://room.example/debian-security"
    (tmp_path / "dists").mkdir()
    for named in (f"file:{tmp_path}", str(tmp_path), "http://127.0.0.1:9/debian"):
        monkeypatch.setenv("BPFASM_MIRROR", named)
        assert (sources.mirror().security, sources.mirror().folder) == (None, None)


def test_the_mirror_that_is_named_comes_first(monkeypatch):
    monkeypatch.setenv("BPFASM_MIRROR", "http://room.example/debian http://room.example/debian-security")
    assert sources.mirror("http://a/debian http://b/debian").main.uri == "http://a/debian"


def test_the_lists_of_a_folder():
    """It has no newer ones, and none that are named by their checksum; suites that it lacks are left out."""
    archive = Archive("file:///f", "/k/debian-archive-keyring.gpg")
    where = Mirror(archive, archive, sources.Folder(("6.1",), ("trixie", "trixie-security")))
    text = sources.to_list(where, ("trixie", "trixie-security", "trixie-backports"))
    option = "[signed-by=/k/debian-archive-keyring.gpg check-valid-until=no by-hash=no]"
    assert text == f"deb {option} file:///f trixie main\ndeb {option} file:///f trixie-security main\n"
