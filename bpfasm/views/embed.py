"""An object file as the text of a Python module: its bytes, and what type each map, program and variable is.

The module needs bpfasm and no file beside it. (``bpfasm.kernel.embedded`` is what its class derives from.)
"""

from __future__ import annotations

from keyword import iskeyword
from textwrap import wrap

from bpfasm.asm.map_types import RINGS
from bpfasm.asm.record import Record
from bpfasm.asm.variables import KCONFIG, Section
from bpfasm.btf.read import Btf
from bpfasm.btf.text import c_name
from bpfasm.elf.object import read_object
from bpfasm.elf.read import Elf
from bpfasm.elf.reading.types import Typed, type_of
from bpfasm.elf.writing.data import RECORD_TAG
from bpfasm.errors import BpfasmError, InputError
from bpfasm.kernel.embedded import Embedded
from bpfasm.uapi import bpf, btf as kinds, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from bpfasm.asm.maps import MapSpec
    from bpfasm.btf.read import BtfType
    from bpfasm.elf.object import Object

_WIDTH = 110

#: Names of the module that no class in it may take.
_TAKEN = {"Any", "Buffer", "Embedded", "LoadedMap", "LoadedProgram", "LoadedStructOps", "Map", "Record"}

_SEPARATORS = str.maketrans("[],", "   ")


def module(
    data: bytes,
    name: str,
    *,
    records: dict[str, str] | None = None,
    initial: dict[str, dict[bytes, bytes]] | None = None,
) -> str:
    """Return the text of a module that carries an object; ``name`` is what its file would be called.

    ``records`` are structs of the object, by the ring or perf buffer whose events they are; ``initial`` is what maps
    hold at first that the object does not say. Raises DecodeError for what is no object, InputError for a struct or
    buffer that it does not have.
    """
    return "\n".join(_Module(data, name, records or {}, initial or {}).lines()) + "\n"


