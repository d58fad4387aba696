"""The notation: all that a file of programs needs, from ``from bpfasm.asm import *``.

- Upper case is the kernel's: the instruction macros of filter.h, and the constants of linux/bpf.h. A name in
  upper case exists in a kernel header with that meaning, or it does not exist here.
- Lower case and CamelCase are ours: ``Program``, ``Subprog``, ``label``, ``HashMap``, ``Record``, ``StackLayout``,
  ``kprobe``, ``kfunc``, ``link`` ...
- ``R0`` to ``R10`` and ``FP`` are registers as the verifier prints them.
"""

from bpfasm.asm.arrays import array as array
from bpfasm.asm.attach import *
from bpfasm.asm.variables import Global as Global
from bpfasm.asm.fields import (
    enum_exists as enum_exists,
    enum_value as enum_value,
    field as field,
    first_of as first_of,
    type_exists as type_exists,
    type_id as type_id,
    type_size as type_size,
)
from bpfasm.asm.kconfig import kconfig as kconfig
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
    Arena as Arena,
    ArrayMap as ArrayMap,
    ArrayOfMaps as ArrayOfMaps,
    BloomFilter as BloomFilter,
    CgroupArray as CgroupArray,
    CgroupStorage as CgroupStorage,
    CgrpStorage as CgrpStorage,
    CpuMap as CpuMap,
    DevMap as DevMap,
    DevMapHash as DevMapHash,
    HashMap as HashMap,
    HashOfMaps as HashOfMaps,
    InodeStorage as InodeStorage,
    InsnArray as InsnArray,
    LpmTrie as LpmTrie,
    LruHashMap as LruHashMap,
    LruPerCpuHashMap as LruPerCpuHashMap,
    MapSpec as MapSpec,
    PerCpuArrayMap as PerCpuArrayMap,
    PerCpuCgroupStorage as PerCpuCgroupStorage,
    PerCpuHashMap as PerCpuHashMap,
    PerfEventArray as PerfEventArray,
    ProgArray as ProgArray,
    Queue as Queue,
    RHash as RHash,
    ReuseportSockArray as ReuseportSockArray,
    RingBuf as RingBuf,
    SkStorage as SkStorage,
    SockHash as SockHash,
    SockMap as SockMap,
    Stack as Stack,
    StackTrace as StackTrace,
    TaskStorage as TaskStorage,
    UserRingBuf as UserRingBuf,
    XskMap as XskMap,
)
from bpfasm.asm.opaque import spin_lock as spin_lock, timer as timer
from bpfasm.asm.prefixes import ipv4_prefix as ipv4_prefix, ipv6_prefix as ipv6_prefix, lpm_key as lpm_key
from bpfasm.asm.program import Program as Program, Subprog as Subprog
from bpfasm.asm.record import Record as Record
from bpfasm.asm.registers import register as register
from bpfasm.asm.stack import StackLayout as StackLayout
from bpfasm.asm.struct_ops import StructOps as StructOps
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

    from bpfasm.asm.attach import __all__ as _places

    _LOWER = "kconfig kfunc assemble link label chars pad raw s8 s16 s32 s64 u8 u16 u32 u64".split()
    _LOWER += [name for name in _places if name[0].islower()]
    _LOWER += "register array ipv4_prefix ipv6_prefix lpm_key spin_lock timer".split()
    _LOWER += "field first_of type_size type_exists type_id enum_value enum_exists".split()
    __all__ = _LOWER + [name for name in list(globals()) if name[0].isupper() and name != "TYPE_CHECKING"]
