"""The types of a program's functions and the lines of its instructions, as the kernel gets them; read back."""

import struct
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("Linux", allow_module_level=True)

from bpfasm.asm import *
from bpfasm.asm.prog_types import TYPES, smallest, target_in_btf
from bpfasm.asm.snippets import count
from bpfasm.btf.read import Btf
from bpfasm.errors import AssemblyError
from bpfasm.kernel.btf.program import describe, functions, identifier, without_place
from bpfasm.uapi import btf

EXIT = BPF_EXIT_INSN()
ZERO = BPF_MOV64_IMM(R0, 0)


def told(program, **more):
    """Return the types, the functions as (slot, type), and the lines of a program."""
    types, func_info, line_info = describe(link(program), program.type, **more)
    read = Btf(types)
    return (
        read,
        [(pc, read.type(id)) for pc, id in struct.iter_unpack("=2I", func_info)],
        [
            (pc, read.string(file), place >> 10, read.string(text))
            for pc, file, text, place in struct.iter_unpack("=4I", line_info)
        ],
    )


def test_functions_in_their_order():
    inner = Subprog("inner", [ZERO, EXIT])
    outer = Subprog("outer", [BPF_CALL_REL(inner), EXIT])
    body = [BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, "here", 0), BPF_CALL_REL(outer), EXIT, label("here"),
            ZERO, EXIT]  # fmt: skip
    program = Program("main", BPF_PROG_TYPE_XDP, body)
    assert functions(link(program)) == {0: "main", 4: "main_4", 6: "outer", 8: "inner"}
    read, found, lines = told(program)
    assert [(pc, type.name, type.kind) for pc, type in found] == [
        (0, "main", btf.BTF_KIND_FUNC), (4, "main_4", btf.BTF_KIND_FUNC), (6, "outer", btf.BTF_KIND_FUNC),
        (8, "inner", btf.BTF_KIND_FUNC),
    ]  # fmt: skip
    # The program itself can be replaced, and has its context; callbacks have to be static.
    assert [type.detail for _, type in found] == [btf.BTF_FUNC_GLOBAL] + [btf.BTF_FUNC_STATIC] * 3
    proto = read.type(found[0][1].type)
    (context,) = proto.members
    assert read.type(read.type(context.type).type).name == "xdp_md"
    assert lines == []


def test_a_context_that_is_no_struct():
    read, found, _ = told(Program("prog", BPF_PROG_TYPE_TRACEPOINT, [ZERO, EXIT]))
    (context,) = read.type(found[0][1].type).members
    assert read.type(read.type(context.type).type).name == "void"


def test_lines_of_what_is_known_and_of_each_function():
    bare = ZERO.replace(where=None)
    sub = Subprog("sub", [bare, EXIT])
    program = Program("prog", BPF_PROG_TYPE_XDP, [BPF_CALL_REL(sub), bare, EXIT])
    line = sys._getframe().f_lineno - 1
    _, _, lines = told(program, lines=True)
    text = 'program = Program("prog", BPF_PROG_TYPE_XDP, [BPF_CALL_REL(sub), bare, EXIT])'
    assert lines[0] == (0, __file__, line, text)
    # What has no source is left out, but at the start of a function; EXIT was made above.
    assert [(pc, file == __file__) for pc, file, _, _ in lines] == [(0, True), (2, True), (3, False), (4, True)]
    assert lines[2] == (3, "?", 0, "BPF_MOV64_IMM(BPF_REG_0, 0)")


def test_what_a_snippet_made_has_its_line_once():
    hits = PerCpuArrayMap("hits", value=u64, max_entries=1)
    program = Program("prog", BPF_PROG_TYPE_XDP, [
        *count(hits, key=-4),
        BPF_MOV64_IMM(R0, 0),
        BPF_EXIT_INSN(),
    ])  # fmt: skip
    here = sys._getframe().f_lineno - 5
    _, _, lines = told(program, lines=True)
    assert [(pc, line, text) for pc, _, line, text in lines] == [
        (0, here + 1, "*count(hits, key=-4),"), (9, here + 2, "BPF_MOV64_IMM(R0, 0),"),
        (10, here + 3, "BPF_EXIT_INSN(),"),
    ]  # fmt: skip


