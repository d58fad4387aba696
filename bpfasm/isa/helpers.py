"""The helper functions: one row each, with number, prototype, first kernel, license, and what it does.

Numbers and prototypes are those of the header (``bpfasm.uapi``). The rest is this page's: a helper's release follows
from its number, since they are given out in order; ``gpl`` is what the kernel's own table of the helper says
(``struct bpf_func_proto``).
"""

from __future__ import annotations

from bpfasm.isa.helper_meanings import MEANINGS
from bpfasm.uapi import bpf
from bpfasm.uapi.helpers import prototypes
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "BPF_FUNC_"

#: The helpers by number: without the ``bpf_`` that their functions begin with.
HELPERS = {
    number: name.removeprefix(_PREFIX)
    for name, number in ((name, getattr(bpf, name)) for name in bpf.enum_bpf_func_id)
    if name.startswith(_PREFIX) and number
}

#: The first helper of each release that brought some, by number.
_FIRST = (
    (1, "3.19"), (4, "4.1"), (12, "4.2"), (17, "4.3"), (23, "4.4"), (26, "4.5"), (27, "4.6"), (31, "4.8"),
    (37, "4.9"), (42, "4.10"), (45, "4.11"), (46, "4.12"), (48, "4.13"), (51, "4.14"), (54, "4.15"), (58, "4.16"),
    (60, "4.17"), (65, "4.18"), (81, "4.19"), (84, "4.20"), (91, "5.0"), (93, "5.1"), (99, "5.2"), (109, "5.3"),
    (110, "5.4"), (111, "5.5"), (116, "5.6"), (119, "5.7"), (125, "5.8"), (136, "5.9"), (142, "5.10"), (156, "5.11"),
    (163, "5.12"), (164, "5.13"), (166, "5.14"), (169, "5.15"), (176, "5.16"), (180, "5.17"), (186, "5.18"),
    (194, "5.19"), (204, "6.0"), (208, "6.1"), (210, "6.2"),
)  # fmt: skip

#: Those that only a program whose license is compatible with the GPL may call, of whatever type it is (gpl_only in
#: the kernel's struct bpf_func_proto).
_GPL = frozenset((
    "probe_read", "perf_event_read", "perf_event_output", "get_current_task", "probe_read_str",
    "perf_event_read_value", "perf_prog_read_value", "get_stack", "fib_lookup", "tcp_check_syncookie",
    "tcp_gen_syncookie", "skb_output", "probe_read_user", "probe_read_kernel", "probe_read_user_str",
    "probe_read_kernel_str", "read_branch_records", "xdp_output", "seq_printf", "seq_write", "seq_printf_btf",
    "get_current_task_btf", "check_mtu", "snprintf", "timer_init", "timer_set_callback", "timer_start",
    "timer_cancel", "task_pt_regs", "get_branch_snapshot", "copy_from_user_task", "tcp_raw_gen_syncookie_ipv4",
    "tcp_raw_gen_syncookie_ipv6", "tcp_raw_check_syncookie_ipv4", "tcp_raw_check_syncookie_ipv6", "trace_printk",
    "trace_vprintk", "probe_write_user", "override_return", "rc_repeat", "rc_keydown", "rc_pointer_rel",
))  # fmt: skip

#: Those that are so for some types of programs and not for others.
_GPL_AT_TIMES = {
    "get_stackid": "but in perf_event programs",
    "get_func_ip": "but in kprobe programs",
}


class Helper(Value):
    """One helper function.

    ``name`` is without the ``bpf_`` of its function, ``since`` the first release that has it. ``gpl`` says whether
    the caller needs a license compatible with the GPL, and ``gpl_note`` where that depends on the type of program.
    ``meaning`` says in a line what it does and what it returns.
    """

    id: int
    name: str
    prototype: str
    since: str
    gpl: bool
    gpl_note: str
    meaning: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """Its parameters in C, without the dots of those that may follow."""
        inner = self.prototype.partition("(")[2].removesuffix(")")
        return () if inner == "void" else tuple(each for each in inner.split(", ") if each != "...")

    @property
    def arguments(self) -> int:
        """How many registers it reads, from R1 on; those for the dots are not looked at."""
        return len(self.parameters)


def since(helper: int) -> str:
    """Return the release a helper came with."""
    return next(release for first, release in reversed(_FIRST) if first <= helper)


def helper_of(number: int) -> Helper | None:
    """Return the row of a helper, or None where there is no such number."""
    name = HELPERS.get(number)
    if name is None:
        return None
    note = _GPL_AT_TIMES.get(name, "")
    gpl = name in _GPL or bool(note)
    return Helper(number, name, prototypes[name], since(number), gpl, note, MEANINGS[name])


def all_helpers() -> Iterator[Helper]:
    """Yield every helper's row, by number."""
    for number in HELPERS:
        row = helper_of(number)
        assert row is not None
        yield row
