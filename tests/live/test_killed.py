"""SIGKILL at any moment between opening and detaching, for each mechanism: what stays is found, and removed."""

import json
import os
import random
import select
import signal
import time
from functools import partial

import pytest
from support import zygote
from support.counting import EVENTS, Child, counter, work

from bpfasm.asm import *
from bpfasm.cli import main
from bpfasm.elf.probes import function_offset
from bpfasm.errors import FeatureMissing
from bpfasm.kernel import leftovers, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.links.tracing.kprobe import generic
from bpfasm.kernel.objects import ids
from bpfasm.kernel.programs.program import KernelProgram
from bpfasm.kernel.user import code_of, find_file
from bpfasm.syscall import tracefs

pytestmark = pytest.mark.lab(on="one")

#: So many processes of each mechanism are killed; fewer in an emulated guest, which takes 10 s for a round.
KILLS = 2 if zygote.IN_GUEST else 20
NAME = "bpfasm_killed"

#: Each mechanism: type, place, mode.
MECHANISMS = {
    f"{place}-{mode}": (type, place, mode)
    for type, place, modes in (
        (BPF_PROG_TYPE_KPROBE, kprobe(syscall="getpriority"), ("link", "perf", "tracefs")),
        (BPF_PROG_TYPE_KPROBE, kprobe_multi("sys_getpriority"), ("multi",)),
        (BPF_PROG_TYPE_KPROBE, uprobe("libc", "getpriority"), ("link", "perf", "tracefs")),
        (BPF_PROG_TYPE_KPROBE, uprobe_multi("libc", "getpriority"), ("multi",)),
        (BPF_PROG_TYPE_TRACEPOINT, tracepoint("syscalls", "sys_enter_getpriority"), ("link", "perf")),
        (BPF_PROG_TYPE_RAW_TRACEPOINT, raw_tracepoint("sys_enter"), ("link",)),
        (BPF_PROG_TYPE_TRACING, fentry(generic("sys_getpriority")), ("link",)),
        (BPF_PROG_TYPE_TRACING, iterator("bpf_map"), ("link",)),
        (BPF_PROG_TYPE_PERF_EVENT, perf_event("page-faults", period=1), ("link", "perf")),
    )
    for mode in modes
}


def there():
    """Return the mechanisms that this kernel has, by trying each."""
    found = {}
    libc = find_file("libc")
    at = function_offset(code_of(libc), "getpriority")
    # Offsets, so that what is done again and again is attaching, and not reading the library.
    offsets = {"uprobe": {"symbol": "", "offset": at}, "uprobe_multi": {"symbols": (), "offsets": (at,)}}
    for name, (type, place, mode) in MECHANISMS.items():
        if hasattr(place, "path"):
            kind = "uprobe_multi" if mode == "multi" else "uprobe"
            place = place.replace(path=libc, **offsets[kind])  # noqa: PLW2901
        program, _ = counter(NAME, type, place)
        try:
            with load(program) as obj:
                attach(obj[program], mode=mode).close()
        except FeatureMissing:
            continue
        found[name] = program, mode
    return found


def again_and_again(program, mode, said):
    """Load, attach and detach; never returns."""
    try:
        os.write(said, b"r")
        while True:
            with load(program) as obj:
                attach(obj[program], mode=mode).close()
    finally:
        os._exit(1)


def loaded():
    """Return the ids of the programs of this test that the kernel still has."""
    found = []
    for id in ids.ids("prog"):
        fd = ids.open_id("prog", id)
        if fd is not None:
            with KernelProgram(fd) as each:
                if each.name == NAME:
                    found.append(id)
    return found


def events():
    """Return the events in tracefs that carry an owner."""
    return {name for left in leftovers.find() if left.kind == "event" for name in left.parts}


def test_what_killed_processes_leave_is_removed_and_what_lives_is_not(capsys):
    mechanisms = there()
    assert len(mechanisms) >= 3, mechanisms
    root = tracefs.find()
    living, counts = counter("living", BPF_PROG_TYPE_KPROBE, uprobe("libc", "getpriority"))
    chance = random.Random(23)
    pids = set()
    with load(living) as obj:
        obj.attach("tracefs" if root and os.path.exists(f"{root}/uprobe_events") else "auto")
        own = events()
        for _ in range(KILLS):
            ready, said = os.pipe()
            round_ = []
            for program, mode in mechanisms.values():
                child = os.fork()
                if not child:
                    again_and_again(program, mode, said)
                round_.append(child)
            os.close(said)
            for _ in round_:
                assert os.read(ready, 1) == b"r"
            for child in round_:
                select.select([], [], [], chance.uniform(0, 0.01))  # at any moment
                os.kill(child, signal.SIGKILL)
            for child in round_:
                os.waitpid(child, 0)
            os.close(ready)
            pids |= set(round_)
        left = events() - own
        owners = {found.owner.pid for found in leftovers.find() if not {*found.parts} <= own}
        assert owners <= pids
        checks = {row["name"]: row["state"] for row in json.loads(run(capsys, "doctor", "--json"))["checks"]}
        assert checks["leftovers"] == ("note" if left else "ok")
        run(capsys, "clean", "--yes")
        assert events() == own
        deadline = time.monotonic() + 60
        while loaded():  # the kernel lets go of a killed process's programs a moment later
            assert time.monotonic() < deadline
            select.select([], [], [], 0.02)
        work()
        assert obj[counts][0] == EVENTS
    assert events() == set()


def run(capsys, *words):
    capsys.readouterr()
    main(words)
    return capsys.readouterr().out


def hold(program, mode, kept):
    """Attach a program, and keep it so."""
    obj = load(program)
    kept += [obj, attach(obj[program], mode=mode)]


def test_a_process_that_ends_takes_its_links_with_it():
    """It need not be killed, nor close anything."""
    for name, (program, mode) in there().items():
        if mode == "tracefs":
            continue
        with Child(partial(hold, program, mode, []), lambda: None):
            assert loaded(), name
        deadline = time.monotonic() + 60
        while loaded():
            assert time.monotonic() < deadline, name
            select.select([], [], [], 0.02)
