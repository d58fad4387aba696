"""``LoadedProgram``: a program that the verifier accepted; ``KernelProgram``: one that anybody may have loaded."""

from __future__ import annotations

import os
from struct import pack

from bpfasm.asm.linker import link
from bpfasm.errors import BpfasmError
from bpfasm.kernel.base.owned import Owned
from bpfasm.kernel.base.words import object_name
from bpfasm.kernel.programs.verdict import verify
from bpfasm.syscall.files import check_files
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as uapi
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.asm.linker import Assembled, Linked, Target
    from bpfasm.kernel.btf.opened import OpenTypes
    from bpfasm.kernel.programs.info import ProgInfo
    from bpfasm.kernel.stats import Stats


class TestRun(Value):
    """What a test run gave: the low 32 bits of R0, packet data and context afterwards, ns a run on average."""

    __test__ = False  # no test of pytest's

    retval: int
    data: bytes
    ctx: bytes
    duration_ns: int


class KernelProgram(Owned):
    """A program in the kernel, by an fd of it. ``type`` and ``name`` are what it was loaded with.

    A name is cut to 15 characters by the kernel; :meth:`info` has it all.
    """

    type: int
    name: str

    def __init__(self, fd: int) -> None:
        """Take an fd of a program, as ``bpfasm.kernel.objects.ids`` opens one. Raises KernelError."""
        super().__init__(fd)
        from bpfasm.kernel.objects import ids

        try:
            about = ids.info("prog", fd)
        except BaseException:
            self.close()
            raise
        self.type = about["type"]
        self.name = ids.text(about["name"])

    def info(self) -> ProgInfo:
        """Return everything that the kernel tells of it, but its instructions. Raises KernelError."""
        from bpfasm.kernel.programs.info import prog_info

        return prog_info(self.fd)

    def stats(self) -> Stats:
        """Return how often it ran, for how long, and how much the verifier looked at; see ``run_stats``."""
        from bpfasm.kernel.stats import stats_of

        return stats_of(self.fd)

    def xlated(self) -> bytes:
        """Return its instructions as the verifier left them. Raises FeatureMissing where the kernel hides them."""
        from bpfasm.kernel.programs.info import xlated

        return xlated(self.fd)

    def jited(self) -> bytes:
        """Return its instructions for this machine, empty where it is interpreted. Raises FeatureMissing."""
        from bpfasm.kernel.programs.info import jited

        return jited(self.fd)

    def test_run(
        self,
        data: bytes = b"",
        *,
        ctx: bytes = b"",
        repeat: int = 1,
        cpu: int | None = None,
        live: bool = False,
        batch_size: int = 0,
        flags: int = 0,
        room: int = 4096,
    ) -> TestRun:
        """Run the program on packet ``data`` and a context, ``repeat`` times; no hook is involved.

        What a type takes, and which types have no test run, is in ``bpfasm.asm.prog_types``: packets are at least 14
        bytes (an Ethernet header), and may become ``room`` bytes longer. ``cpu`` is where a raw tracepoint's program
        runs. With ``live`` the packets of an XDP program are sent and received for real, ``batch_size`` at a time
        (64), and ``retval`` says nothing. ``flags`` are BPF_F_TEST_*. A signal that cuts a run short has its handler
        called, and the run is made again, at most 5 times: the program may run more often than asked.

        ``retval`` has 32 bits, as the kernel hands it out. Raises KernelError. (net/bpf/test_run.c)
        """
        from bpfasm.kernel.programs.testrun import test_run

        return test_run(
            self,
            data,
            ctx,
            repeat=repeat,
            cpu=cpu,
            live=live,
            batch_size=batch_size,
            flags=flags,
            room=room,
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class LoadedProgram(KernelProgram):
    """A program in the kernel that :func:`load` put there.

    ``linked`` is what was loaded, ``program`` what it was made from. ``log`` is what the verifier wrote, at the
    level that was asked for.
    """

    def __init__(
        self,
        linked: Linked,
        log_level: int = 0,
        explained: Callable[[], dict[str, Any]] | None = None,
        **more: Any,
    ) -> None:
        """Load the program; ``more`` are further fields of BPF_PROG_LOAD, ``explained`` those for a log of a refusal.

        Raises VerifierError, KernelError, FeatureMissing.
        """
        self.linked = linked
        self.program = linked.program
        self.type, self.name = self.program.type, self.program.name
        code = linked.code
        fields: dict[str, Any] = {
            "prog_type": self.type,
            "insn_cnt": len(code) // 8,
            "insns": buffer(code),
            "license": buffer(self.program.license.encode() + b"\0"),
            "prog_name": object_name(self.name),
            "expected_attach_type": self.program.expected_attach_type,
            "prog_flags": self.program.flags,
            "prog_ifindex": self.program.ifindex,
            **more,
        }
        verdict = verify(fields, log_level, explained)
        if verdict.fd is None:
            check_files(verdict.errno, f"{self.name} was not loaded")
            from bpfasm.kernel.programs.refused import refusal

            raise refusal(linked, fields, verdict)
        self.log = verdict.log
        Owned.__init__(self, verdict.fd)


def _explained(linked: Linked, attach_prog_fd: int, held: list[int]) -> Callable[[], dict[str, Any]]:
    """Return what finds the fields that put the source's lines into a log, none where that cannot be."""

    def fields() -> dict[str, Any]:
        from bpfasm.kernel.btf.program import btf_fields

        try:
            return btf_fields(linked, attach_prog_fd, held, lines=True)
        except (BpfasmError, OSError):
            return {}  # without privilege, or before 5.0: the log is worth more than its lines

    return fields


def load_program(
    assembled: Assembled,
    target: Target,
    attach_prog_fd: int = 0,
    *,
    opened: OpenTypes,
    log_level: int = 0,
    lines: bool,
    types: bool,
) -> LoadedProgram:
    """Link a program for this kernel and load it.

    ``target`` has what is known already, ``opened`` the types of object files that the kernel has. ``types`` gives
    the kernel the types of its functions where it does not ask for them itself, ``lines`` the source of each
    instruction.
    """
    program = assembled.program
    held: list[int] = []  # what the kernel has to have open while it loads
    more: dict[str, Any] = {}
    try:
        if assembled.kfuncs:
            from bpfasm.kernel.btf.targets import kfuncs_here

            target = target.replace(kfuncs=kfuncs_here(assembled.kfuncs, held))
            if held:
                more["fd_array"] = buffer(pack(f"={1 + len(held)}i", 0, *held))
        target = target.replace(arch=os.uname().machine)
        if any(operand.told == "tracepoints" for _, operand, _ in assembled.symbols):
            from bpfasm.kernel.links.tracing.formats import formats_here

            target = target.replace(tracepoints=formats_here(assembled.symbols))
        if target.btf is None and any(operand.told == "btf" for _, operand, _ in assembled.symbols):
            from bpfasm.kernel.btf.kernel import Modules, vmlinux

            target = target.replace(btf=vmlinux(), modules=Modules())
        if program.attach_btf:
            from bpfasm.kernel.btf.targets import attach_fields

            more |= attach_fields(program, attach_prog_fd, held)
        elif attach_prog_fd:
            more["attach_prog_fd"] = attach_prog_fd
        if any(operand.told == "ksyms" for _, operand, _ in assembled.symbols):
            from bpfasm.kernel.btf.targets import ksyms_here

            target = target.replace(ksyms=ksyms_here(assembled, held))
        linked = link(assembled, target)
        described = None
        if program.types is not None:
            from bpfasm.kernel.btf.object_file import object_fields

            described = object_fields(linked, opened)
        if described is not None:
            more |= described
        elif lines or types or len(assembled.functions) > 1 or program.type == uapi.BPF_PROG_TYPE_EXT:
            from bpfasm.kernel.btf.program import btf_fields

            more |= btf_fields(linked, attach_prog_fd, held, lines=lines)
        explained = None if lines or described else _explained(linked, attach_prog_fd, held)
        return LoadedProgram(linked, log_level, explained, **more)
    finally:
        for fd in held:
            os.close(fd)
