"""The cyclic redundancy checks of FLAC frames and OGG pages: most significant bit first, from 0."""

from __future__ import annotations

from functools import cache


@cache
def _table(bits: int, polynomial: int) -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte << bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> bits - 1 & 1 else 0)
        entries.append(value & (1 << bits) - 1)
    return tuple(entries)


def crc(data: bytes, bits: int, polynomial: int) -> int:
    """The check of `data`, in `bits` bits (8 and more), for a polynomial without its highest term."""
    table, mask, value = _table(bits, polynomial), (1 << bits) - 1, 0
    for byte in data:
        value = (value << 8) & mask ^ table[value >> bits - 8 ^ byte]
    return value
