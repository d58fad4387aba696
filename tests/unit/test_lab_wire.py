"""The frames between host and guest, both ends: what one writes the other reads, however it is cut."""

from __future__ import annotations

import os

import pytest

from bpfasm.errors import UsageError
from bpfasm.lab.guest import init as guest, wire

FRAMES = [(b"O", b"x" * 7000), (b"E", b""), (b"X", b"0"), (b"O", bytes(range(256)))]


@pytest.mark.parametrize("size", [1, 2, 5, 7, 4096, 1 << 20])
def test_frames_come_out_as_they_went_in(size: int):
    stream = b"".join(wire.frame(kind, data) for kind, data in FRAMES)
    frames = wire.Frames()
    found = [frame for i in range(0, len(stream), size) for frame in frames.feed(stream[i : i + size])]
    assert found == FRAMES


def test_a_frame_that_is_not_whole_is_kept():
    frames = wire.Frames()
    whole = wire.frame(b"O", b"abc")
    assert list(frames.feed(whole[:-1])) == []
    assert list(frames.feed(whole[-1:] + b"X")) == [(b"O", b"abc")]


def test_the_guest_reads_what_the_host_writes():
    read, write = os.pipe()
    try:
        os.write(write, wire.frame(b"S", b"2") + wire.frame(b"I"))
        reader = guest.Reader(read)
        assert reader.take() is None
        assert reader.next() == (b"S", b"2")
        assert reader.take() == (b"I", b"")
        os.close(write)
        assert reader.next() == (b"", b"")
    finally:
        os.close(read)


def test_the_host_reads_what_the_guest_writes():
    read, write = os.pipe()
    try:
        guest.send(write, b"X", b"124")
        assert list(wire.Frames().feed(os.read(read, 100))) == [(b"X", b"124")]
    finally:
        os.close(read)
        os.close(write)


def test_a_job_keeps_every_byte():
    argv = ["python3", "a b", "line\nline", "", "caf\udce9", b"\xff\xfe"]
    data = wire.job(argv, "/tmp/caf\udce9", {"A": "b=c", "EMPTY": "", "N": "1\n2"})[5:]
    job = guest.Job(-1, guest.Reader(-1), -1, guest.Shared(-1), data)
    assert (job.size, job.sharing) == (b"", False)
    assert job.argv == [b"python3", b"a b", b"line\nline", b"", b"caf\xe9", b"\xff\xfe"]
    assert job.cwd == b"/tmp/caf\xe9"
    assert job.env == {b"A": b"b=c", b"EMPTY": b"", b"N": b"1\n2"}


def test_a_job_knows_of_its_terminal_and_its_folders():
    data = wire.job(["sh"], "/", {"A": "b"}, (24, 80), 2)[5:]
    job = guest.Job(-1, guest.Reader(-1), -1, guest.Shared(-1), data)
    assert (job.size, job.sharing, job.argv, job.env) == (b"24 80", True, [b"sh"], {b"A": b"b"})


def test_what_is_too_long_is_no_frame():
    """The host does not hold whatever a guest announces."""
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        list(wire.Frames().feed(b"O\xff\xff\xff\xff"))


@pytest.mark.parametrize(("argv", "what"), [([], "no command"), (["a\0b"], "NUL")])
def test_a_command_that_cannot_be_run(argv: list[str], what: str):
    with pytest.raises(UsageError, match=what) as error:
        wire.job(argv, "/", {})
    assert error.value.do
    assert error.value.rule == "lab-command"
