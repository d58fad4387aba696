"""Raw-instruction eBPF from Python: assemble, load, disassemble, learn.

Importing this package does nothing but name its version. The notation is in :mod:`bpfasm.asm`.
"""

__version__ = "0.1.0"