def test_kernels_that_print_no_place_have_it_in_the_text(monkeypatch):
    monkeypatch.setattr("bpfasm.kernel.btf.program._places", [False])
    program = Program("prog", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN().replace(where=None)])
    here = sys._getframe().f_lineno - 1
    ((pc, file, line, text),) = told(program, lines=True)[2]
    assert (pc, file, line) == (0, __file__, here)
    assert text.endswith(f"] ) @ test_program_btf.py:{here}".replace("] )", "])"))
    assert without_place(text, file, line) == Path(file).read_text().splitlines()[line - 1].strip()


class Pair(Record):
    """What a function gets a pointer to."""

    first = u64()
    second = u64()


def test_a_function_that_is_asked_for_by_its_arguments_is_global():
    sub = Subprog("sum", [ZERO, EXIT], args=[u32, "ctx", Pair])
    read, found, _ = told(Program("prog", BPF_PROG_TYPE_XDP, [BPF_CALL_REL(sub), EXIT]))
    assert [(type.name, type.detail) for _, type in found] == [
        ("prog", btf.BTF_FUNC_GLOBAL), ("sum", btf.BTF_FUNC_GLOBAL),
    ]  # fmt: skip
    number, context, pair = (read.type(each.type) for each in read.type(found[1][1].type).members)
    assert (number.kind, number.size) == (btf.BTF_KIND_INT, 4)
    assert read.type(context.type).name == "xdp_md"
    assert (read.type(pair.type).name, read.type(pair.type).size) == ("Pair", 16)


@pytest.mark.parametrize("args", [["u64"], [u64] * 6, [int], [5]])
def test_arguments_that_no_function_has(args):
    with pytest.raises(AssemblyError) as caught:
        Subprog("sub", [ZERO, EXIT], args=args)
    assert caught.value.rule == "function-args"


@pytest.mark.parametrize(
    ("name", "kept"),
    [("chown", "chown"), ("a-b c", "a_b_c"), ("9lives", "_9lives"), ("", "_"), ("ü", "_"), ("x" * 200, "x" * 127)],
)
def test_names_that_c_takes(name, kept):
    assert identifier(name) == kept


# The table of types


@pytest.mark.parametrize("row", TYPES.values(), ids=lambda row: row.name)
def test_a_row_of_the_table(row):
    assert row.name.startswith("BPF_PROG_TYPE_")
    assert smallest(row.type).type == row.type
    assert len(set(row.attach_types)) == len(row.attach_types)
    assert set(row.run or ()) <= {"data", "ctx", "ctx out", "repeat", "cpu", "live"}
    assert link(smallest(row.type)).code


def test_the_smallest_program_of_a_type_that_is_not_in_the_table():
    assert smallest(4000).type == 4000


@pytest.mark.parametrize(
    ("type", "attach_type", "name", "called", "kind"),
    [
        (BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, "vfs_read", "vfs_read", btf.BTF_KIND_FUNC),
        (BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, "sched_switch", "btf_trace_sched_switch", btf.BTF_KIND_TYPEDEF),
        (BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, "task", "bpf_iter_task", btf.BTF_KIND_FUNC),
        (BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, "bpf_iter_task", "bpf_iter_task", btf.BTF_KIND_FUNC),
        (BPF_PROG_TYPE_LSM, BPF_LSM_MAC, "file_open", "bpf_lsm_file_open", btf.BTF_KIND_FUNC),
        (BPF_PROG_TYPE_STRUCT_OPS, 0, "tcp_congestion_ops", "tcp_congestion_ops", btf.BTF_KIND_STRUCT),
        (BPF_PROG_TYPE_EXT, 0, "main", "main", btf.BTF_KIND_FUNC),
    ],
)
def test_what_a_target_is_called_in_btf(type, attach_type, name, called, kind):
    assert target_in_btf(type, attach_type, name) == (called, kind)
