"""``MapFace``: what every map looks like from Python, over a handful of operations on bytes.

Whoever holds a map's elements, a kernel or the simulator, derives from it and supplies ``_lookup``, ``_update``,
``_delete`` and ``_next_key``; it may supply ``_take`` and the batches, and what it does not is done one by one.
"""

from __future__ import annotations

from errno import EEXIST
from itertools import chain, count as count_up

from bpfasm.asm.codec import codec_of, per_cpu
from bpfasm.uapi import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from bpfasm.asm.codec import Bytes
    from bpfasm.asm.maps import MapSpec

    #: Some elements as they are in memory: their keys, their values, and how many they are.
    Chunk = tuple[Bytes, Bytes, int]

#: "No such argument": None may be given.
_NOTHING: Any = object()

#: The flags under which a per-CPU map takes one value and not a list.
_ONE_VALUE = bpf.BPF_F_CPU | bpf.BPF_F_ALL_CPUS


class MapFace:
    """The elements of a map, behaving like a ``dict`` where a map can.

    Keys and values are what the spec's types make of their bytes: ints, bytes, tuples, records; what is written may
    also be a record's fields in a tuple, or the bytes themselves. In a per-CPU map a value is a list with one item a
    CPU; assigning anything else than a list gives it to each CPU. Elements that are file descriptors for the kernel
    are written as objects that have one (``progs[3] = obj[prog]``) and read as ids.

    Unlike in a ``dict``, every access asks anew: a program may change the map between any two of them. Going through
    a map goes on while it changes: no key comes twice, one that is there all the time may be missed when many
    others go. ``strict=True`` raises IterationAborted where it had to start again; ``snapshot()`` is the quickest.

    A missing key is a KeyError. What maps of a type do not have (the keys of a queue, deleting from an array) is a
    MapError, whoever holds the elements.
    """

    #: The elements, in bytes. ``_lookup`` and ``_take`` (which also deletes) return None and ``_delete`` False where
    #: there is no such key; ``_next_key`` returns the first key for None and for a key that is not there, None after
    #: the last. Where there are no keys they are b"". A BloomFilter's ``_holds`` says whether it has a value.
    _lookup: Callable[..., bytes | None]
    _update: Callable[..., None]
    _delete: Callable[[bytes], bool]
    _next_key: Callable[[bytes | None], bytes | None]
    _take: Callable[[bytes], bytes | None]
    _holds: Callable[[bytes], bool]

    def __init__(self, spec: MapSpec, cpus: int = 0, entries: int = 0) -> None:
        """Take the declaration, in a per-CPU map the number of CPUs that have a value, and how many keys it may have.

        Called when the operations are there: those that the type does not have are put out of reach.
        """
        self.spec = spec
        self.max_entries = entries or spec.max_entries
        self._cpus = cpus
        self._key = codec_of(spec.key, f"a key of {spec.name}")
        self._one = self._value = codec_of(spec.value, f"a value of {spec.name}")
        if spec.per_cpu:
            self._value = per_cpu(self._one, cpus, spec.name)
        self._pack_key, self._pack_value, self._unpack_value = self._key.pack, self._value.pack, self._value.unpack
        ops = spec.row.ops
        #: Whether a value can be read and deleted in one step.
        self._takes = "take" in ops and hasattr(self, "_take")
        for op, attribute in _ATTRIBUTES.items():
            if op not in ops:
                setattr(self, attribute, _refuser(spec, op))
        if spec.row.keys == "none":
            self._pack_key = _refuser(spec, "next")

    def _read(self, key: Any) -> Any:
        """Return the value at a key, None where there is none. Whoever has a quicker way puts it in its place."""
        value = self._lookup(self._pack_key(key))
        return None if value is None else self._unpack_value(value)

    def _write(self, key: Any, value: Any) -> None:
        """Set the value at a key."""
        self._update(self._pack_key(key), self._pack_value(value), 0)

    def __getitem__(self, key: Any) -> Any:
        value = self._read(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self._write(key, value)

    def __delitem__(self, key: Any) -> None:
        if not self._delete(self._pack_key(key)):
            raise KeyError(key)

    def __contains__(self, key: Any) -> bool:
        """Tell whether there is such a key; in a BloomFilter, whether the value may have been added."""
        if self.spec.type == bpf.BPF_MAP_TYPE_BLOOM_FILTER:
            return self._holds(self._pack_value(key))
        return self._lookup(self._pack_key(key)) is not None

    def __iter__(self) -> Iterator[Any]:
        return self.keys()

    def __len__(self) -> int:
        """Count the keys: all of them are gone through, but in an array, which has them all."""
        row = self.spec.row
        if row.keys == "index" and not row.sparse:
            return self.max_entries
        return sum(count for _, _, count in self._chunks())

    def __bool__(self) -> bool:
        """Tell whether there is an element; a map that cannot be looked into is always true."""
        row = self.spec.row
        if row.sparse and "next" in row.ops:
            return next(self.keys(), _NOTHING) is not _NOTHING
        if "next" in row.ops:
            return self._next_key(None) is not None
        return "take" not in row.ops or self._lookup(b"") is not None

    def get(self, key: Any, default: Any = None, *, flags: int = 0, cpu: int | None = None) -> Any:
        """Return the value at a key, or ``default``; of one ``cpu`` in a per-CPU map.

        With BPF_F_LOCK the value is read while no program holds its spin lock.
        """
        if not flags and cpu is None:
            value = self._read(key)
            return default if value is None else value
        if cpu is not None:
            self._check_cpu(cpu, self._cpus)
        value = self._lookup(self._pack_key(key), flags)
        if value is None:
            return default
        if flags & _ONE_VALUE:
            return self._one.unpack(value[: self._one.size])
        return self._unpack_value(value) if cpu is None else self._unpack_value(value)[cpu]

    def put(self, key: Any, value: Any, flags: int = 0, *, cpu: int | None = None) -> None:
        """Set the value at a key; with BPF_NOEXIST only where there is none, with BPF_EXIST where there is one.

        With BPF_F_LOCK it is written while no program holds its spin lock. In a per-CPU map ``cpu`` sets the value of
        that one alone (BPF_F_CPU), which kernels before Linux 7 cannot: FeatureMissing.
        """
        if cpu is not None:
            self._check_cpu(cpu, 1 << 32)  # one that is not there is for the kernel to refuse
            flags |= bpf.BPF_F_CPU | cpu << 32
        pack = self._one.pack if flags & _ONE_VALUE else self._pack_value
        self._update(self._pack_key(key), pack(value), flags)

    def setdefault(self, key: Any, default: Any) -> Any:
        """Return the value at a key; where there is none, set it to ``default``, in one step, and return that."""
        packed, new = self._pack_key(key), self._pack_value(default)
        while True:
            value = self._lookup(packed)
            if value is not None:
                return self._unpack_value(value)
            try:
                self._update(packed, new, bpf.BPF_NOEXIST)
            except OSError as error:
                if error.errno != EEXIST:
                    raise
            else:
                return self._unpack_value(new)

    def pop(self, key: Any = _NOTHING, default: Any = _NOTHING) -> Any:
        """Delete a key and return the value it had, or ``default``; of a queue or stack, the next value.

        In one step where the kernel has BPF_MAP_LOOKUP_AND_DELETE_ELEM (hash maps from 5.14 on); else a program may
        change the value between the two. Raises KeyError, and IndexError for an empty queue or stack.
        """
        keyless = self.spec.row.keys == "none"
        if keyless == (key is not _NOTHING):
            raise TypeError(f"{self!r}.pop() takes {'no' if keyless else 'a'} key")
        value = self._take(b"") if keyless else self._take_key(self._pack_key(key))
        if value is not None:
            return self._unpack_value(value)
        if default is _NOTHING:
            raise IndexError(f"pop from an empty {self.spec.row.spec}") if keyless else KeyError(key)
        return default

    def popitem(self) -> tuple[Any, Any]:
        """Delete some key; return it with the value it had. Raises KeyError where the map is empty."""
        for keys, _, count in self._chunks():
            size = self._key.size
            for at in range(0, count * size, size):
                key = bytes(keys[at : at + size])
                value = self._take_key(key)
                if value is not None:
                    return self._key.unpack(key), self._unpack_value(value)
        raise KeyError(f"{self!r} is empty")

    def keys(self, *, strict: bool = False) -> Iterator[Any]:
        """Iterate over the keys."""
        many = self._key.unpack_many
        return chain.from_iterable(many(keys, count) for keys, _, count in self._chunks(strict=strict))

    def values(self, *, strict: bool = False) -> Iterator[Any]:
        """Iterate over the values."""
        many = self._value.unpack_many
        return chain.from_iterable(many(values, count) for _, values, count in self._chunks(strict=strict))

    def items(self, *, strict: bool = False) -> Iterator[tuple[Any, Any]]:
        """Iterate over (key, value); a key that is deleted meanwhile is passed over."""
        return chain.from_iterable(self._pairs(self._chunks(strict=strict)))

    def snapshot(self, *, strict: bool = False) -> dict[Any, Any]:
        """Return the elements as a dict, as nearly at one moment as the kernel can."""
        return dict(self.items(strict=strict))

    def drain(self) -> Iterator[tuple[Any, Any]]:
        """Take every element out: iterate over (key, value) of what is deleted, each at its last value.

        Programs may go on: what they add meanwhile may come or stay. Of a queue or stack, the values.
        """
        if self.spec.row.keys == "none":
            return self._popped()
        self._check_listed("delete")
        return chain.from_iterable(self._pairs(self._taken()))

    def _popped(self) -> Iterator[Any]:
        while (value := self._take(b"")) is not None:
            yield self._unpack_value(value)

    def update(self, values: Any, flags: int = 0) -> None:
        """Set the values of a ``dict``, or of an iterable of pairs."""
        self._check_keyed()
        values = dict(values)
        if values:
            self._update_many(self._key.pack_many(values), self._value.pack_many(values.values()), len(values), flags)

    def delete(self, keys: Iterable[Any]) -> int:
        """Delete several keys; return how many of them were there."""
        self._check_keyed()
        keys = list(keys)
        return self._delete_many(self._key.pack_many(keys), len(keys)) if keys else 0

    def clear(self) -> None:
        """Delete every key there is; empty a queue or stack."""
        if self.spec.row.keys == "none":
            for _ in self._popped():
                pass
            return
        self._check_listed("delete")
        if "take_batch" in self.spec.row.ops:
            for _ in self._taken():
                pass
        else:
            for keys, _, count in self._chunks():
                self._delete_many(keys, count)

    def push(self, value: Any, flags: int = 0) -> None:
        """Add a value to a queue, a stack or a BloomFilter; with BPF_EXIST a full one drops its oldest value."""
        self._keyless("push", "update")
        self._update(b"", self._pack_value(value), flags)

    #: A BloomFilter's word for it.
    add = push

    def extend(self, values: Iterable[Any]) -> None:
        """Add several values to a queue, a stack or a BloomFilter."""
        for value in values:
            self.push(value)

    def peek(self) -> Any:
        """Return the value that ``pop()`` would return, and leave it there. Raises IndexError where there is none."""
        self._keyless("peek", "take")  # a BloomFilter can be looked into, and has no next value
        value = self._lookup(b"")
        if value is None:
            raise IndexError(f"peek into an empty {self.spec.row.spec}")
        return self._unpack_value(value)

    def fill(self, initial: Any) -> None:
        """Set what a map holds at first: a dict, an array's values in a list, or what is to be pushed."""
        if self.spec.row.keys == "none":
            self.extend(initial)
        else:
            self.update(enumerate(initial) if isinstance(initial, list | tuple) else initial)

    def _keyless(self, word: str, op: str) -> None:
        """Refuse what is for maps without keys that have an operation."""
        row = self.spec.row
        if row.keys != "none" or op not in row.ops:
            raise _refusal(self.spec, word if row.keys != "none" else op)

    def _check_keyed(self) -> None:
        """Refuse what is for maps with keys."""
        if self.spec.row.keys == "none":
            raise _refusal(self.spec, "next")

    def _check_cpu(self, cpu: int, most: int) -> None:
        """Refuse the value of a CPU where there is none."""
        if not (self.spec.per_cpu and isinstance(cpu, int) and 0 <= cpu < most):
            from bpfasm.asm.maps_refused import no_such_cpu

            raise no_such_cpu(self.spec, cpu, self._cpus)

    def _pairs(self, chunks: Iterable[Chunk]) -> Iterator[Iterable[tuple[Any, Any]]]:
        """Return the elements of each chunk, ready for use."""
        many_keys, many_values = self._key.unpack_many, self._value.unpack_many
        for keys, values, count in chunks:
            yield zip(many_keys(keys, count), many_values(values, count), strict=True)

    # In batches where whoever holds the elements has them, or one by one.

    def _read_batches(self, take: bool) -> Iterator[Chunk] | None:
        """Return the elements in chunks, deleting them if ``take``; None where there are no batches."""
        return None

    def _update_many(self, keys: bytes, values: bytes, count: int, flags: int) -> None:
        """Set ``count`` values, in order, until one fails."""
        for key, value in zip(_pieces(keys, self._key.size), _pieces(values, self._value.size), strict=True):
            self._update(key, value, flags)

    def _delete_many(self, keys: Bytes, count: int) -> int:
        """Delete ``count`` keys; return how many were there."""
        return sum(self._delete(key) for key in _pieces(keys, self._key.size, count))

    def _take_key(self, key: bytes) -> bytes | None:
        """Delete a key; return the value it had."""
        if self._takes:
            return self._take(key)
        value = self._lookup(key)
        return None if value is None or not self._delete(key) else value

    def _check_listed(self, *ops: str) -> None:
        """Refuse what goes through all elements where that, or something else it takes, is not to be had."""
        for op in ("next", *ops):
            if op not in self.spec.row.ops:
                raise _refusal(self.spec, op)

    def _chunks(self, *, strict: bool = False) -> Iterator[Chunk]:
        """Return all elements in chunks, each key once."""
        self._check_listed()
        batches = self._read_batches(False)
        if batches is None:
            return self._singly(False, strict)
        return self._once(batches, strict) if self.spec.row.batch in ("key", "table") else batches

    def _taken(self) -> Iterator[Chunk]:
        """Return all elements in chunks, deleting them.

        A table that shrinks meanwhile (RHash) comes to its end before all are out: then it is gone through again, and
        not more often than if each key had come twice, since a program may put others in.
        """
        left = 2 * self.max_entries + 2
        while left > 0:
            batches = self._read_batches(True)
            before = left
            for chunk in self._singly(True, False) if batches is None else batches:
                left -= chunk[2]
                yield chunk
            if left == before or self.spec.row.batch != "table":
                return

    def _singly(self, take: bool, strict: bool) -> Iterator[Chunk]:
        """Go from key to key.

        The next key is asked for before the caller sees one: of a key that is deleted, the next is the first again.
        That still happens when the next one goes, too. Then those that were seen are passed over, and two rounds are
        the end, since a program may delete keys faster than we read them.
        """
        seen: set[bytes] = set()
        lookup = self._take_key if take else self._lookup
        key = self._next_key(None)
        for _ in self._rounds():
            if key is None:
                return
            following = self._next_key(key)
            if key in seen:
                if strict:
                    raise _aborted(self.spec)
            else:
                seen.add(key)
                value = lookup(key)
                if value is not None:
                    yield key, value, 1
            key = following
        if strict:
            raise _aborted(self.spec)

    def _rounds(self) -> Iterable[int]:
        """Return as many numbers as keys may be met; where nobody knows how many there are, without end."""
        return range(2 * self.max_entries + 2) if self.max_entries else count_up()

    def _once(self, chunks: Iterable[Chunk], strict: bool) -> Iterator[Chunk]:
        """Leave out keys that come again: a batch that goes on after a key starts anew when that is gone.

        A table that grows meanwhile (RHash) may leave some out: it is gone through again until nothing new comes.
        """
        seen: set[bytes] = set()
        size, width, left = self._key.size, self._value.size, 4 * (self.max_entries + 1)
        while True:
            before, this_time = len(seen), set[bytes]()
            for chunk in chunks:
                keys, values, count = chunk
                pieces = _pieces(keys, size, count)
                left -= count
                if strict and (left < 0 or not this_time.isdisjoint(pieces)):
                    raise _aborted(self.spec)
                if left < 0:
                    return
                new = [number for number, key in enumerate(pieces) if key not in seen]
                seen.update(pieces)
                this_time.update(pieces)
                if len(new) == count:
                    yield chunk
                elif new:
                    yield (
                        b"".join(pieces[number] for number in new),
                        b"".join(values[number * width : (number + 1) * width] for number in new),
                        len(new),
                    )
            if self.spec.row.batch != "table" or len(seen) == before:
                return
            chunks = self._read_batches(False) or ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.spec.name}>"


#: The operations that a type may not have, and where they are.
_ATTRIBUTES = {"lookup": "_lookup", "update": "_update", "delete": "_delete", "next": "_next_key", "take": "_take"}


def _pieces(data: Bytes, size: int, count: int | None = None) -> list[bytes]:
    """Return the keys or values that lie in memory one behind the other."""
    end = len(data) if count is None else count * size
    return [bytes(data[at : at + size]) for at in range(0, end, size)]


def _refuser(spec: MapSpec, op: str) -> Callable[..., Any]:
    """Return what stands in for an operation that maps of this type do not have."""

    def refuse(*_: object) -> Any:
        raise _refusal(spec, op)

    return refuse


def _refusal(spec: MapSpec, op: str) -> Exception:
    from bpfasm.asm.maps_refused import no_such_operation

    return no_such_operation(spec, op)


def _aborted(spec: MapSpec) -> Exception:
    from bpfasm.asm.maps_refused import iteration_aborted

    return iteration_aborted(spec)
