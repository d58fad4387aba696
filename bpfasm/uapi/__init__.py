"""The kernel's user-space API: numbers and layouts, one module a header, in the kernel's own spelling.

``tools/gen_uapi.py`` writes the modules from the newest headers that Debian packages: no number is typed by
hand. They are plain data, import nothing, and hold on little-endian 64-bit machines (x86_64, arm64). The
module of ``linux/in.h`` is ``in_``, since ``in`` is a word of Python.

**Constants** are every enumerator and every macro with a value, in the header's order; hexadecimal, one bit
(``1 << 5``) or decimal as the header has it.

>>> from bpfasm.uapi import bpf, perf_event, ptrace, unistd
>>> bpf.BPF_MAP_CREATE, bpf.BPF_XCHG == 0xe0 | bpf.BPF_FETCH
(0, True)

**Enums**: ``enum_TAG`` is the tuple of the enum's names. From a value back to its name (of several names,
the last is the one to use):

>>> from bpfasm.uapi import names
>>> names(bpf, "bpf_map_type")[bpf.BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED]
'BPF_MAP_TYPE_CGROUP_STORAGE'

**Layouts**: ``struct_TAG`` and ``union_TAG`` map each member to ``(offset, size, format)``, and the whole
has the size ``sizeof_struct_TAG`` or ``sizeof_union_TAG``. Offsets and sizes are bytes.

>>> bpf.union_bpf_attr["log_true_size"], bpf.sizeof_union_bpf_attr
((140, 4, 'I'), 168)

The format is what ``struct.unpack_from(format, buffer, offset)`` reads the member with:

- ``"I"`` is an unsigned number, ``"i"`` a signed one, ``">H"`` one in network order (``__be16``); a pointer
  is a ``"Q"``;
- ``"5I"`` is an array of numbers, ``"16s"`` one of characters; a flexible array has length and size 0;
- ``"12s"`` is also a member that is a struct or a union, or an array of them;
- ``"Q:15:2"`` is a bit field: of the number that ``"Q"`` reads, 2 bits from bit 15 up, where bit 0 is the
  lowest.

The members of an anonymous struct or union stand beside the others, as in C; those of a named one are
dotted:

>>> bpf.union_bpf_attr["link_create.kprobe_multi"], bpf.union_bpf_attr["link_create.kprobe_multi.cnt"]
((16, 32, '32s'), (20, 4, 'I'))
>>> perf_event.struct_perf_event_attr["precise_ip"]
(40, 8, 'Q:15:2')

**By machine**, as ``os.uname().machine`` names it: ``unistd.syscalls``, where ``"generic"`` stands for the
newer architectures, and ``ptrace.bpf_user_pt_regs_t``, the context of a program on a kprobe.

>>> unistd.syscalls["x86_64"]["__NR_bpf"], ptrace.bpf_user_pt_regs_t["aarch64"]["sp"]
(321, (248, 8, 'Q'))
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def names(header: "ModuleType", tag: str) -> dict[int, str]:
    """Return the names of an enum's values, without those that count or end it (``__MAX_BPF_CMD``)."""
    return {getattr(header, name): name for name in getattr(header, f"enum_{tag}") if not name.startswith("__")}
