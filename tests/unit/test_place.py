"""Where a command runs: what ``--on`` names."""

import pytest

from bpfasm import place
from bpfasm.errors import UsageError
from bpfasm.place import Place


@pytest.fixture(autouse=True)
def no_default(monkeypatch):
    monkeypatch.delenv("BPFASM_ON", raising=False)


def test_on_is_repeated_or_separated_by_commas():
    assert place.choose(["live,6.1", "/boot/vmlinuz"], []) == [Place("live"), Place("6.1"), Place("/boot/vmlinuz")]


def test_the_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("BPFASM_ON", "6.12")
    assert place.choose([], []) == [Place("6.12")]
    assert place.choose(["live"], []) == [Place("live")]


def test_auto_is_this_kernel_when_nothing_is_missing():
    assert place.choose([], []) == [Place("live")]


def test_all_is_the_matrix():
    from bpfasm import lab

    assert [each.kernel for each in place.choose(["all"], [])] == [kernel.version for kernel in lab.kernels()]


def test_the_labs_verbs_take_the_labs_kernels(monkeypatch):
    from bpfasm import lab

    every = [kernel.version for kernel in lab.kernels()]
    assert place.kernels([]) == [lab.default()]
    assert place.kernels(["6.12,5.10", "6.12"]) == ["6.12", "5.10", "6.12"]
    assert place.kernels(["all"]) == every
    monkeypatch.setenv("BPFASM_ON", "live,6.12,auto")
    assert place.kernels([]) == ["6.12"]
    assert place.kernels(["5.10"]) == ["5.10"]
    monkeypatch.setenv("BPFASM_ON", "live")
    assert place.kernels([]) == [lab.default()]
    for word in ("live", "auto", "6.2"):
        with pytest.raises(UsageError, match="no kernel"):
            place.kernels([word])


def test_the_simulator_is_not_there_yet():
    with pytest.raises(UsageError, match="no simulator yet"):
        place.choose(["sim"], [])


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["x", "--on", "6.1", "y"], ["x", "y"]),
        (["x", "--on=6.1", "y"], ["x", "y"]),
        (["--on", "6.1", "--on=5.10", "--calls", "3"], ["--calls", "3"]),
        (["x"], ["x"]),
    ],
)
def test_a_guest_gets_the_same_words_without_on(words, kept):
    assert place.without_on(words) == kept


def test_one_no_is_the_answer_of_several_places(capfd):
    answers = iter([1, 0])
    assert place.run([], ["live,live"], [], lambda: next(answers)) == 1
    # Standard output is the command's own: with --json it holds documents only.
    assert capfd.readouterr() == ("", "== this kernel\n== this kernel\n")


def test_ctrl_c_ends_the_row(capfd):
    answers = iter([1, 130, 0])
    assert place.each(["6.1", "6.12", "7"], lambda _: next(answers)) == 130
    assert capfd.readouterr() == ("", "== 6.1\n== 6.12\n")


def test_one_place_has_no_header(capfd):
    assert place.each(["6.1"], lambda _: 0) == 0
    assert capfd.readouterr() == ("", "")
