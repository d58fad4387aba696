"""C in and out, without a compiler: arrays of ``struct bpf_insn``, with all that a file says of what is in them.

Read from left to right::

    tokens -> cursor -> declarations -> parser -> file
              names, scope, layout: what words mean, and how structs lie in memory
"""

from bpfasm.asm.syntax.c.file import CFile, programs, read, text, too_deep

__all__ = ["CFile", "programs", "read", "text", "too_deep"]
