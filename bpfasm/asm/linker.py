"""``link()``: the one place where labels, subprograms and maps become numbers.

Two steps. ``assemble`` lays out a program and its subprograms and resolves what lies within them: the result is
what an object file or a listing is made from. ``link`` goes on to what only a target knows.
"""

from __future__ import annotations

import sys
from itertools import chain, islice

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program, Subprog
from bpfasm.asm.symbols import Label, Mark, Symbol, label_text
from bpfasm.asm.variables import Global
from bpfasm.errors import LabelError, LinkError, OperandError
from bpfasm.isa.insn import CHUNK, FIELDS, LD_IMM64, Insn, encode, slots
from bpfasm.uapi import bpf, bpf_common
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeGuard

    from bpfasm.asm.attach.format import Format
    from bpfasm.asm.ksym import Ksym
    from bpfasm.asm.program import Item
    from bpfasm.btf.read import Btf
    from bpfasm.isa.insn import ByteOrder


class Target(Value):
    """What a program is linked for: a plain value that a kernel, a simulator or a lab describes itself with.

    ``map_fds`` are file descriptors by map name, ``kfuncs`` what kernel functions are to this kernel: the index of
    their module in the fd array (0 is vmlinux) and their BTF id, ``globals`` where variables are: the name of a map
    and an offset in its value, ``ksyms`` the pseudo source and the two halves of kernel symbols, ``btf`` its types,
    and ``modules`` those of its modules, which are looked at for what the kernel itself does not have,
    ``tracepoints`` the records of tracepoints by group and name, ``arch`` the machine as ``os.uname()`` has it. Where
    one of these is None, its operands are left as 0 and listed in ``Linked.unresolved``, as in an object file.
    ``gotol`` says whether the target has jumps of 32 bits (Linux 6.6).
    """

    map_fds: dict[str, int] | None = None
    kfuncs: dict[Kfunc, tuple[int, int]] | None = None
    globals: dict[Global, tuple[str, int]] | None = None
    ksyms: dict[Ksym, tuple[int, int, int]] | None = None
    btf: Btf | None = None
    modules: Iterable[Btf] = ()
    tracepoints: dict[tuple[str, str], Format] | None = None
    arch: str | None = None
    byteorder: ByteOrder = sys.byteorder
    gotol: bool = False


