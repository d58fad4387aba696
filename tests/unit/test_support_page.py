"""The page of what works where: made from the document of a run, and that is a real one's."""

import json
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = json.loads((ROOT / "docs/support_matrix.json").read_text())


@pytest.fixture
def directives(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "docs/_ext"), *sys.path])
    return pytest.importorskip("support_matrix")


def test_the_run_is_whole_and_all_is_well():
    jsonschema.validate(RUN, json.loads((ROOT / "bpfasm/views/schemas/lab-matrix-1.json").read_text()))
    assert RUN["command"] is None
    assert {kernel["result"] for kernel in RUN["kernels"]} == {"ok"}
    assert {kernel["kernel"] for kernel in RUN["kernels"]} >= {"5.10", "6.1", "6.12", "7"}


def test_reasons_become_footnotes(directives):
    def area(counts, *reasons):
        return {"area": "tests/live/test_maps.py", "counts": counts, "reasons": dict.fromkeys(reasons, 1)}

    def kernel(name, *areas):
        lacks = ["FPROBE"] if name != "7" else []
        return {"kernel": name, "release": f"{name}.0", "lacks": lacks, "areas": areas}

    old = area({"skipped": 3, "passed": 2}, "b came with Linux 6.6: refused", "a came with Linux 6.6", "no kprobes")
    run = {
        "date": "2026-01-02",
        "version": "1",
        "kernels": [kernel("5.10", old), kernel("6.1", area({"passed": 4, "skipped": 1}, "no kprobes")), kernel("7")],
    }
    lines = directives.page(run)
    assert lines[0] == "Run on 2026-01-02 with bpfasm 1."
    cells = [line[7:] for line in lines if line[:7] in {"   * - ", "     - "}]
    assert cells[20:24] == ["Maps in the kernel", "2, 3 skipped [1]_ [2]_", "4, 1 skipped [2]_", r"\-"]
    assert [cells[i : i + 4] for i in range(8, 20, 4)] == [
        ["passed", "2", "4", "0"],
        ["failed", "0", "0", "0"],
        ["skipped", "3", "1", "0"],
    ]
    assert [line for line in lines if line.startswith(".. [")] == [
        ".. [1] ``a``, ``b`` came with Linux 6.6",
        ".. [2] no kprobes",
    ]
    assert cells[24:] == [
        *("``CONFIG_``", "what it gives", "5.10", "6.1", "7"),
        *("``FPROBE``", "kprobe.multi", "no", "no", ""),
    ]


@pytest.fixture
def support(directives):
    return pytest.importorskip("support_table")


def test_the_table_of_what_there_is(support):
    """Each row has a release, from the table of probes or its own, and tests that are there, or says why not."""
    rows = support.rows()
    assert len(rows) > 30
    for row in rows:
        assert set(row) - {"since", "features", "why"} == {"what", "how", "tests"}
        assert ("since" in row) != ("features" in row)
        assert bool(row["tests"]) != bool(row.get("why"))
        assert all((ROOT / path).is_file() for path in row["tests"])
        assert support.since(row)


def test_every_file_of_live_tests_of_the_kernel_layer_is_in_it(support):
    named = {path for row in support.rows() for path in row["tests"]}
    others = {
        "chowncount",
        "execs",
        "kprobes",
        "lessons",
        "meaning",
        "pages",
        "programs_page",
        "raw_tracepoints",
        "registers",
    }
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/live").glob("test_*.py")}
    assert files - named <= {f"tests/live/test_{name}.py" for name in others}
