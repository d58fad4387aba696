"""Variables of programs: set before these are loaded, read and written after."""

import gc
import os

import pytest

from bpfasm.asm import *
from bpfasm.errors import LinkError, MapError, RecordError, VerifierError
from bpfasm.kernel import load
from bpfasm.kernel.maps.info import frozen

pytestmark = pytest.mark.lab


class Pair(Record):
    a = u64("one")
    b = u32("two")
    c = u32("three")


def program(insns, name="prog"):
    return Program(name, BPF_PROG_TYPE_SOCKET_FILTER, [*insns, BPF_EXIT_INSN()])


def returns(variable, size, off=0):
    """Return a program that returns a variable."""
    return program([BPF_LD_MAP_VALUE(R1, variable, off), BPF_LDX_MEM(size, R0, R1, 0)], f"get_{variable.name}")


def run(obj, which):
    return obj[which].test_run(bytes(14)).retval


@pytest.mark.parametrize("const", [False, True])
def test_a_program_sees_what_a_variable_was_declared_with_or_given(const):
    limit = Global("limit", u32, 100, const=const)
    get = returns(limit, BPF_W)
    with load(get) as obj:
        assert run(obj, get) == obj[limit] == obj.globals.limit == obj.globals["limit"] == 100
    for key in (limit, "limit"):
        with load(get, values={key: 7}) as obj:
            assert run(obj, get) == obj[limit] == 7


def test_variables_that_change():
    count = Global("count", u64)
    add = program([
        BPF_LD_MAP_VALUE(R1, count, 0),
        BPF_MOV64_IMM(R2, 3),
        BPF_ATOMIC_OP(BPF_DW, BPF_ADD, R1, R2, 0),
        BPF_MOV64_IMM(R0, 0),
    ])  # fmt: skip
    with load(add) as obj:
        assert obj[count] == 0
        for _ in range(5):
            run(obj, add)
        assert obj[count] == 15
        obj[count] = 1 << 40
        run(obj, add)
        assert obj.globals.count == (1 << 40) + 3
        obj.globals.count = 5
        obj.globals["count"] += 1
        run(obj, add)
    assert obj[count] == 9  # the memory stays


def test_many_variables_of_every_size():
    """Each at its alignment; read by programs, and each write changes one alone."""
    kinds = {u8: BPF_B, u64: BPF_DW, u16: BPF_H, s32: BPF_W, s8: BPF_B, u32: BPF_W}
    variables = [Global(f"{kind}_{const}", kind, 1, const=const) for kind in kinds for const in (False, True)]
    getters = {each: returns(each, kinds[each.type]) for each in variables}
    with load(*getters.values(), values={each: number for number, each in enumerate(variables)}) as obj:
        for number, each in enumerate(variables):
            assert run(obj, getters[each]) == obj[each] == number
        for number, each in enumerate(variables):
            if not each.const:
                obj[each] = number + 50
        for number, each in enumerate(variables):
            assert run(obj, getters[each]) == obj[each] == number + 50 * (not each.const)
        assert [m.spec.name for m in obj.maps] == [".data", ".rodata"]
        assert {m.spec.name: frozen(m.fd) for m in obj.maps} == {".data": False, ".rodata": True}
        assert sorted(obj.globals) == sorted(each.name for each in variables)


def test_records_texts_and_arrays():
    pair = Global("pair", Pair, Pair(a=1, b=2, c=3))
    name = Global("name", chars(16), b"abc")
    table = Global("table", array(u32, 4), (1, 2, 3, 4))
    get_c, get_name = returns(pair, BPF_W, Pair.c.off), returns(name, BPF_B, 1)
    get_last = returns(table, BPF_W, 12)
    with load(get_c, get_name, get_last) as obj:
        assert (run(obj, get_c), run(obj, get_name), run(obj, get_last)) == (3, ord("b"), 4)
        assert (obj[pair], obj[name], obj[table]) == (Pair(a=1, b=2, c=3), b"abc", (1, 2, 3, 4))
        obj[pair] = (4, 5, 6)
        obj[name] = b"xyz"
        obj[table] = [9, 8, 7, 6]
        assert (run(obj, get_c), run(obj, get_name), run(obj, get_last)) == (6, ord("y"), 6)