class Assembled(Value):
    """A program laid out: its instructions with distances resolved, and what is still symbolic.

    ``functions`` are (first slot, name), the program first; ``symbols`` are (slot, operand, ``"off"`` or ``"imm"``):
    the field of the instruction that the operand stands in.
    """

    program: Program
    insns: tuple[Insn, ...]
    functions: tuple[tuple[int, str], ...]
    symbols: tuple[tuple[int, Symbol, str], ...]

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps it refers to, each once, in order of first use."""
        return tuple({each.name: each for _, each, _ in self.symbols if isinstance(each, MapSpec)}.values())

    @property
    def kfuncs(self) -> tuple[Kfunc, ...]:
        """The kernel functions it calls by name, each once, in order of first use."""
        return tuple(dict.fromkeys(each for _, each, _ in self.symbols if isinstance(each, Kfunc)))

    @property
    def globals(self) -> tuple[Global, ...]:
        """The variables it refers to, each once, in order of first use."""
        return tuple(dict.fromkeys(each for _, each, _ in self.symbols if isinstance(each, Global)))


class Linked(Value):
    """A program in numbers, for one target.

    ``unresolved`` are (slot, operand, field) for what the target did not say. ``missing`` are those that the target
    lacks and the program asks for itself: their instructions are ones that the verifier refuses where it gets there.
    """

    program: Program
    insns: tuple[Insn, ...]
    functions: tuple[tuple[int, str], ...]
    unresolved: tuple[tuple[int, Symbol, str], ...]
    byteorder: ByteOrder
    missing: tuple[tuple[int, Symbol, str], ...] = ()

    @property
    def code(self) -> bytes:
        """Its bytes, 8 a slot."""
        return encode(self.insns, self.byteorder)

    def insn_at(self, pc: int) -> Insn | None:
        """Return the instruction that starts at slot ``pc``."""
        return next((insn for at, insn in slots(self.insns) if at == pc), None)


def assemble(program: Program) -> Assembled:
    """Lay out a program and the subprograms it uses; turn labels and calls into distances.

    Raises LabelError for a label that is missing or too far away, LinkError for two maps of one name.
    """
    bodies = _bodies(program)
    starts = {body.name: body.start for body in bodies}
    symbols: list[tuple[int, Symbol, str]] = []
    meant: dict[tuple[str, str], Symbol] = {}
    for body in bodies:
        for number, pc in body.symbolic:
            insn = body.insns[number]
            for field, slot, bits in _SLOTS:
                operand = insn[field]
                if operand.__class__ is int:
                    continue
                if isinstance(operand, Symbol) and slot in operand.slots:
                    _check(meant, operand, insn)
                    symbols.append((pc, operand, slot))
                elif isinstance(operand, Subprog) and slot == "imm":
                    insn = insn.replace(imm=starts[operand.name] - pc - 1)
                else:
                    insn = insn.replace(**{slot: _distance(insn, operand, pc, body, bits=bits)})
            body.insns[number] = insn
    functions = tuple((body.start, body.name) for body in bodies)
    insns = tuple(chain.from_iterable(body.insns for body in bodies))
    return Assembled(program, insns, functions, tuple(symbols))


#: The fields that an operand may stand in: which of an Insn's it is, its name, and the bits of a distance there.
_SLOTS = ((3, "off", 16), (4, "imm", 32))


def _check(meant: dict[tuple[str, str], Symbol], operand: Symbol, insn: Insn) -> None:
    """Check that a name means one thing, and the instruction that an operand stands in."""
    if operand.twice and meant.setdefault((operand.twice, operand.title), operand) != operand:
        raise LinkError(
            f"two different {operand.word}s are called {operand.title}",
            f"declare the {operand.word} once and use that, or give one of them another name",
            source=insn.source,
            rule=operand.twice,
        )
    operand.check(insn)


def link(program: Program | Assembled, target: Target | None = None, *, relax: bool = False) -> Linked:
    """Turn every symbolic operand into a number for ``target``.

    With ``relax``, jumps that 16 bits do not reach become several, by gotol or by islands; each instruction that is
    put in is a ``bpfasm.asm.relax.Inserted``. An ``Assembled`` has its distances already and stays as it is. Raises
    LabelError, or LinkError for an operand that the target does not have.
    """
    target = target or Target()
    if relax and isinstance(program, Program):
        from bpfasm.asm.relax import relax as relaxed

        program = relaxed(program, gotol=target.gotol)
    assembled = program if isinstance(program, Assembled) else assemble(program)
    insns = list(assembled.insns)
    unresolved, missing = [], []
    if assembled.symbols:
        # What is no number yet is what the symbols stand in, in the same order.
        left = (n for n, insn in enumerate(insns) if insn[3].__class__ is not int or insn[4].__class__ is not int)
        index = dict(zip(dict.fromkeys(pc for pc, _, _ in assembled.symbols), left, strict=True))
        for symbol in assembled.symbols:
            pc, operand, slot = symbol
            insn = insns[index[pc]]
            if getattr(insn, slot) is not operand:
                continue  # the instruction is poisoned already, for its other operand
            if getattr(target, operand.told) is None:
                unresolved.append(symbol)
                insns[index[pc]] = insn.replace(**{slot: operand.untold})
                continue
            filled = operand.filled(insn, slot, target)
            if filled is None:
                if not operand.asked(other for _, other, _ in assembled.symbols):
                    raise operand.missing(insn, target)
                missing.append(symbol)
            insns[index[pc]] = filled or poisoned(insn)
    return Linked(
        assembled.program, tuple(insns), assembled.functions, tuple(unresolved), target.byteorder, tuple(missing)
    )


#: What stands for an instruction that needs what is not there. libbpf and the kernel know it by this number.
POISON = 0xBAD2310


def poisoned(insn: Insn) -> Insn:
    """Return what stands for an instruction whose operand is not there: as wide, and refused where it can be reached.

    It is libbpf's call of a helper that nobody has; a load of 64 bits becomes one into the frame pointer.
    """
    if insn.code == LD_IMM64:
        return insn.replace(dst_reg=bpf.BPF_REG_10, src_reg=0, off=0, imm=POISON, imm2=0)
    return insn.replace(code=bpf_common.BPF_JMP | bpf.BPF_CALL, dst_reg=0, src_reg=0, off=0, imm=POISON)


class _Body:
    """A program's instructions or a subprogram's, at their slots from ``start`` to ``end``.

    ``labels`` are where they are; ``symbolic`` are the instructions that are not numbers yet: their places in
    ``insns`` and their slots.
    """

    def __init__(self, function: Program | Subprog, start: int) -> None:
        self.function, self.name, items = function, function.name, function.insns
        self.start = self.end = start
        self.labels: dict[str | Label, int] = {}
        self.symbolic: list[tuple[int, int]] = []
        self.insns: list[Insn] = []
        for at in range(0, len(items), CHUNK):
            some = items[at : at + CHUNK]
            if _are_numbers(some):
                self.insns += some
                self.end += len(some)
            else:
                self._add(some)

    def _add(self, items: Sequence[Item]) -> None:
        insns, at = self.insns, self.end
        for item in items:
            if isinstance(item, Mark):
                self.labels[item.label] = at
                continue
            _, _, _, off, imm, _, imm2, _ = item
            if off.__class__ is not int or imm.__class__ is not int:
                self.symbolic.append((len(insns), at))
            insns.append(item)
            at += 1 if imm2 is None else 2
        self.end = at


def _are_numbers(items: Sequence[Item]) -> TypeGuard[Sequence[Insn]]:
    """Return whether these are instructions of one slot without a label or name: most of a long program, by far.

    A label has no fields, and names have no sum.
    """
    try:
        _, _, _, off, imm, _, imm2 = islice(zip(*items, strict=True), len(FIELDS))
        return sum(off + imm).__class__ is int and imm2.count(None) == len(items)
    except (TypeError, OperandError):  # the latter is a register's
        return False


def _bodies(program: Program) -> list[_Body]:
    """Return the program's body and its subprograms', each once, in order of first use."""
    found: dict[str, Program | Subprog] = {program.name: program}
    bodies: list[_Body] = []
    for name in (order := [program.name]):
        bodies.append(_Body(found[name], bodies[-1].end if bodies else 0))
        for number, _ in bodies[-1].symbolic:
            insn = bodies[-1].insns[number]
            sub = insn.imm
            if not isinstance(sub, Subprog):
                continue
            if found.setdefault(sub.name, sub) != sub:
                raise LinkError(
                    f"two different functions are called {sub.name}",
                    "give one of them another name",
                    source=insn.source,
                    rule="function-twice",
                )
            if sub.name not in order:
                order.append(sub.name)
    return bodies


def functions_of(program: Program) -> list[Program | Subprog]:
    """Return a program and its subprograms, each once, in order of first use."""
    return [body.function for body in _bodies(program)]


def _distance(insn: Insn, target: str | Label, pc: int, body: _Body, *, bits: int) -> int:
    """Return a distance in slots as the kernel counts: from the slot after the one that holds the distance.

    That is so in BPF_LD_IMM64 too, whose first slot holds it (verifier.c add_subprog_and_kfunc()).
    """
    if not isinstance(target, str | Label):
        raise LinkError(
            f"{target!r} cannot be resolved",
            "link() knows labels, maps, variables, fields, subprograms and kernel functions",
            source=insn.source,
            rule="unlinked",
        )
    if target not in body.labels:
        raise LabelError(
            f"no label {label_text(target)} in {body.name}",
            _nearest(label_text(target), map(label_text, body.labels)),
            source=insn.source,
            rule="label-missing",
        )
    distance = body.labels[target] - pc - 1
    if not -(1 << (bits - 1)) <= distance < 1 << (bits - 1):
        raise LabelError(
            f"the jump at slot {pc} to {label_text(target)} goes {distance:+d} slots, and 16 bits reach "
            "-32768 to +32767",
            "relax=True (link, load) or asm --relax makes it of several; or go by BPF_JMP32_A (from kernel 6.6 on)",
            source=insn.source,
            rule="jump-range",
        )
    return distance


def _nearest(wanted: str, there: Iterable[str]) -> str:
    """Say which labels there are, the likeliest one first."""
    from difflib import get_close_matches

    names = list(there)
    close = get_close_matches(wanted, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"its labels are {', '.join(names)}" if names else f"write label({wanted}) where it is to go"
