"""The kernel's text of a translated program, as ``bpftool prog dump xlated`` has it: maps and helpers are numbers.

A helper's call holds the distance of its address from ``__bpf_call_base``, a map's load the map's id, a call of the
program's own function its distance in ``off``. What they stand for is given beside (``Names``).
"""

from __future__ import annotations

from bpfasm.asm.syntax import kernel
from bpfasm.asm.syntax.dialect import HELPERS, NUMBER_OF_HELPER
from bpfasm.isa.filter_h import BPF_CALL_ARGS
from bpfasm.isa.insn import LD_IMM64
from bpfasm.uapi import bpf, bpf_common
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

_CALLS = (bpf_common.BPF_JMP | bpf.BPF_CALL, bpf_common.BPF_JMP | BPF_CALL_ARGS)


class Names(Value):
    """What the numbers of a translated program stand for.

    ``maps`` are names by id, ``calls`` helpers and kernel functions by the immediate of their calls, ``functions``
    the program's own by first slot. ``hidden`` says why there are no ``calls``, where there are none.
    """

    maps: dict[int, str] = {}  # noqa: RUF012  defaults that nothing changes: values are frozen
    calls: dict[int, str] = {}  # noqa: RUF012
    functions: dict[int, str] = {}  # noqa: RUF012
    hidden: str = ""


def text(insn: Insn, form: Form | None, pc: int, names: Names) -> tuple[str, str]:
    """Return the text of the instruction at slot ``pc``, and what is to be said beside it."""
    code, _, src, off, imm, *_ = insn
    if code in _CALLS:
        return f"({code:02x}) call {_callee(src, off, imm, pc, names)}", ""
    if code == LD_IMM64 and insn.width == 2:
        if src == bpf.BPF_PSEUDO_MAP_FD:
            return f"(18) r{insn.dst_reg} = map[id:{imm}]", names.maps.get(imm, "")
        if src == bpf.BPF_PSEUDO_MAP_VALUE:
            return f"(18) r{insn.dst_reg} = map[id:{imm}][0]+{insn.imm2}", names.maps.get(imm, "")
        if src == bpf.BPF_PSEUDO_FUNC:
            return f"(18) r{insn.dst_reg} = subprog[{imm:+d}]", names.functions.get(pc + imm + 1, "")
    return kernel.words(insn, form), ""


def _callee(src: int, off: int, imm: int, pc: int, names: Names) -> str:
    if src == bpf.BPF_PSEUDO_CALL:
        name = names.functions.get(pc + off + 1, "")
        return f"pc{off:+d}{f'#{name}' if name else ''}"
    name = names.calls.get(imm, "")
    if not name and src == 0 and imm in HELPERS and imm:
        name = HELPERS[imm]  # not translated: bpf_tail_call
    return f"{name or ('kernel-function' if src else 'unknown')}#{imm}"


def as_written(insns: Iterable[Insn], names: Names) -> Iterator[Insn]:
    """Yield a translated program's instructions with calls as a program has them: by distance, helpers by number.

    A call of what is no helper, and what the kernel put in, stay as they are.
    """
    for insn in insns:
        helper = NUMBER_OF_HELPER.get(names.calls.get(insn.imm, ""))
        if insn.code in _CALLS and insn.src_reg == bpf.BPF_PSEUDO_CALL:
            yield insn.replace(code=_CALLS[0], off=0, imm=insn.off)
        elif insn.code == _CALLS[0] and insn.src_reg == 0 and helper is not None:
            yield insn.replace(imm=helper)
        else:
            yield insn


def own_functions(insns: Iterable[tuple[int, Insn]]) -> list[int]:
    """Return the slots at which the functions of a translated program start, itself first."""
    starts = {0}
    for pc, insn in insns:
        if insn.code in _CALLS and insn.src_reg == bpf.BPF_PSEUDO_CALL:
            starts.add(pc + insn.off + 1)
        elif insn.code == LD_IMM64 and insn.src_reg == bpf.BPF_PSEUDO_FUNC:
            starts.add(pc + insn.imm + 1)
    return sorted(starts)
