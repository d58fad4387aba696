"""``bpfasm lab``: its words, its errors, and what it prints."""

from __future__ import annotations

import json

import pytest

from bpfasm.cli import main
from bpfasm.cli.options import seconds
from bpfasm.errors import UsageError
from bpfasm.lab import matrix


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("1.5", 1.5), ("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("1e2", 100)],
)
def test_times(text: str, value: float):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "5 minutes", "inf", "nan", "1d", "ms", "s", "1e999"])
def test_what_is_no_time(text: str):
    with pytest.raises(UsageError, match="is no time"):
        seconds(text)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "needs a verb"),
        (["boot"], "no verb 'boot'"),
        (["run", "--timeout", "soon", "--", "true"], "'soon' is no time"),
        (["run", "--memory", "much", "--", "true"], "--memory"),
        (["run", "--nonsense", "--", "true"], "--nonsense"),
        (["run", "--on", "6.2", "--", "true"], "'6.2'"),
        (["run", "--on", "6.1,6.2", "--", "true"], "'6.2'"),
        (["run", "--on", "live", "--", "true"], "'live'"),
        (["run"], "no command to run in the guest [lab-command]"),
        (["run", "--rw", "/no/such", "--", "true"], "/no/such: there is no such folder [lab-rw]"),
        (["run", "--rw", "/", "--", "true"], "--rw /: a guest has its own"),
        (["run", "--rw", "/proc/self", "--", "true"], "/proc/self: a guest has its own"),
        (["shell", "--timeout", "soon"], "'soon' is no time"),
        (["shell"], "needs a terminal, and standard input is none [lab-terminal]"),
        (["fetch"], "VERSION"),
        (["matrix", "--timeout", "soon", "--", "true"], "'soon' is no time"),
        (["matrix", "--on", "6.2", "--", "true"], "'6.2'"),
        (["matrix", "--on", "live,6.1", "--", "true"], "runs in guests"),
        (["fetch", "1.0"], "'1.0'"),
    ],
)
def test_words_that_are_off(words: list[str], what: str, capsys):
    assert main(["lab", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert what in err.splitlines()[0]
    assert len(err.splitlines()) == 2


def test_help_begins_with_examples(capsys):
    for words in ([], ["run"], ["shell"], ["fetch"], ["kernels"], ["matrix"]):
        try:
            status = main(["lab", *words, "--help"])
        except SystemExit as end:
            status = end.code
        assert status == 0
        first, second = capsys.readouterr().out.splitlines()[:2]
        assert "bpfasm lab" in first
        assert "bpfasm lab" in second


def test_kernels_in_words(capsys):
    for name in ("bin/busybox", "boot/vmlinuz-6.1.0-9-cloud-amd64"):
        (matrix.place("6.1") / name).parent.mkdir(parents=True)
        (matrix.place("6.1") / name).write_bytes(bytes(3 << 19))
    assert main(["lab", "kernels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["5.10", "-", "not", "fetched", "-", "bullseye"],
        ["6.1", "6.1.0-9-cloud-amd64", "3", "MB", "bookworm", "(default)"],
        ["6.12", "-", "not", "fetched", "-", "trixie"],
    ]
    lacks = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line[:1].isupper()}
    assert lacks["FPROBE"] == "5.10 6.1 6.12-arm64 kprobe.multi"
    assert lacks["HID_BPF"] == "all programs that change what input devices report"
    assert "BPF_LSM" not in lacks
    assert max(map(len, lines)) <= 100


def test_kernels_in_json(capsys):
    assert main(["lab", "kernels", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "bpfasm/lab-kernels/1"
    assert document["default"] == "6.1"
    assert [kernel["version"] for kernel in document["kernels"]] == ["5.10", "6.1", "6.12", "7", "6.12-arm64"]
    assert [kernel["all"] for kernel in document["kernels"]] == [True] * 4 + [False]
    assert {(kernel["cached"], kernel["bytes"]) for kernel in document["kernels"]} == {(False, 0)}
    assert "FPROBE" in document["kernels"][1]["lacks"]
    assert {name for kernel in document["kernels"] for name in kernel["lacks"]} <= document["options"].keys()


def test_the_lab_itself_failing_is_125(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["lab", "run", "--", "true"]) == 125
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 2
