"""Native code as text, by capstone, of both machines; and without it."""

import builtins

import pytest

from bpfasm.errors import FeatureMissing
from bpfasm.native import NativeInsn, disassemble

X86 = bytes.fromhex("554889e5 bf15000000 e800000000 ffd0 7402 c9 c3")
ARM = bytes.fromhex("fd7bbfa9 fd030091 a0028052 00000094 00013fd6 c0035fd6")


def test_x86():
    pytest.importorskip("capstone")
    found = list(disassemble(X86, 0xFFFFFFFF81000000, "x86_64"))
    assert [each.text for each in found] == [
        "pushq %rbp", "movq %rsp, %rbp", "movl $0x15, %edi", "callq 0xffffffff8100000e", "callq *%rax",
        "je 0xffffffff81000014", "leave", "retq",
    ]  # fmt: skip
    assert [each.target for each in found if each.target] == [0xFFFFFFFF8100000E, 0xFFFFFFFF81000014]
    assert found[0] == NativeInsn(0xFFFFFFFF81000000, b"\x55", "pushq %rbp")
    assert b"".join(each.code for each in found) == X86


@pytest.mark.parametrize("machine", ["aarch64", "arm64"])
def test_arm64(machine):
    pytest.importorskip("capstone")
    found = list(disassemble(ARM, 0xFFFF800080000000, machine))
    assert [each.text.split()[0] for each in found] == ["stp", "mov", "mov", "bl", "blr", "ret"]
    assert [each.target for each in found if each.target] == [0xFFFF80008000000C]
    assert b"".join(each.code for each in found) == ARM


def test_what_is_no_instruction_is_shown_as_bytes():
    pytest.importorskip("capstone")
    found = list(disassemble(b"\xc3\x06\x07", 0, "x86_64"))
    assert [each.text for each in found] == ["retq", ".byte 0x06", ".byte 0x07"]


def test_a_machine_that_is_not_known():
    pytest.importorskip("capstone")
    with pytest.raises(FeatureMissing) as caught:
        list(disassemble(b"", 0, "s390x"))
    assert (caught.value.rule, caught.value.what) == ("no-capstone", "native code of s390x is not known here")


def test_without_capstone(monkeypatch):
    real = builtins.__import__

    def without(name, *more):
        if name == "capstone":
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FeatureMissing) as caught:
        list(disassemble(X86, 0, "x86_64"))
    assert (caught.value.rule, caught.value.do) == ("no-capstone", "pip install capstone")
