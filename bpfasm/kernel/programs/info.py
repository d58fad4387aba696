"""What the kernel tells of a program: its numbers, its maps and types, the lines and instructions it is made of."""

from __future__ import annotations

import time
from struct import calcsize, iter_unpack

from bpfasm.btf.read import Btf
from bpfasm.errors import DecodeError, FeatureMissing, KernelError
from bpfasm.kernel.objects import ids
from bpfasm.syscall import system
from bpfasm.syscall.libc import buffer
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class LineInfo(Value):
    """Where the instruction at a slot comes from: file, line and column, and the line's text. ``pc`` counts slots."""

    pc: int
    file: str
    line: int
    column: int
    text: str


class ProgInfo(Value):
    """``struct bpf_prog_info``, read: every field of it, with its arrays.

    ``tag`` is 16 hex digits, ``loaded_at`` seconds since 1970. ``functions`` are (first slot, name) and ``lines``
    those of the translated program; without the right to see the program's types they are empty. ``ksyms`` are the
    addresses of its functions, ``func_lens`` their bytes, ``line_addresses`` where the code of each of ``lines``
    starts; ``tags`` are those of its functions. What the kernel hides, or does not know, is empty or 0.
    """

    id: int
    type: int
    name: str
    tag: str
    loaded_at: float
    uid: int
    gpl_compatible: bool
    map_ids: tuple[int, ...]
    btf_id: int
    ifindex: int
    netns_dev: int
    netns_ino: int
    attach_btf_obj_id: int
    attach_btf_id: int
    xlated_len: int
    jited_len: int
    memlock: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int
    verified_insns: int
    functions: tuple[tuple[int, str], ...]
    lines: tuple[LineInfo, ...]
    ksyms: tuple[int, ...]
    func_lens: tuple[int, ...]
    line_addresses: tuple[int, ...]
    tags: tuple[str, ...]


#: The arrays of bpf_prog_info: the field of each, of its length, and the struct format of an element.
_ARRAYS = (
    ("map_ids", "nr_map_ids", "I"),
    ("jited_ksyms", "nr_jited_ksyms", "Q"),
    ("jited_func_lens", "nr_jited_func_lens", "I"),
    ("func_info", "nr_func_info", "2I"),
    ("line_info", "nr_line_info", "4I"),
    ("jited_line_info", "nr_jited_line_info", "Q"),
    ("prog_tags", "nr_prog_tags", "8s"),
)

#: The arrays whose elements the kernel is told the size of, and that size.
_SIZES = {
    "func_info": ("func_info_rec_size", 8),
    "line_info": ("line_info_rec_size", 16),
    "jited_line_info": ("jited_line_info_rec_size", 8),
}

if TYPE_CHECKING:
    Rows = list[tuple[Any, ...]]


def prog_info(fd: int) -> ProgInfo:
    """Return everything that the kernel tells of a program. Raises KernelError."""
    about, arrays = _with_arrays(fd)
    types = types_of(about["btf_id"])
    return ProgInfo(
        id=about["id"],
        type=about["type"],
        name=ids.text(about["name"]),
        tag=about["tag"].hex(),
        loaded_at=_since_1970(about["load_time"]),
        uid=about["created_by_uid"],
        gpl_compatible=bool(about["gpl_compatible"]),
        map_ids=_column(arrays["map_ids"]),
        btf_id=about["btf_id"],
        ifindex=about["ifindex"],
        netns_dev=about["netns_dev"],
        netns_ino=about["netns_ino"],
        attach_btf_obj_id=about["attach_btf_obj_id"],
        attach_btf_id=about["attach_btf_id"],
        xlated_len=about["xlated_prog_len"],
        jited_len=about["jited_prog_len"],
        memlock=memlock(fd),
        run_time_ns=about["run_time_ns"],
        run_cnt=about["run_cnt"],
        recursion_misses=about["recursion_misses"],
        verified_insns=about["verified_insns"],
        functions=_functions(types, arrays["func_info"]),
        lines=_lines(types, arrays["line_info"]),
        # What is interpreted has the interpreter's address.
        ksyms=_column(arrays["jited_ksyms"]) if about["jited_prog_len"] else (),
        func_lens=_column(arrays["jited_func_lens"]),
        line_addresses=_column(arrays["jited_line_info"]),
        tags=tuple(tag.hex() for (tag,) in arrays["prog_tags"]),
    )


