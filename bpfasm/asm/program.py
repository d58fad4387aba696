"""``Program`` and ``Subprog``: instructions with a name, before any kernel is asked."""

from __future__ import annotations

from bpfasm.asm.attach.place import Place
from bpfasm.asm.symbols import Mark, label_text
from bpfasm.errors import AssemblyError, LabelError
from bpfasm.isa.insn import Insn
from bpfasm.isa.where import outside
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Self

    from bpfasm.asm.symbols import Label
    from bpfasm.elf.reading.code import FunctionType

    #: What a body is written as: instructions, and the labels between them.
    Item = Insn | Mark


def _body(owner: str, items: Iterable[Item]) -> tuple[Item, ...]:
    """Check the items of a body; return them. Labels are scoped to it."""
    if isinstance(items, Insn) or not hasattr(items, "__iter__"):
        raise AssemblyError(
            f"the body of {owner} is {items!r}, not a list of instructions",
            "write the macro calls in brackets: [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]",
            source=outside(),
            rule="not-an-instruction",
        )
    body: tuple[Any, ...] = tuple(items)
    seen: dict[str | Label, Mark] = {}
    for number, item in enumerate(body):
        if isinstance(item, Insn):
            continue
        if isinstance(item, Mark):
            if item.label in seen:
                first = seen[item.label].source
                raise LabelError(
                    f"the label {label_text(item.label)} is defined twice in {owner}",
                    f"the first is at {first[0]}:{first[1]}; give one of them another name" if first else "",
                    source=item.source,
                    rule="label-twice",
                )
            seen[item.label] = item
            continue
        inner = list(item) if isinstance(item, list | tuple) else []
        nearest = (near for near in (*body[number::-1], *inner) if isinstance(near, Insn | Mark))
        source = next((near.source for near in nearest), None) or outside()
        if isinstance(item, list | tuple):
            raise AssemblyError(
                f"item {number} of {owner} is a list of {len(item)} items",
                "a snippet gives several instructions: write a star before it, *snippet(...)",
                source=source,
                rule="nested-list",
            )
        name = getattr(item, "__name__", "")
        raise AssemblyError(
            f"item {number} of {owner} is {name or repr(item)}, not an instruction",
            f"call it: {name}(...)" if callable(item) and name else "a body holds macro calls and label(...)",
            source=source,
            rule="not-an-instruction",
        )
    return body


class Subprog(Value):
    """A function of the program, called with BPF_CALL_REL(subprog): R1 to R5 in, R0 out, R6 to R9 kept.

    It is static: the verifier goes through it at each call, with what is known there. With ``args`` it is a global
    one, which is verified once, by the types of its arguments alone: numbers (``u64``), ``"ctx"`` for what R1 was
    when the program began, or a Record, for a pointer to one or to nothing. (btf.c btf_prepare_func_args())

    ``types`` is what the object file it comes from says of it.
    """

    name: str
    insns: Sequence[Item]
    args: Sequence[Any] | None = None
    types: FunctionType | None = None

    def __post_init__(self) -> None:
        self._set(insns=_body(self.name, self.insns), args=None if self.args is None else tuple(self.args))
        if self.args is None:
            return
        from bpfasm.asm.record import Record
        from bpfasm.asm.types import Type

        takes = [each == "ctx" or isinstance(each, Type) or _is(each, Record) for each in self.args]
        if len(takes) > _MOST_ARGS or not all(takes):
            raise AssemblyError(
                f"the arguments of {self.name} are {self.args!r}",
                'five are the most, each a number such as u64, "ctx", or a Record for a pointer to one',
                source=outside(),
                rule="function-args",
            )


#: R1 to R5.
_MOST_ARGS = 5


def _is(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


class Program(Value):
    """A program: its type (BPF_PROG_TYPE_*), its instructions and labels, and where it is to be attached.

    It exists, prints, compares and assembles with no kernel at hand. ``insns`` is any iterable; it is kept as a
    tuple. ``bpfasm.asm.prog_types`` says what each type takes of the rest:

    ``expected_attach_type`` (BPF_XDP, BPF_TRACE_FENTRY ...) and ``flags`` (BPF_F_SLEEPABLE, BPF_F_ANY_ALIGNMENT ...)
    are those of BPF_PROG_LOAD, ``ifindex`` the device that runs it. ``attach_btf`` names what a program is loaded
    for, in the kernel's types: ``"vfs_read"``, ``"sched_switch"`` (a tracepoint), ``"file_open"`` (a security hook),
    ``"task"`` (an iterator), ``"tcp_congestion_ops.ssthresh"`` (a member), each after ``"module:"`` where a module
    has it; or it is an id. ``attach_prog`` is the program, or an fd of it, that has the function. Where ``attach``
    says these, they need not be given. ``types`` is what the object file it comes from says of it.
    """

    name: str
    type: int
    insns: Sequence[Item]
    attach: Place | None = None
    license: str = "GPL"
    expected_attach_type: int = 0
    attach_btf: str | int = 0
    attach_prog: Program | int = 0
    flags: int = 0
    ifindex: int = 0
    types: FunctionType | None = None

    def __post_init__(self) -> None:
        self._set(insns=_body(self.name, self.insns))
        self._told_at_load()
        for field in ("type", "expected_attach_type", "flags", "ifindex"):
            value: object = self.__dict__[field]
            if not isinstance(value, int) or not 0 <= value < 1 << 32:
                raise AssemblyError(
                    f"the {field} of {self.name} is {value!r}, not a number of 32 bits",
                    "give a name of the kernel's: BPF_PROG_TYPE_XDP, BPF_TRACE_FENTRY, BPF_F_SLEEPABLE",
                    source=outside(),
                    rule="program-field",
                )

    def _told_at_load(self) -> None:
        """Take over what follows from where it is to be attached."""
        if self.attach is None:
            return
        if not isinstance(self.attach, Place):
            raise AssemblyError(
                f"the attach of {self.name} is {self.attach!r}, not a place",
                'write attach=kprobe("vfs_read"), or another place of docs/links.rst',
                source=outside(),
                rule="attach-target",
            )
        for field, value in self.attach.told_at_load().items():
            given = self.__dict__[field]
            if given and given != value:
                raise AssemblyError(
                    f"the {field} of {self.name} is {given!r}, and {self.attach} makes it {value!r}",
                    f"leave {field} out: attach= says it",
                    source=outside(),
                    rule="program-field",
                )
            self._set(**{field: value})

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; what followed from another ``attach`` is not kept."""
        if "attach" in changes and self.attach:
            for field, value in self.attach.told_at_load().items():
                if self.__dict__[field] == value:
                    changes.setdefault(field, self._defaults[field])
        return super().replace(**changes)
