"""The sealed programs of a node: which are here, which are on the way, how many may be. Bounded in number and in bytes."""

import msgspec

from propolis.terms.identity import BlobId
from propolis.terms.job import BlobRef

MAX_PROGRAMS_BYTES = 16 << 30  # of one node, here and on the way


class _Program(msgspec.Struct):
    """A program that is here, or still on the way; `size` in bytes."""

    size: int
    here: bool = False


class Programs:
    """What a node keeps of programs; `most` = how many at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[BlobId, _Program] = {}

    def __contains__(self, program: BlobId) -> bool:
        return program in self._kept

    def no_room(self, program: BlobRef) -> str:
        """Return why no further program is taken; "" = it is, or it is one of those here."""
        if program.id in self._kept:
            return ""
        if len(self._kept) >= self._most:
            return "programs of guests that are gone are still on their way"
        if sum(kept.size for kept in self._kept.values()) + program.size > MAX_PROGRAMS_BYTES:
            return f"programs of up to {MAX_PROGRAMS_BYTES >> 30} GiB are kept here at a time"
        return ""

    def coming(self, program: BlobRef) -> None:
        """Note one that is fetched from now on."""
        self._kept[program.id] = _Program(program.size)

    def arrived(self, program: BlobId) -> None:
        """It is here, whole."""
        self._kept[program].here = True

    def is_here(self, program: BlobId) -> bool:
        """Return whether it is here, whole."""
        kept = self._kept.get(program)
        return kept is not None and kept.here

    def forget(self, program: BlobId) -> None:
        """It is gone, or comes no more."""
        self._kept.pop(program, None)
