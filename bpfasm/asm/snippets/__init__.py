"""Snippets: several instructions under one name, written ``*snippet(...)`` in a body.

A snippet returns a list, and the star says that there are several instructions here. Each docstring shows them all,
what registers they change and what they take of the stack. What may leave takes the label to go to, so that a body
shows every jump.
"""

from bpfasm.asm.snippets.core import (
    core_read as core_read,
    core_read_bits as core_read_bits,
    core_read_str as core_read_str,
)
from bpfasm.asm.snippets.events import (
    perf_output as perf_output,
    ringbuf_discard as ringbuf_discard,
    ringbuf_output as ringbuf_output,
    ringbuf_reserve as ringbuf_reserve,
    ringbuf_submit as ringbuf_submit,
    ringbuf_watermark as ringbuf_watermark,
)
from bpfasm.asm.snippets.maps import count as count
