"""What every room of ``bpfasm.kernel`` stands on: owning an fd, locked memory, and the words for what was refused."""
