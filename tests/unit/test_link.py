"""Labels, subprograms and maps: what ``assemble`` and ``link`` make of them."""

import pytest

import bpfasm.asm
from bpfasm.asm import *
from bpfasm.asm.gather import Gathered
from bpfasm.asm.syntax import kernel, macro
from bpfasm.asm.variables import sections
from bpfasm.errors import AssemblyError, LabelError, LinkError, MapError
from bpfasm.isa.insn import decode
from bpfasm.isa.match import form_of

KPROBE = BPF_PROG_TYPE_KPROBE
NOP = BPF_MOV64_IMM(R0, 0)
EXIT = BPF_EXIT_INSN()


def program(*insns, name="prog"):
    return Program(name, KPROBE, insns)


def linked(*insns):
    return link(program(*insns)).insns


def counts(name="counts", **more):
    return HashMap(name, **{"key": u32, "value": u64, "max_entries": 1, **more})


# Labels


@pytest.mark.parametrize(
    ("jump", "field"),
    [
        (BPF_JMP_IMM(BPF_JEQ, R0, 0, "out"), "off"),
        (BPF_JMP_REG(BPF_JEQ, R0, R1, "out"), "off"),
        (BPF_JMP32_IMM(BPF_JEQ, R0, 0, "out"), "off"),
        (BPF_JMP32_REG(BPF_JEQ, R0, R1, "out"), "off"),
        (BPF_JMP_A("out"), "off"),
        (BPF_JMP32_A("out"), "imm"),
        (BPF_CALL_REL("out"), "imm"),
        (BPF_RAW_INSN(BPF_JMP | BPF_JCOND, 0, BPF_MAY_GOTO, "out", 0), "off"),
        (BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, "out"), "imm"),
        (BPF_LD_IMM64_RAW_FULL(R1, BPF_PSEUDO_FUNC, 0, 0, "out", 0), "imm"),
    ],
)
def test_a_label_becomes_a_distance_from_the_slot_after_the_first(jump, field):
    # Forwards over a wide instruction, and backwards: where it goes does not depend on what stands in between.
    forward = [jump, BPF_LD_IMM64(R3, 0), NOP, label("out"), EXIT]
    backward = [NOP, label("out"), BPF_LD_IMM64(R3, 0), NOP, jump, EXIT]
    assert getattr(linked(*forward)[0], field) == jump.width - 1 + 2 + 1
    assert getattr(linked(*backward)[3], field) == -(2 + 1 + 1)


def test_distances_are_what_the_kernel_counts():
    """The same two programs, with the distances that the kernel's macros would be given by hand."""
    assert linked(BPF_JMP_A("next"), label("next"), EXIT)[0] == BPF_JMP_A(0)
    assert linked(label("self"), BPF_JMP_A("self"))[0] == BPF_JMP_A(-1)


def test_a_callback_by_label_and_by_subprogram_are_one():
    by_label = [BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, "each", 0), EXIT, label("each"), NOP, EXIT]
    each = Subprog("each", [NOP, EXIT])
    by_subprogram = [BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, each, 0), EXIT]
    assert linked(*by_label) == linked(*by_subprogram)
    assert linked(*by_label)[0].imm == 2


def test_integers_stay_as_they_are():
    body = [BPF_JMP_IMM(BPF_JEQ, R0, 0, 1), BPF_JMP32_A(-1), BPF_CALL_REL(5), EXIT]
    assert list(linked(*body)) == body


def test_two_labels_may_be_at_one_place_and_at_the_end():
    body = [BPF_JMP_A("a"), BPF_JMP_A("b"), BPF_JMP_A("end"), label("a"), label("b"), EXIT, label("end")]
    assert [insn.off for insn in linked(*body)][:3] == [2, 1, 1]


def test_labels_are_of_their_body():
    sub = Subprog("sub", [BPF_JMP_A("out"), NOP, label("out"), EXIT])
    body = [BPF_CALL_REL(sub), BPF_JMP_A("out"), label("out"), EXIT]
    assert [insn.off for insn in linked(*body)] == [0, 0, 0, 1, 0, 0]
    with pytest.raises(LabelError, match='no label "there" in sub'):
        linked(BPF_CALL_REL(Subprog("sub", [BPF_JMP_A("there"), EXIT])), label("there"), EXIT)