def test_what_never_runs_is_dropped_when_a_variable_is_const():
    """A branch that reads where nothing is: the verifier refuses it, unless it knows that it is never taken."""

    def guarded(debug):
        return program([
            BPF_LD_MAP_VALUE(R1, debug, 0),
            BPF_LDX_MEM(BPF_B, R1, R1, 0),
            BPF_MOV64_IMM(R0, 1),
            BPF_JMP_IMM(BPF_JEQ, R1, 0, "out"),
            BPF_MOV64_IMM(R2, 0),
            BPF_LDX_MEM(BPF_DW, R0, R2, 0),
            label("out"),
        ])  # fmt: skip

    const = Global("debug", u8, 0, const=True)
    with load(guarded(const)) as obj:
        (loaded,) = obj.programs
        assert run(obj, loaded.program) == 1
        assert loaded.info().xlated_len < len(loaded.linked.code)
    with pytest.raises(VerifierError):
        load(guarded(const), values={const: 1})
    with pytest.raises(VerifierError):
        load(guarded(Global("debug", u8, 0)))


def test_const_ones_are_not_written():
    limit = Global("limit", u32, 5, const=True)
    with load(returns(limit, BPF_W)) as obj:
        for write in (lambda: obj.__setitem__(limit, 6), lambda: setattr(obj.globals, "limit", 6)):
            with pytest.raises(MapError) as caught:
                write()
            assert caught.value.rule == "global-const"
        assert obj[limit] == 5
        (m,) = obj.maps
        assert m.spec.flags & BPF_F_RDONLY_PROG
    write = program([BPF_LD_MAP_VALUE(R1, limit, 0), BPF_ST_MEM(BPF_W, R1, 0, 6), BPF_MOV64_IMM(R0, 0)])
    with pytest.raises(VerifierError, match="write"):
        load(write)


def test_several_programs_share_a_variable():
    flag = Global("flag", u32)
    one, two = returns(flag, BPF_W), returns(flag.replace(), BPF_W).replace(name="two")
    with load(one, two) as obj:
        obj[flag] = 77
        assert (run(obj, one), run(obj, two)) == (77, 77)
        assert len(obj.maps) == 1
    with load(one) as first, load(two) as second:
        first[flag] = 1
        assert (run(first, one), run(second, two)) == (1, 0)  # what is loaded apart is apart


def test_what_goes_wrong():
    limit = Global("limit", u32, 5)
    get = returns(limit, BPF_W)
    for key in ("speed", Global("speed", u32), limit.replace(init=6)):
        with pytest.raises(LinkError) as caught:
            load(get, values={key: 5})
        assert caught.value.rule == "global-unknown"
    with pytest.raises(LinkError, match="two different variables are called limit"):
        load(get, returns(limit.replace(type=u64), BPF_DW))
    with pytest.raises(RecordError, match="4294967296"):
        load(get, values={limit: 1 << 32})
    with load(get) as obj:
        with pytest.raises(RecordError):
            obj[limit] = -1
        with pytest.raises(AttributeError, match="there is no variable speed; there are limit"):
            obj.globals.speed
        with pytest.raises(AttributeError):
            obj.globals.speed = 1
        with pytest.raises(KeyError):
            obj[Global("speed", u32)]
        assert obj[limit] == 5
        assert repr(obj.globals) == "<Globals limit=5>"


def test_the_kernel_knows_them_by_their_names():
    """Its BTF has a section with the variables."""
    limit, count = Global("limit", u32, 5), Global("count", Pair)
    with load(returns(limit, BPF_W), returns(count, BPF_DW)) as obj:
        (m,) = obj.maps
        info = m.info()
        assert info["name"].rstrip(b"\0") == b".data"
        assert info["btf_key_type_id"] == 0
        assert info["btf_value_type_id"] != 0


def test_nothing_is_left():
    def mappings():
        gc.collect()  # what an exception of another test still holds
        with open("/proc/self/maps", encoding="utf-8") as file:
            return file.read().count("bpf-map")

    before, fds = mappings(), os.listdir("/proc/self/fd")
    count = Global("count", u64)
    with load(returns(count, BPF_DW)) as obj:
        obj[count] = 1
    assert mappings() == before + 1
    del obj
    assert mappings() == before
    assert os.listdir("/proc/self/fd") == fds
