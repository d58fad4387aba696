"""``LoadedProgram``: a program that the verifier accepted; and the sentences for one that it did not."""

from __future__ import annotations

from errno import EINVAL, ENOSPC, EOPNOTSUPP

from bpfasm.errors import KernelError
from bpfasm.kernel.owned import Owned
from bpfasm.kernel.verdict import verify
from bpfasm.kernel.words import errno_name, object_name, prog_type
from bpfasm.syscall import bpf
from bpfasm.syscall.libc import ENOTSUPP, buffer
from bpfasm.uapi import bpf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.linker import Linked


class TestRun(Value):
    """What a test run gave: the low 32 bits of R0, packet data and context afterwards, ns a run on average."""

    __test__ = False  # no test of pytest's

    retval: int
    data: bytes
    ctx: bytes
    duration_ns: int


class LoadedProgram(Owned):
    """A program in the kernel. ``log`` is what the verifier wrote, at the level that was asked for."""

    def __init__(self, linked: Linked, log_level: int = 0) -> None:
        """Load the program. Raises VerifierError, KernelError, FeatureMissing."""
        self.linked = linked
        self.program = linked.program
        code = linked.code
        fields: dict[str, Any] = {
            "prog_type": self.program.type,
            "insn_cnt": len(code) // 8,
            "insns": buffer(code),
            "license": buffer(self.program.license.encode() + b"\0"),
            "prog_name": object_name(self.program.name),
        }
        verdict = verify(fields, log_level)
        if verdict.fd is None:
            from bpfasm.kernel.refused import refusal

            raise refusal(linked, fields, verdict)
        self.log = verdict.log
        super().__init__(verdict.fd)

    @property
    def name(self) -> str:
        """The name of the program."""
        return self.program.name

    def info(self) -> dict[str, int | bytes]:
        """Return ``struct bpf_prog_info``, by its fields' names; its arrays are not filled."""
        return bpf.obj_get_info_by_fd(self.fd, uapi.struct_bpf_prog_info, uapi.sizeof_struct_bpf_prog_info)

    def test_run(self, data: bytes = b"", *, ctx: bytes = b"", repeat: int = 1) -> TestRun:
        """Run the program on packet ``data`` and a context, ``repeat`` times; no hook is involved.

        Socket filters, XDP, tc and cgroup programs take data (at least 14 bytes, an Ethernet header); raw
        tracepoints take a context. Kprobes and tracepoints have no test run: KernelError, ENOTSUPP.
        (net/bpf/test_run.c)
        """
        fields: dict[str, Any] = {"prog_fd": self.fd, "repeat": repeat if repeat != 1 else 0}
        data_out = buffer(len(data) + _ROOM)
        ctx_in, ctx_out = buffer(ctx), buffer(max(len(ctx), 1))
        if data:
            fields |= {"data_in": buffer(data), "data_size_in": len(data)}
            fields |= {"data_out": data_out, "data_size_out": len(data_out)}
        if ctx:
            fields |= {"ctx_in": ctx_in, "ctx_size_in": len(ctx)}
            if data:
                fields |= {"ctx_out": ctx_out, "ctx_size_out": len(ctx)}
        try:
            result = bpf.prog_test_run(**fields)
        except OSError as error:
            raise _no_run(self, error.errno or 0) from None
        # Without packet data the kernel writes the context back in place.
        ctx_after = ctx_out.raw[: result["ctx_size_out"]] if data else ctx_in.raw
        return TestRun(result["retval"], data_out.raw[: result["data_size_out"]], ctx_after, result["duration"])

    def __repr__(self) -> str:
        return f"<LoadedProgram {self.name}>"


#: How much longer than it was a packet may become: more than any headroom and tailroom.
_ROOM = 4 << 10


def _no_run(program: LoadedProgram, number: int) -> KernelError:
    """Say why a test run was refused."""
    name, kind = program.name, prog_type(program.program.type)
    what, do = f"the test run of {name} failed: {errno_name(number)}", ""
    if number in (ENOTSUPP, EOPNOTSUPP):
        what = f"programs of type {kind} have no test run"
        do = "attach it, and let what it waits for happen"
    elif number == EINVAL:
        what = f"the test run of {name} ({kind}) does not take these arguments"
        do = "packet programs take data of at least 14 bytes (an Ethernet header), raw tracepoints only a ctx"
    elif number == ENOSPC:
        what = f"{name} made the packet more than {_ROOM} bytes longer"
    return KernelError(number, what, do, rule="test-run")
