"""What is handed to the kernel and read from /proc and /sys, without asking the kernel."""

import errno
import struct
import sys

import pytest

if sys.platform != "linux":
    pytest.skip("system calls of Linux", allow_module_level=True)

from bpfasm.syscall import system, tracefs
from bpfasm.syscall.bpf import Attr
from bpfasm.syscall.layout import get, put
from bpfasm.syscall.libc import ENOTSUPP, addressof, buffer, buffer_over, failure
from bpfasm.uapi.bpf import sizeof_union_bpf_attr
from bpfasm.uapi.perf_event import struct_perf_event_attr


def used(attr):
    return attr.memory.raw[: attr.size]


def test_an_attr_ends_with_its_last_field_that_is_not_zero():
    attr = Attr({"map_type": 1, "key_size": 4, "value_size": 8, "max_entries": 100, "map_flags": 0})
    assert used(attr) == struct.pack("=4I", 1, 4, 8, 100)
    attr = Attr({"map_type": 1, "max_entries": 100, "map_name": b"counts", "map_extra": 0})
    assert used(attr) == struct.pack("=4I12x16s", 1, 0, 0, 100, b"counts")
    assert attr.memory.raw == used(attr).ljust(sizeof_union_bpf_attr, b"\0")


def test_an_attr_is_at_least_as_long_as_what_the_kernel_writes():
    assert Attr({"prog_type": 1}, least=144).size == 144
    assert Attr({"prog_type": 1, "fd_array_cnt": 1}, least=144).size == 152


def test_pointers_are_addresses():
    key, value = buffer(b"\1\0\0\0"), buffer(8)
    attr = Attr({"map_fd": 3, "key": key, "value": value})
    assert used(attr) == struct.pack("=I4x2Q", 3, addressof(key), addressof(value))
    assert attr["map_fd"] == 3


def test_fields_of_a_command_are_dotted():
    attr = Attr({"link_create.prog_fd": 5, "link_create.target_fd": 6, "link_create.attach_type": 41})
    assert used(attr) == struct.pack("=3I", 5, 6, 41)
    attr = Attr({"link_create.prog_fd": 5, "link_create.perf_event.bpf_cookie": 1 << 63})
    assert used(attr) == struct.pack("=I12xQ", 5, 1 << 63)


def test_prog_load():
    insns, license = buffer(16), buffer(b"GPL\0")
    fields = {"prog_type": 2, "insn_cnt": 2, "insns": insns, "license": license, "prog_name": b"chowncount"}
    expected = struct.pack("=2I2Q2IQ2I16s", 2, 2, addressof(insns), addressof(license), 0, 0, 0, 0, 0, b"chowncount")
    assert used(Attr(fields)) == expected[: 48 + 16]
    log = buffer(4096)
    attr = Attr(fields | {"log_level": 1, "log_size": 4096, "log_buf": log}, least=144)
    assert used(attr)[24:40] == struct.pack("=2IQ", 1, 4096, addressof(log))


def test_a_field_that_there_is_not():
    with pytest.raises(TypeError, match="union bpf_attr has no field map_kind"):
        Attr({"map_kind": 1})


def test_bit_fields():
    memory = buffer(136)
    assert put(memory, "struct perf_event_attr", struct_perf_event_attr, "disabled", 1) == 48
    put(memory, "struct perf_event_attr", struct_perf_event_attr, "precise_ip", 3)
    put(memory, "struct perf_event_attr", struct_perf_event_attr, "disabled", 0)
    put(memory, "struct perf_event_attr", struct_perf_event_attr, "config", 7)
    assert struct.unpack_from("=Q", memory, 40) == (3 << 15,)
    assert get(memory, struct_perf_event_attr, "config") == 7


def test_memory():
    assert buffer(b"ab\0c").raw == b"ab\0c"
    assert buffer(3).raw == bytes(3)
    memory = bytearray(b"xyz")
    buffer_over(memory)[0] = b"a"
    assert memory == b"ayz"


def test_failures_are_oserrors():
    error = failure(errno.ENOENT, "BPF_OBJ_GET")
    assert isinstance(error, FileNotFoundError)
    assert str(error) == "[Errno 2] BPF_OBJ_GET: No such file or directory"
    error = failure(ENOTSUPP, "BPF_PROG_TEST_RUN")
    assert error.errno == 524
    assert str(error) == "[Errno 524] BPF_PROG_TEST_RUN: ENOTSUPP: operation not supported"


# /proc and /sys


@pytest.fixture
def files(monkeypatch):
    """Files by path, in place of those of /proc and /sys."""
    there = {}
    for module in (system, tracefs):
        monkeypatch.setattr(module, "read", there.get)
    return there


def test_lockdown(files):
    assert system.lockdown() == ""
    files["/sys/kernel/security/lockdown"] = "none [integrity] confidentiality\n"
    assert system.lockdown() == "integrity"
    files["/sys/kernel/security/lockdown"] = "[none] integrity confidentiality\n"
    assert system.lockdown() == "none"


