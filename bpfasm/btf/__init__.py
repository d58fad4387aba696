"""BTF: the C types of a program, a map, or the kernel, as the kernel keeps them.

- :mod:`bpfasm.btf.write`: types to bytes
"""
