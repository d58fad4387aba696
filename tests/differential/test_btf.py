"""BTF against others who read and write it: bpftool over the running kernel's, gcc's own of a few structs."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from bpfasm.btf.read import SIZED, Btf
from bpfasm.btf.values import value_of
from bpfasm.uapi import btf as uapi

pytestmark = pytest.mark.oracle

VMLINUX = Path("/sys/kernel/btf/vmlinux")

KINDS = {name.removeprefix("BTF_KIND_"): value for name, value in vars(uapi).items() if name.startswith("BTF_KIND_")}


def said(type):
    """Return what bpftool says of a type, in our words."""
    name = "" if type["name"] == "(anon)" else type["name"]
    if type["kind"] == "ENUM" and type["encoding"] == "UNSIGNED":
        for each in type["values"]:
            each["val"] &= 0xFFFFFFFF  # bpftool 7.1 extends a sign that there is not
    members = type.get("members") or type.get("values") or type.get("params") or type.get("vars") or []
    return (
        type["id"],
        KINDS[type["kind"]],
        name,
        type.get("size", 0) if KINDS[type["kind"]] in SIZED else type.get("type_id", type.get("ret_type_id", 0)),
        [tuple(each[key] for key in ("type_id", "bits_offset", "val", "offset") if key in each) for each in members],
        [each["name"].replace("(anon)", "") for each in members if "name" in each],
    )


def read(btf, id):
    """Return the same of ours."""
    type = btf.type(id)
    fields = {
        uapi.BTF_KIND_STRUCT: ("type", "offset"), uapi.BTF_KIND_UNION: ("type", "offset"),
        uapi.BTF_KIND_ENUM: ("value",), uapi.BTF_KIND_ENUM64: ("value",), uapi.BTF_KIND_FUNC_PROTO: ("type",),
        uapi.BTF_KIND_DATASEC: ("type", "offset"),
    }.get(type.kind, ())  # fmt: skip
    named = type.kind != uapi.BTF_KIND_DATASEC
    return (
        id,
        type.kind,
        type.name,
        type.size if type.kind in SIZED else type.type if type.kind != uapi.BTF_KIND_FWD else 0,
        [tuple(getattr(each, field) for field in fields) for each in type.members],
        [each.name for each in type.members if named],
    )


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
@pytest.mark.skipif(not shutil.which("bpftool"), reason="needs bpftool (apt install bpftool)")
def test_every_type_of_the_kernel_is_read_as_bpftool_does():
    command = ["bpftool", "--json", "btf", "dump", "file", VMLINUX]
    types = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["types"]
    btf = Btf(VMLINUX.read_bytes())
    assert len(btf) == len(types) + 1
    for type in types:
        assert read(btf, type["id"]) == said(type)
    choose = random.Random(5)
    for type in choose.sample([t for t in types if t["name"] != "(anon)"], 40):
        same = [t["id"] for t in types if (t["name"], t["kind"]) == (type["name"], type["kind"])]
        assert btf.find(type["name"], KINDS[type["kind"]]) == same


SOURCE = r"""
#include <stdio.h>
#include <stdint.h>
#include <stdbool.h>
enum color { RED, GREEN = 5, BLUE = -3 };
enum large { SMALL = 1, LARGE = 0x123456789LL };
typedef unsigned short port_t;
struct inner { int8_t a; union { uint32_t word; uint8_t bytes[4]; }; };
struct outer {
    uint64_t first;
    const volatile port_t port;
    enum color color;
    enum large large;
    char name[10];
    signed char low[3];
    struct inner inner[2];
    void *pointer;
    double real;
    float half;
    bool flag;
    int bit1 : 3, bit2 : 7;
    unsigned long long wide : 40;
    int row[3];
} value = {
    .first = 0xfffffffffffffff0, .port = 65000, .color = BLUE, .large = LARGE, .name = "bpfasm", .low = { -1, 2, -3 },
    .inner = { { -7, { 0x04030201 } }, { 8, { 0xffffffff } } }, .pointer = (void *)0xffff888012345678, .real = 2.5,
    .half = -0.25, .flag = true, .bit1 = -2, .bit2 = 63, .wide = 0xabcdef1234, .row = { 1, 2, -3 },
};
int main(void) { fwrite(&value, sizeof(value), 1, stdout); return 0; }
"""


@pytest.fixture
def compiled(tmp_path, gcc):
    """Give BTF that gcc made of SOURCE, and the bytes of its value."""
    source, program, section = (tmp_path / name for name in ("value.c", "value", "btf"))
    source.write_text(SOURCE)
    done = subprocess.run(["gcc", "-gbtf", "-O0", source, "-o", program], capture_output=True, text=True, check=False)
    if done.returncode:
        assert "gbtf" in done.stderr
        pytest.skip("this gcc writes no BTF: gcc 12 and newer do")
    copy = ["objcopy", "-O", "binary", "-j", ".BTF", "--set-section-flags", ".BTF=alloc", program, section]
    subprocess.run(copy, check=True)
    return Btf(section.read_bytes()), subprocess.run([program], capture_output=True, check=True).stdout


def test_a_value_is_what_the_c_program_has(compiled):
    btf, data = compiled
    (outer,) = btf.find("outer", uapi.BTF_KIND_STRUCT)
    assert btf.size_of(outer) == len(data)
    found = value_of(btf, outer, data)
    large = found.pop("large")
    # gcc 12 writes enums of 8 bytes as ENUM, whose values have 32 bits: only newer ones know ENUM64.
    assert large in ("LARGE", 0x123456789)
    # No array of arrays: gcc 12 writes its dimensions in the wrong order.
    assert found == {
        "first": 0xFFFFFFFFFFFFFFF0, "port": 65000, "color": "BLUE", "name": "bpfasm", "low": [-1, 2, -3],
        "inner": [{"a": -7, "word": 0x04030201, "bytes": [1, 2, 3, 4]},
                  {"a": 8, "word": 0xFFFFFFFF, "bytes": [255] * 4}],
        "pointer": "0xffff888012345678", "real": 2.5, "half": -0.25, "flag": True, "bit1": -2, "bit2": 63,
        "wide": 0xABCDEF1234, "row": [1, 2, -3],
    }  # fmt: skip
