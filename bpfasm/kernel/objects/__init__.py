"""What objects of every kind have in the kernel: an id, a name, and a pin."""
