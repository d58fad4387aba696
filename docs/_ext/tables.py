"""Directives that print the project's own tables, so that a page cannot differ from the code."""

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.map_types import MapType


class Table(SphinxDirective):
    """A list-table made from rows of reST cells."""

    header: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: auto", ""]
        for row in (self.header, *self.rows()):
            for number, cell in enumerate(row):
                lines.append(f"   {'* -' if number == 0 else '  -'} {cell}")
        box = nodes.container(classes=["wide-table"])
        self.state.nested_parse(StringList(lines, source="tables"), self.content_offset, box)
        return [box]


def code(text: str) -> str:
    """Return text as a reST literal, or nothing."""
    return f"``{text}``" if text else ""


class Forms(Table):
    """The forms of the instruction table: ``.. forms:: KIND ...``."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {"dialect": directives.unchanged}  # noqa: RUF012
    header = ("code", "kernel text", "macro", "llvm", "ubpf", "computes", "ISA", "since", "RFC group", "form")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each form of the kinds that were asked for."""
        from bpfasm.isa.table import FORMS

        kinds, dialect = self.arguments[0].split(), self.options.get("dialect", "source")
        return [
            (
                code(f"{form.code:02x}"),
                code(form.kernel),
                code(form.macro),
                code("" if form.llvm == form.kernel else form.llvm),
                code(form.ubpf),
                code(form.meaning),
                form.isa,
                form.since or "never",
                form.group,
                code(form.name),
            )
            for form in FORMS
            if (kinds == ["all"] or form.kind in kinds) and form.dialect == dialect
        ]


class Verbs(Table):
    """The verbs of the command line."""

    header = ("verb", "what it does")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each verb."""
        from bpfasm.cli import VERBS

        return [(code(f"bpfasm {verb}"), what) for verb, (_, _, what) in VERBS.items()]


class ProgTypes(Table):
    """The types of programs."""

    header = ("type", "since", "R1", "expected_attach_type", "returns", "license", "may sleep", "test run", "note")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each type."""
        from bpfasm.asm.prog_types import ANY, REQUIRED, TYPES
        from bpfasm.uapi import bpf, names

        attach = names(bpf, "bpf_attach_type")
        return [
            (
                code(row.name.removeprefix("BPF_PROG_TYPE_")),
                row.since,
                code(row.ctx) if row.ctx.startswith("struct ") else row.ctx,
                ", ".join(code(attach[each].removeprefix("BPF_")) for each in row.attach_types)
                + (" \\*" if row.attach == REQUIRED else ""),
                row.returns or ("any" if row.attach == ANY else ""),
                "GPL" if row.gpl else "",
                row.sleepable,
                ", ".join(row.run) if row.run is not None else "",
                row.note.replace("*", "\\*"),
            )
            for row in TYPES.values()
        ]


class Helpers(Table):
    """The helper functions."""

    header = ("number", "prototype", "since", "license", "does")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each helper."""
        from bpfasm.isa.helpers import all_helpers

        return [
            (
                str(row.id),
                code(row.prototype),
                row.since,
                ("GPL" if row.gpl else "") + (f", {row.gpl_note}" if row.gpl_note else ""),
                row.meaning,
            )
            for row in all_helpers()
        ]


class Errnos(Table):
    """What bpf(2) means by an errno."""

    header = ("errno", "bpf(2) means")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each."""
        from bpfasm.views.errnos import MEANINGS

        return [(code(name), text) for name, text in MEANINGS.items()]


class MapTypes(Table):
    """The types of map: what each takes, and what can be done with it."""

    header = ("declared with", "since", "key", "value", "max_entries", "user space", "in batches", "")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each type."""
        from bpfasm.asm.map_types import all_types

        return [self._row(row) for row in all_types()]

    def _row(self, row: "MapType") -> tuple[str, ...]:
        from bpfasm.asm.map_types import RINGS
        from bpfasm.asm.maps_refused import numbers, sizes

        words = {"index": "u32, from 0", "handle": f"fd: {row.handle}", "prefix": f"bits, data: {sizes(row.key)}"}
        value = f"fd: {row.handle}" if row.handle and row.keys != "handle" else sizes(row.value)
        plain = [self._op(op, row) for op in ("lookup", "update", "delete", "next", "take") if op in row.ops]
        batches = [self._op(op, row) for op in row.ops if op.endswith("_batch")]
        return (
            code(row.spec),
            row.since,
            words.get(row.keys, sizes(row.key)),
            f"{value}, each CPU" if row.per_cpu else value,
            "bytes" if row.type in RINGS else numbers(row.entries),
            ", ".join(plain) or "none of these",
            ", ".join(batches),
            row.note,
        )

    def _op(self, op: str, row: "MapType") -> str:
        since = row.ops[op]
        return f"{op.removesuffix('_batch')} ({since})" if since else op.removesuffix("_batch")


class SectionNames(Table):
    """What the names of an object's sections say."""

    header = ("section", "type", "attach type", "flags", "behind the /")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each name."""
        from bpfasm.elf.sections import ROWS
        from bpfasm.uapi import bpf, names

        types, attach = names(bpf, "bpf_prog_type"), names(bpf, "bpf_attach_type")
        flags = {bpf.BPF_F_SLEEPABLE: "BPF_F_SLEEPABLE", bpf.BPF_F_XDP_HAS_FRAGS: "BPF_F_XDP_HAS_FRAGS"}
        return [
            (
                code(row.name),
                code(types[row.type].removeprefix("BPF_PROG_TYPE_")),
                code(attach[row.attach_type]) if row.attach_type else "",
                code(flags.get(row.flags, "")),
                row.target,
            )
            for row in ROWS
        ]


class Capstone(Table):
    """What capstone makes of each form that can be loaded, where that is not what it is."""

    header = ("form", "kernel text", "capstone's", "")

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each form that it gets wrong; its text of an example, and what that is."""
        from bpfasm.asm.syntax import kernel
        from bpfasm.asm.syntax.dialect import example
        from bpfasm.isa.table import FORMS
        from bpfasm.views.compare import NOTHING, SAME, columns

        loadable = [form for form in FORMS if form.dialect == "source"]
        insns = [example(form, form.macro) for form in loadable]
        # An example whose offset is positive: negative ones are all printed without their sign.
        return [
            (
                code(form.name),
                code(kernel.words(insn, form)),
                code(text),
                "nothing" if verdict == NOTHING else "another",
            )
            for form, insn, (text, verdict) in zip(loadable, insns, columns(insns), strict=True)
            if verdict != SAME
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("capstone", Capstone)
    app.add_directive("forms", Forms)
    app.add_directive("helpers", Helpers)
    app.add_directive("errnos", Errnos)
    app.add_directive("map-types", MapTypes)
    app.add_directive("verbs", Verbs)
    app.add_directive("section-names", SectionNames)
    app.add_directive("prog-types", ProgTypes)
    return {"parallel_read_safe": True}
