"""Files with some of their bytes changed: at random, but the same ones for the same seed."""

import random

_VALUES = (0, 1, 2, 0x7F, 0x80, 0xFF)


def mutants(data, seed, count):
    """Yield changed copies: bytes set, words set, pieces cut out, doubled or moved, the end cut off."""
    chance = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
            at = chance.randrange(len(changed))
            kind = chance.randrange(8)
            if kind < 4:
                changed[at] = chance.choice((*_VALUES, chance.randrange(256)))
            elif kind < 6:
                value = chance.choice((0, 1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, len(data), chance.randrange(1 << 32)))
                changed[at & ~3 : (at & ~3) + 4] = value.to_bytes(4, "little")
            elif kind == 6:
                length = chance.randrange(1, 64)
                to = chance.randrange(len(changed))
                changed[to : to + length] = changed[at : at + length]
            elif chance.randrange(8) == 0:
                del changed[max(1, at) :]
        yield bytes(changed)
