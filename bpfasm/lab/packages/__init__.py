"""Debian's packages of kernels and userlands: where they come from, how they are checked, unpacked, put in place."""
