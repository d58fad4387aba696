"""A kernel's own files, read without running it: the image, its modules, its types."""
