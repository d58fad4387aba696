"""``link()``: the one place where labels, subprograms and maps become numbers.

Two steps. ``assemble`` lays out a program and its subprograms and resolves what lies within them: the result is
what an object file or a listing is made from. ``link`` goes on to what only a target knows.
"""

from __future__ import annotations

import sys

from bpfasm.asm.kfunc import Kfunc
from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program, Subprog
from bpfasm.asm.symbols import Label, Mark, label_text
from bpfasm.asm.variables import Global
from bpfasm.errors import LabelError, LinkError
from bpfasm.isa.insn import Insn, encode, slots
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bpfasm.asm.program import Item
    from bpfasm.isa.insn import ByteOrder


class Target(Value):
    """What a program is linked for: a plain value that a kernel, a simulator or a lab describes itself with.

    ``map_fds`` are file descriptors by map name, ``kfuncs`` what kernel functions are to this kernel: the index of
    their module in the fd array (0 is vmlinux) and their BTF id, ``globals`` where variables are: the name of a map
    and an offset in its value. Where one of these is None, its operands are left as 0 and listed in
    ``Linked.unresolved``, as in an object file. ``gotol`` says whether the target has jumps of 32 bits (Linux 6.6).
    """

    map_fds: dict[str, int] | None = None
    kfuncs: dict[Kfunc, tuple[int, int]] | None = None
    globals: dict[Global, tuple[str, int]] | None = None
    byteorder: ByteOrder = sys.byteorder
    gotol: bool = False


