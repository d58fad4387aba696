"""Programs in the kernel: verified or refused, run on given data, and read back."""
