"""What is known of a name: a macro, an instruction, a helper, a constant, an errno, a type of map, a rule ..."""

from __future__ import annotations

from bpfasm.value import Value
from bpfasm.views import rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from bpfasm.isa.form import Form


class Entry(Value):
    """One thing that has the name: its kind, and facts about it as (what, text)."""

    kind: str
    name: str
    facts: tuple[tuple[str, str], ...]


def entries(name: str, pages: Iterable[str] = ()) -> tuple[Entry, ...]:
    """Return all that has a name; nothing where nobody has it. Case does not matter unless two differ by it.

    ``pages`` are the texts of the docs that have the rules.
    """
    found = [entry for find in _FINDERS for entry in find(name)]
    for page in pages:
        paragraph = rules.paragraphs(page).get(name.lower())
        if paragraph is not None:
            found.append(Entry("rule", name.lower(), tuple(rules.facts(paragraph))))
    return tuple(found)


def names() -> set[str]:
    """Return every name that there is something to say of."""
    import errno
    from importlib import import_module

    import bpfasm.asm
    from bpfasm.asm.map_types import all_types
    from bpfasm.isa.helpers import HELPERS
    from bpfasm.isa.table import FORMS

    found = {form.name for form in FORMS} | {f"bpf_{name}" for name in HELPERS.values()}
    found |= set(_snippets()) | set(_texts())
    found |= set(vars(bpfasm.asm)["__all__"]) | {row.spec for row in all_types()} | set(errno.errorcode.values())
    for header in _HEADERS:
        found |= {each for each in vars(import_module(f"bpfasm.{header}")) if each.isupper() or each[:4] == "BPF_"}
    return found


def nearest(name: str, pages: Iterable[str] = ()) -> list[str]:
    """Return the names that are most like one that is not there."""
    from difflib import get_close_matches

    of_rules = {rule for page in pages for rule in rules.paragraphs(page)}
    known = {each.lower(): each for each in sorted(of_rules | names())}
    asked = name.lower()
    close = get_close_matches(asked, known, n=3, cutoff=0.65)
    within = sorted((each for each in known if asked in each), key=len) if len(asked) > 2 else []
    return [known[each] for each in dict.fromkeys([*close, *within])][:3]


def lines(found: tuple[Entry, ...]) -> Iterator[str]:
    """Yield what is known as lines."""
    for number, entry in enumerate(found):
        if number:
            yield ""
        yield f"{entry.name}: {entry.kind}"
        width = max((len(what) for what, _ in entry.facts), default=0)
        for what, text in entry.facts:
            first, *more = text.split("\n")
            yield f"  {what:<{width}}  {first}"
            yield from (f"  {'':<{width}}  {line}".rstrip() for line in more)


def document(found: tuple[Entry, ...]) -> dict[str, Any]:
    """Return what ``ref --json`` prints."""
    rows = [
        {
            "kind": entry.kind,
            "name": entry.name,
            "facts": [{"what": what, "text": text} for what, text in entry.facts],
        }
        for entry in found
    ]
    return {"schema": "bpfasm/ref/1", "entries": rows}


# One kind of name each


def _macro(name: str) -> Iterator[Entry]:
    from bpfasm.asm import macros
    from bpfasm.isa.table import FORMS

    function = getattr(macros, name.upper(), None)
    if not callable(function) or not name.upper().startswith("BPF_") or not hasattr(function, "__code__"):
        return
    code = function.__code__
    arguments = ", ".join(code.co_varnames[: code.co_argcount])
    facts = [("is", f"{name.upper()}({arguments})"), ("does", _first(function.__doc__))]
    made = [form for form in FORMS if form.macro.startswith(f"{name.upper()}(") and form.dialect == "source"]
    facts += [("makes", f"{form.kernel}  ({form.name}, since {form.since or 'never'})") for form in made[:6]]
    if len(made) > 6:
        facts.append(("", f"and {len(made) - 6} more: {', '.join(form.name for form in made[6:])}"))
    yield Entry("macro", name.upper(), tuple(facts))


