"""What the verifier allows beyond single instructions, what it writes, and the flags of a load."""

from __future__ import annotations

from errno import E2BIG, EINVAL
from functools import partial
from struct import pack

from bpfasm.asm.attach_types import LOAD_FLAGS
from bpfasm.asm.macros import (
    BPF_ALU64_IMM,
    BPF_CALL_KFUNC,
    BPF_CALL_REL,
    BPF_EMIT_CALL,
    BPF_EXIT_INSN,
    BPF_JMP_IMM,
    BPF_LD_IMM64_RAW_FULL,
    BPF_LD_MAP_FD,
    BPF_LDX_MEM,
    BPF_MOV64_IMM,
    BPF_MOV64_REG,
    BPF_ST_MEM,
)
from bpfasm.isa.operands import BPF_ADD, BPF_DW, BPF_JNE, BPF_W, FP, R0, R1, R2, R3, R4
from bpfasm.syscall import bpf as call
from bpfasm.syscall.bpf import LoadError
from bpfasm.syscall.libc import buffer
from bpfasm.syscall.probe import btf as types
from bpfasm.syscall.probe.answer import Answer, Tried, denied, judge, no, unknown, yes
from bpfasm.syscall.probe.feature import Feature
from bpfasm.syscall.probe.programs import ITER, LSM, PLAIN, SLEEPABLE, TP_BTF
from bpfasm.syscall.probe.trying import LOG_BYTES, attempt, load, map_of, program
from bpfasm.syscall.probe.vmlinux import vmlinux
from bpfasm.uapi import bpf, btf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from bpfasm.isa.insn import Insn

    Probe = Callable[[], Answer]

_END = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
_REFUSED = "the verifier refuses it"


def _loads(insns: Iterable[Insn], type: int = bpf.BPF_PROG_TYPE_SOCKET_FILTER, **fields: Any) -> Probe:
    def probe() -> Answer:
        return judge(load(insns, type, **fields), absent=(EINVAL, E2BIG), reason=_REFUSED)

    return probe


#: More than the 4096 instructions that a program had for long.
_LARGE = [*[BPF_MOV64_IMM(R0, 0)] * 5000, BPF_EXIT_INSN()]

_LOOP = [BPF_MOV64_IMM(R1, 10), BPF_ALU64_IMM(BPF_ADD, R1, -1), BPF_JMP_IMM(BPF_JNE, R1, 0, -2), *_END]

_CALL = [BPF_CALL_REL(1), BPF_EXIT_INSN(), *_END]


def _callback(before: list[Insn], helper: int) -> Answer:
    """A function of the program's that a helper calls: R2 is its address."""
    # The callback starts behind everything, and BTF says that it is a function.
    body = [*before, BPF_LD_IMM64_RAW_FULL(R2, bpf.BPF_PSEUDO_FUNC, 0, 0, 0, 0), BPF_MOV64_IMM(R3, 0)]
    body += [BPF_MOV64_IMM(R4, 0), BPF_EMIT_CALL(helper), *_END]
    pc = sum(insn.width for insn in body)
    at = sum(insn.width for insn in before)
    body[len(before)] = body[len(before)].replace(imm=pc - at - 1)
    with types.loaded(types.PROTO, types.function(btf.BTF_FUNC_GLOBAL), types.function(btf.BTF_FUNC_STATIC)) as own:
        functions = buffer(pack("=4I", 0, 3, pc, 4))
        fields: dict[str, Any] = {
            "prog_btf_fd": own.number,
            "func_info": functions,
            "func_info_cnt": 2,
            "func_info_rec_size": 8,
        }
        tried = load([*body, *_END], bpf.BPF_PROG_TYPE_SCHED_CLS, **fields)
    return judge(tried, absent=(EINVAL,), reason=_REFUSED)


def _for_each() -> Answer:
    with map_of(bpf.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=1) as table:
        return _callback([BPF_LD_MAP_FD(R1, table.number)], bpf.BPF_FUNC_for_each_map_elem)


def _bpf_loop() -> Answer:
    return _callback([BPF_MOV64_IMM(R1, 4)], bpf.BPF_FUNC_loop)


def _sleepable() -> Answer:
    fields = SLEEPABLE.fields()
    if fields is None:
        return SLEEPABLE.no_target()
    return judge(load(SLEEPABLE.insns, SLEEPABLE.type, SLEEPABLE.label, **fields), absent=(EINVAL,), reason=_REFUSED)


def _no_null_check() -> Answer:
    """A lookup in an array by a constant key that is in it."""
    with map_of(bpf.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=1) as table:
        insns = [
            BPF_ST_MEM(BPF_W, FP, -4, 0),
            BPF_MOV64_REG(R2, FP),
            BPF_ALU64_IMM(BPF_ADD, R2, -4),
            BPF_LD_MAP_FD(R1, table.number),
            BPF_EMIT_CALL(bpf.BPF_FUNC_map_lookup_elem),
            BPF_LDX_MEM(BPF_DW, R1, R0, 0),
            *_END,
        ]
        tried = load(insns, bpf.BPF_PROG_TYPE_SOCKET_FILTER)
    if "map_value_or_null" in tried.log:
        return no("the verifier wants a comparison with 0", tried.words)
    return judge(tried)


