"""Helper functions: which the kernel has, and which type of program may call each.

A helper is asked for by a program that calls it, for each type of program. The verifier looks up the function
before it looks at anything else of the call, and says so in its log where there is none. No program gets through:
after the call each reads a register that the call has made unreadable.
"""

from __future__ import annotations

import os
import sys
from errno import EAGAIN, EINVAL
from struct import pack_into

from bpfasm.asm.macros import BPF_EMIT_CALL, BPF_EXIT_INSN, BPF_MOV64_REG
from bpfasm.isa.helpers import HELPERS
from bpfasm.isa.insn import encode
from bpfasm.isa.operands import R0, R5
from bpfasm.syscall import system
from bpfasm.syscall.bpf import TRIES, Attr
from bpfasm.syscall.libc import NR, buffer, errno, syscall
from bpfasm.syscall.probe.answer import YES, Answer, Tried, denied, judge, no, unknown, yes
from bpfasm.syscall.probe.programs import FORMS, STRUCT_OPS, Minimal
from bpfasm.syscall.probe.trying import load
from bpfasm.uapi import bpf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

#: Being asked about these, the kernel does more than answer: it warns in its log, or switches an event on.
LOUD = (bpf.BPF_FUNC_probe_write_user, bpf.BPF_FUNC_trace_printk, bpf.BPF_FUNC_trace_vprintk)

#: What lockdown hides (security/security.h LOCKDOWN_BPF_READ_KERNEL, LOCKDOWN_BPF_WRITE_USER).
_LOCKED_DOWN = {
    bpf.BPF_FUNC_probe_write_user: ("integrity", "confidentiality"),
    bpf.BPF_FUNC_probe_read: ("confidentiality",),
    bpf.BPF_FUNC_probe_read_str: ("confidentiality",),
    bpf.BPF_FUNC_probe_read_kernel: ("confidentiality",),
    bpf.BPF_FUNC_probe_read_kernel_str: ("confidentiality",),
    bpf.BPF_FUNC_snprintf_btf: ("confidentiality",),
}

#: What the verifier says where a program of this kind has no such function to call.
_ABSENT = ("invalid func", "unknown func", "cannot use helper", "sleepable helper", "might sleep")

_LOG_BYTES = 4 << 10


class Helpers(Value):
    """What was found out of one form of program: an answer for each helper, or why none could be asked for.

    A variant is asked for what the plain form of its type may not call.
    """

    label: str
    answers: dict[int, Answer]
    lack: Answer | None = None

    def __hash__(self) -> int:
        return hash(self.label)


def ask(numbers: Iterable[int], *, types: Iterable[int] = (), loud: bool = False) -> Iterator[Helpers]:
    """Ask which of the helpers programs may call: of all types, or of some.

    ``loud`` asks for those too where asking leaves something behind in the kernel.
    """
    wanted = set(types)
    asked = [number for number in numbers if loud or number not in LOUD]
    left: dict[int, list[int]] = {}
    for minimal in FORMS:
        if not wanted or minimal.type in wanted:
            found = _ask(minimal, left.get(minimal.type, asked))
            may = {id for id, answer in found.answers.items() if answer.state == YES}
            left.setdefault(minimal.type, [id for id in asked if id not in may])
            yield found


def anywhere(numbers: Iterable[int]) -> dict[int, Answer]:
    """Return for each helper whether some program may call it: asked of one form after the other, up to the first."""
    wanted = [number for number in numbers if number not in LOUD]
    found = {number: unknown("to ask is to leave something in the kernel") for number in numbers if number in LOUD}
    withheld: Answer | None = None
    for minimal in sorted(FORMS, key=lambda each: each.label not in _RICH):
        if not wanted:
            break
        asked = _ask(minimal, wanted)
        if asked.lack and asked.lack.errno:
            withheld = asked.lack
        found |= asked.answers
        wanted = [number for number in wanted if number not in found or found[number].state != YES]
    if withheld:
        found |= dict.fromkeys(wanted, withheld)
    return found


