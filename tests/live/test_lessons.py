"""Lessons on the running kernel: every exercise fails as it is given, every solution passes."""

from pathlib import Path

import pytest

from bpfasm import inputs
from bpfasm.lesson import check, model

ROOT = Path(__file__).parents[2]
LESSONS = model.lessons(str(ROOT / "lessons"))

pytestmark = [
    pytest.mark.lab,
    pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name),
]


def judge(lesson, file):
    """Return the steps of a check of one of the lesson's files."""
    program = inputs.read(f"{lesson.file(file)}:{lesson.program}").one()
    return list(check.check(lesson, program))


def test_the_solution_passes(lesson):
    steps = judge(lesson, "solution.py")
    assert [step.what for step in steps if not step.ok] == []
    assert steps[-1].what == f"it returns {lesson.returns}"


def test_the_exercise_fails_and_says_where(lesson):
    steps = judge(lesson, "exercise.py")
    failed = steps[-1]
    assert (failed.ok, failed.what) == (False, "the verifier refuses it")
    assert failed.more.startswith(lesson.file("exercise.py") + ":")
    assert "R0 !read_ok" in failed.more


def test_another_number_fails_and_says_which(lesson, tmp_path):
    file = tmp_path / "other.py"
    file.write_text(Path(lesson.file("solution.py")).read_text().replace(", 7)", ", 8)"))
    steps = list(check.check(lesson, inputs.read(f"{file}:{lesson.program}").one()))
    assert (steps[-1].ok, steps[-1].what, steps[-1].more) == (False, "it returns 8", "it should return 7")
