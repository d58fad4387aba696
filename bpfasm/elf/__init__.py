"""ELF: the files that compilers write, of BPF programs and of everything else.

- :mod:`bpfasm.elf.layout`: the structs of ELF, for 32 and 64 bits and both byte orders
- :mod:`bpfasm.elf.read`: bytes to sections, symbols, relocations, segments and notes
- :mod:`bpfasm.elf.write`: sections, symbols and relocations to bytes
- :mod:`bpfasm.elf.object` and ``reading/``: an object file of BPF to programs and maps
- :mod:`bpfasm.elf.object_write` and ``writing/``: programs and maps to an object file
"""
