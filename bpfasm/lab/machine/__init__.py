"""The machine that a guest runs on: QEMU, its boards, its monitor."""
