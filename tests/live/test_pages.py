"""The Python of docs/links.rst and docs/objects.rst on the running kernel."""

import os
import re
from pathlib import Path

import pytest
from support.network import alone, veth

from bpfasm.asm import *
from bpfasm.elf.object_write import write_object
from bpfasm.kernel import features, load
from bpfasm.kernel.attach import attach
from bpfasm.kernel.query import query

XDP_PASS = 2
DOCS = Path(__file__).parents[2] / "docs"


def block(page, number):
    """Return a block of Python of a page."""
    found = re.findall(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", (DOCS / page).read_text("utf-8"), re.M)
    return "\n".join(line[3:] for line in found[number].splitlines())


def test_the_first_link(tracefs_root, capsys):
    """What is left out at ``...`` opens a file, which the program counts."""
    if not os.path.isdir(f"{tracefs_root}/events/syscalls"):
        pytest.skip("this kernel is built without CONFIG_FTRACE_SYSCALLS")
    code = block("links.rst", 0).replace("...", 'open("/dev/null").close()')
    exec(compile(code, "links.rst", "exec"), {})
    mode, count = capsys.readouterr().out.split()
    assert mode in ("link", "perf")
    assert int(count) >= 1


def test_the_first_object(tmp_path, monkeypatch, capsys):
    limit, seen = Global("limit", u32, 1, const=True), Global("seen", u32, 3)
    counts = HashMap("counts", key=u32, value=u64, max_entries=1)
    insns = [*(BPF_LD_MAP_VALUE(R1, each, 0) for each in (limit, seen)), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
    program = Program("prog", BPF_PROG_TYPE_RAW_TRACEPOINT, insns, attach=raw_tracepoint("sched_switch"))
    (tmp_path / "prog.bpf.o").write_bytes(write_object(program, counts))
    monkeypatch.chdir(tmp_path)
    exec(compile(block("objects.rst", 0), "objects.rst", "exec"), {})
    assert capsys.readouterr().out.endswith(" 3\n")


def passing(name, type, returns):
    return Program(name, type, [BPF_MOV64_IMM(R0, returns), BPF_EXIT_INSN()])


@pytest.mark.parametrize("number", [0, 1, 2])
def test_xdp(number):
    """Each line by itself, on a device of that name; the last takes the place of a program that is there."""
    pytest.importorskip("pyroute2")
    _, *lines = block("links.rst", 4).strip().splitlines()
    assert len(lines) == 3
    drops, old = (passing(name, BPF_PROG_TYPE_XDP, XDP_PASS) for name in ("drops", "old"))

    def run():
        veth("v0", "eth0")
        with load(drops, old) as obj:
            if "replace=" in lines[number]:
                attach(obj[old], xdp("eth0"), mode="netlink")
            names = {"attach": attach, "xdp": xdp, "drops": drops, "old": old, "obj": obj}
            exec(lines[number].strip(), names)
            assert [each.target.device for each in [names["link"]]] == ["eth0"]

    alone(run)


def test_tcx():
    """The first part of the block; the other is of a cgroup that is not there."""
    if features.ask("link/tcx").state != "yes":
        pytest.skip("this kernel has no tcx")
    code = block("links.rst", 5).partition("\n\n")[2].partition("\n\n")[0]
    first = passing("first", BPF_PROG_TYPE_SCHED_CLS, -1)

    def run():
        veth("v0", "eth0")
        with load(first) as obj:
            exec(code, {"attach": attach, "tcx": tcx, "first": first, "obj": obj, "query": query})
            assert len(query(tcx("eth0", "ingress")).prog_ids) == 1

    alone(run)
