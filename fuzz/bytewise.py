"""Mutations of plain bytes, made where numbers and sizes stand: flips, cuts, extremes, splices, repeats, and plain noise."""

import random
import re
from collections.abc import Callable, Iterator, Sequence

from fuzz.target import Shape

MOST = 1 << 16  # bytes of a mutation: what is longer only costs time
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
WIDTHS = (1, 2, 4, 8)
_WORDS = re.compile(rb"[\s,;:.=\"{}\[\]]+")
_INTERESTING = (b"\0", b"\xff", b"\0" * 8, b"\xff" * 8, b"\x80", b"\x30\x80", b"\x9f", b"\xbf", b"\x5f", b"\xc1", b"\xdf\xff\xff\xff\xff")  # fmt: skip

Field = tuple[int, int, str]
"""Where a size stands, how wide it is, and in which order its bytes go."""


def sizes(data: bytes) -> list[Field]:
    """Return what may be size fields: numbers that announce bytes which are there. True ones are among them."""
    found: list[Field] = []
    for width in (2, 4):
        for at in range(min(len(data) - width, 4096)):
            for order in ("big", "little"):
                announced = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
                if 0 < announced <= len(data) - at - width and announced < 1 << 16:
                    found.append((at, width, order))
    return found


def boundaries(data: bytes, shape: Shape) -> list[int]:
    """Return where fields begin or end, in order: at most a few hundred places."""
    if shape in (Shape.TEXT, Shape.JSON):
        found = {match.start() for match in _WORDS.finditer(data)} | {match.end() for match in _WORDS.finditer(data)}
    else:
        found = set(range(min(64, len(data))))
        for at, width, order in sizes(data):
            announced = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
            found |= {at, at + width, at + width + announced}
        found |= set(range(0, len(data), 8))
    return sorted(place for place in found if place < len(data))


def planned(samples: Sequence[bytes], shape: Shape) -> Iterator[bytes]:
    """Yield what is owed to every parser whatever the dice say: nothing, one byte, cuts at every field, sizes at extremes."""
    yield b""
    yield b"\0"
    for data in samples:
        yield data
        yield data + b"\0"
        yield data + data
        for place in boundaries(data, shape):
            yield data[:place]
        for at, width, order in sizes(data) if shape not in (Shape.TEXT, Shape.JSON) else []:
            for value in (0, (1 << 8 * width) - 1, 1 << 8 * width - 1):
                yield data[:at] + value.to_bytes(width, order) + data[at + width :]  # type: ignore[arg-type]


class Bytewise:
    """Random changes of one parser's samples."""

    def __init__(self, samples: Sequence[bytes], shape: Shape) -> None:
        self._samples = samples
        self._places = {data: boundaries(data, shape) or [0] for data in samples}
        self._ways: tuple[Callable[[random.Random, bytearray], None], ...] = (
            _flip, _flip, _extreme, _extreme, _cut, _drop, _repeat, _insert, _interesting, _byte,
        )  # fmt: skip

    def mutated(self, dice: random.Random) -> bytes:
        """Return one mutation: a splice, noise, or one to four small changes of a sample."""
        base = dice.choice(self._samples)
        lot = dice.random()
        if lot < 0.03:
            return dice.randbytes(dice.randint(0, 300))
        if lot < 0.15:
            return self._spliced(dice, base)[:MOST]
        return self.changed(dice, base)

    def changed(self, dice: random.Random, base: bytes) -> bytes:
        """Return `base` with one to four small changes."""
        out = bytearray(base)
        for _ in range(dice.choice((1, 1, 2, 4))):
            dice.choice(self._ways)(dice, out)
        return bytes(out[:MOST])

    def _spliced(self, dice: random.Random, base: bytes) -> bytes:
        """Put together the head of one sample and the tail of another, both cut at fields; or move a field within one."""
        other = dice.choice(self._samples)
        here, there = dice.choice(self._places[base]), dice.choice(self._places[other])
        if base is not other:
            return base[:here] + other[there:]
        start, end = sorted((there, dice.choice(self._places[base])))
        return base[:here] + base[start:end] + base[here:]


def _flip(dice: random.Random, out: bytearray) -> None:
    if out:
        out[dice.randrange(len(out))] ^= 1 << dice.randrange(8)


def _byte(dice: random.Random, out: bytearray) -> None:
    if out:
        out[dice.randrange(len(out))] = dice.randrange(256)


def _extreme(dice: random.Random, out: bytearray) -> None:
    width = dice.choice(WIDTHS)
    value = dice.choice(EXTREMES) & (1 << 8 * width) - 1
    at = dice.randrange(len(out) + 1)
    out[at : at + width] = value.to_bytes(width, dice.choice(("big", "little")))


def _cut(dice: random.Random, out: bytearray) -> None:
    del out[dice.randrange(len(out) + 1) :]


def _drop(dice: random.Random, out: bytearray) -> None:
    at = dice.randrange(len(out) + 1)
    del out[at : at + dice.randint(1, 16)]


def _repeat(dice: random.Random, out: bytearray) -> None:
    at = dice.randrange(len(out) + 1)
    out[at:at] = out[at : at + dice.randint(1, 64)] * dice.choice((1, 1, 8))


def _insert(dice: random.Random, out: bytearray) -> None:
    at = dice.randrange(len(out) + 1)
    out[at:at] = dice.randbytes(dice.randint(1, 8))


def _interesting(dice: random.Random, out: bytearray) -> None:
    at = dice.randrange(len(out) + 1)
    what = dice.choice(_INTERESTING)
    out[at : at + (len(what) if dice.random() < 0.5 else 0)] = what