def _kfunc_call() -> Answer:
    """A call of a function of the kernel's, by the id of a type that is none."""
    tried = load([BPF_CALL_KFUNC(0, 1), *_END], bpf.BPF_PROG_TYPE_SCHED_CLS)
    if "reserved field" in tried.log:
        return no("the verifier does not know such calls", tried.words)
    return yes(tried.words) if tried.log else judge(tried)


# Kernel functions that programs may call


def kfunc(*names: str) -> Answer:
    """Return whether some program may call a function of the kernel's; of several names the first that is there.

    The verifier says whether the function is there for a type of program, before it looks at arguments.
    """
    if not vmlinux().there:
        return unknown("the kernel does not show its types (CONFIG_DEBUG_INFO_BTF)")
    id = next((found for name in names if (found := vmlinux().id("func", name))), 0)
    if not id:
        return no("the kernel has no such function", f"the kernel's BTF has no {' or '.join(names)}")
    refused, withheld = Tried("", 0), None
    for minimal in _MAY_CALL:
        fields = minimal.fields()
        if fields is None:
            continue
        tried = load([BPF_CALL_KFUNC(0, id), *minimal.insns], minimal.type, minimal.label, **fields)
        if tried.errno and not tried.log:
            withheld = withheld or (tried if tried.not_permitted else None)
            continue  # no program of this type at all
        if not any(words in tried.complaint for words in _NOT_CALLED):
            return yes(tried.words)
        refused = tried
    if withheld:
        return denied(withheld)
    return no("no program may call it", refused.words) if refused.call else unknown("no program could be loaded")


_NOT_CALLED = ("is not allowed", "reserved field", "is not a kernel function")

#: Types that between them may call what any may.
_MAY_CALL = (
    PLAIN[bpf.BPF_PROG_TYPE_SCHED_CLS],
    PLAIN[bpf.BPF_PROG_TYPE_XDP],
    PLAIN[bpf.BPF_PROG_TYPE_SYSCALL],
    TP_BTF,
    ITER,
    LSM,
    SLEEPABLE,
    PLAIN[bpf.BPF_PROG_TYPE_STRUCT_OPS],
    PLAIN[bpf.BPF_PROG_TYPE_KPROBE].replace(attach=bpf.BPF_TRACE_KPROBE_SESSION),
)

#: (name, other names it has had, since)
_KFUNCS = (
    ("bpf_rcu_read_lock", (), "6.2"),
    ("bpf_task_acquire", (), "6.2"),
    ("bpf_task_from_pid", (), "6.2"),
    ("bpf_cast_to_kern_ctx", (), "6.2"),
    ("bpf_rdonly_cast", (), "6.2"),
    ("bpf_obj_new", ("bpf_obj_new_impl",), "6.2"),
    ("bpf_cpumask_create", (), "6.3"),
    ("bpf_rbtree_first", (), "6.3"),
    ("bpf_cgroup_from_id", (), "6.4"),
    ("bpf_dynptr_from_skb", (), "6.4"),
    ("bpf_dynptr_from_xdp", (), "6.4"),
    ("bpf_iter_num_new", (), "6.4"),
    ("bpf_dynptr_adjust", (), "6.5"),
    ("bpf_map_sum_elem_count", (), "6.6"),
    ("bpf_iter_task_new", (), "6.7"),
    ("bpf_iter_task_vma_new", (), "6.7"),
    ("bpf_throw", (), "6.7"),
    ("bpf_arena_alloc_pages", (), "6.9"),
    ("bpf_preempt_disable", (), "6.10"),
    ("bpf_wq_init", (), "6.10"),
    ("bpf_session_cookie", (), "6.10"),
    ("bpf_iter_bits_new", (), "6.11"),
    ("bpf_copy_from_user_str", (), "6.12"),
    ("bpf_get_task_exe_file", (), "6.12"),
    ("bpf_send_signal_task", (), "6.13"),
    ("bpf_iter_kmem_cache_new", (), "6.13"),
    ("bpf_local_irq_save", (), "6.14"),
    ("bpf_res_spin_lock", (), "6.15"),
    ("bpf_strcmp", (), "6.17"),
    ("bpf_stream_vprintk", ("bpf_stream_vprintk_impl",), "6.17"),
    ("bpf_task_work_schedule_signal", ("bpf_task_work_schedule_signal_impl",), "6.18"),
    ("bpf_dynptr_from_file", (), "6.19"),
)


# The log, and the flags of a load


