"""What a lesson is, how it is judged, and what the learner has done.

The lessons themselves are in ``lessons/``, one folder each: ``lesson.toml`` (title, goal, task, hints), ``text.md``,
``exercise.py`` (what the learner starts from) and ``solution.py``.
"""
