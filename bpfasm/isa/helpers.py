"""The helper functions: one row each, with number, prototype, first kernel, license, and what it does.

Numbers and prototypes are those of the header (``bpfasm.uapi``). The rest is this page's: a helper's release follows
from its number, since they are given out in order; ``gpl`` is what the kernel's own table of the helper says
(``struct bpf_func_proto``).
"""

from __future__ import annotations

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

#: What each does: for those that tracing and networking programs are mostly made of.
_MEANINGS = {
    "map_lookup_elem": "Find the value of a key: a pointer to it, or NULL; compare with 0 before you use it.",
    "map_update_elem": "Store a copy of the value under the key. flags: BPF_ANY, BPF_NOEXIST, BPF_EXIST.",
    "map_delete_elem": "Take a key and its value out. 0, or -ENOENT where the key is not there.",
    "map_push_elem": "Put a value into a queue or on a stack; BPF_EXIST makes room where it is full. 0, or -E2BIG.",
    "map_pop_elem": "Take the next value out of a queue or stack, into your memory. 0, or -ENOENT.",
    "map_peek_elem": "Copy the next value of a queue or stack and leave it there. 0, or -ENOENT.",
    "map_lookup_percpu_elem": "Find the value that another CPU has under a key: a pointer, or NULL.",
    "for_each_map_elem": "Call a function of yours for each element; it returns 1 to stop. The number of calls.",
    "probe_read": "Copy memory of any kind into yours. Newer programs say which: probe_read_kernel, probe_read_user.",
    "probe_read_str": "Copy a string of any kind; newer ones are probe_read_kernel_str, probe_read_user_str.",
    "probe_read_kernel": "Copy size bytes of kernel memory. 0, or -EFAULT, and then your bytes are zeros.",
    "probe_read_user": "Copy size bytes of the current process's memory. 0, or -EFAULT: the page may not be there.",
    "probe_read_kernel_str": "Copy a kernel string, size bytes at most. Its length with the NUL, or -errno.",
    "probe_read_user_str": "Copy a string of the process, size bytes at most. Its length with the NUL, or -errno.",
    "probe_write_user": "Write to the current process's memory. For experiments: the kernel warns when it is loaded.",
    "copy_from_user": "Copy memory of the current process, and wait for its page: sleepable programs only.",
    "copy_from_user_task": "Copy memory of any process, and wait for its page: sleepable programs only.",
    "ktime_get_ns": "Nanoseconds since boot, without the time that the machine was suspended (CLOCK_MONOTONIC).",
    "ktime_get_boot_ns": "Nanoseconds since boot, with the time that the machine was suspended (CLOCK_BOOTTIME).",
    "ktime_get_coarse_ns": "Nanoseconds since boot as of the last timer tick: cheaper than ktime_get_ns.",
    "ktime_get_tai_ns": "Nanoseconds of international atomic time (CLOCK_TAI), without leap seconds.",
    "jiffies64": "The timer ticks since boot, counted as the kernel does.",
    "trace_printk": "Print to the kernel's trace_pipe, for debugging: a format and up to three numbers or strings.",
    "trace_vprintk": "Print to the kernel's trace_pipe: a format, and an array of 64-bit arguments.",
    "get_prandom_u32": "A pseudo-random number of 32 bits; not for keys.",
    "get_smp_processor_id": "The number of the CPU that the program runs on.",
    "get_numa_node_id": "The number of the NUMA node that the program runs on.",
    "get_current_pid_tgid": "The process (tgid) in the upper 32 bits, the thread (pid) in the lower.",
    "get_ns_current_pid_tgid": "Process and thread as a pid namespace numbers them, into a struct bpf_pidns_info.",
    "get_current_uid_gid": "The group in the upper 32 bits, the user in the lower.",
    "get_current_comm": "Copy the thread's name, at most 16 bytes with its NUL, into your memory.",
    "get_current_task": "The address of the current struct task_struct, to be read with probe_read_kernel.",
    "get_current_task_btf": "The current task as a typed pointer: its members can be loaded directly.",
    "task_pt_regs": "The registers that a task entered the kernel with.",
    "get_current_cgroup_id": "The id of the cgroup (v2) of the current task: the inode number of its directory.",
    "get_current_ancestor_cgroup_id": "The id of the cgroup so many levels below the root that the task is in, or 0.",
    "current_task_under_cgroup": "Whether the current task is in a cgroup of the map, or below it.",
    "get_stackid": "Store the stack in a map of stack traces, or find it there. Its id, or -errno.",
    "get_stack": "Copy addresses of the stack into your memory: the kernel's, or with BPF_F_USER_STACK the user's.",
    "get_task_stack": "Copy addresses of another task's stack into your memory.",
    "perf_event_output": "Send an event to user space by a map of perf buffers. 0, or -ENOSPC: it is lost.",
    "perf_event_read_value": "Read a counter that user space opened, with the times it was enabled and ran.",
    "ringbuf_output": "Copy an event into a ring buffer. 0, or -EAGAIN where the ring is full.",
    "ringbuf_reserve": "Reserve an event in a ring buffer: a pointer, or NULL: it is full. Submit or discard it.",
    "ringbuf_submit": "Hand a reserved event to the reader. flags: 0, BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP.",
    "ringbuf_discard": "Give a reserved event up: the reader does not see it.",
    "ringbuf_query": "How full a ring is: BPF_RB_AVAIL_DATA, BPF_RB_RING_SIZE, BPF_RB_CONS_POS, BPF_RB_PROD_POS.",
    "ringbuf_reserve_dynptr": "Reserve an event of any size, as a dynptr. Submit or discard it always.",
    "ringbuf_submit_dynptr": "Hand an event that was reserved as a dynptr to the reader.",
    "ringbuf_discard_dynptr": "Give up an event that was reserved as a dynptr.",
    "user_ringbuf_drain": "Call a function of yours for each message that user space sent. The number of messages.",
    "dynptr_from_mem": "Make a dynptr of memory in a map's value: a pointer that knows its size.",
    "dynptr_read": "Copy bytes out of a dynptr. 0, or -E2BIG beyond its end.",
    "dynptr_write": "Copy bytes into a dynptr. 0, or -E2BIG beyond its end.",
    "dynptr_data": "A pointer to len bytes of a dynptr, len a constant; or NULL.",
    "tail_call": "Go on in another program of a program array, and do not come back; -errno where there is none.",
    "loop": "Call a function of yours up to 2^23 times; it returns 1 to stop. The number of calls.",
    "strncmp": "Compare with a constant string, as strncmp() does.",
    "snprintf": "Format into your memory: a format, and an array of 64-bit arguments. The length.",
    "snprintf_btf": "Format a value of a kernel type into your memory, as text with the names of its members.",
    "seq_printf": "Print to the file that an iterator is read by.",
    "seq_write": "Write bytes to the file that an iterator is read by.",
    "spin_lock": "Take the lock in a map's value. One at a time, and nothing else is called while it is held.",
    "spin_unlock": "Give the lock in a map's value back.",
    "timer_init": "Prepare the timer in a map's value.",
    "timer_set_callback": "Say which function of yours the timer calls.",
    "timer_start": "Start the timer: it fires once, in so many nanoseconds.",
    "timer_cancel": "Stop the timer, and wait until its function is done.",
    "kptr_xchg": "Put a pointer into a map's value, and take the old one out: you have to release that.",
    "get_func_ip": "The address of the function that the program is attached to.",
    "get_func_arg": "Copy an argument of the traced function into your memory (fentry, fexit).",
    "get_func_ret": "Copy the return value of the traced function into your memory (fexit).",
    "get_func_arg_cnt": "The number of arguments of the traced function.",
    "get_attach_cookie": "The number that user space gave when it attached the program here.",
    "override_return": "Make the probed function return this at once: only those marked for error injection.",
    "send_signal": "Send a signal to the current process.",
    "send_signal_thread": "Send a signal to the current thread.",
    "d_path": "The path of a struct path, as text in your memory. Its length, or -errno.",
    "skb_load_bytes": "Copy bytes of the packet into your memory. 0, or -EFAULT beyond its end.",
    "skb_store_bytes": "Write bytes into the packet. Packet pointers are to be loaded and checked again.",
    "skb_pull_data": "Make the first len bytes of the packet linear, so that they can be loaded directly.",
    "l3_csum_replace": "Correct the checksum of the IP header by what was changed.",
    "l4_csum_replace": "Correct the checksum of TCP or UDP by what was changed.",
    "csum_diff": "The difference that replacing some bytes by others makes to a checksum.",
    "redirect": "Send the packet to another device: return what this returns.",
    "redirect_map": "Send the packet to the device, CPU or socket of a map's entry: return what this returns.",
    "clone_redirect": "Send a copy of the packet to another device.",
    "xdp_adjust_head": "Move the packet's start. Packet pointers are to be loaded and checked again.",
    "xdp_adjust_tail": "Move the packet's end. Packet pointers are to be loaded and checked again.",
    "xdp_adjust_meta": "Make room for metadata before the packet.",
    "xdp_load_bytes": "Copy bytes of the packet into your memory, those of fragments too.",
    "fib_lookup": "Ask the routing table: the next hop into a struct bpf_fib_lookup.",
    "get_socket_cookie": "A number that stays the socket's for as long as it lives.",
    "get_socket_uid": "The user that owns the socket.",
    "sk_lookup_tcp": "Find a TCP socket by its addresses: a pointer that you have to release, or NULL.",
    "sk_lookup_udp": "Find a UDP socket by its addresses: a pointer that you have to release, or NULL.",
    "skc_lookup_tcp": "Find a TCP socket, requests and time-waits too: you have to release it, or NULL.",
    "sk_release": "Release a socket that a lookup gave you.",
    "setsockopt": "Set an option of the socket, as setsockopt(2) does.",
    "getsockopt": "Read an option of the socket, as getsockopt(2) does.",
    "sk_storage_get": "The value that a map keeps for a socket; or NULL; BPF_LOCAL_STORAGE_GET_F_CREATE makes one.",
    "task_storage_get": "The value that a map keeps for a task; or NULL; BPF_LOCAL_STORAGE_GET_F_CREATE makes one.",
    "inode_storage_get": "The value that a map keeps for an inode, or NULL; see task_storage_get.",
    "cgrp_storage_get": "The value that a map keeps for a cgroup; or NULL; BPF_LOCAL_STORAGE_GET_F_CREATE makes one.",
    "per_cpu_ptr": "The address of a kernel per-CPU variable on a CPU, or NULL where there is no such CPU.",
    "this_cpu_ptr": "The address of a kernel per-CPU variable on this CPU.",
    "sys_bpf": "Call bpf(2) from a program of type BPF_PROG_TYPE_SYSCALL.",
    "sys_close": "Close a file descriptor from a program of type BPF_PROG_TYPE_SYSCALL.",
}  # fmt: skip


class Helper(Value):
    """One helper function.

    ``name`` is without the ``bpf_`` of its function, ``since`` the first release that has it. ``gpl`` says whether
    the caller needs a license compatible with the GPL, and ``gpl_note`` where that depends on the type of program.
    ``meaning`` is empty where nobody has written it yet.
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
    return Helper(number, name, prototypes[name], since(number), gpl, note, _MEANINGS.get(name, ""))


def all_helpers() -> Iterator[Helper]:
    """Yield every helper's row, by number."""
    for number in HELPERS:
        row = helper_of(number)
        assert row is not None
        yield row
