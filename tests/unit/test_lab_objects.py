"""ELF files as the lab reads them, made by gcc where there is one and by hand where there is not."""

from __future__ import annotations

import ctypes
import gzip
import lzma
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.packed import zstd

from bpfasm.errors import LabError
from bpfasm.lab.kernel import modules
from bpfasm.lab.kernel.objects import expand, modinfo, needed, sections, without_debug


@pytest.fixture(scope="module")
def gcc() -> str:
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("gcc is not installed")
    return found


def module(gcc: str, path: Path, **words: str) -> bytes:
    """Compile an object that says of itself what a kernel module says."""
    lines = "".join(
        f'const char {key}_[] __attribute__((section(".modinfo"), used)) = "{key}={value}";\n'
        for key, value in words.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_suffix(".o")
    subprocess.run([gcc, "-xc", "-c", "-o", made, "-"], input=lines.encode(), check=True)
    data = made.read_bytes()
    made.unlink()
    return data


@pytest.mark.oracle
def test_what_a_module_says(gcc, tmp_path):
    data = module(gcc, tmp_path / "m", license="GPL", depends="virtio,virtio-ring", vermagic="6.1 SMP")
    assert modinfo(data) == {"license": ["GPL"], "depends": ["virtio,virtio-ring"], "vermagic": ["6.1 SMP"]}


@pytest.mark.oracle
def test_modules_come_after_what_they_need(gcc, tmp_path):
    top = tmp_path / "kernel/drivers"
    (top / "sub").mkdir(parents=True)
    (top / "top-one.ko").write_bytes(module(gcc, tmp_path / "a", name="top_one", depends="middle,base"))
    (top / "sub/middle.ko.xz").write_bytes(lzma.compress(module(gcc, tmp_path / "b", depends="base")))
    (top / "base.ko.gz").write_bytes(gzip.compress(module(gcc, tmp_path / "c", depends="")))
    (top / "other.ko").write_bytes(b"")
    found = modules.closure(tmp_path, ("built_in", "top-one", "base"))
    assert [one.name for one in found] == ["base", "middle", "top_one"]
    assert [sections(one.data) != {} for one in found] == [True] * 3


@pytest.mark.oracle
def test_a_library_without_debug_data_still_loads(gcc, tmp_path):
    whole, small = tmp_path / "whole.so", tmp_path / "small.so"
    source = b"int table[100] = {1, 2, 41}; int answer(int x) { return x + table[2]; }\n"
    subprocess.run([gcc, "-g3", "-shared", "-fPIC", "-xc", "-o", whole, "-"], input=source, check=True)
    data = whole.read_bytes()
    assert ".debug_info" in sections(data)
    small.write_bytes(without_debug(data))
    assert small.stat().st_size < len(data)
    assert sections(small.read_bytes()) == {}
    assert ctypes.CDLL(str(small)).answer(1) == 42


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(58), b"\x7fELF\x02\x01" + b"\xff" * 58])
def test_what_is_no_elf_file_is_left_alone(data: bytes):
    assert sections(data) == {}
    assert modinfo(data) == {}
    assert needed(data) == []
    assert without_debug(data) == data


@pytest.mark.oracle
@pytest.mark.parametrize("program", ["sh", "gcc", sys.executable])
def test_what_a_program_needs(program: str):
    found = shutil.which(program)
    readelf = shutil.which("readelf")
    if found is None or readelf is None:
        pytest.skip(f"{program} or readelf is not installed")
    path = Path(found).resolve()
    shown = subprocess.run([readelf, "-dlW", path], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"Requesting program interpreter: (.*)\]", shown) + re.findall(r"\(NEEDED\).*\[(.*)\]", shown)
    assert needed(path.read_bytes()) == names != []


def test_modules_are_unpacked():
    assert expand("a.ko", b"x") == b"x"
    assert expand("a.ko.xz", lzma.compress(b"x")) == b"x"
    assert expand("a.ko.gz", gzip.compress(b"x")) == b"x"
    assert expand("a.ko.zst", zstd(b"x" * 1000)) == b"x" * 1000


@pytest.mark.parametrize(
    "data", [b"", b"x", lzma.compress(b"x")[:-20], gzip.compress(b"x" * 1000)[:20], b"\x28\xb5\x2f\xfdx"]
)
def test_a_module_that_cannot_be_unpacked(data: bytes):
    with pytest.raises(LabError, match=r"a\.ko\.zst") as error:
        expand("a.ko.zst", data)
    assert error.value.rule == "lab-module"
    assert len(str(error.value).splitlines()) == 2
