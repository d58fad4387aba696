"""Messages to programs: what is sent comes back through a ring buffer, from the program that drains it."""

import os
import struct
import threading
import time

import pytest
from support import zygote
from support.producers import run

from bpfasm.asm import *
from bpfasm.asm.snippets import ringbuf_output
from bpfasm.errors import BpfasmError, KernelError, RecordError
from bpfasm.kernel import load
from bpfasm.kernel.maps.refused import has_map_type
from bpfasm.kernel.readers.userring import UserRing

pytestmark = pytest.mark.lab

PAGE = 4096
EACH = 25 if zygote.IN_GUEST else 150
SOON_S = 30


class Message(Record):
    number = u64("which it is")
    value = u64("what it says")


commands = UserRingBuf("commands", max_entries=PAGE, record=Message)
echoes = RingBuf("echoes", max_entries=16 * PAGE, record=Message)
stack = StackLayout(message=Message)

echo = Subprog(
    "echo",
    [
        BPF_MOV64_REG(R3, R1),  # the message, as a dynptr
        BPF_MOV64_REG(R1, FP),
        BPF_ALU64_IMM(BPF_ADD, R1, stack.message),
        BPF_MOV64_IMM(R2, Message.size),
        BPF_MOV64_IMM(R4, 0),
        BPF_MOV64_IMM(R5, 0),
        BPF_EMIT_CALL(BPF_FUNC_dynptr_read),
        BPF_JMP_IMM(BPF_JNE, R0, 0, "next"),  # it is shorter
        *ringbuf_output(echoes, stack.message, Message, "next"),
        label("next"),
        BPF_MOV64_IMM(R0, 0),  # 1 would stop
        BPF_EXIT_INSN(),
    ],
)

drain = Program(
    "drain",
    BPF_PROG_TYPE_RAW_TRACEPOINT,
    [
        BPF_LD_MAP_FD(R1, commands),
        BPF_LD_IMM64_RAW_FULL(R2, BPF_PSEUDO_FUNC, 0, 0, echo, 0),
        BPF_MOV64_IMM(R3, 0),
        BPF_MOV64_IMM(R4, 0),
        BPF_EMIT_CALL(BPF_FUNC_user_ringbuf_drain),
        BPF_EXIT_INSN(),  # R0 is how many it took
    ],
)


@pytest.fixture(scope="module", autouse=True)
def there():
    if has_map_type(BPF_MAP_TYPE_USER_RINGBUF) is False:
        pytest.skip("this kernel has no user ring buffers")


@pytest.fixture
def rings():
    """Send, drain, and receive."""
    with load(drain) as obj, UserRing(obj[commands]) as ring, obj.reader(echoes) as reader:
        yield ring, lambda: run(obj[drain], 0), reader


def message(number):
    return Message(number=number, value=number * 3)


def test_23_in_23_out(rings):
    ring, take, reader = rings
    assert take() == 0
    for number in range(23):
        assert ring.send(message(number))
    assert ring.available == 23 * 24
    assert take() == 23
    assert ring.available == 0
    assert reader.drain() == [message(number) for number in range(23)]


def test_bytes_are_sent_as_they_are(rings):
    ring, take, reader = rings
    for data in (message(1).to_bytes(), bytearray(message(2).to_bytes()), memoryview(message(3).to_bytes())):
        assert ring.send(data) if isinstance(data, bytes) else ring.send(bytes(data))
    assert ring.send(b"short")
    assert take() == 4
    assert [each.number for each in reader.drain()] == [1, 2, 3]


@pytest.mark.lab(on="ends")
def test_messages_of_every_size_go_round_and_round(rings):
    ring, take, reader = rings
    for number in range(1000):
        assert ring.send(message(number).to_bytes() + bytes(number % 97))
        if number % 25 == 24:
            assert take() == 25
    assert reader.drain() == [message(number) for number in range(1000)]


def test_a_full_ring_says_so(rings):
    ring, take, reader = rings
    sent = 0
    while ring.send(message(sent)):
        sent += 1
    assert sent == PAGE // 24
    with pytest.raises(KernelError, match=f"commands is full: {sent * 24} of its 4096 bytes") as caught:
        ring.reserve(16)
    assert caught.value.rule == "ring-full"
    start = time.monotonic()
    assert not ring.send(message(sent), timeout=0.05)
    assert time.monotonic() - start >= 0.05
    assert take() == sent
    assert ring.send(message(sent))
    assert take() == 1
    assert [each.number for each in reader.drain()] == list(range(sent + 1))


def test_a_message_that_never_fits(rings):
    ring, _, _ = rings
    assert ring.size == PAGE
    with pytest.raises(RecordError, match="a message of 4089 bytes does not fit commands") as caught:
        ring.send(bytes(PAGE - 7))
    assert caught.value.rule == "message-size"
    with pytest.raises(RecordError, match="does not fit"):
        ring.reserve(PAGE)
    assert ring.send(bytes(PAGE - 8))


