"""BTF that a program brings along: kinds of types, and what is said of functions and lines."""

from __future__ import annotations

from errno import EINVAL
from functools import partial
from struct import pack

from bpfasm.asm.macros import BPF_CALL_REL, BPF_EXIT_INSN, BPF_MOV64_IMM
from bpfasm.btf.write import Writer
from bpfasm.isa.operands import R0
from bpfasm.syscall import bpf as call
from bpfasm.syscall.libc import buffer
from bpfasm.syscall.probe.answer import Answer, judge, no, refused, unknown, yes
from bpfasm.syscall.probe.feature import Feature, label
from bpfasm.syscall.probe.trying import Fd, attempt, load
from bpfasm.syscall.probe.vmlinux import PATH, vmlinux
from bpfasm.uapi import bpf, btf
from bpfasm.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Type(Value):
    """A type to be written: what ``Writer.add`` takes; ``rest`` are words, of which a name is one of the strings."""

    kind: int
    name: str = ""
    third: int = 0
    rest: tuple[int | str, ...] = ()
    count: int = 0
    flag: bool = False


#: Type 1 of every blob: a signed number of 32 bits.
NUMBER = Type(btf.BTF_KIND_INT, "int", 4, (btf.BTF_INT_SIGNED << 24 | 32,))

#: ``int f(void)`` as types 2 and 3, which come after the number.
PROTO = Type(btf.BTF_KIND_FUNC_PROTO, third=1)


def function(linkage: int) -> Type:
    """Return a function of type 2."""
    return Type(btf.BTF_KIND_FUNC, "f", 2, count=linkage)


def blob(*types: Type) -> bytes:
    """Return BTF with some types after the number."""
    writer = Writer()
    for each in (NUMBER, *types):
        words = [writer.string(word) if isinstance(word, str) else word for word in each.rest]
        rest = pack(f"={len(words)}I", *words)
        writer.add(each.kind, each.name, each.third, rest, count=each.count, flag=each.flag)
    return writer.to_bytes()


def loaded(*types: Type) -> Fd:
    """Load BTF with some types after the number. Raises OSError."""
    return Fd(call.btf_load(buffer(blob(*types))))


def types_taken(*types: Type) -> Answer:
    """Return whether the kernel takes these types."""

    def make() -> None:
        with loaded(*types):
            pass

    return judge(attempt("BPF_BTF_LOAD", make), absent=(EINVAL,))


_VARIABLE = Type(btf.BTF_KIND_VAR, "a", 1, (btf.BTF_VAR_GLOBAL_ALLOCATED,))
_POINTER = Type(btf.BTF_KIND_PTR, third=1)

#: Of a tag: the whole of what it is on, not one of its members.
_WHOLE = 0xFFFFFFFF

#: A blob for each kind: its types after the number, type 1.
KINDS: dict[int, tuple[Type, ...]] = {
    btf.BTF_KIND_INT: (),
    btf.BTF_KIND_PTR: (_POINTER,),
    btf.BTF_KIND_ARRAY: (Type(btf.BTF_KIND_ARRAY, rest=(1, 1, 4)),),
    btf.BTF_KIND_STRUCT: (Type(btf.BTF_KIND_STRUCT, "a", 4, ("b", 1, 0), 1),),
    btf.BTF_KIND_UNION: (Type(btf.BTF_KIND_UNION, "a", 4, ("b", 1, 0), 1),),
    btf.BTF_KIND_ENUM: (Type(btf.BTF_KIND_ENUM, "a", 4, ("b", 0), 1),),
    btf.BTF_KIND_FWD: (Type(btf.BTF_KIND_FWD, "a"),),
    btf.BTF_KIND_TYPEDEF: (Type(btf.BTF_KIND_TYPEDEF, "a", 1),),
    btf.BTF_KIND_VOLATILE: (Type(btf.BTF_KIND_VOLATILE, third=1),),
    btf.BTF_KIND_CONST: (Type(btf.BTF_KIND_CONST, third=1),),
    btf.BTF_KIND_RESTRICT: (_POINTER, Type(btf.BTF_KIND_RESTRICT, third=2)),
    btf.BTF_KIND_FUNC: (PROTO, function(btf.BTF_FUNC_STATIC)),
    btf.BTF_KIND_FUNC_PROTO: (PROTO,),
    btf.BTF_KIND_VAR: (_VARIABLE,),
    btf.BTF_KIND_DATASEC: (_VARIABLE, Type(btf.BTF_KIND_DATASEC, ".data", 4, (2, 0, 4), 1)),
    btf.BTF_KIND_FLOAT: (Type(btf.BTF_KIND_FLOAT, "a", 4),),
    btf.BTF_KIND_DECL_TAG: (_VARIABLE, Type(btf.BTF_KIND_DECL_TAG, "b", 2, (_WHOLE,))),
    btf.BTF_KIND_TYPE_TAG: (Type(btf.BTF_KIND_TYPE_TAG, "a", 1), Type(btf.BTF_KIND_PTR, third=2)),
    btf.BTF_KIND_ENUM64: (Type(btf.BTF_KIND_ENUM64, "a", 8, ("b", 0, 1), 1),),
}


