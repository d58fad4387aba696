"""A directive that prints what bpfasm supports: since when, by the tables, and tested where, by the last run."""

import json
import tomllib
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from support_matrix import RUN, table

from bpfasm.kernel.features import find

ROWS = Path(__file__).resolve().parents[1] / "support.toml"


class SupportTable(SphinxDirective):
    """The table of what there is."""

    def run(self) -> list[nodes.Node]:
        """Return it."""
        for path in (ROWS, RUN):
            self.env.note_dependency(str(path))
        box = nodes.container(classes=["wide-table"])
        self.state.nested_parse(StringList(page()), self.content_offset, box)
        return [box]


def rows() -> list[dict]:
    """Return the rows as they are written."""
    return tomllib.loads(ROWS.read_text())["row"]


def since(row: dict) -> str:
    """Return the release that brought it: of a feature in the table of probes, or as the row says."""
    return row.get("since") or ", ".join(dict.fromkeys(find(id).since for id in row["features"]))


def tested(row: dict) -> str:
    """Return the tests, each with the kernels on which the last run of all found it to pass."""
    areas: dict[str, list[str]] = {}
    for kernel in json.loads(RUN.read_text())["kernels"]:
        for area in kernel["areas"]:
            if area["counts"].get("passed") and not area["counts"].get("failed"):
                areas.setdefault(area["area"], []).append(kernel["kernel"])
    found = []
    for path in row["tests"]:
        kernels = areas.get(path)
        found.append(f"``{Path(path).stem}``{f' ({chr(44).join(kernels)})' if kernels else ''}")
    return ", ".join(found)


def page() -> list[str]:
    """Return the reST of the table."""
    header = ["what", "how", "kernel", "tested in (on)"]
    body = [[row["what"], row["how"], since(row), tested(row) if row["tests"] else row["why"]] for row in rows()]
    return table([header, *body])


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("support-table", SupportTable)
    return {"parallel_read_safe": True}
