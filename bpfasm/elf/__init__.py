"""ELF: the files that compilers write, of BPF programs and of everything else.

- :mod:`bpfasm.elf.layout`: the structs of ELF, for 32 and 64 bits and both byte orders
- :mod:`bpfasm.elf.read`: bytes to sections, symbols, relocations, segments and notes
"""