def kind(number: int) -> Answer:
    """Return whether the kernel takes BTF with a kind of type."""
    return types_taken(*KINDS[number])


def global_function() -> Answer:
    """A function of global linkage, which the verifier checks by itself."""
    return types_taken(PROTO, function(btf.BTF_FUNC_GLOBAL))


def tagged_typedef() -> Answer:
    """A declaration tag on a typedef."""
    return types_taken(Type(btf.BTF_KIND_TYPEDEF, "a", 1), Type(btf.BTF_KIND_DECL_TAG, "b", 2, (_WHOLE,)))


def signed_enum() -> Answer:
    """An enum that says that its values are signed."""
    return types_taken(Type(btf.BTF_KIND_ENUM, "a", 4, ("b", 0), 1, flag=True))


def attribute_tag() -> Answer:
    """A tag that stands for any attribute."""
    return types_taken(Type(btf.BTF_KIND_TYPE_TAG, "a", 1, flag=True), Type(btf.BTF_KIND_PTR, third=2))


#: Where every blob's first string is; which it is does not matter.
_STRING = 1

#: A function and another one that it calls; where they start, in slots.
_TWO = (BPF_CALL_REL(1), BPF_EXIT_INSN(), BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN())
_STARTS = (0, 2)


def func_info(linkage: int = btf.BTF_FUNC_STATIC) -> Answer:
    """A program whose BTF names its functions."""
    return _with_types(linkage, {})


def line_info() -> Answer:
    """A program whose BTF says which line each instruction came from."""
    lines = buffer(b"".join(pack("=4I", start, _STRING, _STRING, 1 << 10) for start in _STARTS))
    more = {"line_info": lines, "line_info_cnt": len(_STARTS), "line_info_rec_size": 16}
    return _with_types(btf.BTF_FUNC_STATIC, more)


def _with_types(linkage: int, more: dict[str, Any]) -> Answer:
    try:
        # Whatever the program's first function says, it is global.
        types = loaded(PROTO, function(btf.BTF_FUNC_GLOBAL), function(linkage))
    except OSError as error:
        return refused(error, absent=(EINVAL,), reason="the kernel does not take the BTF of a function")
    with types:
        functions = buffer(b"".join(pack("=2I", start, id) for start, id in zip(_STARTS, (3, 4), strict=True)))
        fields: dict[str, Any] = {
            "prog_btf_fd": types.number,
            "func_info": functions,
            "func_info_cnt": 2,
            "func_info_rec_size": 8,
        }
        tried = load(_TWO, bpf.BPF_PROG_TYPE_SOCKET_FILTER, **fields, **more)
    return judge(tried, absent=(EINVAL,))


