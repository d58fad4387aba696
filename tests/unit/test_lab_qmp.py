"""QEMU's monitor: what it says, cut anyhow, and what is made of it. tests/lab/test_start.py has the real one."""

import json
import os
import socket
from threading import Thread

import pytest

from bpfasm.errors import LabError
from bpfasm.lab.machine.qmp import Monitor

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n{"return": {}}\r\n'


@pytest.fixture
def speak():
    """Return our end of a connection whose other end says what it is told, and is then closed."""
    threads = []

    def start(*pieces):
        ours, theirs = socket.socketpair()

        def say():
            with theirs:
                for piece in pieces:
                    theirs.sendall(piece)
                theirs.shutdown(socket.SHUT_WR)
                while theirs.recv(1 << 16):
                    pass

        threads.append(Thread(target=say))
        threads[-1].start()
        return ours

    yield start
    for thread in threads:
        thread.join()


def test_an_answer_is_returned_and_events_are_passed_over(speak):
    event = b'{"event": "STOP", "timestamp": {}}\r\n'
    answer = b'{"return": {"status": "running"}}\r\n'
    with Monitor(speak(GREETING[:10], GREETING[10:], event, answer[:3], answer[3:])) as monitor:
        assert monitor.do("query-status", detail=1) == {"status": "running"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b'{"error": {"class": "GenericError", "desc": "no such thing"}}\r\n', "failed at migrate: no such thing"),
        (b"", "failed at migrate"),
        (b"nonsense\r\n", "failed at migrate"),
        (b'{"return"', "failed at migrate"),
    ],
)
def test_what_fails_is_told_with_its_words(speak, said, words):
    with Monitor(speak(GREETING, said)) as monitor, pytest.raises(LabError, match=words) as error:
        monitor.do("migrate")
    assert error.value.rule == "lab-monitor"


def test_who_never_greets_is_no_monitor(speak):
    ours = speak()
    with ours, pytest.raises(LabError, match="its greeting"):
        Monitor(ours)


def test_a_file_is_lent():
    ours, theirs = socket.socketpair()
    read, write = os.pipe()
    theirs.sendall(GREETING + b'{"return": {}}\r\n')
    with theirs, Monitor(ours) as monitor:
        monitor.lend(write, "state")
        said, fds, _, _ = socket.recv_fds(theirs, 1 << 16, 4)
        asked = [json.loads(line) for line in said.splitlines()]
        assert asked[-1] == {"execute": "getfd", "arguments": {"fdname": "state"}}
        os.write(fds[0], b"through")
        assert os.read(read, 10) == b"through"
    for fd in (read, write, *fds):
        os.close(fd)
