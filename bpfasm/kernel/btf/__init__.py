"""Types in the kernel: its own and its modules', what a program names in them, and what is loaded with programs."""
