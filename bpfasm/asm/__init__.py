"""The notation: all that a file of programs needs, from ``from bpfasm.asm import *``.

- Upper case is the kernel's: the instruction macros of filter.h, and the constants of linux/bpf.h. A name in
  upper case exists in a kernel header with that meaning, or it does not exist here.
- Lower case and CamelCase are ours: ``Program``, ``Subprog``, ``label``, ``HashMap``, ``Record``, ``StackLayout``,
  ``kprobe``, ``kfunc``, ``link`` ...
- ``R0`` to ``R10`` and ``FP`` are registers as the verifier prints them.
"""

from bpfasm.asm.attach import Kprobe as Kprobe, kprobe as kprobe, kretprobe as kretprobe
from bpfasm.asm.kfunc import Kfunc as Kfunc, kfunc as kfunc
from bpfasm.asm.linker import (
    Assembled as Assembled,
    Linked as Linked,
    Target as Target,
    assemble as assemble,
    link as link,
)
from bpfasm.asm.macros import *
from bpfasm.asm.maps import (
    ArrayMap as ArrayMap,
    HashMap as HashMap,
    MapSpec as MapSpec,
    PerCpuArrayMap as PerCpuArrayMap,
    PerCpuHashMap as PerCpuHashMap,
    PerfEventArray as PerfEventArray,
    RingBuf as RingBuf,
    UserRingBuf as UserRingBuf,
)
from bpfasm.asm.program import Program as Program, Subprog as Subprog
from bpfasm.asm.record import Record as Record
from bpfasm.asm.stack import StackLayout as StackLayout
from bpfasm.asm.symbols import Label as Label, label as label
from bpfasm.asm.types import (
    chars as chars,
    pad as pad,
    raw as raw,
    s8 as s8,
    s16 as s16,
    s32 as s32,
    s64 as s64,
    u8 as u8,
    u16 as u16,
    u32 as u32,
    u64 as u64,
)
from bpfasm.isa.filter_h import *
from bpfasm.isa.insn import Insn as Insn
from bpfasm.isa.operands import *
from bpfasm.uapi.bpf import *  # type: ignore[assignment]
from bpfasm.uapi.bpf_common import *  # type: ignore[assignment]

TYPE_CHECKING = False
if not TYPE_CHECKING:
    # linux/bpf.h has BPF_ADD and its kin as bare numbers; here they are operand kinds. Of two star imports the type
    # checker keeps the first, and Python the last.
    from bpfasm.isa.operands import *

    _LOWER = "kfunc kprobe kretprobe assemble link label chars pad raw s8 s16 s32 s64 u8 u16 u32 u64".split()
    __all__ = _LOWER + [name for name in list(globals()) if name[0].isupper() and name != "TYPE_CHECKING"]
