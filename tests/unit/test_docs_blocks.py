"""Blocks of the pages that no doctest runs: Python finds its names, commands have their verbs and options."""

import ast
import builtins
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import bpfasm.asm
from bpfasm import cli
from bpfasm.asm import *
from bpfasm.asm.syntax.macro import body
from bpfasm.btf.read import Btf
from bpfasm.btf.write import Writer
from bpfasm.elf.object import read_object
from bpfasm.elf.object_write import write_object
from bpfasm.inputs import shipped

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.rst")), ROOT / "README.md"]
NOTATION = {name: getattr(bpfasm.asm, name) for name in bpfasm.asm.__all__}


def blocks(path, *languages):
    """Return the code of a page's blocks in some languages, reST or Markdown."""
    text, words = path.read_text(encoding="utf-8"), "|".join(languages)
    if path.suffix == ".md":
        return re.findall(rf"^```(?:{words})\n(.*?)^```", text, re.M | re.S)
    found = re.findall(rf"^\.\. code-block:: (?:{words})\n\n((?:   .*\n|\n)+)", text, re.M)
    return ["\n".join(line[3:] for line in block.splitlines()).strip("\n") + "\n" for block in found]


def one(name, number=0):
    return blocks(ROOT / name, "python")[number]


IN_PYTHON = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name != "rules.rst"  # whose examples are run, each by itself
    for number, block in enumerate(blocks(page, "python"))
    if ">>>" not in block  # a doctest
]


@pytest.mark.parametrize("block", IN_PYTHON)
def test_python_is_python_and_imports_what_there_is(block):
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "bpfasm":
            module = importlib.import_module(node.module)
            for each in node.names:
                there = each.name == "*" or hasattr(module, each.name)
                assert there or importlib.import_module(f"{node.module}.{each.name}")


#: What a block takes from the text around it.
AROUND = {
    "links.rst": {"load", "attach", "drops", "old", "obj", "first"},
    "objects.rst": {"obj"},
}


@pytest.mark.parametrize("page", ["lab.rst", "links.rst", "objects.rst", "testing.rst"])
def test_python_names_what_there_is(page):
    """A name is the notation's, Python's, the page's own from an earlier block, or what stands for the reader's."""
    known = {*NOTATION, *dir(builtins), *AROUND.get(page, ())}
    for block in blocks(ROOT / "docs" / page, "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                known |= {each.asname or each.name for each in node.names}
            elif isinstance(node, ast.FunctionDef):
                known |= {node.name, *(each.arg for each in node.args.args)}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                known.add(node.id)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert used - known == set()


def test_what_the_lab_has_in_python():
    """Attributes and arguments of the page's example, without a guest."""
    import inspect

    from bpfasm import lab

    owners = {"lab": lab, "guest": lab.Guest, "result": lab.Result, "outcome": lab.Outcome}
    seen = set()
    for node in ast.walk(ast.parse(one("docs/lab.rst"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = owners[node.value.id]
            assert hasattr(owner, node.attr) or node.attr in owner.__annotations__, ast.unparse(node)
            seen.add(node.value.id)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            made = getattr(owners[node.func.value.id], node.func.attr)
            own = [None] if node.func.value.id == "guest" else []
            inspect.signature(made).bind(*own, *node.args, **{each.arg: each.value for each in node.keywords})
    assert seen >= {"lab", "guest", "outcome"}


def test_the_program_of_the_readme_is_the_example():
    names = {}
    exec(one("README.md"), names)
    example = shipped("examples/chowncount.py")
    assert body(names["chowncount"].insns) == body(example["chowncount"].insns)
    assert names["chowncount"].attach == example["chowncount"].attach


def test_the_fields_of_a_tracepoint():
    names = dict(NOTATION)
    exec(one("docs/links.rst", 1), names)
    assert [each.off for each in names["body"][:2]] == [names["opened"].field(name) for name in ("filename", "flags")]


def test_a_program_in_another_container():
    assert eval(one("docs/links.rst", 2), dict(NOTATION)).inside == 4711


def test_an_object_for_another_kernel(tmp_path, monkeypatch, capsys):
    """What the page opens is made here: an object that asks for a field, and the types of a kernel without it."""
    insns = [BPF_LDX_MEM(BPF_W, R0, R1, field("task_struct", "pid")), BPF_EXIT_INSN()]
    types = Writer()
    types.add_struct("task_struct", 8, [("tgid", types.add_int("int", 4), 0)])
    (tmp_path / "vmlinux.btf").write_bytes(types.to_bytes())
    types = Writer()
    types.add_struct("task_struct", 8, [("pid", types.add_int("int", 4), 32)])
    made = write_object(
        Program("prog", BPF_PROG_TYPE_KPROBE, insns, attach=kprobe("vfs_read")), types=Btf(types.to_bytes())
    )
    monkeypatch.chdir(tmp_path)
    exec(one("docs/objects.rst", 1), {"obj": read_object(made, "prog.o")})
    assert "task_struct" in capsys.readouterr().out


def test_a_test_of_the_reader(tmp_path):
    """The page's test passes, by the commands that need no guest."""
    (tmp_path / "test_it.py").write_text(one("docs/testing.rst"))
    for line in ("pytest", "pytest --on live"):
        words = [sys.executable, "-m", *shlex.split(line), "-q", "-p", "no:cacheprovider"]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_PLUGINS": "bpfasm.testing.plugin"}
        done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr


# Commands


def commands():
    """Yield (page, words) of each command of ours in a block of sh, and in the README's indented ones."""
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        if page.suffix == ".md":
            lines += [line.strip() for line in page.read_text(encoding="utf-8").splitlines() if line[:4] == "    "]
        for line in lines:
            words = shlex.split(line, comments=True)
            if words[:1] in (["bpfasm"], ["./run"]):
                yield pytest.param(words, id=f"{page.name}-{' '.join(words)}")


@pytest.mark.parametrize("words", list(commands()))
def test_a_command_has_its_verb_and_options(words, capsys):
    program, *words = words
    if program == "./run" and words[:1] in ([], ["test"], ["fuzz"]):
        assert " ".join(["./run", *words]) in (ROOT / "run").read_text()
        return
    own = words[: words.index("--")] if "--" in words else words
    verb = own[: 2 if own[0] == "lab" else 1]
    with pytest.raises(SystemExit) as left:
        cli.main([*verb, "--help"])
    assert left.value.code == 0
    told = capsys.readouterr().out
    assert told
    assert [word for word in own if word.startswith("--") and word.partition("=")[0] not in told] == []
