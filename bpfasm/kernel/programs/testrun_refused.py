"""A test run that was refused, in words."""

from __future__ import annotations

from errno import (
    E2BIG,
    EAFNOSUPPORT,
    EAGAIN,
    EFAULT,
    EINTR,
    EINVAL,
    EMSGSIZE,
    ENODEV,
    ENOMEM,
    ENOSPC,
    ENXIO,
    EOPNOTSUPP,
)

from bpfasm.asm.prog_types import TYPES
from bpfasm.errors import BpfasmError, KernelError
from bpfasm.kernel.base.privilege import barred
from bpfasm.kernel.base.words import errno_name, prog_type
from bpfasm.syscall.bpf import TRIES
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi import bpf as uapi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.kernel.programs.program import KernelProgram
    from bpfasm.syscall.bpf import RunError

#: What the arguments are called in a sentence.
_WORDS = {
    "data": "packet data",
    "ctx": "ctx",
    "repeat": "repeat",
    "cpu": "cpu",
    "live": "live packets",
}

_PACKET = (
    "data is at least an Ethernet header (14 bytes) and the IP header that it announces, and up to 3500 bytes, "
    "which kernels from 7 on do not mind; of ctx, fields that a packet does not bring along must be 0"
)

#: What is right, by type; that of packets is said where there is no other.
_RIGHT = {
    uapi.BPF_PROG_TYPE_XDP: "data is at least 14 bytes; ctx is a struct xdp_md with data_meta, data and data_end as "
    "offsets, data_end being len(data); ctx is known since 5.15, live packets since 5.18",
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: "ctx is all the arguments it reads, 8 bytes each, and at most 12 of them",
    uapi.BPF_PROG_TYPE_SK_LOOKUP: "ctx is a struct bpf_sk_lookup whose family is AF_INET (2) or AF_INET6 (10), "
    "protocol TCP (6) or UDP (17)",
    uapi.BPF_PROG_TYPE_SYSCALL: "ctx is what the program reads of it, and at most 65535 bytes",
    uapi.BPF_PROG_TYPE_STRUCT_OPS: "ctx is the arguments of the member, 8 bytes each",
    uapi.BPF_PROG_TYPE_FLOW_DISSECTOR: "data is at least 14 bytes, and less than a page",
    uapi.BPF_PROG_TYPE_NETFILTER: "data is at least 14 bytes, and less than a page",
}


def refused(program: KernelProgram, error: RunError, given: set[str], room: int) -> BpfasmError:
    """Say why a test run was refused; ``given`` are the arguments it had, of those in ``ProgType.run``."""
    number, name, kind = error.errno or 0, program.name, prog_type(program.type)
    what, do = f"the test run of {name} failed: {errno_name(number)}", ""
    if number in (ENOTSUPP, EOPNOTSUPP) or (number == EFAULT and program.type == uapi.BPF_PROG_TYPE_TRACING):
        what = f"programs of type {kind} have no test run"
        if program.type in (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_STRUCT_OPS):
            what = f"{name} has no test run: of {kind}, {TYPES[program.type].note.partition(':')[0]}"
        do = f"attach it, and let what it waits for happen; types with a test run: {', '.join(runnable())}"
    elif number == EINVAL:
        what, do = _not_these(program, given)
    elif number == ENOSPC:
        size = error.data_size_out
        what = f"{name} made the packet {size} bytes long, and there is room for {room}"
        do = f"give the test run room={size}"
    elif number in (EAGAIN, EINTR):
        what = f"the test run of {name} was interrupted by signals {TRIES} times"
        do = "repeat it less often, or stop the timer or profiler that sends them meanwhile"
    elif number == ENXIO:
        what, do = f"the test run of {name} cannot be on that CPU", "name one that is online: /sys/devices/system/cpu"
    elif number in (EMSGSIZE, ENOMEM):
        what, do = f"the packet for the test run of {name} is too long", _RIGHT.get(program.type, _PACKET)
    elif number == EAFNOSUPPORT:
        what, do = f"the test run of {name} does not take this ctx", _RIGHT.get(program.type, "")
    elif number == E2BIG:
        what = f"the test run of {name} was given more than it takes: batch_size, or bytes of ctx that are not 0"
        do = "batch_size is at most 256"
    elif number == ENODEV:
        what = f"the test run of {name} was given a ctx with the index of a network device that there is not"
        do = "leave ifindex and ingress_ifindex 0, or take one of socket.if_nameindex()"
    else:
        lack = barred(f"the test run of {name}", number)
        if lack is not None:
            return lack
    return KernelError(number, what, do, rule="test-run")


def _not_these(program: KernelProgram, given: set[str]) -> tuple[str, str]:
    """Say what is wrong with the arguments, and what is right."""
    kind, row = prog_type(program.type), TYPES.get(program.type)
    what = f"the test run of {program.name} ({kind}) does not take these arguments"
    if row is None or row.run is None:
        return what, "this type of program is not known to have a test run"
    do = _RIGHT.get(program.type, _PACKET)
    surplus = [_WORDS[each] for each in _WORDS if each in given and each not in row.run]
    if surplus:
        return f"the test run of a {kind} program takes no {' and no '.join(surplus)}", do
    if "data" in row.run and "data" not in given:
        return f"the test run of a {kind} program needs packet data", do
    return what, do


def runnable() -> list[str]:
    """Return the types that have a test run, without the prefix they share."""
    return [row.name.removeprefix("BPF_PROG_TYPE_") for row in TYPES.values() if row.run is not None]
