"""The table of program types against the running kernel: what loads, what is told at load, what has a test run."""

import errno
import os
import re
import struct
from ctypes import create_string_buffer
from functools import cache
from pathlib import Path

import pytest
from support.bpf2 import PROG_LOAD, address, bpf, kernel_types, running_series
from support.each import each

from bpfasm.asm import *
from bpfasm.asm.prog_types import ANY, REQUIRED, TYPES, smallest
from bpfasm.errors import FeatureMissing, KernelError, VerifierError
from bpfasm.kernel import load
from bpfasm.kernel.btf import kernel as kernel_btf
from bpfasm.kernel.programs.testrun_refused import runnable
from bpfasm.syscall import bpf as call, system
from bpfasm.syscall.libc import buffer
from bpfasm.uapi import bpf as uapi, names

pytestmark = pytest.mark.lab

PACKET = bytes(64)
SERIES = tuple(map(int, running_series().split(".")))

#: Since when the kernel has an attach type, where that is after 5.10; and what of a type's it checks since then.
ATTACH_SINCE = {
    BPF_SK_REUSEPORT_SELECT: (5, 14), BPF_SK_REUSEPORT_SELECT_OR_MIGRATE: (5, 14),
    BPF_CGROUP_UNIX_CONNECT: (6, 7), BPF_CGROUP_UNIX_SENDMSG: (6, 7), BPF_CGROUP_UNIX_RECVMSG: (6, 7),
    BPF_CGROUP_UNIX_GETPEERNAME: (6, 7), BPF_CGROUP_UNIX_GETSOCKNAME: (6, 7),
}  # fmt: skip

#: Since when programs of a type may sleep.
SLEEP_SINCE = {
    BPF_PROG_TYPE_KPROBE: (6, 0), BPF_PROG_TYPE_TRACEPOINT: (7, 0), BPF_PROG_TYPE_RAW_TRACEPOINT: (7, 0),
    BPF_PROG_TYPE_SYSCALL: (5, 14),
}  # fmt: skip

UNTARGETED = [row for row in TYPES.values() if not row.target]


def release(text):
    return tuple(map(int, text.split(".")))


def since(series):
    """Tell whether the running kernel is as new as a release."""
    return series <= SERIES


def is_taken(fields):
    """Return whether the kernel takes a program, without asking why not."""
    try:
        number, _ = call.prog_load(**fields)
    except OSError:
        return False
    os.close(number)
    return True


def loads(program):
    """Return whether a program loads; where it does not, it must be said why."""
    try:
        load(program).close()
    except (FeatureMissing, KernelError) as error:
        assert error.do, error
        return False
    return True


def each_type(test):
    """Hold a test against each type that this kernel has, but for those with a target."""

    def where_it_is(row):
        there(row)
        test(row)

    where_it_is.__name__, where_it_is.__doc__ = test.__name__, test.__doc__
    return each(UNTARGETED, named=lambda row: row.name)(where_it_is)


def there(row):
    """Skip a type that this kernel is too old for, or built without."""
    if not since(release(row.since)):
        assert not loads(smallest(row.type))
        pytest.skip(f"{row.name} is new in {row.since}")
    if row.type == BPF_PROG_TYPE_LIRC_MODE2 and not has_lirc():
        pytest.skip("built without CONFIG_BPF_LIRC_MODE2")


@cache
def has_lirc():
    """Return whether the kernel has what such programs are for."""
    return any(name.startswith("lirc_mode2_") for name in system.kernel_symbols())


def test_the_table_has_every_type_once():
    assert TYPES.keys() == names(uapi, "bpf_prog_type").keys() - {BPF_PROG_TYPE_UNSPEC}


def test_a_type_that_is_too_new():
    for row in UNTARGETED:
        if not since(release(row.since)):
            with pytest.raises(FeatureMissing) as caught:
                load(smallest(row.type))
            assert caught.value.rule == "no-program-type"


