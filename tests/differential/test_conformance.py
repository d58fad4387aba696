"""The bytes of public conformance suites: each case is decoded, known, and encoded to the same bytes.

The cases belong to their projects and are no part of this one: BPFASM_CONFORMANCE names the file.
"""

import json
import lzma
import os

import pytest

from bpfasm.asm import Program, Target, assemble, link
from bpfasm.asm.syntax import detect
from bpfasm.errors import BpfasmError
from bpfasm.isa.insn import decode, encode
from bpfasm.isa.match import form_of, why_none
from bpfasm.views.listing import PRINTERS, listing

pytestmark = pytest.mark.oracle

#: What is no instruction to begin with, beside the cases named unused-*, which set a field that must be zero.
BROKEN = {
    "err-endian-size", "err-incomplete-lddw", "err-incomplete-lddw2",
    *(f"err-lddw-second-half-invalid{part}"
      for part in ("", "-all", "-dst-offset", "-offset", "-src", "-src-offset")),
}  # fmt: skip


@pytest.fixture(scope="module")
def cases():
    """Give (name, bytes) of every case that has bytes."""
    path = os.environ.get("BPFASM_CONFORMANCE")
    if not path:
        pytest.skip("BPFASM_CONFORMANCE names no file of conformance cases")
    found = [(case["name"], bytes_of(case)) for case in load(path)]
    return [(name, code) for name, code in found if code]


def load(path):
    with lzma.open(path) as file:
        return json.load(file)


@pytest.fixture(scope="module")
def texts():
    """Give (name, text, bytes, or nothing where the text is wrong on purpose) of every case that has a text."""
    path = os.environ.get("BPFASM_CONFORMANCE")
    if not path:
        pytest.skip("BPFASM_CONFORMANCE names no file of conformance cases")
    return [(case["name"], case["asm"], case.get("expected_hex") or "") for case in load(path) if case["asm"]]


def bytes_of(case):
    """Return a case's bytes; raw ones are given as bytes, or as numbers of 64 bits."""
    if case.get("expected_hex"):
        return bytes.fromhex(case["expected_hex"])
    words = [word.removeprefix("0x") for word in case["raw_words_hex"] or ()]
    narrow = all(len(word) <= 2 for word in words)
    return b"".join(int(word, 16).to_bytes(1 if narrow else 8, "little") for word in words)


@pytest.mark.parametrize("order", ["little", "big"])
def test_bytes_come_back(cases, order):
    assert len(cases) > 400
    assert [name for name, code in cases if encode(decode(code)) != code] == []
    both = [(decode(code), decode(encode(decode(code), order), order)) for _, code in cases]
    assert [ours for ours, back in both if ours != back] == []


def test_every_instruction_is_known_or_broken_on_purpose(cases):
    unknown = {}
    for name, code in cases:
        for insn in decode(code):
            if form_of(insn) is None:
                unknown.setdefault(name, []).append(why_none(insn))
    wrong = {name for name, _ in cases if name.startswith("unused-")} | BROKEN
    assert {name: why for name, why in unknown.items() if name not in wrong} == {}
    assert wrong - unknown.keys() == set()


def test_every_text_is_assembled_to_its_bytes(texts):
    """As uBPF's text, whether that is said or found out."""
    right = [(name, text, code) for name, text, code in texts if code]
    assert len(right) == 380
    for syntax in ("ubpf", None):
        wrong = [name for name, text, code in right if assembled(text, syntax) != code]
        # Nothing but `exit` is a program in every syntax.
        assert wrong == []


def assembled(text, syntax):
    (program,) = detect.read(text, "f", syntax).programs
    return link(program, Target(byteorder="little")).code.hex()


def test_every_wrong_text_is_refused_in_a_sentence(texts):
    wrong = [(name, text) for name, text, code in texts if not code]
    assert len(wrong) == 10
    for name, text in wrong:
        with pytest.raises(BpfasmError) as caught:
            detect.read(text, name, "ubpf")
        assert caught.value.source[0] == name
        assert caught.value.column
        assert len(caught.value.what.split()) > 3 and caught.value.do


@pytest.mark.parametrize("syntax", PRINTERS)
def test_everything_comes_back_from_every_syntax(cases, syntax):
    for name, code in cases:
        whole = code[: len(code) // 8 * 8]
        program = assemble(Program("p", 0, decode(whole)))
        text = "\n".join(listing(program, syntax))
        back = b"".join(encode(assemble(p).insns) for p in detect.read(text, name, syntax).programs)
        assert back == whole, (name, text)
