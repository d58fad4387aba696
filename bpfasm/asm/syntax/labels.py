"""Names for the places that jumps and calls go to, in a program that is laid out."""

from __future__ import annotations

from bpfasm.asm.program import Subprog
from bpfasm.asm.symbols import Mark, label_text
from bpfasm.asm.syntax import kernel, llvm, ubpf
from bpfasm.isa.insn import Insn, slots
from bpfasm.isa.match import form_of
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.linker import Assembled

#: The operand of a form that says how far it goes, and whether that is the address of a function.
_FAR = {"jump": "off", "jump32": "imm", "callee": "imm", "func": "imm"}

#: The highest register that a syntax has a name for.
_MOST = {each.name: each.max_reg for each in (kernel.DIALECT, llvm.DIALECT, ubpf.DIALECT)} | {"macro": bpf.BPF_REG_10}


def labelled(
    program: Assembled, jumps: bool, functions: dict[int, str], *, calls: bool = False, syntax: str = "macro"
) -> tuple[list[tuple[int, Insn]], dict[int, list[str]]]:
    """Return each instruction with its slot, and the names of places by slot.

    With ``jumps``, or for calls and functions' addresses alone with ``calls``, the distances of instructions are the
    names of the places they go to: the program's own labels, where it has them, or ``L5`` for slot 5. What leads out
    of the program, or into the middle of an instruction, keeps its number, as does what ``syntax`` has no words for.
    """
    placed = list(slots(program.insns))
    if not (jumps or calls):
        return placed, {}
    known = {pc for pc, _ in placed} | {sum(insn.width for insn in program.insns)}
    own, most = _own_labels(program), _MOST[syntax]
    places: dict[int, list[str]] = {}
    taken: set[str] = set()
    for start, name in functions.items() if jumps else ():
        if _usable(name) and name not in taken:
            places[start] = [name]
            taken.add(name)
    out: list[tuple[int, Insn]] = []
    for pc, insn in placed:
        form = form_of(insn)
        role = next((role for role in form.operands if role in _FAR), "") if form else ""
        is_call = role in ("callee", "func")
        said = role and getattr(form, syntax) and insn.dst_reg <= most and (is_call or insn.src_reg <= most)
        if not said or not (jumps or is_call):
            out.append((pc, insn))
            continue
        distance = getattr(insn, _FAR[role])
        target = pc + 1 + distance if isinstance(distance, int) else -1
        if target not in known:
            out.append((pc, insn))
            continue
        if target not in places:
            wanted = (functions.get(target, ""), own.get(target, ""), f"L{target}", f"L{target}_", f"slot_{target}")
            places[target] = [next(name for name in wanted if _usable(name) and name not in taken)]
            taken.add(places[target][0])
        out.append((pc, insn.replace(**{_FAR[role]: places[target][0]})))
    return out, places


def _own_labels(program: Assembled) -> dict[int, str]:
    """Return the labels that the program was written with, by slot; of several at a slot, the first."""
    found: dict[int, str] = {}
    taken: set[str] = set()
    bodies = {program.program.name: program.program.insns}
    for start, name in program.functions:
        at = start
        for item in bodies.get(name) or _subprog(program, name):
            if isinstance(item, Insn):
                at += item.width
            elif isinstance(item, Mark):
                label = label_text(item.label).strip('"')
                if label not in taken and at not in found:
                    found[at] = label
                    taken.add(label)
    return found


def _subprog(program: Assembled, name: str) -> tuple[object, ...]:
    """Return the body of a function that the program calls."""
    seen: set[str] = set()
    waiting = [program.program.insns]
    while waiting:
        for item in waiting.pop():
            if isinstance(item, Insn) and isinstance(item.imm, Subprog) and item.imm.name not in seen:
                if item.imm.name == name:
                    return tuple(item.imm.insns)
                seen.add(item.imm.name)
                waiting.append(item.imm.insns)
    return ()


def _usable(name: str) -> bool:
    """Tell whether a label can be called that: no syntax takes it for something else."""
    plain = name.replace("_", "a").replace(".", "a").replace("$", "a")
    register = name[:1] in "rwR" and name[1:].isdigit()
    return plain.isascii() and plain.isalnum() and not name[0].isdigit() and not register and name != "pc"
