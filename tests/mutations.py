"""Bytes spoilt by seed, as damage and malice spoil them: the same seed and bytes give the same again on every machine."""

import random
import struct
from collections.abc import Callable, Sequence
from typing import Final

_LENGTHS: Final = (0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_PUT: Final = (">B", ">H", "<H", ">I", "<I")


def mutated(data: bytes, others: Sequence[bytes], seed: int) -> bytes:
    """`data` after one to eight changes. others: bytes to take pieces from."""
    chance = random.Random(seed)
    spoilt = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 5, 8))):
        if spoilt:
            chance.choice(_CHANGES)(spoilt, others, chance)
    return bytes(spoilt)


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere, and as often in the first 256 bytes, where headers are."""
    return chance.randrange(len(data) if chance.random() < 0.5 else min(256, len(data)))


def _piece(data: bytes | bytearray, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data))
    return start, min(len(data), start + chance.choice((1, 2, 4, 12, 64, 500, 5000)))


def _flip(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    for _number in range(chance.choice((1, 1, 4, 32))):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _set(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    data[_place(data, chance)] = chance.choice((0, 1, 0x7F, 0x80, 0xD8, 0xD9, 0xDA, 0xFF, 0x0A, 0x0D, 0x20, 0x3A, chance.randrange(256)))


def _length(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    """A number where there may have been a length."""
    form = chance.choice(_PUT)
    size = struct.calcsize(form)
    if len(data) >= size:
        at = min(_place(data, chance), len(data) - size)
        data[at : at + size] = struct.pack(form, chance.choice(_LENGTHS) % 256**size)


def _digits(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    """A number in digits, as HTTP writes them, in place of another."""
    places = [at for at in range(min(2000, len(data))) if 0x30 <= data[at] <= 0x39]
    if places:
        at = chance.choice(places)
        data[at : at + 1] = chance.choice((b"0", b"-1", b"00", b"9" * 25, b"9" * 5000, b"ffffffff", b"", b"1e9", b"+5", b" "))


def _cut(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _drop(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    start, end = _piece(data, chance)
    del data[start:end]


def _repeat(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    start, end = _piece(data, chance)
    data[start:start] = data[start:end] * chance.choice((1, 1, 2, 50))


def _move(data: bytearray, _: Sequence[bytes], chance: random.Random) -> None:
    start, end = _piece(data, chance)
    part = data[start:end]
    del data[start:end]
    at = chance.randrange(len(data) + 1)
    data[at:at] = part


def _splice(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """A piece of another in place of one of its own, or between."""
    other = chance.choice(others)
    if other:
        start, end = _piece(other, chance)
        at = _place(data, chance)
        data[at : at + (end - start) * chance.randrange(2)] = other[start:end]


def _tail(data: bytearray, others: Sequence[bytes], chance: random.Random) -> None:
    """The rest of another from somewhere on."""
    other = chance.choice(others)
    if other:
        data[_place(data, chance) :] = other[chance.randrange(len(other)) :]


_CHANGES: Final[Sequence[Callable[[bytearray, Sequence[bytes], random.Random], None]]] = (
    _flip, _flip, _set, _length, _length, _digits, _cut, _drop, _repeat, _move, _splice, _tail,
)  # fmt: skip
