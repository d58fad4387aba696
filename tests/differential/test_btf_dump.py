"""``bpfasm btf dump``: each line as bpftool has it, of every kind, of an object file, of the kernel, of a program."""

import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest
from support.bpftool import files

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.btf.write import Writer
from bpfasm.kernel import load
from bpfasm.kernel.needs import missing
from bpfasm.uapi import btf as u
from tests.differential.test_btf_write import written

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "bpfasm" / "views" / "schemas" / "btf-dump-1.json").read_text())
VMLINUX = Path("/sys/kernel/btf/vmlinux")

pytestmark = [pytest.mark.oracle, pytest.mark.skipif(not files(), reason="needs bpftool (apt install bpftool)")]


def said(*words):
    """Return what bpftool prints."""
    command = [files()[0], *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def same(capsys, *words):
    """Dump as both do; return the document of ours."""
    capsys.readouterr()
    assert cli.main(["btf", "dump", *map(str, words), "format", "raw"]) == 0
    assert capsys.readouterr().out.splitlines() == said("btf", "dump", *words, "format", "raw").splitlines()
    assert cli.main(["btf", "dump", *map(str, words), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document | {"types": document["types"][:1000]}, SCHEMA)  # it is slow at a kernel's
    return document


@pytest.mark.parametrize("order", ["little", "big"])
def test_every_kind(order, tmp_path, capsys):
    path = tmp_path / "btf"
    path.write_bytes(written(order)[0].to_bytes())
    rows = same(capsys, "file", path)["types"]
    theirs = json.loads(said("-j", "btf", "dump", "file", path))["types"]
    assert rows == theirs


SOURCE = r"""
struct later;
enum colour { RED, GREEN = 5 };
typedef struct { int low : 3; unsigned high : 5; long rest; struct { int inner; }; } anonymous;
struct node {
    struct node *next;
    const volatile char *name;
    int (*call)(struct later *, int, ...);
    enum colour colour;
    union { float f; double d; } number;
    anonymous a;
    _Bool flag;
    int matrix[3][4];
    char *const restrict pointer;
};
struct node first;
static int counter = 5;
extern int elsewhere;
int use(struct node *n, void *other) { return n->a.low + counter + elsewhere + first.colour; }
"""


@pytest.fixture
def compiled(gcc, tmp_path):
    path = tmp_path / "a.o"
    command = ["gcc", "-gbtf", "-c", "-x", "c", "-", "-o", path]
    done = subprocess.run(command, input=SOURCE, text=True, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs a gcc that writes BTF (12)")
    return path


def test_an_object_file(compiled, capsys):
    assert len(same(capsys, "file", compiled)["types"]) > 20


def test_in_c_a_compiler_takes_it(compiled, tmp_path, capsys):
    """Each type behind what it needs, and of the same size as in the source."""
    assert cli.main(["btf", "dump", "file", str(compiled), "format", "c"]) == 0
    text = capsys.readouterr().out
    path = tmp_path / "a.c"
    again = SOURCE.partition("struct node first")[0].replace("enum colour { RED, GREEN = 5 };", "")
    for name in ("node", "anonymous"):
        again = re.sub(rf"\b{name}\b", f"{name}_", again)
    same_size = "sizeof(struct node) == sizeof(struct node_) && sizeof(anonymous) == sizeof(anonymous_)"
    path.write_text(f'{text}{again}_Static_assert({same_size} && GREEN == 5, "");\n')
    subprocess.run(["gcc", "-fsyntax-only", path], check=True)


def test_in_c_what_is_behind_a_pointer_need_not_be_whole(gcc, tmp_path, capsys):
    """A struct that is reached by a typedef, whose own struct holds the first; they come in the wrong order."""
    w = Writer()
    inner, outer, pointer, name = 2, 3, 4, 5
    w.add_int("int", 4)
    assert w.add_struct("inner", 16, [("up", pointer, 0), ("n", 1, 64)]) == inner
    assert w.add_struct("outer", 16, [("held", inner, 0)]) == outer
    assert w.add_pointer(name) == pointer
    assert w.add_name(u.BTF_KIND_TYPEDEF, outer, "outer_t") == name
    (tmp_path / "btf").write_bytes(w.to_bytes())
    assert cli.main(["btf", "dump", "file", str(tmp_path / "btf"), "format", "c"]) == 0
    text = capsys.readouterr().out
    assert text.index("typedef struct outer outer_t;") < text.index("struct inner {")
    assert text.index("struct inner {") < text.index("struct outer {")
    subprocess.run(["gcc", "-fsyntax-only", "-x", "c", "-"], input=text, text=True, check=True)


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_the_kernel(capsys):
    assert len(same(capsys, "file", VMLINUX)["types"]) > 10_000


def test_a_program_s_types(capsys):
    if os.geteuid() != 0 or missing(["bpf"]):
        pytest.skip("needs root")
    body = [BPF_MOV64_REG(R0, R1), BPF_EXIT_INSN()]
    sub = Subprog("same", body, args=[u64])
    program = Program(
        "typed", BPF_PROG_TYPE_SOCKET_FILTER, [BPF_MOV64_IMM(R1, 4), BPF_CALL_REL(sub), BPF_EXIT_INSN()]
    )
    with load(program, lines=True) as obj:
        rows = same(capsys, "id", obj[program].info().btf_id)["types"]
    assert {"typed", "same"} <= {row["name"] for row in rows if row["kind"] == "FUNC"}
