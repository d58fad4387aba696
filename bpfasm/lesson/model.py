"""A lesson as a value, read from its folder."""

from __future__ import annotations

import os

from bpfasm.errors import InputError, UsageError
from bpfasm.value import Value


class Lesson(Value):
    """A lesson: its number and folder, what its text and hints say, and what its program must do."""

    number: int
    folder: str
    title: str
    goal: str
    minutes: int
    #: The variable of the exercise that holds the program, and what a run of it must return.
    program: str
    returns: int
    #: What a kernel must have to judge it (``bpfasm.kernel.needs``).
    needs: tuple[str, ...]
    hints: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name, which is also the exercise's: ``01_first_instruction``."""
        return os.path.basename(self.folder)

    def file(self, name: str) -> str:
        """Return the path of one of its files."""
        return os.path.join(self.folder, name)

    def text(self) -> str:
        """Return what the learner reads."""
        with open(self.file("text.md"), encoding="utf-8") as file:
            return file.read()


def lessons(folder: str) -> list[Lesson]:
    """Return the lessons of a folder, in order."""
    return [_read(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name[:2].isdigit()]


def find(folder: str, wanted: str) -> Lesson:
    """Return the lesson with a number (``1``, ``01``) or name. Raises UsageError where there is none."""
    every = lessons(folder)
    for lesson in every:
        if wanted in {str(lesson.number), f"{lesson.number:02}", lesson.name}:
            return lesson
    numbers = ", ".join(f"{lesson.number} ({lesson.title})" for lesson in every)
    raise UsageError(f"there is no lesson {wanted}", f"the lessons are {numbers}", rule="no-lesson")


def _read(folder: str) -> Lesson:
    import tomllib

    path = os.path.join(folder, "lesson.toml")
    try:
        with open(path, "rb") as file:
            told = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise InputError(
            f"{path}: {error}", "install bpfasm again: its lessons come with it", rule="input-file"
        ) from None
    return Lesson(
        number=int(os.path.basename(folder)[:2]),
        folder=folder,
        title=told["title"],
        goal=told["goal"],
        minutes=told["minutes"],
        program=told["program"],
        returns=told["returns"],
        needs=tuple(told["needs"]),
        hints=tuple(told["hints"]),
    )
