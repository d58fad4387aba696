"""``bpfasm lesson``: list, start, check, hint."""

from __future__ import annotations

import os
import sys

from bpfasm import inputs, place
from bpfasm.cli.options import Parser, add_on
from bpfasm.errors import FeatureMissing, UsageError
from bpfasm.lesson import check, model, progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable

    from bpfasm.lesson.check import Step
    from bpfasm.lesson.model import Lesson


def main(argv: list[str]) -> int:
    """Run ``bpfasm lesson``."""
    parser = Parser(
        "lesson",
        "Learn eBPF one program at a time: start puts an exercise into ./bpfasm-lessons, check judges it by a real\n"
        "verifier, hint helps, one step at a time.",
        """
  bpfasm lesson start 1
  bpfasm lesson check 1
""",
    )
    parser.add_argument("action", choices=("list", *ACTIONS), help="what to do")
    parser.add_argument("lesson", nargs="?", metavar="N", help="number or name of the lesson")
    parser.add_argument("--step", type=int, default=1, metavar="K", help="which hint (default: the first)")
    add_on(parser)
    args = parser.parse_args(argv)
    folder = inputs.shipped_path("lessons")
    if args.action == "list":
        return _list(model.lessons(folder))
    if args.lesson is None:
        raise UsageError(f"lesson {args.action} needs a number", f"bpfasm lesson {args.action} 1", rule="usage")
    return ACTIONS[args.action](model.find(folder, args.lesson), args)


def _list(lessons: Iterable[Lesson]) -> int:
    done = progress.done()
    for lesson in lessons:
        mark = "x" if lesson.name in done else " "
        print(f"[{mark}] {lesson.number:2}  {lesson.title:<24} {lesson.minutes:>3} min  {lesson.goal}")
    return 0


def _start(lesson: Lesson, _: Namespace) -> int:
    """Give the learner the exercise, unless they have it, and its text."""
    with open(lesson.file("exercise.py"), encoding="utf-8") as source:
        progress.start(lesson.name, source.read())
    print(lesson.text())
    print(f"Edit {progress.exercise(lesson.name)}, then: bpfasm lesson check {lesson.number}")
    return 0


def _hint(lesson: Lesson, args: Namespace) -> int:
    count = len(lesson.hints)
    if not 1 <= args.step <= count:
        raise UsageError(f"lesson {lesson.number} has {count} hints", f"--step takes 1 to {count}", rule="usage")
    print(f"Hint {args.step} of {count}: {lesson.hints[args.step - 1]}")
    if args.step < count:
        print(f"More: bpfasm lesson hint {lesson.number} --step {args.step + 1}")
    return 0


def _check(lesson: Lesson, args: Namespace) -> int:
    """Judge the learner's file by a kernel, or, where there is none, by the solution."""
    path = progress.exercise(lesson.name)
    if not os.path.exists(path):
        raise UsageError(
            f"there is no {path}", f"bpfasm lesson start {lesson.number} puts the exercise there", rule="not-started"
        )
    program = inputs.read(f"{path}:{lesson.program}").one()
    words = ["lesson", "check", str(lesson.number)]
    try:
        status = place.run(
            words, args.on, lesson.needs, lambda: _show(lesson, check.check(lesson, program)), files=[progress.FOLDER]
        )
    except FeatureMissing as error:
        if error.rule != "nowhere":
            raise
        solution = inputs.read(f"{lesson.file('solution.py')}:{lesson.program}").one()
        print(f"No verifier: {error.what}.\n{error.do}", file=sys.stderr)
        status = _show(lesson, [check.compare(program, solution)])
    if status == 0:
        progress.mark(lesson.name)
    return status


def _show(lesson: Lesson, steps: Iterable[Step]) -> int:
    """Print each step; return 1 when one failed."""
    for step in steps:
        print(f"{'ok  ' if step.ok else 'no  '}{step.what}", flush=True)
        if not step.ok:
            print(step.more)
            return 1
    print(f"Lesson {lesson.number} is done.")
    return 0


ACTIONS: dict[str, Callable[[Lesson, Namespace], int]] = {"start": _start, "check": _check, "hint": _hint}