def test_a_message_is_written_in_its_place(rings):
    ring, take, reader = rings
    with ring.reserve(16) as memory:
        assert len(memory) == 16
        struct.pack_into("=QQ", memory, 0, 7, 70)
        assert ring.send(message(8))
        assert take() == 0  # in order: the first is not there yet
    assert take() == 2
    with pytest.raises(ValueError, match="released"):
        memory[0]
    assert reader.drain() == [Message(number=7, value=70), message(8)]


def test_what_was_not_finished_is_discarded(rings):
    ring, take, reader = rings
    with pytest.raises(LookupError), ring.reserve(16):
        raise LookupError
    ring.reserve(16)  # and forgotten
    assert ring.send(message(1))
    assert take() == 1
    assert reader.drain() == [message(1)]


def test_a_ring_that_is_closed_meanwhile(rings):
    ring, take, _ = rings
    with pytest.raises(ValueError, match="is closed"), ring.reserve(16) as memory:
        ring.close()
        memory[0] = 1
    assert take() == 0


def test_records_need_no_declaration():
    plain = commands.replace(record=None)
    with load(plain) as obj, UserRing(obj[plain]) as ring:
        assert ring.send(message(1))
        assert ring.send(b"bytes")
        assert ring.available == 24 + 16


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until(condition):
    """Poll until something is so."""
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        os.sched_yield()


def test_who_waits_for_room_is_woken(deep_sleep, rings):
    ring, take, reader = rings
    while ring.send(message(0)):
        pass
    sent = []
    thread = in_thread(lambda: sent.append(ring.send(message(1), timeout=SOON_S)))
    until(lambda: ring._sleepers)
    took = take()
    thread.join()
    assert sent == [True]
    assert took + take() == PAGE // 24 + 1
    assert reader.drain()[-1] == message(1)


@pytest.mark.lab(on="live")
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda ring: ring.send("words"), "'words' is no Message"),
        (lambda ring: ring.send(None), "None is no Message"),
        (lambda ring: ring.reserve(-1), "a message of -1 bytes does not fit commands"),
    ],
)
def test_what_is_no_message(rings, call, words):
    with pytest.raises(RecordError, match=words):
        call(rings[0])


def test_what_is_no_bytes():
    plain = UserRingBuf("plain", max_entries=PAGE)
    with load(plain) as obj, UserRing(obj[plain]) as ring, pytest.raises(RecordError, match="'words' is no message"):
        ring.send("words")


def test_a_ring_has_one_sender():
    with load(drain) as obj, UserRing(obj[commands]):
        with pytest.raises(BpfasmError) as caught:
            UserRing(obj[commands])
        assert caught.value.rule == "ring-in-use"
    with load(drain) as obj, UserRing(obj[commands]) as one:
        one.close()
        UserRing(obj[commands]).close()


@pytest.mark.lab(on="ends")
def test_threads_share_a_ring(deep_sleep, rings):
    ring, take, reader = rings
    threads = [
        in_thread(lambda own=own: [ring.send(message(own * 1000 + n), timeout=None) for n in range(EACH)])
        for own in range(4)
    ]
    found = []
    while len(found) < 4 * EACH:
        take()
        found += reader.drain()
    for thread in threads:
        thread.join()
    for own in range(4):
        assert [each.number for each in found if each.number // 1000 == own] == list(
            range(own * 1000, own * 1000 + EACH)
        )
    assert all(each.value == each.number * 3 for each in found)


def test_close_wakes_who_waits(deep_sleep, rings):
    ring, _, _ = rings
    while ring.send(message(0)):
        pass
    sent = []
    thread = in_thread(lambda: sent.append(ring.send(message(1), timeout=None)))
    until(lambda: ring._sleepers)
    ring.close()
    thread.join()
    assert sent == [False]
    for access in (lambda: ring.send(message(1)), lambda: ring.reserve(8), lambda: ring.available):
        with pytest.raises(ValueError, match="<UserRing commands> is closed"):
            access()


def test_a_child_does_not_send(rings):
    ring, take, reader = rings
    child = os.fork()
    if not child:
        os._exit(not ring.closed)
    assert os.waitpid(child, 0)[1] == 0
    assert ring.send(message(1))
    assert take() == 1
    assert reader.drain() == [message(1)]


def test_a_map_that_is_none():
    with load(echoes) as obj, pytest.raises(BpfasmError) as caught:
        UserRing(obj[echoes])
    assert caught.value.rule == "no-reader"


def test_the_kernel_keeps_how_far_it_has_read(rings):
    ring, _, _ = rings
    with pytest.raises(TypeError, match="read-only"):
        ring._space.consumer[0] = 5