def test_a_label_object_is_itself_and_no_other():
    """A snippet expanded twice has two labels of one name; a string of that name is a third."""

    def unless_zero():
        out = Label("out")
        return [BPF_JMP_IMM(BPF_JEQ, R0, 0, out), NOP, label(out)]

    body = [*unless_zero(), *unless_zero(), BPF_JMP_A("out"), NOP, NOP, label("out"), EXIT]
    assert [insn.off for insn in linked(*body)] == [1, 0, 1, 0, 2, 0, 0, 0]
    with pytest.raises(LabelError):
        linked(BPF_JMP_A("out"), label(Label("out")), EXIT)


def test_marks_compare_by_their_label():
    assert label("a") == label("a") != label("b")
    assert len({label("a"), label("a")}) == 1
    assert repr(label("a")) == "label('a')"
    assert repr(Label("a")) == "Label('a')"
    assert label("a").source[0] == __file__


@pytest.mark.parametrize(("between", "reaches"), [(32766, True), (32767, True), (32768, False)])
def test_how_far_a_jump_reaches_forward(between, reaches):
    body = [BPF_JMP_A("out"), *[NOP] * between, label("out"), EXIT]
    if reaches:
        assert linked(*body)[0].off == between
    else:
        with pytest.raises(LabelError, match=r'the jump at slot 0 to "out" goes \+32768 slots'):
            linked(*body)


@pytest.mark.parametrize(("between", "reaches"), [(32766, True), (32767, True), (32768, False)])
def test_how_far_a_jump_reaches_backward(between, reaches):
    body = [label("top"), *[NOP] * between, BPF_JMP_IMM(BPF_JEQ, R0, 0, "top"), EXIT]
    if reaches:
        assert linked(*body)[between].off == -between - 1
    else:
        with pytest.raises(LabelError, match=r'the jump at slot 32768 to "top" goes -32769 slots'):
            linked(*body)


@pytest.mark.parametrize("far", [BPF_JMP32_A("out"), BPF_CALL_REL("out")])
def test_32_bits_reach_further(far):
    assert linked(far, *[NOP] * 40000, label("out"), EXIT)[0].imm == 40000


# Subprograms


def test_subprograms_stand_after_the_program_in_order_of_first_use():
    inner = Subprog("inner", [NOP, EXIT])
    first = Subprog("first", [BPF_CALL_REL(inner), EXIT])
    second = Subprog("second", [BPF_LD_IMM64(R0, 1), BPF_CALL_REL(first), EXIT])
    body = [BPF_CALL_REL(second), BPF_CALL_REL(first), BPF_CALL_REL(second), EXIT]
    assembled = assemble(program(*body))
    assert assembled.functions == ((0, "prog"), (4, "second"), (8, "first"), (10, "inner"))
    targets = [pc + insn.imm + 1 for pc, insn in slots(assembled) if insn.code == BPF_JMP | BPF_CALL]
    assert targets == [4, 8, 4, 8, 10]
    assert all(insn.src_reg == BPF_PSEUDO_CALL for insn in assembled.insns if insn.code == BPF_JMP | BPF_CALL)


def slots(assembled):
    pc = 0
    for insn in assembled.insns:
        yield pc, insn
        pc += insn.width


def test_a_subprogram_may_call_itself():
    """It is a value, so it is by a label of its own."""
    body = Subprog("again", [label("top"), BPF_CALL_REL("top"), EXIT])
    assert linked(BPF_CALL_REL(body), EXIT)[2].imm == -1


def test_equal_subprograms_are_one():
    first, second = (Subprog("same", [NOP, EXIT]) for _ in range(2))
    assert first == second
    assert len(linked(BPF_CALL_REL(first), BPF_CALL_REL(second), EXIT)) == 5


def test_a_subprogram_that_nothing_uses_is_not_there():
    assert assemble(program(EXIT)).functions == ((0, "prog"),)


# Maps


def test_maps_are_listed_once_in_order_of_first_use():
    a, b, in_sub = counts("a"), counts("b"), counts("c")
    sub = Subprog("sub", [BPF_LD_MAP_VALUE(R1, in_sub, 8), EXIT])
    body = [BPF_LD_MAP_FD(R1, b), BPF_LD_MAP_FD(R2, a), BPF_LD_MAP_FD(R1, b), BPF_CALL_REL(sub), EXIT]
    assembled = assemble(program(*body))
    assert assembled.maps == (b, a, in_sub)
    assert assembled.symbols == ((0, b, "imm"), (2, a, "imm"), (4, b, "imm"), (8, in_sub, "imm"))


