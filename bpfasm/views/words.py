"""An instruction in words: what it does, its group in RFC 9669, its ISA version, the first kernel that takes it."""

from __future__ import annotations

from bpfasm.asm.syntax.dialect import HELPERS, name_of
from bpfasm.isa.match import why_none

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.isa.form import Form
    from bpfasm.isa.insn import Insn

_U32 = 0xFFFF_FFFF
_BYTES = {1: "1 byte", 2: "2 bytes", 4: "4 bytes", 8: "8 bytes"}
_OPERATIONS = {
    "add": "add {b} to {a}",
    "sub": "subtract {b} from {a}",
    "mul": "multiply {a} by {b}",
    "div": "divide {a} by {b}, unsigned; by 0 gives 0",
    "mod": "{a} becomes what is left of dividing it by {b}, unsigned; by 0 leaves it as it is",
    "sdiv": "divide {a} by {b}, signed; by 0 gives 0",
    "smod": "{a} becomes what is left of dividing it by {b}, signed; by 0 leaves it as it is",
    "or": "set in {a} the bits that {b} has",
    "and": "keep of {a} the bits that {b} has",
    "xor": "turn over in {a} the bits that {b} has",
    "lsh": "shift {a} left by {b} bits",
    "rsh": "shift {a} right by {b} bits, filling with zeros",
    "arsh": "shift {a} right by {b} bits, filling with its sign",
    "mov": "set {a} to {b}",
}
_CONDITIONS = {
    "jeq": "{a} is {b}", "jne": "{a} is not {b}", "jgt": "{a} > {b}, unsigned", "jge": "{a} >= {b}, unsigned",
    "jlt": "{a} < {b}, unsigned", "jle": "{a} <= {b}, unsigned", "jsgt": "{a} > {b}, signed",
    "jsge": "{a} >= {b}, signed", "jslt": "{a} < {b}, signed", "jsle": "{a} <= {b}, signed",
    "jset": "{a} and {b} have a bit in common",
}  # fmt: skip
_ATOMICS = {
    "add": "add {s} to", "or": "set the bits of {s} in", "and": "keep the bits of {s} in",
    "xor": "turn over the bits of {s} in", "xchg": "put {s} into",
}  # fmt: skip
_LOADS = {
    "ld_map_fd": "the map of {by} {imm}",
    "ld_map_value": "the address of byte {imm2} in the value of the map of {by} {imm}",
    "ld_btf_id": "the address of the kernel's variable with BTF id {imm}",
    "ld_func": "the address of the function {target}",
    "ld_map_idx": "map {imm} of the fd array",
    "ld_map_idx_value": "the address of byte {imm2} in the value of map {imm} of the fd array",
}


def words(insn: Insn, form: Form | None, pc: int = 0, *, by: str = "fd") -> str:
    """Return what an instruction at slot ``pc`` does, and where it comes from, in one line.

    ``by`` is what the numbers of maps are: ``fd``, or ``id`` where the kernel tells of a program.
    """
    if form is None:
        return f"no instruction: {why_none(insn)}"
    facts = [f"RFC 9669 group {form.group}" if form.group else "not in RFC 9669"]
    if form.isa:
        facts.append(f"ISA {form.isa}")
    if form.dialect == "xlated":
        facts.append(f"only the kernel writes it, since {form.since}")
    else:
        facts.append(f"since Linux {form.since}" if form.since else "no kernel takes it")
    return f"{meaning(insn, form, pc, by=by)} ({', '.join(facts)})"


def meaning(insn: Insn, form: Form, pc: int = 0, *, by: str = "fd") -> str:
    """Return what an instruction does, in words."""
    name, _, kind = form.name.partition("_")
    operation, bits = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
    dst, src = f"r{insn.dst_reg}", f"r{insn.src_reg}"
    if form.kind == "alu":
        return _alu(insn, form, operation, bits, kind)
    if form.kind in ("jump", "goto"):
        return _jump(insn, form, operation, bits, kind, pc)
    if form.kind == "ld_imm64":
        if form.name == "ld_imm64":
            return f"set {dst} to {(insn.imm2 & _U32) << 32 | (insn.imm & _U32):#x}, all 64 bits, in two slots"
        if not isinstance(insn.imm, int):
            return f"set {dst} to the address of {name_of(insn.imm)}, in two slots"
        target = f"at slot {pc + 1 + insn.imm}"
        shown = _LOADS[form.name].format(imm=insn.imm, imm2=insn.imm2, target=target, by=by)
        return f"set {dst} to {shown}, in two slots"
    if form.kind == "packet":
        place = f"{insn.imm}" if "src" not in form.operands else f"{src} {_signed(insn.imm)}"
        return (
            f"read {_BYTES[form.size]} of the packet at {place} into r0, in host order; end with 0 if it is shorter"
        )
    if form.kind == "call":
        return _call(insn, form, pc)
    if form.kind == "exit":
        return "return to the caller with r0"
    if form.kind == "barrier":
        return "stop speculation here"
    if "atomic" in form.name or form.kind == "atomic":
        return _atomic(insn, form)
    return _memory(insn, form)


