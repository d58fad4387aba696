"""What the parts of an object in the making share: its sections, its types, and who has which name."""

from __future__ import annotations

from bpfasm.btf.write import Writer
from bpfasm.elf.write import Layout
from bpfasm.elf.writing import btf_ext
from bpfasm.errors import AssemblyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfasm.errors import Source
    from bpfasm.isa.insn import ByteOrder


class Draft:
    """An object that grows: ``elf`` its sections and symbols, ``btf`` its types, and the tables of .BTF.ext."""

    def __init__(self, byteorder: ByteOrder) -> None:
        self.byteorder = byteorder
        self.elf = Layout(byteorder)
        self.btf = Writer(byteorder)
        self.functions = btf_ext.Table(btf_ext.FUNCTIONS)
        self.lines = btf_ext.Table(btf_ext.LINES)
        self.records = btf_ext.Table(btf_ext.RECORDS)
        self._names: dict[str, str] = {}

    def claim(self, name: str, what: str, source: Source | None = None) -> None:
        """Take a name for something. Raises AssemblyError for one that C has not, or that something else has."""
        before = self._names.get(name)
        if before is not None:
            raise AssemblyError(
                f"a {before} and a {what} of the object are called {name}",
                "give one of them another name: symbols are shared by all programs of an object",
                source=source,
                rule="object-symbol",
            )
        if not (name.isidentifier() and name.isascii()):
            raise AssemblyError(
                f"the {what} {name!r} has a name that nothing in C has",
                "use letters, digits and _: it becomes a symbol and a type of the object",
                source=source,
                rule="object-symbol",
            )
        self._names[name] = what

    def to_bytes(self) -> bytes:
        """Return the file, its types last."""
        self.elf.add_section(".BTF", self.btf.to_bytes(), align=4)
        ext = btf_ext.to_bytes(self.functions, self.lines, self.records, self.byteorder)
        self.elf.add_section(".BTF.ext", ext, align=4)
        return self.elf.to_bytes()
