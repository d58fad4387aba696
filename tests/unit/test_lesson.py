"""Lessons without a kernel: their files, their program, progress, and the commands around them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfasm import inputs
from bpfasm.asm import link
from bpfasm.lesson import check, model, progress

ROOT = Path(__file__).parents[2]
LESSONS = model.lessons(str(ROOT / "lessons"))
by_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.name)


def program(lesson, file):
    return inputs.read(f"{lesson.file(file)}:{lesson.program}").one()


def bpfasm(*words, cwd, given="", **environ):
    """Run the command in a learner's folder."""
    return subprocess.run(
        [sys.executable, "-m", "bpfasm", *words],
        input=given,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT), "PATH": "", **environ},
        check=False,
    )


def test_there_are_lessons_and_their_numbers_count_up():
    assert [lesson.number for lesson in LESSONS] == list(range(1, len(LESSONS) + 1)) != []


@by_lesson
def test_the_exercise_is_not_the_solution(lesson):
    exercise, solution = program(lesson, "exercise.py"), program(lesson, "solution.py")
    assert not check.compare(exercise, solution).ok
    assert check.compare(solution, solution).ok
    assert link(exercise).code != link(solution).code
    assert Path(lesson.file("exercise.py")).read_text().count("TODO:") == 1


@by_lesson
def test_a_lesson_has_text_for_a_terminal_and_three_hints(lesson):
    assert lesson.text().startswith(f"# {lesson.number}. {lesson.title}\n")
    assert max(map(len, lesson.text().splitlines())) <= 80
    assert len(lesson.hints) == 3
    assert lesson.minutes > 0


def test_start_gives_the_exercise_once_and_keeps_the_learners_work(tmp_path):
    started = bpfasm("lesson", "start", "1", cwd=tmp_path)
    assert started.returncode == 0
    assert "bpfasm lesson check 1" in started.stdout
    mine = tmp_path / progress.exercise(LESSONS[0].name)
    assert mine.read_text() == Path(LESSONS[0].file("exercise.py")).read_text()
    mine.write_text("# mine\n")
    assert bpfasm("lesson", "start", "01", cwd=tmp_path).returncode == 0
    assert mine.read_text() == "# mine\n"


def test_hints_come_one_by_one(tmp_path):
    first = bpfasm("lesson", "hint", "1", cwd=tmp_path).stdout.splitlines()
    assert first[0].startswith("Hint 1 of 3: ")
    assert first[1] == "More: bpfasm lesson hint 1 --step 2"
    last = bpfasm("lesson", "hint", "1", "--step", "3", cwd=tmp_path).stdout.splitlines()
    assert (len(last), last[0][:13]) == (1, "Hint 3 of 3: ")


def test_progress_is_a_text_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / progress.FOLDER).mkdir()
    assert progress.done() == {}
    progress.mark("01_first_instruction")
    progress.mark("01_first_instruction")
    lines = (tmp_path / progress.FOLDER / "progress.txt").read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [["#", "What"], ["01_first_instruction", "done"]]
    assert list(progress.done()) == ["01_first_instruction"]
    listed = bpfasm("lesson", "list", cwd=tmp_path).stdout
    assert listed.startswith("[x]  1  First instruction")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away, as under sudo")
def test_under_sudo_the_files_are_the_learners(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUDO_UID", "4321")
    monkeypatch.setenv("SUDO_GID", "1234")
    progress.start("01_first_instruction", "text")
    progress.mark("01_first_instruction")
    made = [tmp_path / progress.FOLDER, *(tmp_path / progress.FOLDER).iterdir()]
    assert [(path.stat().st_uid, path.stat().st_gid) for path in made] == [(4321, 1234)] * 3


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        (["lesson"], "error: the following arguments are required: action [usage]", "bpfasm lesson --help"),
        (["lesson", "check"], "error: lesson check needs a number [usage]", "bpfasm lesson check 1"),
        (["lesson", "check", "1"], "error: there is no bpfasm-lessons/01_first", "bpfasm lesson start 1 puts"),
        (
            ["lesson", "start", "99"],
            "error: there is no lesson 99 [no-lesson]",
            "the lessons are 1 (First instruction)",
        ),
        (["lesson", "hint", "1", "--step", "4"], "error: lesson 1 has 3 hints [usage]", "--step takes 1 to 3"),
    ],
)
def test_a_wrong_call_gives_two_lines(tmp_path, words, first, second):
    done = bpfasm(*words, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (2, 2), lines
    assert lines[0].startswith(first)
    assert lines[1].startswith(second)