def _signed(number: int) -> str:
    return f"- {-number}" if number < 0 else f"+ {number}"


def _place(register: int, off: int) -> str:
    return f"r{register} {_signed(off)}" if off else f"r{register}"


def _alu(insn: Insn, form: Form, operation: str, bits: str, kind: str) -> str:
    dst, src = f"r{insn.dst_reg}", f"r{insn.src_reg}"
    half = "" if bits == "64" else "; 32 bits, the upper half becomes 0"
    if operation in _OPERATIONS:
        b = src
        if "src" not in form.operands and not isinstance(form.fixed.get("src_reg"), str):
            b = str(insn.imm) if isinstance(insn.imm, int) else name_of(insn.imm)
            if operation in ("and", "or", "xor") and isinstance(insn.imm, int):
                b = f"{insn.imm & (_U32 if bits == '32' else (1 << 64) - 1):#x}"
        return _OPERATIONS[operation].format(a=dst, b=b) + half
    if operation == "neg":
        return f"change the sign of {dst}{half}"
    if operation == "movsx":
        return f"set {dst} to the low {kind} bits of {src}, extending their sign to {bits} bits{half[:0]}"
    if operation in ("le", "be"):
        order = "little-endian" if operation == "le" else "big-endian (network order)"
        return f"convert the low {bits} bits of {dst} between the machine's order and {order}; the rest becomes 0"
    if operation == "bswap":
        return f"reverse the bytes of the low {bits} bits of {dst}; the rest becomes 0"
    if form.name == "addr_space_cast":
        to, of = insn.imm >> 16 & 0xFFFF, insn.imm & 0xFFFF
        return f"set {dst} to {src}, as a pointer of address space {to} instead of {of}"
    if form.name == "mov_percpu":
        return f"set {dst} to the address of {src} on this CPU"
    return f"set the upper half of {dst} to 0"


def _target(operand: object, pc: int) -> str:
    return f"slot {pc + 1 + operand}" if isinstance(operand, int) else name_of(operand)


def _jump(insn: Insn, form: Form, operation: str, bits: str, kind: str, pc: int) -> str:
    where = _target(insn.imm if form.name == "gotol" else insn.off, pc)
    if operation in _CONDITIONS:
        a = f"r{insn.dst_reg}" if bits == "64" else f"the low half of r{insn.dst_reg}"
        b = f"r{insn.src_reg}" if kind == "reg" else str(insn.imm)
        if kind == "reg" and bits == "32":
            b = f"that of r{insn.src_reg}"
        if kind == "imm" and "s" not in operation[1:3] and insn.imm < 0:
            b = f"{insn.imm & (_U32 if bits == '32' else (1 << 64) - 1):#x}"
        return f"go to {where} if {_CONDITIONS[operation].format(a=a, b=b)}"
    if form.name == "may_goto":
        return f"go to {where} when the loop has run too often"
    if form.name == "gotox":
        return f"go to where r{insn.dst_reg} says"
    return f"go to {where}"


def _memory(insn: Insn, form: Form) -> str:
    dst, src, size = f"r{insn.dst_reg}", f"r{insn.src_reg}", _BYTES[form.size]
    if form.kind == "load":
        place = _place(insn.src_reg, insn.off)
        how = ", extending the sign" if "ldsx" in form.name or "sx_" in form.name else ""
        order = ", before all later accesses" if "acquire" in form.name else ""
        return f"load {size} from {place} into {dst}{how}{order}"
    place = _place(insn.dst_reg, insn.off)
    value = src if "src" in form.operands else str(insn.imm)
    order = ", after all earlier accesses" if "release" in form.name else ""
    return (
        f"store {'the low ' if form.size < 8 and 'src' in form.operands else ''}{size} of {value} at {place}{order}"
    )


def _atomic(insn: Insn, form: Form) -> str:
    name = form.name.rpartition("_")[2]
    place, size, src = _place(insn.dst_reg, insn.off), _BYTES[form.size], f"r{insn.src_reg}"
    if name == "cmpxchg":
        return f"if the {size} at {place} are r0, put {src} there; r0 gets what was there; at once"
    old = f"; {src} gets what was there" if "fetch" in form.name or name == "xchg" else ""
    return f"{_ATOMICS[name].format(s=src)} the {size} at {place}, at once{old}"


def _call(insn: Insn, form: Form, pc: int) -> str:
    if form.name == "call_helper":
        return f"call the helper {HELPERS.get(insn.imm, f'of number {insn.imm}')} with r1 to r5; r0 is its result"
    if form.name in ("call_rel", "call_args"):
        far = insn.imm if form.name == "call_rel" else insn.off
        return f"call the program's own function at {_target(far, pc)} with r1 to r5; r0 is its result"
    if form.name == "call_kfunc":
        named = f"of BTF id {insn.imm}" if isinstance(insn.imm, int) else name_of(insn.imm)
        return f"call the kernel's function {named} with r1 to r5; r0 is its result"
    if form.name == "tail_call":
        return "go on in another program: r2 is the map of programs, r3 the index"
    return f"call the function whose address is r{insn.dst_reg}"
