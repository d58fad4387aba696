"""Native code of programs in the kernel, for ``prog dump jited`` and ``disasm --native``."""

from __future__ import annotations

import os

from bpfasm.errors import FeatureMissing
from bpfasm.views.dump import native_document, native_functions, native_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bpfasm.kernel.programs.dump import Dump


def native(
    each: Dump, code: bytes, *, opcodes: bool = False, linum: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Return native code as a document and as lines. Raises FeatureMissing for an interpreted program."""
    if not code:
        raise not_jited(each)
    from bpfasm.native import disassemble

    machine = os.uname().machine
    functions = list(native_functions(each, code, lambda code, at: disassemble(code, at, machine)))
    name_of = symbols(each)
    document = native_document(each, iter(functions), name_of, machine)
    return document, list(native_lines(each, iter(functions), name_of, opcodes=opcodes, linum=linum))


def not_jited(each: Dump) -> FeatureMissing:
    """Return the error for a program that has no native code."""
    return FeatureMissing(
        f"{each.name} has no native code: it is interpreted",
        "as root: sysctl net.core.bpf_jit_enable=1, and load it again",
        rule="not-jited",
    )


def symbols(each: Dump) -> Callable[[int], str]:
    """Return what names an address: the program's own functions, then the kernel's."""
    from bpfasm.syscall.kallsyms import Kallsyms

    own = [
        (address, size, each.names.functions.get(start, ""))
        for address, size, start in zip(
            each.info.ksyms, each.info.func_lens, sorted(each.names.functions), strict=False
        )
    ]
    kernel = Kallsyms()

    def name_of(address: int) -> str:
        return next((name for at, size, name in own if at <= address < at + size), "") or kernel.name(address)

    return name_of
