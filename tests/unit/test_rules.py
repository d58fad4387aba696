"""Rule ids: each that the package raises has a paragraph in docs/rules.rst, and a test; its example raises it."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import bpfasm.asm
from bpfasm import cli
from bpfasm.asm.lint import RULES as LINT_RULES
from bpfasm.errors import BpfasmError
from bpfasm.views import ref
from bpfasm.views.rules import PAGES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rules.rst"

#: Rules whose tests compare the words alone.
NOT_NAMED = {
    "attach-mode", "attr-field", "map-create", "map-element", "no-bpf", "no-map-type", "no-perf-link",
    "no-program-type", "no-sysfs", "not-started", "perf-event-paranoid", "program-load", "program-size",
    "not-agreed", "not-linux", "program-type", "test-run", "tracefs-left",
}  # fmt: skip

#: Where a file of the user's is read as a program; a rule of theirs is explained by an example that can be run.
WITH_EXAMPLES = ("asm", "isa", "inputs.py")


def rules_of(path):
    """Yield the rules that a module raises: the keyword ``rule``, and what ``Call.refuse`` is given last."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            given = [keyword.value for keyword in node.keywords if keyword.arg == "rule"]
            if isinstance(node.func, ast.Attribute) and node.func.attr == "refuse":
                given += node.args[2:]
            yield from (value.value for value in given if isinstance(value, ast.Constant))
        # The readers of text hand a rule on from function to function.
        elif isinstance(node, ast.Constant) and re.fullmatch(r"(text|c|classic)(-[a-z]+)+", str(node.value)):
            yield node.value


RAISED = {
    path.relative_to(ROOT / "bpfasm").as_posix(): rules
    for path in sorted((ROOT / "bpfasm").rglob("*.py"))
    if (rules := set(rules_of(path)))
}
RULES = sorted(set().union(*RAISED.values()))


def paragraphs():
    """Return the text of each rule's paragraph; a title may name several."""
    pieces = re.split(r"^(\S.*)\n\^+\n", re.sub(r"^.*\n[-=]+\n", "", PAGE.read_text(), flags=re.M), flags=re.M)
    return {rule: text for title, text in zip(pieces[1::2], pieces[2::2], strict=True) for rule in title.split(", ")}


def example(text):
    """Return the code of a paragraph, or nothing."""
    found = re.search(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text)
    return "\n".join(line[3:] for line in found[1].splitlines()) if found else ""


PARAGRAPHS = paragraphs()
TEXTS = [(ROOT / page).read_text() for page in PAGES]


def test_rules_are_found():
    assert len(RULES) > 70
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", rule) for rule in RULES)


def test_every_rule_has_a_paragraph_and_every_paragraph_a_rule():
    assert sorted(PARAGRAPHS) == RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_paragraph_says_something(rule):
    prose = PARAGRAPHS[rule].replace(example(PARAGRAPHS[rule]), "")
    assert len(prose.split()) >= 6


@pytest.mark.parametrize("rule", [*RULES, *LINT_RULES])
def test_ref_finds_a_rule_with_its_example(rule):
    found = [entry for entry in ref.entries(rule, TEXTS) if entry.kind == "rule"]
    assert len(found) == (rule in RULES) + (rule in LINT_RULES)
    facts = [fact for entry in found for fact in entry.facts]
    assert all(text.strip() for _, text in facts)
    if rule in RULES:
        shown = [text for what, text in facts if what == "example"]
        assert shown == ([code] if (code := example(PARAGRAPHS[rule]).strip("\n")) else [])
    shown = "\n".join(ref.lines(tuple(found)))
    assert not re.search(r"``|:\w+:`|^\.\. |^[-=^]{3,}$", shown, re.M)


def test_ref_shows_a_rule_in_the_terminal(capfd):
    assert cli.main(["ref", "jump-range"]) == 0
    first, means, more, shown = capfd.readouterr().out.splitlines()
    assert (first, shown) == ("jump-range: rule", "  example  BPF_JMP_A(40000)")
    assert means.startswith("  means    The offset of a jump has 16 bits")
    assert more == "           BPF_JMP32_A, whose 32 bits every kernel from 6.6 on takes."
    assert cli.main(["ref", "jump-rnge"]) == 2
    assert "did you mean jump-range" in capfd.readouterr().err


def test_ref_without_the_pages_still_has_the_rest(monkeypatch, tmp_path, capfd):
    from bpfasm import inputs

    monkeypatch.setattr(inputs, "__file__", str(tmp_path / "bpfasm" / "inputs.py"))
    assert cli.main(["ref", "E2BIG"]) == 0
    assert cli.main(["ref", "jump-range"]) == 2
    assert "docs/rules.rst is not installed" in capfd.readouterr().err


def test_the_pages_of_rules_are_shipped(monkeypatch, tmp_path):
    """In the wheel they are within the package, where shipped_path() looks after the checkout."""
    from bpfasm import inputs

    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    package = tmp_path / "bpfasm"
    (package / "docs").mkdir(parents=True)
    for page in PAGES:
        assert wheel["force-include"][page] == f"bpfasm/{page}"
        (package / page).write_text("Page\n====\n\nno-such\n^^^^^^^\n\nWhat the wheel says.\n")
    monkeypatch.setattr(inputs, "__file__", str(package / "inputs.py"))
    assert [inputs.shipped_path(page) for page in PAGES] == [str(package / page) for page in PAGES]


def test_what_a_program_can_do_wrong_is_shown():
    own = {rule for path, rules in RAISED.items() if path.startswith(WITH_EXAMPLES) for rule in rules}
    assert {rule for rule in own if not example(PARAGRAPHS[rule])} == set()


@pytest.mark.parametrize("rule", [rule for rule in RULES if example(PARAGRAPHS[rule])])
def test_an_example_raises_its_rule(rule, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {name: getattr(bpfasm.asm, name) for name in bpfasm.asm.__all__}
    with pytest.raises(BpfasmError) as caught:
        exec(compile(example(PARAGRAPHS[rule]), "rules.rst", "exec"), {**names, "__name__": "rules"})
    assert caught.value.rule == rule
    assert caught.value.do


def test_every_rule_is_in_a_test():
    """In another one than this, unless the page's example provokes it."""
    others = [path for path in (ROOT / "tests").rglob("test_*.py") if path.name != Path(__file__).name]
    text = "\n".join(path.read_text() for path in [*others, ROOT / "tests" / "data" / "messages.txt"])
    found = set(re.findall(r"""["'[]([a-z]+(?:-[a-z]+)*)["'\]]""", text))
    shown = {rule for rule in RULES if example(PARAGRAPHS[rule])}
    assert set(RULES) - found - shown - NOT_NAMED == set()
