"""What a module brings along: its functions as kfuncs and as targets, found by name in its own types."""

import pytest

from bpfasm import lab
from bpfasm.lab.kernel.modules import closure
from bpfasm.lab.packages.store import fetch

pytestmark = pytest.mark.boots

#: Loads tcp_bbr, which needs no other module and whose functions are kfuncs of congestion control.
SCRIPT = """
import ctypes, os, sys
from bpfasm.asm import *
from bpfasm.errors import KernelError, VerifierError
from bpfasm.kernel import load
from bpfasm.kernel.btf import kernel as kernel_btf

libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDONLY)
assert libc.syscall(313, fd, b"", 0) == 0, os.strerror(ctypes.get_errno())  # finit_module
os.close(fd)
print("tcp_bbr" in kernel_btf.modules())

for module in ("", "tcp_bbr"):
    call = BPF_CALL_KFUNC(0, kfunc("bbr_undo_cwnd", module))
    body = [BPF_LDX_MEM(BPF_DW, R1, R1, 0), call, BPF_EXIT_INSN()]
    prog = Program("undo", BPF_PROG_TYPE_STRUCT_OPS, body, attach_btf="tcp_congestion_ops.undo_cwnd")
    try:
        load(prog).close()
        print("kfunc")
    except VerifierError as error:  # 7 minds that R1 is a tcp_sock; that it wants a sock, the module's types told it
        print("kfunc" if "kernel function bbr_undo_cwnd R1 expected pointer to STRUCT sock" in error.what else error)

for name in ("bbr_undo_cwnd", "tcp_bbr:bbr_undo_cwnd"):
    body = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
    traced = Program("traced", BPF_PROG_TYPE_TRACING, body, expected_attach_type=BPF_TRACE_FENTRY, attach_btf=name)
    with load(traced) as obj:
        about = obj[traced].info()
        print("fentry", about.attach_btf_id == kernel_btf.find("bbr_undo_cwnd", 12)[1], about.attach_btf_obj_id > 1)
try:
    load(traced.replace(attach_btf="tcp_bbr:vfs_read"))
except KernelError as error:
    print(error.do)
"""


@pytest.mark.parametrize("version", [kernel.version for kernel in lab.kernels() if kernel.version != "5.10"])
def test_functions_of_a_module(version, tmp_path):
    kernel = fetch(lab.find(version))
    module = tmp_path / "tcp_bbr.ko"
    (found,) = closure(kernel.tree.modules, ["tcp_bbr"])
    module.write_bytes(found.data)
    command = ["python3", "-c", SCRIPT, str(module)]
    done = lab.capture(kernel, command, copy=[module], packages=(), timeout=120)
    assert done.status == 0, done.stderr.decode()
    assert done.stdout.decode().splitlines() == [
        "True",
        "kfunc",
        "kfunc",
        "fentry True True",
        "fentry True True",
        "the kernel itself has it: leave the module out",
    ]