def core_relocations() -> Answer:
    """A relocation of CO-RE that the kernel itself resolves."""
    with loaded() as types:
        relocation = buffer(pack("=4I", 0, 1, _STRING, 6))  # the id of type 1 in the program's own BTF
        fields: dict[str, Any] = {"core_relos": relocation, "core_relo_cnt": 1, "core_relo_rec_size": 16}
        fields["prog_btf_fd"] = types.number
        tried = load([BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()], bpf.BPF_PROG_TYPE_SOCKET_FILTER, **fields)
    # With a bad relocation the verifier complains; without the field the kernel does not get that far.
    return yes(tried.words) if tried.log else judge(tried, absent=_UNKNOWN_FIELD)


_UNKNOWN_FIELD = (EINVAL, 7)


def of_the_kernel() -> Answer:
    """The kernel's own types."""
    if vmlinux().there:
        return yes(f"{PATH} is there")
    return no("the kernel was built without its types (CONFIG_DEBUG_INFO_BTF)", f"there is no {PATH}")


def of_modules() -> Answer:
    """The types of kernel modules, each module's by itself."""
    import os

    folder = os.path.dirname(PATH)
    try:
        modules = sorted(set(os.listdir(folder)) - {"vmlinux"})
    except OSError:
        modules = []
    if modules:
        return yes(f"{folder}/{modules[0]} is there")
    if vmlinux().names("btf_module_notify"):
        return yes("the kernel's BTF has btf_module_notify(); no module with types is loaded")
    if not vmlinux().there:
        return unknown("the kernel does not show its types", f"there is no {PATH}")
    return no("no module has types", f"{folder} has vmlinux alone")


#: Since when each kind is taken, and the commit.
_SINCE = {
    btf.BTF_KIND_FUNC: ("5.0", "2667a2626f4d"),
    btf.BTF_KIND_FUNC_PROTO: ("5.0", "2667a2626f4d"),
    btf.BTF_KIND_VAR: ("5.2", "f063c889c945"),
    btf.BTF_KIND_DATASEC: ("5.2", "f063c889c945"),
    btf.BTF_KIND_FLOAT: ("5.13", "b1828f0b0482"),
    btf.BTF_KIND_DECL_TAG: ("5.16", "b5ea834dde6b"),
    btf.BTF_KIND_TYPE_TAG: ("5.17", "8c42d2fa4eea"),
    btf.BTF_KIND_ENUM64: ("6.0", "6089fb325cf7"),
}
_FIRST = ("4.18", "69b693f0aefa")

#: (name, what it is, since, commit, options, probe)
_MORE: tuple[tuple[str, str, str, str, str, Callable[[], Answer]], ...] = (
    ("func_info", "types of a program's functions", "5.0", "838e96904ff3", "", func_info),
    ("line_info", "source lines of a program", "5.0", "c454a46b5efd", "", line_info),
    ("vmlinux", "the kernel's own types", "5.4", "341dfcf8d78e", "DEBUG_INFO_BTF", of_the_kernel),
    ("global_function", "functions that the verifier checks by themselves", "5.6", "51c39bb1d5d1", "",
     global_function),
    ("modules", "types of kernel modules", "5.11", "36e68442d1af", "DEBUG_INFO_BTF_MODULES", of_modules),
    ("typedef_tag", "declaration tags on typedefs", "5.16", "bd16dee66ae4", "", tagged_typedef),
    ("core_relocation", "CO-RE in the kernel", "5.17", "fbd94c7afcf9", "", core_relocations),
    ("enum_sign", "enums that say whether they are signed", "6.0", "6089fb325cf7", "", signed_enum),
    ("attribute_tag", "tags for any attribute", "6.15", "53ee0d66d7a6", "", attribute_tag),
)  # fmt: skip

FEATURES = tuple(
    Feature("btf", label(name, "BTF_KIND_"), f"kind {number} of type", since, partial(kind, number), commit)
    for name, number in vars(btf).items()
    if name.startswith("BTF_KIND_") and number in KINDS and name != "BTF_KIND_MAX"
    for since, commit in (_SINCE.get(number, _FIRST),)
) + tuple(
    Feature("btf", name, what, since, probe, commit, tuple(config.split()))
    for name, what, since, commit, config, probe in _MORE
)