def _with_arrays(fd: int) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Return the fields, and the elements of each array."""
    about = ids.info("prog", fd)
    given: dict[str, Any] = {}
    for name, count, format in _ARRAYS:
        if about[count]:
            given |= {name: buffer(calcsize(f"={format}") * about[count]), count: about[count]}
            given |= dict([_SIZES[name]] if name in _SIZES else [])
    if given:
        about = ids.info("prog", fd, **given)
    arrays = {}
    for name, count, format in _ARRAYS:
        # A pointer that came back as 0: it is not for us to see (bpf_dump_raw_ok()).
        room = given[name].raw if name in given and about[name] else b""
        known = calcsize(f"={format}") * about[count]  # a map may have been bound to it meanwhile
        arrays[name] = list(iter_unpack(f"={format}", room[:known]))
    return about, arrays


def _column(rows: Rows) -> tuple[int, ...]:
    return tuple(first for first, *_ in rows)


def _since_1970(boot_ns: int) -> float:
    """Return a time since boot as seconds since 1970; 0 where there is none."""
    if not boot_ns:
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + boot_ns / 1e9


def memlock(fd: int) -> int:
    """Return the bytes that an object is charged with, 0 where the kernel does not say."""
    return int(fd_fields(fd).get("memlock", 0))


def fd_fields(fd: int) -> dict[str, str]:
    """Return what /proc/self/fdinfo says of an fd."""
    lines = (system.read(f"/proc/self/fdinfo/{fd}") or "").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def types_of(btf_id: int) -> Btf | None:
    """Return the types of a program or map by their id, None where there are none, or they are not for us to see."""
    from bpfasm.kernel.btf.targets import read

    try:
        return read(btf_id) if btf_id else None
    except (FeatureMissing, KernelError, DecodeError):
        return None


def _functions(types: Btf | None, rows: Rows) -> tuple[tuple[int, str], ...]:
    return tuple((pc, types.type(id).name) for pc, id in rows) if types else ()


def _lines(types: Btf | None, rows: Rows) -> tuple[LineInfo, ...]:
    if types is None:
        return ()
    from bpfasm.kernel.btf.program import without_place

    named = ((pc, types.string(file), types.string(text), place) for pc, file, text, place in rows)
    return tuple(
        LineInfo(pc, file, place >> 10, place & 0x3FF, without_place(text, file, place >> 10))
        for pc, file, text, place in named
    )


def xlated(fd: int) -> bytes:
    """Return a program's instructions as the verifier left them. Raises FeatureMissing where they are hidden."""
    return _code(fd, "xlated_prog_insns", "xlated_prog_len")


def jited(fd: int) -> bytes:
    """Return a program's native code, empty where it is interpreted. Raises FeatureMissing where it is hidden."""
    return _code(fd, "jited_prog_insns", "jited_prog_len")


def _code(fd: int, field: str, length: str) -> bytes:
    size = ids.info("prog", fd)[length]
    if not size:
        # Without the right to see it there is no length either; every program has translated instructions.
        if field == "xlated_prog_insns":
            raise _hidden("the instructions of a program")
        return b""
    room = buffer(size)
    about = ids.info("prog", fd, **{field: room, length: size})
    if not about[field]:
        raise _hidden("the code of a program")
    return room.raw[: about[length]]


def _hidden(what: str) -> FeatureMissing:
    from bpfasm.kernel.base.privilege import lacking, not_permitted

    if lacking(("CAP_BPF",)):
        return not_permitted(f"seeing {what}", ("CAP_BPF",))
    restrict = system.number("/proc/sys/kernel/kptr_restrict")
    return FeatureMissing(
        f"the kernel hides {what}, since it holds addresses (kernel.kptr_restrict is {restrict})",
        "as root: sysctl kernel.kptr_restrict=1",
        rule="dump-hidden",
    )
