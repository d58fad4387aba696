"""``bpfasm btf dump``: each line as bpftool has it, of every kind, of an object file, of the kernel, of a program."""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
from support.bpftool import files

from bpfasm import cli
from bpfasm.asm import *
from bpfasm.kernel import load
from bpfasm.kernel.needs import missing
from tests.differential.test_btf_c import KINDS
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


SOURCE = (
    KINDS
    + r"""
struct node first;
static int counter = 5;
extern int elsewhere;
int use(struct node *n, void *other) { return n->a.low + counter + elsewhere + first.colour; }
"""
)


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