def _instruction(name: str) -> Iterator[Entry]:
    from bpfasm.isa.table import FORMS

    for form in FORMS:
        if form.name == name.lower():
            yield Entry("instruction", form.name, tuple(_form(form)))


def _form(form: Form) -> Iterator[tuple[str, str]]:
    yield "opcode", f"{form.code:#04x}"
    yield "text", form.kernel
    yield "macro", form.macro
    if form.meaning:
        yield "computes", form.meaning
    yield "reads", " ".join(form.reads) or "nothing"
    yield "writes", " ".join(form.writes) or "nothing"
    yield "since", f"Linux {form.since}" if form.since else "no kernel takes it"
    if form.isa:
        yield "ISA", f"{form.isa}, as LLVM's -mcpu has it"
    if form.group:
        yield "group", f"{form.group} of RFC 9669"
    if form.dialect != "source":
        yield "seen", "only in dumps: the kernel makes it"


def _texts() -> dict[str, dict[str, tuple[str, Form]]]:
    """Return the words that texts begin with, in any syntax: by form, the text and the form."""
    from bpfasm.asm.syntax.ubpf import DIALECT
    from bpfasm.isa.table import FORMS

    found: dict[str, dict[str, tuple[str, Form]]] = {}
    for form in FORMS:
        for text in (form.ubpf, *DIALECT.aliases(form), form.llvm, form.kernel):
            word = text.partition(" ")[0].partition("(")[0]
            if word.isidentifier() and word not in ("r0", "w0"):
                found.setdefault(word.lower(), {}).setdefault(form.name, (text, form))
    return found


def _mnemonic(name: str) -> Iterator[Entry]:
    made = [each for called, each in _texts().get(name.lower(), {}).items() if called != name.lower()]
    facts = [
        ("is", f"{text}: {form.kernel}  ({form.name}, since {form.since or 'never'})") for text, form in made[:6]
    ]
    if len(made) > 6:
        facts.append(("", f"and {len(made) - 6} more: {', '.join(form.name for _, form in made[6:])}"))
    if facts:
        yield Entry("mnemonic", name.lower(), tuple(facts))


def _helper(name: str) -> Iterator[Entry]:
    from bpfasm.isa.helpers import HELPERS, helper_of

    asked = name.lower().removeprefix("bpf_func_").removeprefix("bpf_")
    for row in (helper_of(number) for number, called in HELPERS.items() if called == asked):
        if row is None:
            continue
        facts = [("number", f"{row.id}: BPF_EMIT_CALL(BPF_FUNC_{row.name})"), ("is", row.prototype)]
        facts.append(("does", row.meaning))
        facts.append(("since", f"Linux {row.since}"))
        license = "a license compatible with the GPL" if row.gpl else "any license"
        facts.append(("needs", f"{license}{f', {row.gpl_note}' if row.gpl_note else ''}"))
        yield Entry("helper", f"bpf_{row.name}", tuple(facts))


_HEADERS = (
    *(f"uapi.{name}" for name in ("bpf", "bpf_common", "btf", "filter", "perf_event", "if_ether", "if_link", "in_")),
    *("uapi.pkt_cls", "uapi.seccomp", "uapi.audit"),
    "uapi.capability",
    "isa.filter_h",
)


def _constant(name: str) -> Iterator[Entry]:
    from importlib import import_module

    for header in _HEADERS:
        module = import_module(f"bpfasm.{header}")
        asked = name if hasattr(module, name) else name.upper()
        value = getattr(module, asked, None)
        if not isinstance(value, int) or asked.startswith("sizeof"):
            continue
        title = (module.__doc__ or "").partition("``")[2].partition("``")[0] or "include/linux/filter.h"
        facts = [("value", f"{value} ({value:#x})" if value >= 0 else str(value)), ("header", title)]
        for tag, members in vars(module).items():
            if tag.startswith("enum_") and asked in members:
                others = [each for each in members if each != asked and not each.startswith("__")]
                more = f" and {len(others) - 6} more" if len(others) > 6 else ""
                facts.append(("of", f"enum {tag.removeprefix('enum_')}, with {', '.join(others[:6])}{more}"))
        yield Entry("constant", asked, tuple(facts))
        return


