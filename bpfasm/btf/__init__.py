"""BTF: the C types of a program, a map, or the kernel, as the kernel keeps them.

- :mod:`bpfasm.btf.read`: bytes to types, each when it is asked for; names to ids
- :mod:`bpfasm.btf.values`: the bytes of a type to Python values
- :mod:`bpfasm.btf.write`: types to bytes
"""