def test_equal_maps_are_one():
    """As two calls of one pure function make them, with types that are made anew."""
    first, second = (counts(key=chars(16), initial={b"a": 1}) for _ in range(2))
    assert assemble(program(BPF_LD_MAP_FD(R1, first), BPF_LD_MAP_FD(R1, second), EXIT)).maps == (first,)


@pytest.mark.parametrize("other", [{"key": u64}, {"value": 8}, {"max_entries": 2}, {"flags": 1}, {"initial": {0: 1}}])
def test_unequal_maps_of_one_name_are_refused(other):
    with pytest.raises(LinkError, match="two different maps are called counts"):
        assemble(program(BPF_LD_MAP_FD(R1, counts()), BPF_LD_MAP_FD(R1, counts(**other)), EXIT))


def test_maps_become_the_targets_fds():
    body = [BPF_LD_MAP_FD(R1, counts("a")), BPF_LD_MAP_VALUE(R2, counts("b"), 8), BPF_LD_MAP_FD(R3, 9), EXIT]
    result = link(program(*body), Target({"a": 5, "b": 6, "c": 7}))
    assert [insn.imm for insn in result.insns] == [5, 6, 9, 0]
    assert result.insns[1].imm2 == 8
    assert result.unresolved == ()


def test_without_fds_maps_are_0_and_unresolved():
    a, b = counts("a"), counts("b")
    result = link(program(NOP, BPF_LD_MAP_FD(R1, a), BPF_LD_MAP_VALUE(R2, b, 8), EXIT))
    assert result.unresolved == ((1, a, "imm"), (3, b, "imm"))
    assert [insn.imm for insn in result.insns] == [0, 0, 0, 0]
    assert result.insns[2].imm2 == 8


def test_a_map_may_be_an_operand_of_a_raw_instruction():
    raw = [BPF_RAW_INSN(BPF_LD | BPF_IMM | BPF_DW, R1, BPF_PSEUDO_MAP_FD, 0, counts()), BPF_RAW_INSN(0, 0, 0, 0, 0)]
    result = link(program(*raw, EXIT), Target({"counts": 5}))
    assert decode(result.code) == [BPF_LD_MAP_FD(R1, 5), EXIT]


# What comes out


def test_link_takes_a_program_or_what_is_assembled():
    prog = program(BPF_LD_MAP_FD(R1, counts()), EXIT)
    assert link(assemble(prog), Target({"counts": 3})) == link(prog, Target({"counts": 3}))
    assert link(prog).program is prog


@pytest.mark.parametrize(
    ("order", "code"),
    [("little", "b701000005000000 9500000000000000"), ("big", "b710000000000005 9500000000000000")],
)
def test_its_bytes_have_the_targets_order(order, code):
    prog = program(BPF_MOV64_IMM(R1, 5), EXIT)
    assert link(prog, Target(byteorder=order)).code == bytes.fromhex(code)


def test_insn_at_knows_slots():
    wide = BPF_LD_IMM64(R1, 5)
    result = link(program(NOP, wide, EXIT))
    assert [result.insn_at(pc) for pc in range(-1, 5)] == [None, NOP, wide, None, EXIT, None]


def test_what_cannot_be_resolved_is_refused():
    for fields in ({"off": 1.5}, {"off": counts()}, {"imm": 1.5}, {"imm": None}, {"imm": R1}):
        with pytest.raises(LinkError) as caught:
            assemble(program(Insn(BPF_JMP | BPF_JA, **fields)))
        assert caught.value.rule == "unlinked"
        assert caught.value.do == "link() knows labels, maps, variables, fields, subprograms and kernel functions"


def test_every_instruction_keeps_its_line():
    prog = program(BPF_JMP_A("out"), BPF_LD_MAP_FD(R1, counts()), label("out"), EXIT)
    before = [item.source for item in prog.insns if isinstance(item, Insn)]
    assert [insn.source for insn in link(prog, Target({"counts": 3})).insns] == before
    assert before[0][0] == __file__


# Kernel functions

LOCK, OWN = kfunc("bpf_rcu_read_lock"), kfunc("own", "module")


