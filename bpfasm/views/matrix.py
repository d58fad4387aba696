"""What came of a command, or of the live tests, on each kernel: a JSON document, and the text made from it."""

from __future__ import annotations

import time
from collections import Counter

from bpfasm import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from bpfasm.lab import Outcome

    Document = dict[str, Any]

#: What may come of it on a kernel. The lab's own failures are the last.
OK, FAILED, TIMEOUT, LAB_FAILED = "ok", "failed", "timeout", "lab failed"


def document(command: Sequence[str] | None, kernels: Iterable[Document]) -> Document:
    """Return the document bpfasm/lab-matrix/1; ``command`` is None for the live tests."""
    return {
        "schema": "bpfasm/lab-matrix/1",
        "version": __version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": None if command is None else list(command),
        "kernels": list(kernels),
    }


def of_outcome(outcome: Outcome) -> Document:
    """Return what a command did on a kernel."""
    if outcome.error:
        result = LAB_FAILED
    elif outcome.timed_out:
        result = TIMEOUT
    else:
        result = FAILED if outcome.status else OK
    return {
        "kernel": outcome.kernel.version,
        "release": outcome.kernel.release,
        "lacks": list(outcome.kernel.lacks),
        "result": result,
        "seconds": round(outcome.seconds, 1),
        "status": outcome.status,
        "output": outcome.output.decode(errors="replace"),
        "error": str(outcome.error) if outcome.error else None,
    }


def of_tests(results: Document, lacks: Iterable[str]) -> Document:
    """Return what the live tests came to on a kernel, from an entry of the plugin's ``--lab-report``.

    ``lacks`` are the options that the kernel's configuration does not have, as far as that is known.
    """
    counts = totals(results)
    bad = counts["failed"] + counts["error"]
    if results["release"] is None or results["absent"]:
        result = LAB_FAILED
    else:
        result = FAILED if bad else OK
    return {
        "kernel": results["kernel"],
        "release": results["release"],
        "lacks": list(lacks),
        "result": result,
        "seconds": results["seconds"],
        "areas": results["areas"],
        "error": results["absent"],
    }


def totals(kernel: Document) -> Counter[str]:
    """Return how many tests passed, failed, ... in all the areas of a kernel."""
    return sum((Counter(area["counts"]) for area in kernel["areas"]), Counter())


def progress(kernel: Document) -> str:
    """Return the line that is shown when a kernel is done."""
    return f"{kernel['kernel']}: {_result(kernel)}, {kernel['seconds']} s"


def text(document: Document, *, verbose: bool = False) -> Iterator[str]:
    """Yield the lines of a document: what was written where it failed (or everywhere), then one table."""
    kernels = document["kernels"]
    if document["command"] is None:
        yield from _columns(
            ("KERNEL", "RELEASE", "RESULT", "PASSED", "FAILED", "SKIPPED", "SECONDS"), map(_tested, kernels)
        )
        return
    for kernel in kernels:
        if verbose or kernel["result"] != OK:
            yield f"== {kernel['kernel']}: {_result(kernel)}"
            yield from (kernel["output"] + (kernel["error"] or "")).splitlines()
            yield ""
    yield from _columns(("KERNEL", "RELEASE", "RESULT", "SECONDS", "LAST LINE"), map(_ran, kernels))


def _result(kernel: Document) -> str:
    status = kernel.get("status")
    return f"status {status}" if status else str(kernel["result"])


def _ran(kernel: Document) -> tuple[str, ...]:
    lines = (kernel["error"] or kernel["output"]).splitlines()
    last = lines[0 if kernel["error"] else -1] if lines else ""
    return kernel["kernel"], kernel["release"] or "-", _result(kernel), str(kernel["seconds"]), last


def _tested(kernel: Document) -> tuple[str, ...]:
    counts = totals(kernel)
    numbers = counts["passed"], counts["failed"] + counts["error"], counts["skipped"], kernel["seconds"] or "-"
    return kernel["kernel"], kernel["release"] or "-", _result(kernel), *map(str, numbers)


def _columns(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield rows in columns; those of numbers are set to the right."""
    table = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = [name in {"PASSED", "FAILED", "SKIPPED", "SECONDS"} for name in header]
    for row in table:
        cells = (
            f"{cell:>{width}}" if at else f"{cell:<{width}}"
            for cell, width, at in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()
