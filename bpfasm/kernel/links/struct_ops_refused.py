"""Why a struct of functions was not created, taken or registered, in words."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EINVAL, EOPNOTSUPP, EPERM

from bpfasm.errors import FeatureMissing, KernelError
from bpfasm.kernel.base.privilege import not_permitted
from bpfasm.kernel.base.words import IN_THE_LAB, errno_name
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.syscall import system
from bpfasm.syscall.libc import ENOTSUPP
from bpfasm.uapi.bpf import BPF_MAP_TYPE_STRUCT_OPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.asm.struct_ops import StructOps
    from bpfasm.errors import BpfasmError


def refused(spec: StructOps, number: int, what: str) -> BpfasmError:
    """Say what a kernel did not take (kernel/bpf/bpf_struct_ops.c, and what each struct checks by itself)."""
    said = f"{spec.name}, a {spec}, {what}"
    if number == EPERM:
        return not_permitted(f"making {spec.name}, a {spec},", ("CAP_BPF", "CAP_NET_ADMIN"))
    if number in (EINVAL, ENOTSUPP, EOPNOTSUPP) and has_map_type(BPF_MAP_TYPE_STRUCT_OPS) is False:
        return FeatureMissing(
            f"{said}: this kernel ({system.release()}) has no maps of type BPF_MAP_TYPE_STRUCT_OPS",
            f"they need the JIT, and a kernel from 5.6 on; {IN_THE_LAB}",
            rule="no-map-type",
        )
    do = {
        EINVAL: "a member that it must have is missing, or has what it may not; the kernel's log may say: dmesg",
        EEXIST: "one of that name is registered: choose another, or end that one",
        EBUSY: "it was registered before, which kernels before 6.4 do once: load it again",
        ENOTSUPP: "a member that it has is none that a program may be",
    }.get(number, "dmesg may tell more")
    return KernelError(number, f"{said}: {errno_name(number)}", do, rule="struct-ops")
