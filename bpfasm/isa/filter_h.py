"""Constants of the kernel's include/linux/filter.h that no uapi header carries.

That header is not packaged for user space; a test compares these with it. They mark what the kernel itself
rewrites, so they are met in dumps of translated programs and never in a program that is loaded.
"""

BPF_PROBE_MEM = 0x20
BPF_PROBE_MEMSX = 0x40
BPF_PROBE_MEM32 = 0xA0
BPF_PROBE_MEM32SX = 0xC0
BPF_PROBE_ATOMIC = 0xE0
BPF_NOSPEC = 0xC0
BPF_CALL_ARGS = 0xE0
BPF_TAIL_CALL = 0xF0
BPF_ADDR_PERCPU = -1
MAX_BPF_STACK = 512