def _log_size() -> Answer:
    """With no buffer at all the kernel says how long the log is."""
    fields: dict[str, Any] = {
        "prog_type": bpf.BPF_PROG_TYPE_SOCKET_FILTER,
        "license": buffer(b"GPL\0"),
        "log_level": 1,
    }
    try:
        call.prog_load(**fields, insn_cnt=1, insns=buffer(bytes(8)))  # no instruction: refused
    except LoadError as error:
        tried = Tried("BPF_PROG_LOAD (a log, and no buffer)", error.errno or 0)
        if error.log_true_size:
            return yes(f"{tried.words}, and a log of {error.log_true_size} bytes")
        if tried.not_permitted:
            return denied(tried)
        return no("the kernel does not say how long the log is", tried.words)
    return unknown("a program of zeros was loaded")


def _log_fixed() -> Answer:
    """A log that keeps its beginning when it is too long."""
    log = buffer(LOG_BYTES)

    def make() -> None:
        with program(_END, bpf.BPF_PROG_TYPE_SOCKET_FILTER, log_level=1 | 8, log_size=LOG_BYTES, log_buf=log):
            pass

    tried = attempt("BPF_PROG_LOAD (log level 1 | 8)", make)
    return judge(tried, absent=(EINVAL,), reason="the kernel refuses the level")


def _flag(flag: int, type: int = bpf.BPF_PROG_TYPE_SOCKET_FILTER) -> Probe:
    return _loads(_END, type, prog_flags=flag)


def _came(flag: str) -> tuple[str, str]:
    """Return since when there is a flag, and the commit that brought it."""
    return next((since, commit) for name, since, commit in LOAD_FLAGS if name == flag)


_XDP = bpf.BPF_PROG_TYPE_XDP

#: (name, what it is, since, commit, options, probe)
_ROWS: tuple[tuple[str, str, str, str, str, Probe], ...] = (
    ("strict_alignment", "flag: addresses must be aligned", *_came("BPF_F_STRICT_ALIGNMENT"), "",
     _flag(bpf.BPF_F_STRICT_ALIGNMENT)),
    ("names", "programs have names", "4.15", "cb4d2b3f03d8", "", _loads(_END, prog_name=b"bpfasm")),
    ("calls", "functions within a program", "4.16", "cc8b0b92a169", "", _loads(_CALL)),
    ("any_alignment", "flag: addresses need not be aligned", *_came("BPF_F_ANY_ALIGNMENT"), "",
     _flag(bpf.BPF_F_ANY_ALIGNMENT)),
    ("large_programs", "more than 4096 instructions, up to a million", "5.2", "c04c0d2b968a", "", _loads(_LARGE)),
    ("bounded_loops", "loops that the verifier sees the end of", "5.3", "2589726d12a1", "", _loads(_LOOP)),
    ("test_rnd_hi32", "flag: upper halves hold chance", *_came("BPF_F_TEST_RND_HI32"), "",
     _flag(bpf.BPF_F_TEST_RND_HI32)),
    ("test_state_freq", "flag: a state at every instruction", *_came("BPF_F_TEST_STATE_FREQ"), "",
     _flag(bpf.BPF_F_TEST_STATE_FREQ)),
    ("sleepable", "programs that may sleep", *_came("BPF_F_SLEEPABLE"), "BPF_LSM DEBUG_INFO_BTF", _sleepable),
    ("callbacks", "functions that a helper calls, for each element of a map", "5.13", "69c087ba6225", "", _for_each),
    ("kfunc_calls", "calls of the kernel's own functions", "5.13", "e6ac2450d6de", "DEBUG_INFO_BTF", _kfunc_call),
    ("bpf_loop", "a loop whose body is verified once", "5.17", "e6f2dd0f8067", "", _bpf_loop),
    ("xdp_has_frags", "flag: packets in several pieces", *_came("BPF_F_XDP_HAS_FRAGS"), "NET",
     _flag(bpf.BPF_F_XDP_HAS_FRAGS, _XDP)),
    ("log_true_size", "the length of the log, before it is asked for", "6.4", "47a71c1f9af0", "", _log_size),
    ("log_fixed", "a log that keeps its beginning, and else its end", "6.4", "121664093803", "", _log_fixed),
    ("test_reg_invariants", "flag: a register's bounds must agree", *_came("BPF_F_TEST_REG_INVARIANTS"), "",
     _flag(bpf.BPF_F_TEST_REG_INVARIANTS)),
    ("const_key_lookup", "a constant key that is in an array needs no check", "6.14", "d2102f2f5d75", "",
     _no_null_check),
)  # fmt: skip

FEATURES = tuple(
    Feature("verifier", name, what, since, probe, commit, tuple(config.split()))
    for name, what, since, commit, config, probe in _ROWS
) + tuple(
    Feature("kfunc", name, "", since, partial(kfunc, name, *others), config=("DEBUG_INFO_BTF",))
    for name, others, since in _KFUNCS
)