class _Module:
    """A module in the making."""

    def __init__(
        self, data: bytes, name: str, records: dict[str, str], initial: dict[str, dict[bytes, bytes]]
    ) -> None:
        self.data, self.name, self.initial = data, name, initial
        self.object: Object = read_object(data, f"{name}.o")
        self.title = _capitalized(name, "Object")
        self.title += "Object" if self.title in _TAKEN or iskeyword(self.title) else ""
        self.shown = _shown(f"{name}.o")
        elf = Elf(data)
        section = elf.section(".BTF")
        self.btf = Btf(elf.contents(section)) if section else None
        self.events = {**self._tagged(), **self._asked(records)}
        #: The lines of each record's class, by the name of the struct; None for one that is no record.
        self.records: dict[str, list[str] | None] = {}
        self.imports: set[str] = set()
        self.renamed: dict[str, str] = {}
        self.attributes = {"loaded"}

    def lines(self) -> Iterator[str]:
        """Yield the lines of the module."""
        body = [*self._class()]
        classes = [line for lines in self.records.values() if lines for line in ["", "", *lines]]
        yield f'"""The maps and programs of {self.shown}, and its bytes. Made by ``bpfasm embed``, not to be edited.'
        yield ""
        yield f">>> with {self.title}() as obj:  # doctest: +SKIP"
        yield "...     obj.attach()"
        yield '"""'
        yield ""
        yield "from __future__ import annotations"
        yield ""
        if self.imports:
            yield f"from bpfasm.asm import {', '.join(sorted(self.imports, key=str.lower))}"
        yield "from bpfasm.kernel.embedded import Embedded"
        yield ""
        standard = [*_used("typing", ["Any"], body)]
        ours = [*_used("bpfasm.kernel", ["LoadedMap", "LoadedProgram"], body)]
        ours += _used("bpfasm.kernel.embedded", ["Buffer", "Map"], body)
        ours += _used("bpfasm.kernel.links.struct_ops", ["LoadedStructOps"], body)
        yield "TYPE_CHECKING = False"
        if standard or ours:
            yield "if TYPE_CHECKING:"
        yield from [*standard, ""] if standard and ours else standard
        yield from ours
        yield from classes
        yield ""
        yield ""
        yield from body

    # The class

    def _class(self) -> Iterator[str]:
        fields: dict[str, dict[str, str]] = {}
        yield f"class {self.title}(Embedded):"
        yield f'    """{self.shown}, loaded."""'
        for name, spec in self.object.maps.items():
            if isinstance(spec.value, Section):
                continue
            yield ""
            yield f"    #: {_described(spec)}"
            yield f"    {self._attribute(name)}: {self._map(name, spec, fields.setdefault(name, {}))}"
        yield from self._loaded()
        held: dict[str, str] = {}
        arguments = []
        for section, variable in self._variables():
            text, annotation = self._type(variable.type)
            if text in self.records:
                held[variable.name] = text
            attribute = self._attribute(variable.name)
            arguments.append(f"{attribute}: {annotation} = ...")
            yield ""
            yield f"    #: A variable of {_shown(section)}{', set when it is loaded' if variable.const else ''}."
            yield f"    {attribute}: {annotation}"
        yield ""
        if arguments:
            yield "    if TYPE_CHECKING:"
            yield ""
            yield "        def __init__("
            yield "            self,"
            yield "            *,"
            yield "            log_level: int = 0,"
            yield from (f"            {each}," for each in arguments)
            yield "        ) -> None: ..."
            yield ""
        yield f"    _name = {self.name!r}"
        if self.renamed:
            yield f"    _renamed = {self.renamed!r}"
        for name, content in self.initial.items():
            fields.setdefault(name, {})["initial"] = repr(content)
        given = {name: each for name, each in fields.items() if each}
        if given:
            yield "    _fields = {"
            for name, each in given.items():
                inner = ", ".join(f'"{field}": {text}' for field, text in each.items())
                yield f"        {name!r}: {{{inner}}},"
            yield "    }"
        if held:
            yield f"    _records = {{{', '.join(f'{name!r}: {record}' for name, record in held.items())}}}"
        yield "    _object = ("
        yield from (f'        "{line}"' for line in _text(self.data))
        yield "    )"

    def _loaded(self) -> Iterator[str]:
        """Yield the attributes that are programs and structs of functions."""
        for program in self.object.programs:
            manual = ", loaded only by ``load(obj[...])``" if program.name in self.object.manual else ""
            yield ""
            yield f"    #: A program of the section {_shown(self.object.sections[program.name])}{manual}."
            yield f"    {self._attribute(program.name)}: LoadedProgram"
        for name, struct in self.object.structs.items():
            manual = ", loaded only by ``load(obj[...])``" if name in self.object.manual else ""
            yield ""
            yield f"    #: A struct of functions, {_shown(struct.struct)}, that attach() registers{manual}."
            yield f"    {self._attribute(name)}: LoadedStructOps"

    def _attribute(self, name: str) -> str:
        """Return what an attribute is called: as in the object, unless Python or its class has that name."""
        attribute = _identifier(name) or "_"
        if attribute.startswith("__"):
            attribute = attribute.lstrip("_") + "_"
        while iskeyword(attribute) or hasattr(Embedded, attribute) or attribute in self.attributes:
            attribute += "_"
        self.attributes.add(attribute)
        if attribute != name:
            self.renamed[attribute] = name
        return attribute

    def _variables(self) -> Iterator[tuple[str, Any]]:
        """Yield the variables with their sections; of those with one name the first alone is known by it."""
        seen = set()
        for spec in self.object.maps.values():
            if isinstance(spec.value, Section) and spec.value.name != KCONFIG:
                for variable, _ in spec.value.places:
                    if variable.name not in seen:
                        yield spec.value.name, variable
                    seen.add(variable.name)

    def _map(self, name: str, spec: MapSpec, fields: dict[str, str]) -> str:
        """Return the annotation of a map; put into ``fields`` what records its keys, values or events are."""
        if spec.type in RINGS or spec.type == bpf.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            record = self._record(self.events[name]) if name in self.events else None
            if record:
                fields["record"] = record
            return f"Buffer[{record or 'bytes'}]"
        if spec.row.keys == "none" or not spec.key_size:
            return "LoadedMap"
        (key, key_type), (value, value_type) = self._type(spec.key), self._type(spec.value)
        for field, text in (("key", key), ("value", value)):
            if text in self.records:
                fields[field] = text
        if spec.row.handle and spec.row.keys != "handle":
            value_type = "Any"
        if spec.row.keys == "handle":
            key_type = "Any"
        return f"Map[{key_type}, {f'list[{value_type}]' if spec.per_cpu else value_type}]"

    # Types

    def _type(self, kind: Any) -> tuple[str, str]:
        """Return a type as the notation writes it, and what Python has for its values."""
        if isinstance(kind, int):
            return str(kind), "bytes"
        if isinstance(kind, Typed):
            record = self._record(kind.btf.type(kind.id), kind.btf)
            return (record, record) if record else ("", "Any")
        element, count = getattr(kind, "element", None), getattr(kind, "count", 0)
        if element is not None:
            self.imports |= {"array", element.name}
            return f"array({element.name}, {count})", "tuple[int, ...]"
        if kind.format.endswith("s"):
            word = "chars" if kind.name.startswith("char") else "raw"
            self.imports.add(word)
            return f"{word}({kind.size})", "bytes"
        if kind.name in ("fd",):
            return "", "int"
        self.imports.add(kind.name)
        return kind.name, "int"

    def _record(self, type: BtfType, btf: Btf | None = None) -> str | None:
        """Return the name of the class that a struct becomes, None where no record has its layout."""
        btf = btf or self.btf
        assert btf is not None
        resolved = btf.resolve(type.id)
        name, type = _identifier(type.name or resolved.name), resolved
        name = name if name[:1].isupper() or not name else _capitalized(name, "Struct")
        taken = name in _TAKEN or name == self.title or iskeyword(name)
        if type.kind != kinds.BTF_KIND_STRUCT or not name or taken:
            return None
        if name not in self.records:
            before, kept = set(self.imports), {**self.records, name: None}
            self.records[name] = None  # for a struct that is within itself, as only broken types have it
            lines = self._fields(btf, type, name)
            if lines is None:
                self.imports, self.records = before, kept
            else:
                self.records[name] = lines
                self.imports.add("Record")
        return name if self.records[name] else None

    def _fields(self, btf: Btf, type: BtfType, name: str) -> list[str] | None:
        """Return the lines of a record's class: each member at its offset, what is between them as padding."""
        lines = [f"class {name}(Record):", f'    """``struct {_shown(type.name)}`` of {self.shown}."""', ""]
        end, align, pads = 0, 1, 0
        taken: set[str] = set()

        def pad(size: int) -> None:
            nonlocal pads
            self.imports.add("pad")
            lines.append(f"    {f'_{pads}' if pads else '_'} = pad({size})")
            pads += 1

        try:
            for member in type.members:
                kind = type_of(btf, member.type)
                if member.bits or member.offset % 8 or isinstance(kind, int):
                    return None
                offset = member.offset // 8
                text, own, comment = self._member(kind, c_name(btf, member.type, member.name))
                if offset < end or offset % own:
                    return None
                if offset > end:
                    pad(offset - end)
                field = _identifier(member.name).lstrip("_")
                field = field if field and not field[0].isdigit() else f"member{field}"
                while iskeyword(field) or hasattr(Record, field) or field in taken:
                    field += "_"
                taken.add(field)
                lines.append(f"    {field} = {text}(){comment}")
                end, align = offset + kind.size, max(align, own)
        except BpfasmError:
            return None
        if end < type.size:
            pad(type.size - end)
        return lines if not type.size % align and taken else None

    def _member(self, kind: Any, declared: str) -> tuple[str, int, str]:
        """Return a member's type, alignment and comment. A record holds none: structs within are their bytes."""
        if isinstance(kind, Typed):
            self.imports.add("raw")
            record = self._record(kind.btf.type(kind.id), kind.btf)
            told = "".join(c if c.isascii() and c.isprintable() else "?" for c in declared)
            comment = f"  # {told}{f': {record}.from_bytes() reads it' if record else ''}"
            return f"raw({kind.size})", 1, comment
        return self._type(kind)[0], kind.align, ""

    # Events

    def _tagged(self) -> dict[str, BtfType]:
        """Return the structs that the object's own tags name as what is in its buffers."""
        found: dict[str, BtfType] = {}
        for id in range(1, len(self.btf)) if self.btf else ():
            assert self.btf is not None
            tag = self.btf.type(id)
            if tag.kind == kinds.BTF_KIND_DECL_TAG and tag.name.startswith(RECORD_TAG):
                for struct in self.btf.find(tag.name.removeprefix(RECORD_TAG), kinds.BTF_KIND_STRUCT):
                    found[self.btf.type(tag.type).name] = self.btf.type(struct)
        return found

    def _asked(self, records: dict[str, str]) -> dict[str, BtfType]:
        found: dict[str, BtfType] = {}
        for name, struct in records.items():
            ids = self.btf.find(struct, kinds.BTF_KIND_STRUCT) if self.btf else []
            if name not in self.object.maps or not ids or self.btf is None:
                missing = f"struct {struct}" if name in self.object.maps else f"map {name}"
                raise InputError(
                    f"{self.name}.o has no {missing}",
                    "--record MAP=STRUCT names a ring or perf buffer, and a struct in the object's types",
                    rule="embed-record",
                )
            found[name] = self.btf.type(ids[0])
        return found


