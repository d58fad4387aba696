"""Directives that print the last run of the live tests on every kernel: ``docs/support_matrix.json``."""

import ast
import json
import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from bpfasm import lab
from bpfasm.views.matrix import totals

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "docs" / "support_matrix.json"

#: A reason that names one of many forms: they are told together.
OF_A_FORM = re.compile(r"(\w+) (came with Linux [\d.]+)(: .*)?")


class SupportMatrix(SphinxDirective):
    """The kernels, what each area of the tests came to on them, and why tests were skipped."""

    def run(self) -> list[nodes.Node]:
        """Return the tables and the footnotes."""
        self.env.note_dependency(str(RUN))
        box = nodes.container(classes=["wide-table"])
        self.state.nested_parse(StringList(list(page(json.loads(RUN.read_text())))), self.content_offset, box)
        return [box]


def page(run: dict) -> list[str]:
    """Return the reST of a run."""
    notes: dict[str, int] = {}
    kernels = run["kernels"]
    header = ["", *(f"{kernel['kernel']}" for kernel in kernels)]
    rows = [
        ["release", *(f"``{kernel['release']}``" for kernel in kernels)],
        *([what, *(cell(what, kernel) for kernel in kernels)] for what in ("passed", "failed", "skipped")),
    ]
    areas = sorted({area["area"] for kernel in kernels for area in kernel["areas"]})
    for name in areas:
        found = [next((area for area in kernel["areas"] if area["area"] == name), None) for kernel in kernels]
        rows.append([title(name), *(of_area(area, notes) for area in found)])
    return [
        f"Run on {run['date']} with bpfasm {run['version']}.",
        *table([header, *rows]),
        *(f".. [{number}] {reason}" for reason, number in notes.items()),
        "",
        "What their configurations do not have (empty: they have it):",
        *table([["``CONFIG_``", "what it gives", *header[1:]], *lacking(kernels)]),
    ]


def table(rows: list[list[str]]) -> list[str]:
    """Return a table, the first row as its header."""
    lines = ["", ".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'* -' if number == 0 else '  -'} {text}" for number, text in enumerate(row)]
    return [*lines, ""]


def lacking(kernels: list[dict]) -> list[list[str]]:
    """Return a row for each option of the configuration that one of the kernels does not have."""
    return [
        [f"``{option}``", meaning, *("no" if option in kernel["lacks"] else "" for kernel in kernels)]
        for option, meaning in lab.options().items()
        if any(option in kernel["lacks"] for kernel in kernels)
    ]


def cell(what: str, kernel: dict) -> str:
    """Return a number of a kernel as a whole."""
    counts = totals(kernel)
    return str(counts["failed"] + counts["error"] if what == "failed" else counts[what])


def title(area: str) -> str:
    """Return what a file of tests is about: the beginning of its docstring."""
    file = ROOT / area
    words = (file.exists() and ast.get_docstring(ast.parse(file.read_text()))) or area
    return re.split(r"[:;.,](?:\s|$)", words)[0]


def of_area(area: dict | None, notes: dict[str, int]) -> str:
    """Return what an area came to on a kernel, with the numbers of the footnotes."""
    if area is None:
        return r"\-"  # a dash alone would begin a list
    text = ", ".join(
        str(count) if what == "passed" else f"{count} {what}" for what, count in sorted(area["counts"].items())
    )
    marks = " ".join(f"[{notes.setdefault(reason, len(notes) + 1)}]_" for reason in grouped(area["reasons"]))
    return f"{text} {marks}".rstrip()


def grouped(reasons: dict[str, int]) -> list[str]:
    """Return the reasons, those that differ in a form's name alone as one."""
    forms: dict[str, list[str]] = {}
    others = []
    for reason in reasons:
        found = OF_A_FORM.fullmatch(reason)
        if found:
            forms.setdefault(found[2], []).append(f"``{found[1]}``")
        else:
            others.append(reason)
    return [f"{', '.join(sorted(names))} {came}" for came, names in sorted(forms.items())] + sorted(others)


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("support-matrix", SupportMatrix)
    return {"parallel_read_safe": True}