@each_type
def test_the_smallest_program_loads(row):
    with load(smallest(row.type)) as obj:
        info = obj.programs[0].info()
    assert (info.type, info.name) == (row.type, "smallest")


@each_type
def test_attach_types(row):
    """Of those that are checked, the row's are accepted and no others; of the rest, any is."""
    least = smallest(row.type)
    all_numbers = range(max(TYPES[BPF_PROG_TYPE_LSM].attach_types) + 16)
    if row.attach == ANY:
        for number in (0, *row.attach_types, BPF_CGROUP_DEVICE):
            expected = number == 0 or row.type not in (BPF_PROG_TYPE_SYSCALL,)
            assert loads(least.replace(expected_attach_type=number)) == expected
        return
    code = buffer(link(least).code)
    fields = {"prog_type": least.type, "insns": code, "insn_cnt": len(code) // 8, "license": buffer(b"GPL\0")}
    fields["prog_flags"] = least.flags
    accepted = {n for n in all_numbers if is_taken(fields | {"expected_attach_type": n})}
    # As it is told; for one of each, since that takes an emulated guest long.
    for some in ({*all_numbers} - accepted, accepted):
        assert not some or loads(least.replace(expected_attach_type=max(some))) == (some is accepted)
    own = {each for each in row.attach_types if since(ATTACH_SINCE.get(each, (0, 0)))}
    if own:
        # 0 is BPF_CGROUP_INET_INGRESS too, and in a struct that was not filled in it means nothing.
        assert accepted - {0} == own - {0}
        assert (0 in accepted) == (row.attach != REQUIRED)


def test_what_is_wrong_with_an_attach_type():
    with pytest.raises(KernelError) as caught:
        load(smallest(BPF_PROG_TYPE_CGROUP_SOCKOPT).replace(expected_attach_type=BPF_XDP))
    assert caught.value.rule == "attach-type"
    assert caught.value.do == "give it one of BPF_CGROUP_GETSOCKOPT, BPF_CGROUP_SETSOCKOPT"


def test_flags_that_are_not_known():
    with pytest.raises(FeatureMissing) as caught:
        load(smallest(BPF_PROG_TYPE_XDP).replace(flags=1 << 30))
    assert caught.value.rule == "program-flags"
    assert "does not take the flags 0x40000000 for BPF_PROG_TYPE_XDP" in caught.value.what


def test_a_device_that_does_not_run_programs():
    lo = int(Path("/sys/class/net/lo/ifindex").read_text())
    with pytest.raises(FeatureMissing) as caught:
        load(smallest(BPF_PROG_TYPE_XDP).replace(ifindex=lo))
    assert caught.value.rule == "program-ifindex"


@pytest.mark.parametrize("flag", [BPF_F_STRICT_ALIGNMENT, BPF_F_ANY_ALIGNMENT, BPF_F_TEST_STATE_FREQ])
def test_flags_are_passed_on(flag):
    assert loads(smallest(BPF_PROG_TYPE_XDP).replace(flags=flag))


def test_strict_alignment_is_strict():
    unaligned = Program(
        "unaligned",
        BPF_PROG_TYPE_SOCKET_FILTER,
        [BPF_ST_MEM(BPF_DW, FP, -8, 0), BPF_LDX_MEM(BPF_H, R0, FP, -7), BPF_EXIT_INSN()],
    )
    packet = Program(
        "packet",
        BPF_PROG_TYPE_XDP,
        [
            BPF_LDX_MEM(BPF_W, R2, R1, 0),
            BPF_LDX_MEM(BPF_W, R3, R1, 4),
            BPF_MOV64_REG(R4, R2),
            BPF_ALU64_IMM(BPF_ADD, R4, 14),
            BPF_MOV64_IMM(R0, 0),
            BPF_JMP_REG(BPF_JGT, R4, R3, "short"),
            BPF_LDX_MEM(BPF_W, R0, R2, 3),
            label("short"),
            BPF_EXIT_INSN(),
        ],
    )
    assert loads(packet) == (os.uname().machine in ("x86_64", "aarch64"))
    with pytest.raises(VerifierError, match="misaligned packet access"):
        load(packet.replace(flags=BPF_F_STRICT_ALIGNMENT))
    with pytest.raises(VerifierError, match=r"misaligned stack access|invalid size of register fill"):
        load(unaligned.replace(flags=BPF_F_STRICT_ALIGNMENT))


@each_type
def test_licenses(row):
    assert loads(smallest(row.type).replace(license="Proprietary")) == (not row.gpl)


@each_type
def test_sleeping(row):
    may = bool(row.sleepable) and since(SLEEP_SINCE[row.type])
    assert loads(smallest(row.type).replace(flags=BPF_F_SLEEPABLE)) == may
    if may:
        awake = row.sleepable != "always"
        assert loads(smallest(row.type).replace(flags=0)) == awake
        shown = re.search(r"\((\d+\.\d+)\)", row.sleepable)
        assert not shown or release(shown[1]) == SLEEP_SINCE[row.type]


# Test runs

#: A context that each type takes which takes one, without anything else.
CTX = {
    BPF_PROG_TYPE_RAW_TRACEPOINT: bytes(96),
    BPF_PROG_TYPE_SK_LOOKUP: bytes(8) + struct.pack("=II", 2, 6) + bytes(56),
    BPF_PROG_TYPE_SYSCALL: bytes(100),
}


@each_type
def test_which_types_have_a_test_run(row):
    with load(smallest(row.type)) as obj:
        prog = obj.programs[0]
        if row.run is None:
            # Taken away in 6.12, and from the long-term releases that were kept then.
            if row.type == BPF_PROG_TYPE_LWT_SEG6LOCAL and not since((6, 1)):
                assert prog.test_run(PACKET).retval == row.safe
                return
            with pytest.raises(KernelError) as caught:
                prog.test_run(PACKET)
            assert caught.value.what == f"programs of type {row.name} have no test run"
            assert caught.value.do.endswith(", ".join(runnable()))
            return
        data = PACKET if "data" in row.run else b""
        ctx = b"" if data else CTX[row.type]
        done = prog.test_run(data, ctx=ctx)
        # The flow dissector of 5.10 says whether it found a flow.
        assert done.retval in ((0, 1) if row.type == BPF_PROG_TYPE_FLOW_DISSECTOR else (row.safe,))
        extra = {"repeat": 3, "cpu": 0, "data": PACKET, "ctx": bytes(8)}
        for name in extra.keys() - set(row.run):
            # 5.10 does not look at what it does not know.
            if name == "cpu" and not since((5, 11)):
                continue
            given = {"data": data, "ctx": ctx, name: extra[name]}
            try:
                prog.test_run(given.pop("data"), **given)
            except KernelError as error:
                assert "takes no" in error.what or "does not take" in error.what
            else:
                assert (row.type, name) == (BPF_PROG_TYPE_FLOW_DISSECTOR, "ctx"), f"{row.name} takes {name}"


# Types with a target


@pytest.fixture(scope="module")
def targets():
    """A kernel that shows its types."""
    if not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("this kernel has no BTF")


@pytest.fixture(scope="module")
def trampolines(targets):
    """A kernel that lets root load what is called from its functions: tried by hand."""
    code = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
    insns, license = (create_string_buffer(data, len(data)) for data in (code, b"GPL\0"))
    attributes = struct.pack(
        "=IIQQIIQII16sIIIIQIIQII", BPF_PROG_TYPE_TRACING, 2, address(insns), address(license), 0, 0, 0, 0, 0, b"", 0,
        BPF_TRACE_FENTRY, 0, 0, 0, 0, 0, 0, 0, kernel_types()["func", "vfs_read"],
    )  # fmt: skip
    try:
        number, _ = bpf(PROG_LOAD, attributes)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        pytest.skip("this kernel lets nobody load fentry programs")
    os.close(number)


def targeted(type, attach_type, target, **more):
    return Program("targeted", type, RETURN_0, expected_attach_type=attach_type, attach_btf=target, **more)


RETURN_0 = [BPF_MOV64_IMM(R0, 0), BPF_EXIT_INSN()]
TRACING, LSM, STRUCT_OPS = BPF_PROG_TYPE_TRACING, BPF_PROG_TYPE_LSM, BPF_PROG_TYPE_STRUCT_OPS

#: Programs with a target, and since when there are such.
OWN_FUNCTIONS = [
    (targeted(TRACING, BPF_TRACE_FENTRY, "vfs_read"), "5.5"),
    (targeted(TRACING, BPF_TRACE_FEXIT, "vfs_read"), "5.5"),
    (targeted(TRACING, BPF_MODIFY_RETURN, "security_file_open"), "5.7"),
    (targeted(TRACING, BPF_TRACE_FSESSION, "vfs_read"), "7.0"),
    (targeted(LSM, BPF_LSM_MAC, "file_open"), "5.7"),
    (targeted(LSM, BPF_LSM_MAC, "bpf_lsm_file_open"), "5.7"),
    (targeted(LSM, BPF_LSM_CGROUP, "socket_bind"), "6.0"),
]
OTHERS = [
    (targeted(TRACING, BPF_TRACE_RAW_TP, "sched_switch"), "5.5"),
    (targeted(TRACING, BPF_TRACE_ITER, "task"), "5.8"),
    (targeted(TRACING, BPF_TRACE_ITER, "vmlinux:task"), "5.8"),
    (targeted(STRUCT_OPS, 0, "tcp_congestion_ops.ssthresh"), "5.6"),
    (targeted(STRUCT_OPS, 0, "bpf_dummy_ops.test_1"), "5.17"),
]


def what_it_says(case):
    program, _ = case
    return f"{program.expected_attach_type}-{program.attach_btf}"


def expected(program, first):
    """Load a program with a target where it is to load; return its info. Where it is too new, it says so."""
    if since(release(first)):
        with load(program) as obj:
            return obj[program].info()
    with pytest.raises((FeatureMissing, KernelError)) as caught:
        load(program)
    assert caught.value.rule in ("attach-type", "btf-name")
    pytest.skip(f"{caught.value.what} (new in {first})")


@pytest.mark.parametrize("case", OTHERS, ids=what_it_says)
def test_targets_that_are_no_functions_of_the_kernels_own(targets, case):
    program, first = case
    assert expected(program, first).type == program.type


@pytest.mark.parametrize("case", OWN_FUNCTIONS, ids=what_it_says)
def test_functions_of_the_kernel(trampolines, case):
    program, first = case
    info = expected(program, first)
    assert info.type == program.type
    if since((6, 0)):
        prefix = "bpf_lsm_" if program.type == LSM else ""
        name = prefix + program.attach_btf.removeprefix(prefix)
        assert info.attach_btf_id == kernel_types()["func", name]


def test_a_target_by_its_number(targets):
    id = kernel_types()["func", "bpf_iter_task"]
    assert loads(targeted(TRACING, BPF_TRACE_ITER, id))


@pytest.mark.lab(on="ends")
@pytest.mark.parametrize(
    ("program", "words", "do"),
    [
        (
            targeted(TRACING, BPF_TRACE_RAW_TP, "sched_swich"),
            "has no tracepoint btf_trace_sched_swich",
            "sched_switch",
        ),
        (
            targeted(TRACING, BPF_TRACE_ITER, "nothing_at_all"),
            "has no function bpf_iter_nothing_at_all",
            "names differ",
        ),
        (targeted(TRACING, BPF_TRACE_ITER, "no_module:task"), "in its BTF of no_module", "leave the module out"),
        (
            targeted(STRUCT_OPS, 0, "tcp_congestion_ops.none"),
            "struct tcp_congestion_ops has no member none",
            "ssthresh",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_target_that_is_not_there(targets, program, words, do):
    with pytest.raises(KernelError) as caught:
        load(program)
    assert caught.value.rule == "btf-name"
    assert words in caught.value.what
    assert do in caught.value.do


def test_a_kernel_that_does_not_show_its_types(targets, monkeypatch, tmp_path):
    monkeypatch.setattr(kernel_btf, "FILES", str(tmp_path))
    monkeypatch.setattr(kernel_btf, "_vmlinux", [])
    with pytest.raises(FeatureMissing) as caught:
        load(targeted(TRACING, BPF_TRACE_ITER, "task"))
    assert caught.value.rule == "no-btf"


@pytest.mark.parametrize(
    "type", [row.type for row in TYPES.values() if row.target], ids=lambda type: TYPES[type].name
)
def test_a_type_that_needs_a_target_without_one(type):
    with pytest.raises(KernelError) as caught:
        load(smallest(type))
    assert caught.value.rule == "program-type"
    assert f"of type {TYPES[type].name} is loaded for {TYPES[type].target}" in caught.value.what


def test_licenses_of_types_with_a_target(targets):
    free = targeted(STRUCT_OPS, 0, "tcp_congestion_ops.ssthresh")
    assert loads(free)
    assert not loads(free.replace(license="Proprietary"))
    assert loads(targeted(TRACING, BPF_TRACE_ITER, "task", license="Proprietary"))


def test_licenses_of_security_programs(trampolines):
    assert not loads(targeted(LSM, BPF_LSM_MAC, "file_open", license="Proprietary"))
    assert loads(targeted(TRACING, BPF_TRACE_FENTRY, "vfs_read", license="Proprietary"))


def test_an_iterator_may_sleep(targets):
    assert loads(targeted(TRACING, BPF_TRACE_ITER, "task", flags=BPF_F_SLEEPABLE))


def test_a_program_that_replaces_a_function_of_another(trampolines):
    one = Program("replaced", BPF_PROG_TYPE_XDP, [BPF_MOV64_IMM(R0, 1), BPF_EXIT_INSN()])
    two = Program("instead", BPF_PROG_TYPE_EXT, RETURN_0, attach_prog=one, attach_btf="replaced")
    with load(two) as obj:  # the other one comes with it
        assert [each.name for each in obj.programs] == ["replaced", "instead"]
        info = obj[two].info()
        if since((5, 15)):
            assert info.attach_btf_obj_id == obj[one].info().btf_id
        with load(two.replace(attach_prog=obj[one].fd)) as again:
            assert again.programs[0].info().type == BPF_PROG_TYPE_EXT
        with pytest.raises(KernelError, match="has no function other") as caught:
            load(two.replace(attach_prog=obj[one].fd, attach_btf="other"))
        assert caught.value.do == "its functions are replaced"
    with load(one) as obj, pytest.raises(KernelError) as caught:
        load(two.replace(attach_prog=obj[one].fd))
    assert caught.value.do == "it was loaded without types (BTF)"


def test_a_test_run_of_the_functions_that_are_there_for_it(trampolines):
    """It calls them; what is attached runs. Attached to nothing, it returns what the kernel's own functions do."""
    with load(targeted(TRACING, BPF_TRACE_FENTRY, "bpf_fentry_test1")) as obj:
        assert obj.programs[0].test_run().retval == 0


def test_types_with_a_target_that_have_no_test_run(targets):
    for program in (
        targeted(TRACING, BPF_TRACE_ITER, "task"),
        targeted(STRUCT_OPS, 0, "tcp_congestion_ops.ssthresh"),
    ):
        with load(program) as obj, pytest.raises(KernelError) as caught:
            obj[program].test_run(PACKET)
        # 5.10 has none for any STRUCT_OPS, and says so otherwise.
        assert "no test run" in caught.value.what


def test_a_test_run_of_a_struct_of_functions(targets):
    program, first = OTHERS[-1]
    if not since(release(first)):
        pytest.skip(f"struct bpf_dummy_ops is new in {first}")
    body = [BPF_MOV64_IMM(R0, 77), BPF_EXIT_INSN()]
    with load(program.replace(insns=body)) as obj:
        assert obj.programs[0].test_run(ctx=bytes(8)).retval == 77
