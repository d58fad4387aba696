"""Object files of BPF to programs and maps, part by part; :mod:`bpfasm.elf.object` is the door."""
