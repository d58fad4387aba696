"""Places that the verifier knows by the kernel's types: functions, tracepoints, security hooks."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place, c_name, refuse
from bpfasm.uapi.bpf import (
    BPF_LSM_CGROUP,
    BPF_LSM_MAC,
    BPF_MODIFY_RETURN,
    BPF_PROG_TYPE_EXT,
    BPF_PROG_TYPE_LSM,
    BPF_PROG_TYPE_TRACING,
    BPF_TRACE_FENTRY,
    BPF_TRACE_FEXIT,
    BPF_TRACE_FSESSION,
    BPF_TRACE_RAW_TP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar

    from bpfasm.asm.program import Program


class Traced(Place):
    """A place that a program is verified for, by its ``name`` in the kernel's types.

    ``"module:name"`` is one of a module. ``program`` is the program, or an fd of it, that has the function.
    """

    name: str
    cookie: int = 0
    program: Program | int = 0

    takes = (BPF_PROG_TYPE_TRACING,)
    word: ClassVar[str] = ""
    attach_type: ClassVar[int] = 0

    def __post_init__(self) -> None:
        c_name(
            self.word,
            self.name,
            "a function or tracepoint",
            "a name has letters, digits and _, after the name of a module and : where one has it",
            more=":.",
        )

    def told_at_load(self) -> dict[str, Any]:
        """Return what it is called in the kernel's types, and how it is attached to."""
        return {
            "expected_attach_type": self.attach_type,
            "attach_btf": self.name,
            **({"attach_prog": self.program} if self.program else {}),
        }

    def __str__(self) -> str:
        return f"{self.word} {self.name}"


class TpBtf(Traced):
    """A tracepoint whose arguments have their types."""

    word, attach_type = "tp_btf", BPF_TRACE_RAW_TP


class Fentry(Traced):
    """Where a function is entered."""

    word, attach_type = "fentry", BPF_TRACE_FENTRY


class Fexit(Traced):
    """Where a function returns."""

    word, attach_type = "fexit", BPF_TRACE_FEXIT


class Fsession(Traced):
    """Where a function is entered, and where the same call returns."""

    word, attach_type = "fsession", BPF_TRACE_FSESSION


class FmodRet(Traced):
    """Before a function, which is not called where the program returns something else than 0."""

    word, attach_type = "fmod_ret", BPF_MODIFY_RETURN


class Lsm(Traced):
    """A hook of security modules."""

    word, attach_type, takes = "lsm", BPF_LSM_MAC, (BPF_PROG_TYPE_LSM,)


class LsmCgroup(Traced):
    """A hook of security modules, for the processes of one cgroup: its path, or an fd of it."""

    cgroup: str | int = ""

    word, attach_type, takes = "lsm_cgroup", BPF_LSM_CGROUP, (BPF_PROG_TYPE_LSM,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.cgroup, str | int) or self.cgroup == "":
            raise refuse(
                f"lsm_cgroup() takes a cgroup, not {self.cgroup!r}",
                'give its folder: lsm_cgroup("socket_bind", "/sys/fs/cgroup/mine"), or a file descriptor of it',
            )


class Freplace(Traced):
    """A function of another program, which this one takes the place of."""

    word, takes = "freplace", (BPF_PROG_TYPE_EXT,)


def tp_btf(name: str, *, cookie: int = 0) -> TpBtf:
    """Attach at a tracepoint, with its arguments as pointers that may be followed.

    Named as in ``raw_tracepoint()``. The program's type is BPF_PROG_TYPE_TRACING. (5.5; a cookie 6.10)
    """
    return TpBtf(name, cookie)


def fentry(name: str, *, program: Program | int = 0, cookie: int = 0) -> Fentry:
    """Attach where a function of the kernel, of a module or of a ``program`` is entered.

    The context holds its arguments, 8 bytes each. The program's type is BPF_PROG_TYPE_TRACING. It costs a tenth of a
    kprobe, and takes a function that the kernel's types have and ftrace can reach. (5.5; a cookie 6.0)
    """
    return Fentry(name, cookie, program)


def fexit(name: str, *, program: Program | int = 0, cookie: int = 0) -> Fexit:
    """Attach where a function returns: the context holds its arguments, and behind them what it returned.

    It misses no call, and needs no maxactive. The rest is as in ``fentry()``.
    """
    return Fexit(name, cookie, program)


def fsession(name: str, *, program: Program | int = 0, cookie: int = 0) -> Fsession:
    """Attach where a function is entered and where it returns, with one program. (7.0)"""
    return Fsession(name, cookie, program)


def fmod_ret(name: str, *, cookie: int = 0) -> FmodRet:
    """Attach before a function: what the program returns, if it is not 0, is returned in its place.

    Takes the security hooks (``security_file_open``), and what the kernel lets fail on purpose. (5.7)
    """
    return FmodRet(name, cookie)


def lsm(hook: str, *, cookie: int = 0) -> Lsm:
    """Attach at a security hook, such as ``lsm("file_open")``: the program returns 0, or -errno to forbid it.

    The program's type is BPF_PROG_TYPE_LSM, and ``bpf`` has to be among the kernel's active security modules
    (``/sys/kernel/security/lsm``). (5.7)
    """
    return Lsm(hook, cookie)


def lsm_cgroup(hook: str, cgroup: str | int) -> LsmCgroup:
    """Attach at a security hook for the processes of one cgroup: the program returns 1, or 0 to forbid it. (6.0)"""
    return LsmCgroup(hook, cgroup=cgroup)


def freplace(program: Program | int, function: str) -> Freplace:
    """Put the program in the place of a global function of another one, which was loaded with types.

    The program's type is BPF_PROG_TYPE_EXT. (5.6)
    """
    return Freplace(function, program=program)