#: Forms of programs that may call much, and what others may not.
_RICH = ("tracing", "tracing/iter", "sched_cls", "sock_ops", "lsm/sleepable", "syscall", "xdp", "kprobe")


def _ask(minimal: Minimal, numbers: Iterable[int]) -> Helpers:
    """Ask for each helper in one form of program."""
    fields, lack = _callable(minimal)
    if lack:
        return Helpers(minimal.label, {}, lack)
    call = _caller(minimal.type, fields)
    found: dict[int, Answer] = {}
    beyond, last = max(HELPERS) + 1, (0, b"")
    for number in sorted(numbers):
        # A kernel has all helpers up to its last.
        said = call(number) if number < beyond else last
        if number < beyond and b"invalid func" in said[1]:
            beyond, last = number, said
        # Most types of programs are told the same, in the same words.
        seen = number, *said
        if seen not in _judged:
            _judged[seen] = _judge(*seen)
        found[number] = _judged[seen]
    return Helpers(minimal.label, found)


#: What was made of the kernel's words before.
_judged: dict[tuple[int, int, bytes], Answer] = {}


def _callable(minimal: Minimal) -> tuple[dict[str, Any], Answer | None]:
    """Return the fields by which such a program is loaded, or why it cannot be."""
    if minimal.type == bpf.BPF_PROG_TYPE_EXT:
        return {}, unknown("an extension may call what the program that it extends may call")
    fields = minimal.fields()
    if fields is None:
        return {}, minimal.no_target()
    tried = load(minimal.insns, minimal.type, minimal.label, **fields)
    if minimal == STRUCT_OPS and tried.errno:
        # Which function of the struct it stands for: not every one may be a program.
        for member in range(_MEMBERS):
            fields = fields | {"expected_attach_type": member}
            if not load(minimal.insns, minimal.type, **fields).errno:
                return fields, None
    if not tried.errno:
        return fields, None
    return {}, judge(tried, absent=(EINVAL,), reason="the kernel has no such programs")


#: More than any struct of functions has.
_MEMBERS = 32


def _judge(number: int, reason: int, log: bytes) -> Answer:
    tried = Tried(f"a call of {HELPERS[number]}", reason, log.decode(errors="replace"))
    if any(words in tried.log for words in _ABSENT):
        if number in _LOCKED_DOWN and system.lockdown() in _LOCKED_DOWN[number]:
            return unknown("the kernel is locked down, and hides it", tried.words)
        return no("programs of this type may not call it", tried.words)
    if tried.log:
        return yes(tried.words)
    return denied(tried) if tried.not_permitted else unknown("the verifier did not say", tried.words)


def _caller(type: int, fields: dict[str, Any]) -> Callable[[int], tuple[int, bytes]]:
    """Return what calls a helper from a program of a type, and gives the errno and the verifier's log.

    The program is loaded again and again with another number in the same memory.
    """
    called = [BPF_EMIT_CALL(bpf.BPF_FUNC_map_lookup_elem), BPF_MOV64_REG(R0, R5), BPF_EXIT_INSN()]
    insns, log = buffer(encode(called, sys.byteorder)), buffer(_LOG_BYTES)
    given: dict[str, Any] = {"prog_type": type, "insn_cnt": len(called), "insns": insns, "license": buffer(b"GPL\0")}
    attr = Attr({**given, "log_level": 1, "log_size": _LOG_BYTES, "log_buf": log, **fields})

    def call(number: int) -> tuple[int, bytes]:
        pack_into("=i", insns, _IMM, number)
        for _ in range(TRIES):
            log[0] = b"\0"
            result = syscall(NR["__NR_bpf"], bpf.BPF_PROG_LOAD, attr.memory, attr.size)
            if result >= 0:
                os.close(result)
                raise AssertionError(f"a program that reads R5 after it calls {HELPERS[number]} was loaded")
            if errno() != EAGAIN:
                return errno(), log.value
        return EAGAIN, b""

    return call


#: Where an instruction has its immediate.
_IMM = bpf.struct_bpf_insn["imm"][0]
