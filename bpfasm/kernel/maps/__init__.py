"""Maps in the kernel: created, read and written as a dict, as memory or as variables, and read back."""
