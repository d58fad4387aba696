"""Flow: blocks, edges, loops, functions, what nothing reaches; against plain second ways to compute them."""

import random

import pytest

from bpfasm.asm import *
from bpfasm.asm.defuse import ENTRY, DefUse
from bpfasm.asm.flow import flow
from bpfasm.isa.insn import decode, slots

ADD = BPF_ALU64_IMM(BPF_ADD, R0, 1)
EXIT = BPF_EXIT_INSN()


def jump(distance):
    return BPF_JMP_IMM(BPF_JEQ, R0, 0, distance)


def shape(insns):
    graph = flow(insns)
    return [
        (block.start, block.end, [graph.blocks[edge.target].start for edge in block.succs]) for block in graph.blocks
    ]


def test_blocks_and_edges():
    assert shape([jump(2), ADD, BPF_JMP_A(1), ADD, EXIT]) == [
        (0, 1, [1, 3]),
        (1, 3, [4]),
        (3, 4, [4]),
        (4, 5, []),
    ]


def test_pcs_count_slots():
    assert shape([BPF_LD_IMM64(R1, 1), jump(-3), EXIT]) == [(0, 3, [3, 0]), (3, 4, [])]


def test_faults():
    graph = flow([jump(7), jump(1), BPF_LD_IMM64(R1, 1), BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 1, 0, 2), ADD])
    assert [(fault.pc, fault.kind, fault.target) for fault in graph.faults] == [
        (0, "outside", 8),
        (1, "inside", 3),
        (4, "outside", 7),
        (5, "end", 6),
    ]
    assert flow([]).blocks == ()


def test_functions_callbacks_and_dead_code():
    inner = Subprog("inner", [EXIT])
    sub = Subprog("sub", [BPF_CALL_REL(inner), EXIT, ADD, EXIT])
    each = Subprog("each", [BPF_MOV64_IMM(R0, 0), EXIT])
    prog = Program("prog", BPF_PROG_TYPE_XDP, [
        BPF_CALL_REL(sub),
        BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, each, 0),
        EXIT,
    ])  # fmt: skip
    graph = flow(prog)
    assert [(f.name, f.kind, f.start, f.end) for f in graph.functions] == [
        ("prog", "main", 0, 4),
        ("sub", "subprog", 4, 8),
        ("each", "callback", 8, 10),
        ("inner", "subprog", 10, 11),
    ]
    assert list(graph.unreached()) == [(6, 8)]
    assert [(call.pc, graph.functions[call.callee].name, call.kind) for call in graph.calls] == [
        (0, "sub", "call"),
        (1, "each", "callback"),
        (4, "inner", "call"),
    ]


def test_what_only_dead_code_calls_is_dead():
    dead = Subprog("dead", [EXIT])
    graph = flow(Program("prog", BPF_PROG_TYPE_XDP, [EXIT, BPF_CALL_REL(dead), EXIT]))
    assert list(graph.unreached()) == [(1, 3), (3, 4)]


def test_nested_loops():
    graph = flow([ADD, ADD, ADD, jump(-2), jump(-4), EXIT])
    outer, inner = graph.loops
    assert (graph.blocks[outer.header].start, outer.depth, outer.inner) == (1, 1, (1,))
    assert (graph.blocks[inner.header].start, inner.depth, inner.outer) == (2, 2, 0)
    assert [graph.blocks[each].start for each in graph.members(outer)] == [1, 2, 4]
    assert graph.loop_of(graph.block_at(2).number) == inner
    assert not outer.irreducible


def test_a_loop_with_two_entries_is_named():
    (loop,) = flow([jump(1), ADD, ADD, jump(-3), EXIT]).loops
    assert loop.irreducible


def plain_loops(graph):
    """Return the strongly connected blocks of more than one, or that lead to themselves, by reachability alone."""
    reach = {}
    for block in graph.blocks:
        seen, todo = set(), [edge.target for edge in block.succs]
        while todo:
            number = todo.pop()
            if number not in seen:
                seen.add(number)
                todo += [edge.target for edge in graph.blocks[number].succs]
        reach[block.number] = seen
    return {frozenset(b for b in reach if b in reach[a] and a in reach[b]) for a in reach if a in reach[a]}


def scramble(source, size):
    body = [source.choice((ADD, ADD, jump(source.randrange(-at - 1, size - at)), EXIT)) for at in range(size)]
    return [*body, EXIT]


def test_outer_loops_are_the_strongly_connected_parts():
    source = random.Random(2)
    for _ in range(300):
        graph = flow(scramble(source, source.randrange(3, 40)))
        reached = {block.number for block in graph.blocks if graph.reached[block.number]}
        expected = {part for part in plain_loops(graph) if part <= reached}
        assert {frozenset(graph.members(loop)) for loop in graph.loops if loop.outer is None} == expected