def _errno(name: str) -> Iterator[Entry]:
    import errno
    import os

    from bpfasm.views.errnos import MEANINGS

    name = name.removeprefix("-")  # the kernel returns it so, and strace shows it so
    asked = errno.errorcode.get(int(name), "") if name.isdecimal() else name.upper()
    number = 524 if asked == "ENOTSUPP" or name == "524" else getattr(errno, asked, None)
    if not isinstance(number, int):
        return
    asked = asked or "ENOTSUPP"
    words = "Operation is not supported" if number == 524 else os.strerror(number)
    facts = [("number", str(number)), ("says", words)]
    if asked in MEANINGS:
        facts.append(("bpf(2)", MEANINGS[asked]))
    yield Entry("errno", asked, tuple(facts))


def _map_type(name: str) -> Iterator[Entry]:
    from bpfasm.asm.map_types import all_types
    from bpfasm.uapi import bpf, names as names_of

    types = names_of(bpf, "bpf_map_type")
    for row in all_types():
        if name.lower() in (row.spec.lower(), types[row.type].lower()):
            facts = [
                ("type", types[row.type]),
                ("since", f"Linux {row.since}"),
                ("can", ", ".join(row.ops) or "nothing"),
            ]
            yield Entry("map", row.spec, (*facts, *([("note", row.note)] if row.note else [])))


def _program_type(name: str) -> Iterator[Entry]:
    from bpfasm.asm.prog_types import TYPES

    for row in TYPES.values():
        if name.upper() in (row.name, row.name.removeprefix("BPF_PROG_TYPE_")):
            facts = [("R1", row.ctx), ("returns", row.returns or "any number"), ("since", f"Linux {row.since}")]
            if row.gpl:
                facts.append(("needs", "a license compatible with the GPL"))
            yield Entry("program type", row.name, (*facts, *([("note", row.note)] if row.note else [])))


def _ours(name: str) -> Iterator[Entry]:
    import bpfasm.asm
    from bpfasm.asm.map_types import all_types

    thing = getattr(bpfasm.asm, name, None)
    if name not in vars(bpfasm.asm)["__all__"] or name.isupper() or name.startswith("BPF_") or not thing.__doc__:
        return
    if name not in {row.spec for row in all_types()}:
        yield Entry("bpfasm.asm", name, (("is", _first(thing.__doc__)),))


def _snippets() -> dict[str, Any]:
    from bpfasm.asm import snippets

    return {name: each for name, each in vars(snippets).items() if callable(each) and not name.startswith("_")}


def _snippet(name: str) -> Iterator[Entry]:
    import bpfasm.asm

    made = _snippets().get(name.lower())
    if made is not None and name.lower() not in vars(bpfasm.asm)["__all__"]:
        facts = [("write", f"*{name.lower()}(...), from bpfasm.asm.snippets"), ("is", _first(made.__doc__))]
        yield Entry("snippet", name.lower(), tuple(facts))


def _first(doc: str | None) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((doc or "").strip().partition("\n\n")[0].split())


#: What each register is for, by its number.
_REGISTERS = (
    "what a call returns, and what the program returns",
    *(f"argument {number} of a call, which leaves nothing in it" for number in range(1, 6)),
    *["kept over calls"] * 4,
    "the end of the stack: read only, its 512 bytes are at negative offsets",
    "the base of arguments that are passed on the stack, from 7.x on",
)


def _register(name: str) -> Iterator[Entry]:
    from bpfasm.isa import operands

    held = getattr(operands, name.upper(), None)
    if isinstance(held, operands.Reg):
        facts = [("is", f"{held!r}: {_REGISTERS[held.number]}")]
        if held.number == 1:
            facts.append(("at first", "the context, when the program starts"))
        yield Entry("register", name.upper(), tuple(facts))


_FINDERS = (
    *(_macro, _instruction, _mnemonic, _helper, _constant, _register, _errno, _map_type, _program_type, _snippet),
    _ours,
)
