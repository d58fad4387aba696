"""Every exception of bpfasm, and the tree they form.

::

    BpfasmError                      what happened, what to do, where, under which rule
    ├── AssemblyError                a program that cannot be built
    │   ├── OperandError             a macro was given the wrong kind or range of operand
    │   ├── LabelError               a label missing, double, or too far away
    │   ├── RecordError              a record or a stack layout that would leak or not fit
    │   ├── MapError                 a map that no kernel would make, or what maps of its type cannot do
    │   └── LinkError                a symbol that the target cannot resolve
    ├── DecodeError                  bytes or text that are not what they should be
    ├── InputError                   a file or object the user named that cannot be read
    ├── UsageError                   the words of the command line are off
    ├── IterationAborted             a map changed too much while it was gone through
    ├── FeatureMissing               this kernel, machine or privilege does not allow it
    ├── KernelError (an OSError)     the kernel said no; errno is kept
    │   └── VerifierError            with the whole log and the program
    └── LabError                     the lab failed, not the command in it
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: A place in a source file: its path and the line, counted from 1.
    Source = tuple[str, int]


class BpfasmError(Exception):
    """What happened (``what``), what to do about it (``do``), where (``source``), under which ``rule``.

    ``rule`` is a stable id, and each has a paragraph in the documentation's page of rules.
    """

    def __init__(
        self, what: str, do: str = "", *, source: Source | None = None, rule: str = "", column: int | None = None
    ) -> None:
        Exception.__init__(self, what)
        self.what = what
        self.do = do
        self.source = source
        #: The column of ``source``'s line, counted from 1, where text was read.
        self.column = column
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.what}\n{self.do}" if self.do else self.what

    def report(self) -> str:
        """Return what a command prints: ``FILE:LINE:COLUMN: error: WHAT [RULE]``, and below it what to do."""
        where = f"{self.source[0]}:{self.source[1]}: " if self.source else ""
        if self.source and self.column:
            where = f"{self.source[0]}:{self.source[1]}:{self.column}: "
        rule = f" [{self.rule}]" if self.rule else ""
        first = f"{where}error: {self.what}{rule}"
        return f"{first}\n{self.do}" if self.do else first


class AssemblyError(BpfasmError):
    """A program that cannot be built as it is written."""


class OperandError(AssemblyError):
    """A macro was given an operand of the wrong kind, or one that does not fit its field."""


class LabelError(AssemblyError):
    """A label that is missing, defined twice, or further away than its jump reaches."""


class RecordError(AssemblyError):
    """A record or stack layout with a hole, an overlap, or more bytes than there are."""


class MapError(AssemblyError):
    """A map that no kernel would make as it is declared, or an operation that maps of its type do not have."""


class LinkError(AssemblyError):
    """A symbolic operand that the target does not resolve."""


class DecodeError(BpfasmError):
    """Bytes or text that are not what they were said to be."""


class InputError(BpfasmError):
    """A file, or a program in it, that the user named and that cannot be used."""


class UsageError(BpfasmError):
    """Words of the command line that do not go together."""


class IterationAborted(BpfasmError, RuntimeError):
    """A map changed so much while it was gone through that keys were met again, or no end was in sight."""


class FeatureMissing(BpfasmError):
    """This kernel, machine or privilege does not allow what was asked for."""


class LabError(BpfasmError):
    """The lab itself failed: no QEMU, no kernel, a guest that did not boot."""


class KernelError(BpfasmError, OSError):
    """The kernel refused a call: an ``OSError`` with its errno, and the reason in words."""

    def __init__(self, errno: int, what: str, do: str = "", **place: Any) -> None:
        OSError.__init__(self, errno, what)
        BpfasmError.__init__(self, what, do, **place)


class VerifierError(KernelError):
    """The verifier refused a program: the whole ``log``, the ``program``, and the slot it stopped at (``pc``).

    ``pc`` is None when the log does not say.
    """

    def __init__(
        self, errno: int, what: str, do: str = "", *, log: str, program: Any, pc: int | None, **place: Any
    ) -> None:
        super().__init__(errno, what, do, **place)
        self.log = log
        self.program = program
        self.pc = pc
