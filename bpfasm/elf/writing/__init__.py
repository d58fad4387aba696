"""Programs and maps to object files of BPF, part by part; :mod:`bpfasm.elf.object_write` is the door."""
