"""How control flows through a program: functions, blocks, edges, loops, and what nothing reaches.

A program is a Program, or instructions with distances in numbers: a list of ``Insn``, ``Assembled`` or ``Linked``.
Points in it are pcs: the slot an instruction starts at, as in the verifier's log. Any instructions have a graph;
where a jump leads nowhere the graph says so (``faults``) and goes on without that edge.

>>> from bpfasm.asm import *
>>> graph = flow([
...     BPF_MOV64_IMM(R0, 3),
...     BPF_ALU64_IMM(BPF_SUB, R0, 1),
...     BPF_JMP_IMM(BPF_JNE, R0, 0, -2),
...     BPF_EXIT_INSN(),
... ])
>>> [(block.start, [(edge.target, edge.kind) for edge in block.succs]) for block in graph.blocks]
[(0, [(1, 'next')]), (1, [(2, 'next'), (1, 'taken')]), (3, [])]
>>> [(graph.blocks[loop.header].start, loop.depth) for loop in graph.loops]
[(1, 1)]

Time and memory grow with the number of instructions, whatever they are.
"""

from __future__ import annotations

from bpfasm.asm.linker import Assembled, Linked, assemble
from bpfasm.asm.loops import Loop, loops_of
from bpfasm.asm.program import Program
from bpfasm.isa.match import form_of
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn


class Edge(Value):
    """A way from one block to another, by their numbers.

    ``kind`` is "next" (it falls through), "taken" (a condition holds, or may_goto gives up), or "goto".
    """

    source: int
    target: int
    kind: str


class Block(Value):
    """Instructions that run one after the other: entered at the first, left at the last.

    ``start`` is its first pc and ``end`` the pc behind it; its instructions are ``insns[first:last + 1]`` of a graph.
    """

    number: int
    function: int
    start: int
    end: int
    first: int
    last: int
    succs: tuple[Edge, ...]
    preds: tuple[Edge, ...]


class Function(Value):
    """The program itself (number 0), or a function of it: the slots from ``start`` to ``end``.

    ``kind`` is "main", "subprog", or "callback", whose address is taken and which the kernel calls. ``blocks`` are
    numbers, the entry first.
    """

    number: int
    name: str
    kind: str
    start: int
    end: int
    blocks: range


class Call(Value):
    """Where a function is called, or its address is taken ("callback"): the pc, and the number of the function."""

    pc: int
    callee: int
    kind: str


class Fault(Value):
    """A way that leads nowhere, from the instruction at ``pc``.

    ``kind`` is "outside" (beyond the program), "inside" (between the slots of an instruction), "across" (into another
    function) or "end" (the last instruction of a function goes on). ``target`` is the slot it would lead to.
    """

    pc: int
    kind: str
    target: int


class Graph(Value):
    """What ``flow()`` found out. Lists of instructions, pcs and forms go by the instruction's index.

    ``reached`` says of each block whether anything leads to it from the start of the program; ``indirect`` are the
    functions with a jump to a place that is not in the instruction (gotox), all of whose blocks count as reached.
    """

    insns: tuple[Insn, ...]
    pcs: tuple[int, ...]
    forms: tuple[Form | None, ...]
    functions: tuple[Function, ...]
    blocks: tuple[Block, ...]
    calls: tuple[Call, ...]
    loops: tuple[Loop, ...]
    reached: tuple[bool, ...]
    faults: tuple[Fault, ...]
    indirect: frozenset[int]
    _at: dict[int, int]
    _block_of: list[int]

    def __repr__(self) -> str:
        return f"<graph of {len(self.insns)} instructions in {len(self.blocks)} blocks>"

    def index(self, pc: int) -> int | None:
        """Return the index of the instruction that starts at ``pc``, or None where none does."""
        return self._at.get(pc)

    def block_at(self, pc: int) -> Block:
        """Return the block that the instruction at ``pc`` is in. Raises KeyError where no instruction starts."""
        return self.blocks[self._block_of[self._at[pc]]]

    def unreached(self) -> Iterator[tuple[int, int]]:
        """Yield (first pc, pc behind) of what nothing leads to; neighbouring blocks of a function are one."""
        start, end, function = -1, -1, -1
        for block in self.blocks:
            if self.reached[block.number]:
                continue
            if block.start == end and block.function == function:
                end = block.end
                continue
            if start >= 0:
                yield start, end
            start, end, function = block.start, block.end, block.function
        if start >= 0:
            yield start, end

    def members(self, loop: Loop) -> list[int]:
        """Return the numbers of all blocks of a loop, inner loops' too, in order."""
        found: list[int] = []
        todo = [loop]
        while todo:
            each = todo.pop()
            found += each.own
            todo += (self.loops[inner] for inner in each.inner)
        return sorted(found)

    def loop_of(self, block: int) -> Loop | None:
        """Return the innermost loop that a block is in."""
        return next((loop for loop in reversed(self.loops) if block in loop.own), None)


