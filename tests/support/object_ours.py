"""What bpfasm makes of objects, in the words of object_load.c: ``object_ours.py [-a] OBJECT ...`` prints JSON."""

import contextlib
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bpfasm.asm import *
from bpfasm.elf.object import read_object
from bpfasm.errors import BpfasmError
from bpfasm.kernel import load
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import buffer

PACKETS = (BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_XDP)
CONTEXTS = (BPF_PROG_TYPE_SYSCALL, BPF_PROG_TYPE_RAW_TRACEPOINT)
BYTES = bytes(range(64))


def describe(path, *, together=False):
    """Yield a dict for each program of an object: what became of it."""
    name = os.path.basename(path)
    try:
        found = read_object(Path(path).read_bytes(), name)
    except BpfasmError as error:
        yield {"object": name, "error": str(error)}
        return
    for programs in [found.programs] if together else [[each] for each in found.programs]:
        try:
            with load(*found.maps.values(), *programs) as loaded:
                told = [_loaded(loaded, found, loaded[each]) for each in programs]
        except BpfasmError as error:
            told = [{"errno": getattr(error, "errno", None), "error": str(error)}] * len(programs)
        for program, each in zip(programs, told, strict=True):
            yield {"object": name, "program": program.name} | each


def _loaded(loaded, found, program):
    info = program.info()
    told = {
        "type": info.type,
        "name": info.name,
        "functions": len(info.functions),
        "lines": len(info.lines),
        "xlated": program.xlated().hex(),
    }
    if program.type in PACKETS + CONTEXTS:
        given = {"data": BYTES} if program.type in PACKETS else {"ctx": BYTES}
        with contextlib.suppress(BpfasmError):  # there is no test run of some XDP programs
            run = program.test_run(**given)
            told["retval"] = run.retval
            if program.type == BPF_PROG_TYPE_SYSCALL:
                told["ctx"] = run.ctx.hex()
    told["maps"] = {name: _map(loaded[spec]) for name, spec in found.maps.items()}
    return told


def _map(map):
    info = map.info()
    told = {
        "id": info["id"], "name": info["name"].rstrip(b"\0").decode(), "type": info["type"],
        "key": info["key_size"], "value": info["value_size"], "entries": info["max_entries"],     }  # fmt: skip
    if info["type"] == BPF_MAP_TYPE_ARRAY:
        room = buffer(info["value_size"])
        bpf.map_lookup_elem(map_fd=map.fd, key=buffer(bytes(4)), value=room)
        told["first"] = room.raw.hex()
    return told


def main(words):
    together = False
    for word in words:
        if word == "-a":
            together = True
            continue
        for each in describe(word, together=together):
            print(json.dumps(each))
        together = False


if __name__ == "__main__":
    main(sys.argv[1:])