def _used(module: str, known: list[str], body: list[str]) -> Iterator[str]:
    """Yield the import of what annotations name."""
    words = {word for line in body for word in line.translate(_SEPARATORS).split()}
    used = [name for name in known if name in words]
    if used:
        yield f"    from {module} import {', '.join(used)}"


def _described(spec: MapSpec) -> str:
    """Return a line about a map."""
    kind = names(bpf, "bpf_map_type").get(spec.type, str(spec.type)).removeprefix("BPF_MAP_TYPE_")
    return f"A map: {kind}, max_entries={spec.max_entries}."


def _shown(text: str) -> str:
    """Return a name for a comment: an object may come from anybody, and says nothing in Python."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_./:+-@ ") else "?" for c in text)


def _identifier(name: str) -> str:
    kept = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
    return f"_{kept}" if kept[:1].isdigit() else kept


def _capitalized(name: str, before: str) -> str:
    """Return the name of a class; ``before`` is what stands before one that would be none alone."""
    words = "".join(part.capitalize() for part in _identifier(name).split("_"))
    return words if words.isidentifier() else before + words


def _text(data: bytes) -> list[str]:
    """Return bytes as lines of text."""
    from base64 import b85encode
    from zlib import compress

    return wrap(b85encode(compress(data, 9)).decode(), _WIDTH - 10, break_on_hyphens=False)
