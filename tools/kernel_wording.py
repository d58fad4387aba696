"""Write ``docs/kernel_wording.rst``: where older kernels word an instruction in another way.

Usage: python tools/kernel_wording.py [--check]

Needs apt-get, dpkg-deb and gcc. The disassemblers of the Debian releases' kernels print samples of every form, and
what differs from bpfasm's text is a row of the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import kernel_forms
import kernel_source
from samples import build, samples

from bpfasm.asm.syntax import kernel
from bpfasm.isa.form import Form
from bpfasm.isa.insn import Insn, encode
from bpfasm.isa.table import FORMS

PAGE = Path(__file__).parents[1] / "docs" / "kernel_wording.rst"
NAMES = {"5.10": "Debian 11", "6.1": "Debian 12", "6.12": "Debian 13"}
NONE = "\u2013"

HEAD = """\
.. Written by tools/kernel_wording.py from the kernels' sources, do not edit.

Words of older kernels
======================

bpfasm prints an instruction in the words of Linux {newest}. The disassemblers of {older}
have been given {count} samples of each of the {forms} forms. A form that is not on this page has the same
words in all of them.

"""

HAVE = """\
Forms that the kernel has
-------------------------

Where the text in a log or in a dump of a translated program is not the one in the second column. "{none}" is no
difference, or no such form. {backported}

"""

HAVE_NOT = """\
Forms that came later
---------------------

A kernel refuses an instruction that is newer than it is, and its log has these words for it. Some are those of
another instruction.

"""

#: Operands that are easy to read, tried before the others.
PLAIN = {"dst_reg": 1, "src_reg": 2, "off": 8, "off2": 0, "imm": 5, "imm2": 0}
PLAIN_ROLES = {"cast": 1 << 16}


def plain(role: str, field: str) -> int:
    """Return an operand that is easy to read."""
    return PLAIN_ROLES.get(role, PLAIN[field])


def page(count: int = 100) -> str:
    """Return the page, from what is cached or can be fetched. Raises debian.FetchError."""
    pairs = [(form, build(form, plain)) for form in FORMS] + samples(count - 1)
    texts = {series: texts_of(series, [insn for _, insn in pairs]) for series in kernel_source.SUITES}
    rows: dict[str, tuple[Form, str, dict[str, str]]] = {}
    for (form, insn), *others in zip(pairs, *texts.values(), strict=True):
        ours = kernel.words(insn, form)
        if any(other != ours for other in others):
            rows.setdefault(form.name, (form, ours, dict(zip(texts, others, strict=True))))
    newest = ".".join(kernel_source.newest().name.split(".")[:2])
    older = [f"{series} ({NAMES[series]})" for series in texts]
    head = HEAD.format(newest=newest, older=f"{', '.join(older[:-1])} and {older[-1]}", count=count, forms=len(FORMS))
    return (
        head
        + HAVE.format(none=NONE, backported=backported())
        + table(rows, newest, has=True)
        + "\n"
        + HAVE_NOT
        + table(rows, newest, has=False)
    )


def backported() -> str:
    """Say which series have a form though they are older than it."""
    return " ".join(
        f"The series {series} was given {name} after its release." for series, name in sorted(kernel_forms.BACKPORTED)
    )


def texts_of(series: str, insns: list[Insn]) -> list[str]:
    """Return the texts of a released kernel's disassembler."""
    with tempfile.TemporaryDirectory() as scratch:
        disassembler = kernel_source.Disassembler(kernel_source.released(series), Path(scratch))
        return disassembler.texts([encode([insn]) for insn in insns])


def table(rows: dict[str, tuple[Form, str, dict[str, str]]], newest: str, *, has: bool) -> str:
    """Return the table of the forms that the older kernels have, or have not."""
    return "\n".join(table_lines(rows, newest, has=has)) + "\n"


def table_lines(rows: dict[str, tuple[Form, str, dict[str, str]]], newest: str, *, has: bool) -> Iterator[str]:
    yield ".. list-table::"
    yield "   :header-rows: 1"
    yield ""
    yield from cells("form", f"Linux {newest}", "from", *kernel_source.SUITES)
    for form, ours, texts in rows.values():
        if form.dialect != "source" and not has:
            continue
        shown = {
            series: text if text != ours and kernel_forms.has(form, series) is has else NONE
            for series, text in texts.items()
        }
        if any(text != NONE for text in shown.values()):
            quoted = (text if text == NONE else f"``{text}``" for text in shown.values())
            yield from cells(form.name, f"``{ours}``", form.since, *quoted)


def cells(first: str, *rest: str) -> Iterator[str]:
    """Yield the lines of one row."""
    yield f"   * - {first}"
    for text in rest:
        yield f"     - {text}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page would change")
    text = page()
    if parser.parse_args().check:
        return int(PAGE.read_text() != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
