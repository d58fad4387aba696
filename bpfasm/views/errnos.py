"""What bpf(2) means by an errno: the error codes of the kernel's header, in the words of what a caller did."""

from __future__ import annotations

#: What bpf(2) and the verifier mean, by name.
MEANINGS = {
    "EPERM": "No privilege: CAP_BPF, with CAP_PERFMON for tracing or CAP_NET_ADMIN for networking, or root.",
    "EACCES": "The verifier found an access that is not safe: its log says which. Or a pinned object is not yours.",
    "EINVAL": "An argument, an attribute or an instruction that this kernel does not know, or a wrong return value.",
    "E2BIG": "Too much: an unknown part of bpf_attr is not 0, a program or map is too large, a path too complex.",
    "ENOSPC": "The log did not fit its buffer; it hides the true errno. Or a map of perf events has no reader.",
    "EFAULT": "A pointer given to bpf(2) is not readable or writable; up to 6.18 also too many jumps (8193).",
    "EBADF": "A number is no open file descriptor: a map, program or BTF that was closed.",
    "ENOENT": "The key, the id or the function to attach to is not there.",
    "EEXIST": "The key or the attachment is there already (BPF_NOEXIST).",
    "EBUSY": "Something else is attached there, or a spin lock is held.",
    "ENOMEM": "No memory; up to 5.10 the limit of locked memory (RLIMIT_MEMLOCK). Or a jump grew beyond 16 bits.",
    "EAGAIN": "A signal came while the verifier was at work: load it again.",
    "ENODEV": "The device, or the program's target, is not there.",
    "EOPNOTSUPP": "The kernel is built without it, or this kind of object does not have it.",
    "ENOTSUPP": "Not supported by the kernel's JIT or attach type (524: a number of the kernel's own).",
    "ESRCH": "The target of a program (attach_btf_id) or the kernel function is not there.",
    "EDEADLK": "Taking the lock would wait for itself.",
    "ERANGE": "A number is out of the range that it may have.",
    "ENOTSUP": "Not supported: see EOPNOTSUPP, which is the same number.",
}