def test_a_kernel_function_becomes_the_number_it_has_in_the_target():
    body = [BPF_CALL_KFUNC(0, LOCK), BPF_CALL_KFUNC(0, OWN), BPF_CALL_KFUNC(0, LOCK), EXIT]
    assembled = assemble(program(*body))
    assert assembled.kfuncs == (LOCK, OWN)
    assert assembled.maps == ()
    result = link(assembled, Target(kfuncs={LOCK: (0, 71402), OWN: (1, 5)}))
    assert [(insn.off, insn.imm) for insn in result.insns[:3]] == [(0, 71402), (1, 5), (0, 71402)]
    assert result.insns[0] == BPF_CALL_KFUNC(0, 71402)
    assert result.unresolved == ()


def test_without_a_target_a_kernel_function_is_0_and_unresolved():
    spec = counts()
    body = [BPF_LD_MAP_FD(R1, spec), BPF_CALL_KFUNC(0, LOCK), EXIT]
    result = link(program(*body))
    assert result.unresolved == ((0, spec, "imm"), (2, LOCK, "imm"))
    assert result.insns[1].imm == 0
    assert link(program(*body), Target(map_fds={"counts": 5})).unresolved == ((2, LOCK, "imm"),)
    assert link(program(*body), Target(kfuncs={LOCK: (0, 7)})).unresolved == ((0, spec, "imm"),)


def test_a_kernel_function_in_text():
    call = BPF_CALL_KFUNC(0, LOCK)
    assert kernel.text(call, form_of(call)) == "(85) call kernel-function#bpf_rcu_read_lock"
    for insn in (call, BPF_CALL_KFUNC(0, OWN), BPF_CALL_KFUNC(2, 71402)):
        text = macro.text(insn, form_of(insn))
        assert eval(text, vars(bpfasm.asm)) == insn
    raw = BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_KFUNC_CALL, 0, LOCK)
    assert raw == call


# Variables


def test_variables_have_places():
    small, large, const = Global("small", u8, 1), Global("large", u64, 2), Global("const", u32, 3, const=True)
    program = Program("prog", BPF_PROG_TYPE_XDP, [
        BPF_LD_MAP_VALUE(R1, small, 0),
        BPF_LD_MAP_VALUE(R1, large, 4),
        BPF_LD_MAP_VALUE(R1, const, 0),
        BPF_LD_MAP_VALUE(R1, small, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    assembled = assemble(program)
    assert assembled.globals == (small, large, const)
    assert assembled.maps == ()
    data, rodata = sections(assembled.globals, {large: 7})
    assert (data.name, data.value.places) == (".data", ((small, 0), (large, 8)))
    assert (rodata.name, rodata.value.places) == (".rodata", ((const, 0),))
    assert (data.flags, rodata.flags) == (BPF_F_MMAPABLE, BPF_F_MMAPABLE | BPF_F_RDONLY_PROG)
    assert data.value.pack(data.initial[0]) == b"\1\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0"
    assert link(program).unresolved == (
        (0, small, "imm"), (2, large, "imm"), (4, const, "imm"), (6, small, "imm"),
    )  # fmt: skip
    places = {small: (".data", 0), large: (".data", 8), const: (".rodata", 0)}
    done = link(program, Target(map_fds={".data": 5, ".rodata": 6}, globals=places))
    loads = [(insn.src_reg, insn.imm, insn.imm2) for insn in done.insns[:4]]
    assert loads == [(2, 5, 0), (2, 5, 12), (2, 6, 0), (2, 5, 0)]
    assert done.unresolved == ()


def test_a_variable_prints_by_its_name():
    insn = BPF_LD_MAP_VALUE(R1, Global("limit", u64), 4)
    form = form_of(insn)
    assert kernel.text(insn, form) == "(18) r1 = var[limit]+4"
    assert macro.text(insn, form) == "BPF_LD_MAP_VALUE(BPF_REG_1, limit, 4)"


@pytest.mark.parametrize("const", [False, True])
def test_a_variable_is_no_lock(const):
    class Guarded(Record):
        lock = spin_lock("guards the rest")
        count = u32("how often")

    for type in (spin_lock, timer, Guarded):
        with pytest.raises(MapError, match="the variable v has a lock or a timer"):
            Global("v", type, const=const)


@pytest.mark.parametrize(
    ("item", "what", "do"),
    [
        ([1, 2], "[1, 2] is no program and no map, but several", "write a star before it: load(*programs)"),
        (None, "None is no program and no map, but a NoneType", "give Programs, MapSpecs, StructOps"),
    ],
)
def test_what_cannot_be_loaded(item, what, do):
    with pytest.raises(AssemblyError) as caught:
        Gathered([item])
    assert (caught.value.what, caught.value.do) == (what, do)
