"""System calls and kernel files, one function each: numbers and bytes in, numbers and bytes out.

Nothing here keeps state, chooses between mechanisms or puts an error into words, but for ``files``; ``bpfasm.kernel``
does. A call that fails raises ``OSError`` with the kernel's errno. Linux only, and the only package that imports
ctypes.
"""
