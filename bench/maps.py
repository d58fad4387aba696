"""What elements cost: a hash map of 100,000 read, written and emptied by batch and one by one; arrays as memory.

    python3 bench/maps.py [ROUNDS]

Needs root. The variants take turns, so that a busy moment of the machine meets them all; medians are printed, in ns
an element, beside the floor: the same system calls from Python with everything prepared, and nothing decoded. Where
they are there, so are C with libbpf (gcc, libbpf-dev) and BCC (python3-bpfcc; see peers.py), on maps of their own.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from peers import bcc, compiled  # noqa: E402

from bpfasm.asm import BPF_F_MMAPABLE, ArrayMap, HashMap, PerCpuArrayMap, Record, u32, u64  # noqa: E402
from bpfasm.kernel import LoadedMap  # noqa: E402
from bpfasm.syscall.libc import NR, addressof, buffer, quick_syscall, syscall  # noqa: E402
from bpfasm.uapi import bpf  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MANY = 100_000
CALL = NR["__NR_bpf"]


class Pair(Record):
    """A value of two fields."""

    a = u32("one")
    b = u32("two")


def attr(**fields: int) -> Any:
    """Return a union bpf_attr."""
    from bpfasm.syscall.bpf import Attr

    return Attr({name.replace("__", "."): value for name, value in fields.items()}).memory


def floor_lookup(fd: int) -> Callable[[], Any]:
    """One lookup a key, the memory prepared."""
    key, value = ctypes.c_uint32(), ctypes.c_uint64()
    memory = attr(map_fd=fd, key=ctypes.addressof(key), value=ctypes.addressof(value))

    def run() -> None:
        for n in range(MANY):
            key.value = n
            quick_syscall(CALL, bpf.BPF_MAP_LOOKUP_ELEM, memory, 32)

    return run


def floor_batch(fd: int) -> Callable[[], Any]:
    """All elements in one batch."""
    keys, values, place = buffer(4 * MANY), buffer(8 * MANY), buffer(8)

    def run() -> None:
        memory = attr(
            batch__map_fd=fd,
            batch__keys=addressof(keys),
            batch__values=addressof(values),
            batch__out_batch=addressof(place),
            batch__count=MANY,
        )
        syscall(CALL, bpf.BPF_MAP_LOOKUP_BATCH, memory, 56)

    return run


def bpftool(map: LoadedMap) -> Callable[[], Any] | None:
    """The same by bpftool, a process and its JSON included."""
    path = shutil.which("bpftool")
    if not path:
        return None
    command = [path, "-j", "map", "dump", "id", str(map.info()["id"])]
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


C = """
#include <bpf/bpf.h>
#include <linux/types.h>
#include <stdlib.h>
void lookups(int fd, __u32 count) {
    __u64 value;
    for (__u32 n = 0; n < count; n++) bpf_map_lookup_elem(fd, &n, &value);
}
void updates(int fd, __u32 count) {
    for (__u32 n = 0; n < count; n++) { __u64 value = n; bpf_map_update_elem(fd, &n, &value, 0); }
}
void batch(int fd, __u32 count) {
    __u32 *keys = malloc(4 * count), place;
    __u64 *values = malloc(8 * count);
    bpf_map_lookup_batch(fd, NULL, &place, keys, values, &count, NULL);
    free(keys);
    free(values);
}
"""


def in_c(fd: int) -> dict[str, Callable[[], Any]]:
    """Return what C with libbpf does; nothing where it cannot be compiled."""
    library = compiled(C)
    if library is None:
        return {}
    return {
        "C, lookups": lambda: library.lookups(fd, MANY),
        "C, updates": lambda: library.updates(fd, MANY),
        "C, batch": lambda: library.batch(fd, MANY),
    }


def in_bcc(values: dict[int, int]) -> dict[str, Callable[[], Any]]:
    """Return what BCC does, with keys and values that are made once; nothing where it is not there."""
    library = bcc(f"BPF_HASH(words, u32, u64, {MANY});")
    if library is None:
        return {}
    table = library["words"]
    key, value = table.Key(), table.Leaf()

    def lookups() -> None:
        for n in range(MANY):
            key.value = n
            table[key]

    def updates() -> None:
        for n in range(MANY):
            key.value = value.value = n
            table[key] = value

    updates()
    return {
        "BCC, table[key]": lookups,
        "BCC, table[key] = value": updates,
        "BCC, items_lookup_batch() to a dict": lambda: dict(table.items_lookup_batch()),
        "BCC, items() to a dict": lambda: {k.value: v.value for k, v in table.items()},
    }


def variants() -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return what is measured: how many elements each goes through, and what does it."""
    words = LoadedMap(HashMap("words", key=u32, value=u64, max_entries=MANY))
    pairs = LoadedMap(HashMap("pairs", key=u32, value=Pair, max_entries=MANY))
    scratch = LoadedMap(HashMap("scratch", key=u32, value=u64, max_entries=MANY))
    array = LoadedMap(ArrayMap("array", value=u64, max_entries=MANY, flags=BPF_F_MMAPABLE))
    each = LoadedMap(PerCpuArrayMap("each", value=u64, max_entries=MANY // 10))
    values = {n: n for n in range(MANY)}
    words.update(values)
    pairs.update({n: (n, n) for n in range(MANY)})
    memory = array.memory()

    def lookups() -> None:
        for n in range(MANY):
            words[n]

    def updates() -> None:
        for n in range(MANY):
            words[n] = n

    def one_by_one() -> dict[int, int]:
        return {key: words[key] for key in map(words._key.unpack, _keys(words))}

    found: dict[str, tuple[int, Callable[[], Any] | None]] = {
        "lookup, floor": (MANY, floor_lookup(words.fd)),
        "m[key]": (MANY, lookups),
        "m[key] = value": (MANY, updates),
        "hash, one by one": (MANY, one_by_one),
        "hash, batch, floor": (MANY, floor_batch(words.fd)),
        "hash, m.snapshot()": (MANY, words.snapshot),
        "hash, dict(m.items())": (MANY, lambda: dict(words.items())),
        "hash, len(m)": (MANY, lambda: len(words)),
        "hash of records, m.snapshot()": (MANY, pairs.snapshot),
        "hash, bpftool -j map dump": (MANY, bpftool(words)),
        "hash, m.update(dict)": (MANY, lambda: scratch.update(values)),
        "hash, m.clear()": (MANY, scratch.clear),
        "per-CPU array, m.snapshot()": (MANY // 10, each.snapshot),
        "array, m.snapshot()": (MANY, array.snapshot),
        "array, memory, tolist()": (MANY, memory.tolist),
        "array, memory[i]": (MANY, lambda: [memory[n] for n in range(MANY)]),
    }
    found |= {name: (MANY, run) for name, run in (in_c(words.fd) | in_bcc(values)).items()}
    return {name: (count, run) for name, (count, run) in found.items() if run}


def _keys(map: LoadedMap) -> Any:
    key = map._next_key(None)
    while key is not None:
        yield key
        key = map._next_key(key)


#: What is set beside a row of ours.
AGAINST = {
    "m[key]": "BCC, table[key]",
    "m[key] = value": "BCC, table[key] = value",
    "hash, m.snapshot()": "BCC, items_lookup_batch() to a dict",
    "hash, dict(m.items())": "BCC, items_lookup_batch() to a dict",
    "hash, one by one": "BCC, items() to a dict",
}


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    what = variants()
    times: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(rounds):
        for name, (_, run) in what.items():
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    print(
        f"{'ns an element, median of ' + str(rounds):<36} {'ns':>8} {'min':>8} {'max':>8}   on {os.uname().release}"
    )
    for name, (count, _) in what.items():
        taken = sorted(1e9 * each / count for each in times[name])
        print(f"{name:<36} {median(taken):8.1f} {taken[0]:8.1f} {taken[-1]:8.1f}{_beside(name, times, what)}")


def _beside(name: str, times: dict[str, list[float]], what: dict[str, tuple[int, Callable[[], Any]]]) -> str:
    """Return how many times ours the peer of a row takes, and who it is."""
    peer = AGAINST.get(name)
    if peer not in times:
        return ""
    each, other = (median(times[row]) / what[row][0] for row in (name, peer))
    return f"   {peer} takes {other / each:.2f} times as long"


if __name__ == "__main__":
    main()
