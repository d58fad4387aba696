"""``link()``: the one place where labels, subprograms and maps become numbers.

Two steps. ``assemble`` lays out a program and its subprograms and resolves what lies within them: the result is
what an object file or a listing is made from. ``link`` goes on to what only a target knows.
"""

from __future__ import annotations

import sys

from bpfasm.asm.maps import MapSpec
from bpfasm.asm.program import Program, Subprog
from bpfasm.asm.symbols import Label, Mark, label_text
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

    ``map_fds`` are file descriptors by map name. Where it is None nothing is loaded: maps are left as fd 0 and
    listed in ``Linked.unresolved``, as in an object file.
    """

    map_fds: dict[str, int] | None = None
    byteorder: ByteOrder = sys.byteorder


class Assembled(Value):
    """A program laid out: its instructions with distances resolved, and what is still symbolic.

    ``functions`` are (first slot, name), the program first; ``symbols`` are (slot, operand).
    """

    program: Program
    insns: tuple[Insn, ...]
    functions: tuple[tuple[int, str], ...]
    symbols: tuple[tuple[int, MapSpec], ...]

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps it refers to, each once, in order of first use."""
        return tuple({spec.name: spec for _, spec in self.symbols}.values())


class Linked(Value):
    """A program in numbers, for one target.

    ``unresolved`` are (slot, operand) for what the target did not say; load() refuses a program that has some.
    """

    program: Program
    insns: tuple[Insn, ...]
    functions: tuple[tuple[int, str], ...]
    unresolved: tuple[tuple[int, MapSpec], ...]
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
    symbols: list[tuple[int, MapSpec]] = []
    specs: dict[str, MapSpec] = {}
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
            else:
                insn = insn.replace(imm=_distance(insn, imm, pc, places, name, bits=32))  # noqa: PLW2901
            insns.append(insn)
            pc += insn.width
    functions = tuple((start, name) for name, start in starts.items())
    return Assembled(program, tuple(insns), functions, tuple(symbols))


def link(program: Program | Assembled, target: Target | None = None) -> Linked:
    """Turn every symbolic operand into a number for ``target``.

    Raises LabelError, or LinkError for a map the target has no fd for.
    """
    assembled = program if isinstance(program, Assembled) else assemble(program)
    target = target or Target()
    insns = tuple(_resolve(insn, target) for insn in assembled.insns)
    unresolved = assembled.symbols if target.map_fds is None else ()
    return Linked(assembled.program, insns, assembled.functions, unresolved, target.byteorder)


def _resolve(insn: Insn, target: Target) -> Insn:
    spec = insn.imm
    if spec.__class__ is int:
        return insn
    if target.map_fds is None:
        return insn.replace(imm=0)
    try:
        return insn.replace(imm=target.map_fds[spec.name])
    except KeyError:
        known = ", ".join(target.map_fds) or "none"
        raise LinkError(
            f"the target has no map {spec.name}",
            f"its maps are: {known}",
            source=insn.source,
            rule="map-unknown",
        ) from None


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


def _distance(
    insn: Insn, target: str | Label, pc: int, places: dict[str | Label, int], body: str, *, bits: int
) -> int:
    """Return a distance in slots as the kernel counts: from the slot after the one that holds the distance.

    That is so in BPF_LD_IMM64 too, whose first slot holds it (verifier.c add_subprog_and_kfunc()).
    """
    if not isinstance(target, str | Label):
        raise LinkError(
            f"{target!r} cannot be resolved",
            "link() knows labels, maps and subprograms",
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
            "jump there in two steps, or with BPF_JMP32_A (from kernel 6.6 on)",
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