def dominators(graph):
    """Return the blocks that every path from the start to a block goes through, by taking each out."""
    everything = {block.number for block in graph.blocks}
    found = {number: set() for number in everything}
    for out in everything:
        seen, todo = set(), [0] if out != 0 else []
        while todo:
            number = todo.pop()
            if number not in seen and number != out:
                seen.add(number)
                todo += [edge.target for edge in graph.blocks[number].succs]
        for number in everything - seen:
            found[number].add(out)
    return found


def test_a_loop_of_one_entry_is_dominated_by_its_header():
    source = random.Random(3)
    both = set()
    for _ in range(300):
        graph = flow(scramble(source, source.randrange(3, 30)))
        over = dominators(graph)
        for loop in graph.loops:
            natural = all(loop.header in over[number] for number in graph.members(loop))
            assert natural != loop.irreducible
            both.add(natural)
    assert both == {True, False}


def test_any_bytes_have_a_graph():
    source = random.Random(4)
    for _ in range(500):
        insns = decode(source.randbytes(8 * source.randrange(1, 30)))
        graph = flow(insns)
        assert [pc for pc, _ in slots(insns)] == list(graph.pcs)
        assert sum(block.last - block.first + 1 for block in graph.blocks) == len(insns)
        chains = DefUse(graph)
        for pc in graph.pcs:
            chains.live(pc)


# Definitions and uses


def chains(*insns):
    return DefUse(flow(insns))


def test_definitions_over_branches():
    found = chains(BPF_MOV64_IMM(R6, 1), jump(1), BPF_MOV64_IMM(R6, 2), BPF_MOV64_REG(R0, R6), EXIT)
    assert found.definitions(3, 6) == (0, 2)
    assert found.definitions(3, 7) == (ENTRY,)
    assert found.uses(0, 6) == found.uses(2, 6) == (3,)
    assert found.uses(3, 0) == (4,)


def test_a_register_is_its_own_definition_in_a_loop():
    found = chains(BPF_MOV64_IMM(R0, 9), BPF_ALU64_IMM(BPF_SUB, R0, 1), BPF_JMP_IMM(BPF_JNE, R0, 0, -2), EXIT)
    assert found.definitions(1, 0) == (0, 1)


def test_calls_read_what_their_function_reads_and_clobber():
    sub = Subprog("sub", [BPF_MOV64_REG(R0, R2), EXIT])
    body = [BPF_MOV64_IMM(R1, 1), BPF_MOV64_IMM(R2, 2), BPF_CALL_REL(sub), EXIT]
    found = DefUse(flow(Program("prog", BPF_PROG_TYPE_XDP, body)))
    assert found.reads(2) == (2,)
    assert found.uses(0, 1) == ()
    assert found.uses(1, 2) == (2,)
    assert found.writes(2) == (0, 1, 2, 3, 4, 5)


def test_helpers_read_their_arguments():
    found = chains(BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem), EXIT)
    assert found.reads(0) == (1, 2)
    assert chains(BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns), EXIT).reads(0) == ()


def test_stack_slots_are_places():
    found = chains(
        BPF_ST_MEM(BPF_DW, R10, -16, 1),
        BPF_MOV64_REG(R2, R10),
        BPF_ALU64_IMM(BPF_ADD, R2, -16),
        BPF_ST_MEM(BPF_W, R2, 4, 7),
        BPF_LDX_MEM(BPF_DW, R0, R10, -16),
        EXIT,
    )
    assert found.definitions(4, -16) == (0, 3)  # the second writes half of it
    assert found.uses(3, -16) == (4,)


def test_a_lent_slot_may_have_been_written():
    found = chains(
        BPF_ST_MEM(BPF_DW, R10, -8, 1),
        BPF_MOV64_REG(R1, R10),
        BPF_ALU64_IMM(BPF_ADD, R1, -8),
        BPF_MOV64_IMM(R2, 8),
        BPF_EMIT_CALL(BPF_FUNC_get_current_comm),
        BPF_LDX_MEM(BPF_DW, R0, R10, -8),
        EXIT,
    )
    assert found.definitions(5, -8) == (0, 4)


def test_liveness():
    found = chains(BPF_MOV64_IMM(R6, 1), BPF_MOV64_IMM(R7, 1), jump(1), BPF_MOV64_REG(R0, R6), EXIT)
    assert found.live(2) == (0, 6)
    assert found.live(4) == (0,)


@pytest.mark.parametrize("size", [20_000])
def test_a_large_program_is_done(size):
    source = random.Random(5)
    body = [ADD if source.random() < 0.8 else jump(source.randrange(0, 50)) for _ in range(size)]
    graph = flow([*body, *[ADD] * 60, EXIT])
    assert len(graph.insns) == size + 61
