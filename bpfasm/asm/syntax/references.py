"""What only a target's types or symbols tell, as it is written where a number stands: read back from each syntax.

Lines of text have it as ``task_struct.tgid``, ``size(task_struct.comm)``, ``enum_value(pid_type.PIDTYPE_TGID)``,
``register(args[0])``, ``tracepoint(sched:sched_switch.prev_pid)``; macros have the calls of the notation.

>>> spoken("size(task_struct.comm)")
field("task_struct", "comm").size
>>> spoken("task_struct.__state or task_struct.state or 24")
first_of(field("task_struct", "__state"), field("task_struct", "state"), 24)
"""

from __future__ import annotations

from bpfasm.asm import fields
from bpfasm.asm.ksym import ADDRESS, FUNCTION, VARIABLE, Ksym
from bpfasm.asm.registers import register
from bpfasm.errors import OperandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfasm.asm.syntax.c.parser import Parser

_ASPECTS = ("size", "exists", "signed", "lshift", "rshift")
_OF_TYPES = {"type_size": fields.type_size, "type_exists": fields.type_exists, "type_id": fields.type_id}
_OF_ENUMS = {"enum_value": fields.enum_value, "enum_exists": fields.enum_exists}

#: What a reference begins with in a line of text, where a bracket follows.
SPOKEN = frozenset((*_ASPECTS, *_OF_TYPES, *_OF_ENUMS, "field", "register", "tracepoint", "ksym"))


def _tracepoint(*names: str) -> Any:
    from bpfasm.asm.attach.tracepoint import tracepoint

    return tracepoint(*names)


def _ksym(words: str) -> Ksym:
    *before, name = words.split(" ")
    kinds = [word for word in before if word in (VARIABLE, FUNCTION, ADDRESS)]
    if len(kinds) + before.count("weak") < len(before) or len(kinds) > 1 or not name.isidentifier():
        raise OperandError(
            f"ksym({words}): that is no symbol of the kernel",
            "write ksym(NAME), ksym(function NAME), ksym(address NAME), with weak before it where it may be missing",
            rule="core-operand",
        )
    return Ksym(name, kinds[0] if kinds else VARIABLE, "weak" in before)


#: What it begins with in a macro.
CALLED: dict[str, Any] = {
    **_OF_TYPES, **_OF_ENUMS, "field": fields.field, "first_of": fields.first_of, "register": register,
    "tracepoint": _tracepoint, "ksym": _ksym,
}  # fmt: skip


def spoken(text: str) -> Any:
    """Return what a reference in a line of text stands for. Raises OperandError, ValueError."""
    choices = text.split(" or ")
    if choices[1:]:
        return fields.first_of(*(int(each) if each.lstrip("-").isdecimal() else _one(each) for each in choices))
    return _one(text)


def _one(text: str) -> Any:
    name, bracket, rest = text.partition("(")
    inner = rest.removesuffix(")")
    head, _, tail = inner.partition(".") if bracket else text.partition(".")
    if not bracket or name == "field":
        return fields.field(head, tail)
    if name == "ksym":
        return _ksym(inner)
    if name in _ASPECTS:
        return getattr(_one(inner), name)
    if name in _OF_TYPES:
        return _OF_TYPES[name](inner)
    if name in _OF_ENUMS:
        return _OF_ENUMS[name](head, tail)
    if name == "register":
        what, _, index = inner.removesuffix("]").partition("[")
        return register(what, int(index or 0))
    group, _, event = head.partition(":")
    return _tracepoint(group, event).field(tail)


def called(parser: Parser) -> Any:
    """Return what a call of the notation stands for, ``field("task_struct", "comm").size``. Raises DecodeError."""
    token = parser.token
    try:
        found = CALLED[token.text](*_arguments(parser))
        while parser.token.text == "." and parser.peek().text in (*_ASPECTS, "field"):
            parser.at += 1
            name = parser.token.text
            found = getattr(found, name)
            if name == "field":
                found = found(*_arguments(parser))
            else:
                parser.at += 1
    except OperandError as error:
        parser.wrong(error.what, error.do, "core-operand", token)
    except (TypeError, AttributeError):
        parser.wrong("this is not how it is called", 'write field("task_struct", "comm").size', token=token)
    return found


def _arguments(parser: Parser) -> list[Any]:
    """Take the name of a function and what it is called with: strings, numbers, other references."""
    parser.at += 1
    parser.need("(")
    found: list[Any] = []
    while not parser.take(")"):
        if parser.token.kind == "string":
            found.append(parser.token.text.strip('"'))
            parser.at += 1
        elif parser.token.text in CALLED and parser.peek().text == "(":
            found.append(called(parser))
        else:
            found.append(parser.number())
        if not parser.take(",") and parser.token.text != ")":
            parser.wrong("a comma belongs here")
    return found