class Assembled(Value):
    """A program laid out: its instructions with distances resolved, and what is still symbolic.

    ``functions`` are (first slot, name), the program first; ``symbols`` are (slot, operand).
    """

    program: Program
    insns: tuple[Insn, ...]
    functions: tuple[tuple[int, str], ...]
    symbols: tuple[tuple[int, MapSpec | Kfunc | Global], ...]

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps it refers to, each once, in order of first use."""
        return tuple({each.name: each for _, each in self.symbols if isinstance(each, MapSpec)}.values())

    @property
    def kfuncs(self) -> tuple[Kfunc, ...]:
        """The kernel functions it calls by name, each once, in order of first use."""
        return tuple(dict.fromkeys(each for _, each in self.symbols if isinstance(each, Kfunc)))

    @property
    def globals(self) -> tuple[Global, ...]:
        """The variables it refers to, each once, in order of first use."""
        return tuple(dict.fromkeys(each for _, each in self.symbols if isinstance(each, Global)))


class Linked(Value):
    """A program in numbers, for one target.

    ``unresolved`` are (slot, operand) for what the target did not say; load() refuses a program that has some.
    """

    program: Program
    insns: tuple[Insn, ...]
    functions: tuple[tuple[int, str], ...]
    unresolved: tuple[tuple[int, MapSpec | Kfunc | Global], ...]
    byteorder: ByteOrder

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
    starts: dict[str, int] = {}
    labels: list[dict[str | Label, int]] = []
    at = 0
    for name, body in bodies:
        starts[name] = at
        places: dict[str | Label, int] = {}
        for item in body:
            if isinstance(item, Mark):
                places[item.label] = at
            else:
                at += item.width
        labels.append(places)

    insns: list[Insn] = []
    symbols: list[tuple[int, MapSpec | Kfunc | Global]] = []
    specs: dict[str, MapSpec] = {}
    variables: dict[str, Global] = {}
    pc = 0
    for (name, body), places in zip(bodies, labels, strict=True):
        for insn in body:
            if isinstance(insn, Mark):
                continue
            if insn.off.__class__ is not int:
                insn = insn.replace(off=_distance(insn, insn.off, pc, places, name, bits=16))  # noqa: PLW2901
            imm = insn.imm
            if imm.__class__ is int:
                pass
            elif isinstance(imm, Subprog):
                insn = insn.replace(imm=starts[imm.name] - pc - 1)  # noqa: PLW2901
            elif isinstance(imm, MapSpec):
                _same(specs.setdefault(imm.name, imm), imm, insn)
                symbols.append((pc, imm))
            elif isinstance(imm, Kfunc):
                symbols.append((pc, imm))
            elif isinstance(imm, Global):
                _same_global(variables.setdefault(imm.name, imm), imm, insn)
                symbols.append((pc, imm))
            else:
                insn = insn.replace(imm=_distance(insn, imm, pc, places, name, bits=32))  # noqa: PLW2901
            insns.append(insn)
            pc += insn.width
    functions = tuple((start, name) for name, start in starts.items())
    return Assembled(program, tuple(insns), functions, tuple(symbols))


def link(program: Program | Assembled, target: Target | None = None, *, relax: bool = False) -> Linked:
    """Turn every symbolic operand into a number for ``target``.

    With ``relax``, jumps that 16 bits do not reach become several, by gotol or by islands; each instruction that is
    put in is a ``bpfasm.asm.relax.Inserted``. An ``Assembled`` has its distances already and stays as it is. Raises
    LabelError, or LinkError for a map or kernel function that the target does not have.
    """
    target = target or Target()
    if relax and isinstance(program, Program):
        from bpfasm.asm.relax import relax as relaxed

        program = relaxed(program, gotol=target.gotol)
    assembled = program if isinstance(program, Assembled) else assemble(program)
    insns = tuple(_resolve(insn, target) for insn in assembled.insns)
    told = ((MapSpec, target.map_fds), (Kfunc, target.kfuncs), (Global, target.globals))
    left = tuple(kind for kind, known in told if known is None)
    unresolved = tuple(symbol for symbol in assembled.symbols if isinstance(symbol[1], left))
    return Linked(assembled.program, insns, assembled.functions, unresolved, target.byteorder)


def _resolve(insn: Insn, target: Target) -> Insn:
    operand = insn.imm
    if operand.__class__ is int:
        return insn
    if isinstance(operand, Kfunc):
        return _resolve_kfunc(insn, operand, target)
    if isinstance(operand, Global):
        return _resolve_global(insn, operand, target)
    return insn.replace(imm=_map_fd(operand.name, insn, target))


def _map_fd(name: str, insn: Insn, target: Target) -> int:
    if target.map_fds is None:
        return 0
    try:
        return target.map_fds[name]
    except KeyError:
        known = ", ".join(target.map_fds) or "none"
        raise LinkError(
            f"the target has no map {name}",
            f"its maps are: {known}",
            source=insn.source,
            rule="map-unknown",
        ) from None


def _resolve_global(insn: Insn, variable: Global, target: Target) -> Insn:
    if target.globals is None:
        return insn.replace(imm=0)
    try:
        name, offset = target.globals[variable]
    except KeyError:
        raise LinkError(
            f"the target has no variable {variable.name}",
            "give its place in Target.globals, or load() the program, which makes one",
            source=insn.source,
            rule="global-unknown",
        ) from None
    return insn.replace(imm=_map_fd(name, insn, target), imm2=insn.imm2 + offset)


def _resolve_kfunc(insn: Insn, operand: Kfunc, target: Target) -> Insn:
    if target.kfuncs is None:
        return insn.replace(imm=0)
    try:
        off, imm = target.kfuncs[operand]
    except KeyError:
        raise LinkError(
            f"the target has no kernel function {operand.name}",
            "give its number in Target.kfuncs, or load() the program, which finds it",
            source=insn.source,
            rule="kfunc-unknown",
        ) from None
    return insn.replace(off=off, imm=imm)


def _bodies(program: Program) -> list[tuple[str, Sequence[Item]]]:
    """Return the program's body and its subprograms', each once, in order of first use."""
    found: dict[str, Program | Subprog] = {program.name: program}
    order = [program.name]
    for name in order:
        for item in found[name].insns:
            if isinstance(item, Insn) and isinstance(item.imm, Subprog):
                sub = item.imm
                if found.setdefault(sub.name, sub) != sub:
                    raise LinkError(
                        f"two different functions are called {sub.name}",
                        "give one of them another name",
                        source=item.source,
                        rule="function-twice",
                    )
                if sub.name not in order:
                    order.append(sub.name)
    return [(name, found[name].insns) for name in order]


def _same(first: MapSpec, spec: MapSpec, insn: Insn) -> None:
    if first != spec:
        raise LinkError(
            f"two different maps are called {spec.name}",
            "declare the map once and use that, or give one of them another name",
            source=insn.source,
            rule="map-twice",
        )


def _same_global(first: Global, variable: Global, insn: Insn) -> None:
    if first != variable:
        raise LinkError(
            f"two different variables are called {variable.name}",
            "declare the variable once and use that, or give one of them another name",
            source=insn.source,
            rule="global-twice",
        )
    if not 0 <= insn.imm2 < variable.size:
        raise LinkError(
            f"{variable.name} has {variable.size} bytes, and offset {insn.imm2} is not in it",
            "give the offset of a field, or 0",
            source=insn.source,
            rule="global-offset",
        )


def _distance(
    insn: Insn, target: str | Label, pc: int, places: dict[str | Label, int], body: str, *, bits: int
) -> int:
    """Return a distance in slots as the kernel counts: from the slot after the one that holds the distance.

    That is so in BPF_LD_IMM64 too, whose first slot holds it (verifier.c add_subprog_and_kfunc()).
    """
    if not isinstance(target, str | Label):
        raise LinkError(
            f"{target!r} cannot be resolved",
            "link() knows labels, maps, variables, subprograms and kernel functions",
            source=insn.source,
            rule="unlinked",
        )
    if target not in places:
        raise LabelError(
            f"no label {label_text(target)} in {body}",
            _nearest(label_text(target), map(label_text, places)),
            source=insn.source,
            rule="label-missing",
        )
    distance = places[target] - pc - 1
    if not -(1 << (bits - 1)) <= distance < 1 << (bits - 1):
        raise LabelError(
            f"the jump at slot {pc} to {label_text(target)} goes {distance:+d} slots, and 16 bits reach "
            "-32768 to +32767",
            "link(relax=True) makes it of several; or jump in two steps, or by BPF_JMP32_A (from kernel 6.6 on)",
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