def flow(program: Program | Assembled | Linked | Iterable[Insn]) -> Graph:
    """Return the graph of a program."""
    if isinstance(program, Program):
        program = assemble(program)
    names: dict[int, str] = {}
    if isinstance(program, Assembled | Linked):
        names, program = dict(program.functions), program.insns
    return _Builder(tuple(program), names).graph()


def target_of(insn: Insn, form: Form | None, pc: int) -> int | None:
    """Return the pc that an instruction names as a distance: of a jump, a call, or a function's address."""
    if form is None:
        return None
    for role in form.operands:
        if role == "jump" and insn.off.__class__ is int:
            return pc + 1 + int(insn.off)
        if role in ("jump32", "callee", "func") and insn.imm.__class__ is int:
            return pc + 1 + int(insn.imm)
    return None


#: The forms that do not go on to the next instruction.
_LEAVES = ("goto", "exit")


class _Builder:
    """The steps of ``flow()``, each of which goes through the program once."""

    def __init__(self, insns: tuple[Insn, ...], names: dict[int, str]) -> None:
        self.insns = insns
        self.names = names
        self.forms = tuple(map(form_of, insns))
        pcs, pc = [], 0
        for insn in insns:
            pcs.append(pc)
            pc += insn.width
        self.pcs, self.size = pcs, pc
        self.at = {pc: index for index, pc in enumerate(pcs)}
        self.faults: list[Fault] = []

    def graph(self) -> Graph:
        """Return the graph."""
        jumps, uses = self._targets()
        starts = self._function_starts(uses)
        blocks, block_of = self._blocks(starts, jumps)
        entry_of = {self.pcs[index]: number for number, index in enumerate(starts)}
        succs, indirect = self._edges(blocks, block_of, jumps)
        preds: list[list[Edge]] = [[] for _ in blocks]
        for edges in succs:
            for edge in edges:
                preds[edge.target].append(edge)
        calls = tuple(Call(self.pcs[index], entry_of[target], kind) for index, target, kind in uses)
        functions = self._functions(starts, blocks, calls)
        reached = self._reached(blocks, functions, succs, calls, block_of, indirect)
        loops = loops_of([function.blocks.start for function in functions if function.blocks], succs)
        made = tuple(
            Block(
                number,
                function,
                self.pcs[first],
                self.pcs[last] + self.insns[last].width,
                first,
                last,
                tuple(succs[number]),
                tuple(preds[number]),
            )
            for number, (function, first, last) in enumerate(blocks)
        )
        return Graph(
            self.insns,
            tuple(self.pcs),
            self.forms,
            functions,
            made,
            calls,
            loops,
            reached,
            tuple(sorted(self.faults, key=lambda fault: fault.pc)),
            indirect,
            self.at,
            block_of,
        )

    def _targets(self) -> tuple[dict[int, int], list[tuple[int, int, str]]]:
        """Return where jumps lead, by their indexes, and uses of functions: (index, pc of the function, kind)."""
        jumps: dict[int, int] = {}
        uses: list[tuple[int, int, str]] = []
        for index, (insn, form) in enumerate(zip(self.insns, self.forms, strict=True)):
            if form is None or form.kind not in ("jump", "goto", "call", "ld_imm64"):
                continue
            target = target_of(insn, form, self.pcs[index])
            if target is None or form.dialect == "xlated":
                continue
            if target not in self.at:
                inside = 0 <= target < self.size
                self.faults.append(Fault(self.pcs[index], "inside" if inside else "outside", target))
            elif form.kind in ("jump", "goto"):
                jumps[index] = target
            else:
                uses.append((index, target, "call" if form.kind == "call" else "callback"))
        return jumps, uses

    def _function_starts(self, uses: list[tuple[int, int, str]]) -> list[int]:
        """Return the indexes that functions start at, in order."""
        pcs = {0, *self.names, *(target for _, target, _ in uses)} if self.insns else set()
        return sorted(self.at[pc] for pc in pcs if pc in self.at)

    def _blocks(self, starts: list[int], jumps: dict[int, int]) -> tuple[list[tuple[int, int, int]], list[int]]:
        """Return blocks as (function, first index, last index), and the block of each instruction."""
        leaders = bytearray(len(self.insns) + 1)
        for index in starts:
            leaders[index] = 1
        for target in jumps.values():
            leaders[self.at[target]] = 1
        for index, form in enumerate(self.forms):
            if form is not None and form.kind in ("jump", "goto", "exit"):
                leaders[index + 1] = 1
        own = bytearray(len(self.insns) + 1)
        for index in starts:
            own[index] = 1
        blocks: list[tuple[int, int, int]] = []
        block_of: list[int] = []
        function, first = -1, 0
        for index in range(len(self.insns)):
            if leaders[index]:
                if index:
                    blocks.append((function, first, index - 1))
                first = index
                function += own[index]
            block_of.append(len(blocks))
        if self.insns:
            blocks.append((function, first, len(self.insns) - 1))
        return blocks, block_of

    def _edges(
        self, blocks: list[tuple[int, int, int]], block_of: list[int], jumps: dict[int, int]
    ) -> tuple[list[list[Edge]], frozenset[int]]:
        """Return the edges out of each block, and the functions with jumps to where nobody knows."""
        succs: list[list[Edge]] = [[] for _ in blocks]
        indirect = set()
        for number, (function, _, last) in enumerate(blocks):
            form, edges = self.forms[last], succs[number]
            kind = form.kind if form else ""
            if kind not in _LEAVES:
                if number + 1 < len(blocks) and blocks[number + 1][0] == function:
                    edges.append(Edge(number, number + 1, "next"))
                else:
                    self.faults.append(Fault(self.pcs[last], "end", self.pcs[last] + self.insns[last].width))
            if last in jumps:
                target = block_of[self.at[jumps[last]]]
                if blocks[target][0] == function:
                    edges.append(Edge(number, target, "goto" if kind == "goto" else "taken"))
                else:
                    self.faults.append(Fault(self.pcs[last], "across", jumps[last]))
            elif form and form.name == "gotox":
                indirect.add(function)
        return succs, frozenset(indirect)

    def _functions(
        self, starts: list[int], blocks: list[tuple[int, int, int]], calls: tuple[Call, ...]
    ) -> tuple[Function, ...]:
        kinds = dict.fromkeys(range(1, len(starts)), "subprog")
        kinds |= {call.callee: "callback" for call in calls if call.kind == "callback"}
        kinds[0] = "main"
        ranges: dict[int, range] = {}
        for number, (function, *_) in enumerate(blocks):
            ranges[function] = range(ranges[function].start if function in ranges else number, number + 1)
        ends = [*(self.pcs[index] for index in starts[1:]), self.size]
        made = []
        for number, (index, end) in enumerate(zip(starts, ends, strict=False)):
            pc = self.pcs[index]
            name = self.names.get(pc) or ("main" if number == 0 else f"func_{pc}")
            made.append(Function(number, name, kinds[number], pc, end, ranges[number]))
        return tuple(made)

    def _reached(
        self,
        blocks: list[tuple[int, int, int]],
        functions: tuple[Function, ...],
        succs: list[list[Edge]],
        calls: tuple[Call, ...],
        block_of: list[int],
        indirect: frozenset[int],
    ) -> tuple[bool, ...]:
        called: dict[int, list[int]] = {}
        for call in calls:
            called.setdefault(block_of[self.at[call.pc]], []).append(functions[call.callee].blocks.start)
        reached = [False] * len(blocks)
        todo = [0] if blocks else []
        opened: set[int] = set()
        while todo:
            number = todo.pop()
            if reached[number]:
                continue
            reached[number] = True
            todo += [edge.target for edge in succs[number] if not reached[edge.target]]
            todo += called.get(number, ())
            function = blocks[number][0]
            if function in indirect and function not in opened:
                opened.add(function)
                todo += functions[function].blocks
        return tuple(reached)
