"""The end of a verifier log: every refusal of the corpus, on six kernels."""

import json
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bpfasm.isa.insn import decode
from bpfasm.vlog.last import Last, last

DATA = Path(__file__).parents[1] / "data" / "vlogs"
CASES = [
    pytest.param(case, id=f"{file.stem}-{case['case']}-{case['level']}")
    for file in sorted(DATA.glob("*.json"))
    for case in json.loads(file.read_text())["cases"]
]


def test_there_are_six_kernels():
    assert len(list(DATA.glob("*.json"))) == 6
    assert len(CASES) > 400


@pytest.mark.parametrize("case", CASES)
def test_every_refusal(case):
    end = last("\n".join(case["log"]))
    assert (end.pc, end.insn, list(end.error)) == (case["pc"], case["insn"], case["error"])
    assert len(end.error) <= 2
    if case["pc"] is not None and case["insns"]:
        # The slot is one of the program, and where the log shows an instruction it is the program's.
        code = bytes.fromhex(case["insns"])
        assert 8 * case["pc"] < len(code)
        shown = [line for line in case["log"] if line.startswith(f"{case['pc']}: (")]
        assert not shown or shown[-1].startswith(f"{case['pc']}: ({code[8 * case['pc']]:02x}) ")
        assert decode(code)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", Last(None, "", ())),
        ("\0", Last(None, "", ())),
        ("processed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0\n", Last(None, "", ())),
        # 6.1 takes the line's end back
        ("2: (55) if r2 != 0x0 goto pc-2 infinite loop detected at insn 1\n",
         Last(2, "if r2 != 0x0 goto pc-2", ("infinite loop detected at insn 1",))),
        # ... and writes the next state there
        ("2: (55) if r2 != 0x0 goto pc-2 1: R0=0 R1=ctx()\n1: (b7) r0 = 0 ; R0=0\nbad\n",
         Last(1, "r0 = 0", ("bad",))),
        ("2: (56) if w2 != 0x0 goto pc-2 1: frame1: R0=0\n", Last(2, "if w2 != 0x0 goto pc-2", ())),
        # 6.18 forgets one
        ("4: (85) call bpf_tail_call#12\nexpected prog array map for tail callprocessed 3 insns (limit 1000000)\n",
         Last(4, "call bpf_tail_call#12", ("expected prog array map for tail call",))),
        # a buffer that was too small: the head alone, cut within an instruction
        ("0: (b7) r0 = 0\n1: (b", Last(0, "r0 = 0", ())),
        # ... or the tail alone
        ("7) r0 = 0\n2: (95) exit\nR0 !read_ok\n", Last(2, "exit", ("R0 !read_ok",))),
        # no slot of any program
        ("9" * 5000 + ": (95) exit\ninsn " + "9" * 5000,
         Last(None, "", ("9" * 5000 + ": (95) exit", "insn " + "9" * 5000))),
        ("func#0 @0\nunreachable insn 5\n", Last(5, "", ("unreachable insn 5",))),
    ],
)  # fmt: skip
def test_quirks(log, expected):
    assert last(log) == expected


def test_level_2_shows_every_path_and_the_last_one_failed():
    log = (
        "0: (15) if r1 == 0x0 goto pc+2\n1: (95) exit\n\nfrom 0 to 3: R0=1 R10=fp0\n3: R0=1\n"
        "3: (79) r0 = *(u64 *)(r0 +0)\nR0 invalid mem access 'scalar'\nverification time 10 usec\nstack depth 0\n"
        "processed 4 insns (limit 1000000) x\n"
    )
    assert last(log) == Last(3, "r0 = *(u64 *)(r0 +0)", ("R0 invalid mem access 'scalar'",))


def test_the_report_of_7_3_is_not_the_error():
    log = (
        "6: (95) exit\nUnreleased reference id=2 alloc_insn=4\n\n"
        "Verification failed: Resource Lifetime Safety: Unreleased resource\n\nReason:\n  words\n\nAt:\n  insn 6\n"
        "      5 | (b7) r0 = 0\n  >>> 6 | (95) exit\n\nCausal path:\n  insn 4\n\nSuggestion:\n  Release it.\n\n"
        "BPF_EXIT instruction in main prog would lead to reference leak\nprocessed 6 insns (limit 1000000) x 0\n"
    )
    assert last(log).error == (
        "Unreleased reference id=2 alloc_insn=4",
        "BPF_EXIT instruction in main prog would lead to reference leak",
    )


def test_a_long_log_is_read_from_its_end():
    states = "from 1 to 2: R0=0 R10=fp0\n" * 20_000  # more than is looked at first
    log = "1: (85) call bpf_get_prandom_u32#7\n" + states + "too bad\nprocessed 9 insns (limit 1000000) x\n"
    assert last(log) == Last(1, "call bpf_get_prandom_u32#7", ("too bad",))
    assert last(states + "unreachable insn 7\n") == Last(7, "", ("unreachable insn 7",))


@given(st.text(max_size=200), st.sampled_from(CASES))
def test_any_text_gives_a_value(text, case):
    for log in (text, "\n".join(case.values[0]["log"])[: len(text)] + text):
        end = last(log)
        assert isinstance(end, Last)
        assert end.pc is None or end.pc >= 0
