"""/proc/kallsyms: the names of the kernel's addresses."""

from __future__ import annotations

from bpfasm.syscall.system import read_bytes


class Kallsyms:
    """The symbols of the kernel as text; what is asked for is looked up in it, for a table of all costs more.

    Where the kernel hides addresses (``kernel.kptr_restrict``) they are all 0, and nothing is found.
    """

    def __init__(self, text: bytes | None = None) -> None:
        """Take the text of the file; read it where none is given (0.05 s)."""
        if text is None:
            text = read_bytes("/proc/kallsyms") or b""
        self._text = b"\n" + text

    def address(self, name: str) -> int:
        """Return the address of a symbol, 0 where there is none or it is hidden."""
        text, wanted = self._text, name.encode()
        at = text.find(b" " + wanted)
        while at >= 0:
            end = at + 1 + len(wanted)
            if text[end : end + 1] in b"\n\t":
                return int(text[text.rfind(b"\n", 0, at) + 1 : at].split()[0], 16)
            at = text.find(b" " + wanted, end)
        return 0

    def names(self, address: int) -> list[str]:
        """Return the names that an address has."""
        if not address:
            return []
        found, key = [], b"\n%016x " % address
        at = self._text.find(key)
        while at >= 0:
            end = self._text.find(b"\n", at + 1)
            found.append(self._text[at : end if end >= 0 else None].split()[2].decode())
            at = self._text.find(key, at + 1)
        return found

    def name(self, address: int) -> str:
        """Return the name of an address, of several the one that C code has most likely, or nothing."""
        return min(self.names(address), key=lambda name: (name.startswith("__pfx_"), "." in name), default="")