@pytest.mark.parametrize(
    ("text", "count", "numbers"), [("0\n", 1, 1), ("0-3\n", 4, 4), ("0,2-5\n", 5, 6), ("0-127,256\n", 129, 257)]
)
def test_possible_cpus(files, text, count, numbers):
    """A value of a map per CPU has num_possible_cpus() parts (kernel/bpf/syscall.c bpf_map_value_size())."""
    files["/sys/devices/system/cpu/possible"] = text
    assert (system.possible_cpus(), system.cpu_numbers()) == (count, numbers)


@pytest.mark.parametrize(("text", "cpu"), [("0-3\n", 0), ("1\n", 1), ("2,4-5\n", 2)])
def test_online_cpu(files, text, cpu):
    files["/sys/devices/system/cpu/online"] = text
    assert system.online_cpu() == cpu


def test_start_time(files):
    assert system.start_time(7) is None
    files["/proc/7/stat"] = "7 (a b) (c)) S " + " ".join(str(field) for field in range(4, 53))
    assert system.start_time(7) == 22


def test_status(files):
    assert system.capabilities() == 0
    files["/proc/self/status"] = "Name:\ta:b\nCapEff:\t000001ffffffffff\nSeccomp:\t2\n"
    assert system.status()["Name"] == "a:b"
    assert system.capabilities() == (1 << 41) - 1
    assert system.seccomp() == 2


def test_pmu(files):
    assert system.pmu_type("kprobe") is None
    assert system.pmu_bit("kprobe", "retprobe") is None
    files["/sys/bus/event_source/devices/kprobe/type"] = "8\n"
    files["/sys/bus/event_source/devices/kprobe/format/retprobe"] = "config:3\n"
    assert system.pmu_type("kprobe") == 8
    assert system.pmu_bit("kprobe", "retprobe") == 3


def test_user_namespace(files):
    files["/proc/self/uid_map"] = "         0          0 4294967295\n"
    assert not system.in_user_namespace()
    files["/proc/self/uid_map"] = "         0       1000          1\n"
    assert system.in_user_namespace()


@pytest.mark.parametrize(
    ("release", "version"), [("6.1.0-56-cloud-amd64", (6, 1)), ("5.10", (5, 10)), ("7.3-rc1", (7, 3))]
)
def test_version(monkeypatch, release, version):
    monkeypatch.setattr(system, "release", lambda: release)
    assert system.version() == version


def test_symbols(files):
    assert system.kernel_symbols() == set()
    files["/proc/kallsyms"] = "0000000000000000 T vfs_read\n0000000000000000 t init_module\t[veth]\n"
    assert system.kernel_symbols() == {"vfs_read", "init_module"}


def test_long_lists_are_read_again_when_modules_have_changed(files, monkeypatch):
    monkeypatch.setattr(system, "_lists", {})
    files["/proc/modules"] = "veth 40960 0 - Live 0x0\n"
    files["/list"] = "a b"
    asked = []

    def names(text):
        asked.append(text)
        return text.split()

    assert system.listed("/list", names) == system.listed("/list", names) == {"a", "b"}
    assert asked == ["a b"]
    files["/list"] = "a b c"
    files["/proc/modules"] = ""
    assert system.listed("/list", names) == {"a", "b", "c"}


# tracefs

MOUNTS = """\
22 1 0:20 / /sys rw,nosuid shared:2 - sysfs sysfs rw
23 22 0:7 / /sys/kernel/security rw shared:3 - securityfs securityfs rw
30 22 0:12 / /sys/kernel/debug rw shared:9 - debugfs debugfs rw
31 22 0:13 /instances/x /mnt/x rw - tracefs tracefs rw
{}"""


def test_find_tracefs():
    line = "32 22 0:13 / {} rw shared:10 - tracefs tracefs rw\n"
    assert tracefs.find(MOUNTS.format(line.format("/sys/kernel/tracing"))) == "/sys/kernel/tracing"
    assert tracefs.find(MOUNTS.format(line.format("/mnt/a\\040b\\134"))) == "/mnt/a b\\"
    assert tracefs.find("") is None


def test_tracefs_inside_debugfs(monkeypatch):
    monkeypatch.setattr("os.path.isdir", lambda path: path == "/sys/kernel/debug/tracing/events")
    assert tracefs.find(MOUNTS.format("")) == "/sys/kernel/debug/tracing"
    monkeypatch.setattr("os.path.isdir", lambda path: False)
    assert tracefs.find(MOUNTS.format("")) is None


def test_the_error_of_a_definition(files):
    assert tracefs.error_of("/t", "g") == ""
    files["/t/error_log"] = (
        "[   10.1] trace_kprobe: error: Bad attach point\n  Command: p:a/b c\n           ^\n"
        "[   12.3] trace_kprobe: error: Invalid probed address or symbol\n"
        "  Command: p:bpfasm_1/e no_such+0x1\n                        ^\n"
        "[   13.3] trace_kprobe: error: Event name is too long\n  Command: p:other/b c\n           ^\n"
    )
    assert tracefs.error_of("/t", "bpfasm_1") == "Invalid probed address or symbol: no_such+0x1"
    assert tracefs.error_of("/t", "bpfasm_2") == ""
