"""The firmware's event log (TCG PC Client Platform Firmware Profile 1.06, section 10): read strictly, replay, look inside.

Registers cover digests only. An event's type and data are the logger's word until its data hashes to its digest; who reads
them says in which registers which types may stand (docs/specs/attestation.md, steps 10 and 11).
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from propolis.crypto.tpm.ids import Alg
from propolis.crypto.tpm.kdf import digest_size
from propolis.terms.errors import Rejected

MAX_LOG = 16 << 20
MAX_EVENTS = 20_000
MAX_EVENT = 1 << 20
REGISTERS = 24
NO_ACTION = 3
SIGNATURE_AGILE = b"Spec ID Event03\x00"
SIGNATURE_ONE = b"Spec ID Event02\x00"
STARTUP = b"StartupLocality\x00"
_HASHES = {
    int(Alg.SHA1): hashlib.sha1, int(Alg.SHA256): hashlib.sha256,
    int(Alg.SHA384): hashlib.sha384, int(Alg.SHA512): hashlib.sha512,
}  # fmt: skip


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: where it was extended, what it says it is, its digest in each bank, its data."""

    pcr: int
    type: int
    digests: Mapping[int, bytes]
    data: bytes


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed log; `banks` = hash algorithms it has digests of; `locality` = how PCR 0 began."""

    events: tuple[Event, ...]
    banks: tuple[int, ...]
    locality: int


class _Bytes:
    """Little-endian reading."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.end = len(data)
        self.at = 0

    def take(self, size: int) -> bytes:
        start = self.at
        end = start + size
        if end > self.end:
            raise Rejected("log_truncated", f"an entry of {size} bytes where {self.end - start} are left")
        self.at = end
        return self.data[start:end]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    @property
    def left(self) -> int:
        return self.end - self.at


def parse(data: bytes) -> Log:
    """Read a log. Raises Rejected: oversize, log_truncated, log_empty, log_spec, log_alg, log_size, log_count, log_pcr."""
    if len(data) > MAX_LOG:
        raise Rejected("oversize", f"a log of {len(data)} bytes")
    reader = _Bytes(data)
    first = _legacy(reader)
    if first.type != NO_ACTION or not first.data.startswith((SIGNATURE_AGILE, SIGNATURE_ONE)):
        return _finished(_Bytes(data), [], {Alg.SHA1: 20}, _legacy)
    if first.data.startswith(SIGNATURE_ONE):
        return _finished(reader, [], {Alg.SHA1: 20}, _legacy)
    sizes = _spec(first.data)
    return _finished(reader, [], sizes, lambda source: _agile(source, sizes))


def _finished(reader: _Bytes, events: list[Event], sizes: Mapping[int, int], read) -> Log:  # type: ignore[no-untyped-def]
    locality = 0
    while reader.left:
        if reader.left >= 4 and reader.data[reader.at : reader.at + 4] == b"\xff\xff\xff\xff":
            break  # the firmware's table is padded with erased flash
        event = read(reader)
        if len(events) >= MAX_EVENTS:
            raise Rejected("log_count", f"more than {MAX_EVENTS} events")
        if event.type == NO_ACTION and event.pcr == 0 and event.data.startswith(STARTUP) and len(event.data) == 17:
            locality = event.data[16]
        events.append(event)
    if not any(event.type != NO_ACTION for event in events):
        raise Rejected("log_empty", "a log without an event that was extended")
    return Log(events=tuple(events), banks=tuple(sizes), locality=locality)


def _legacy(reader: _Bytes) -> Event:
    """TCG_PCR_EVENT: one SHA-1 digest."""
    pcr, kind, digest = _register(reader.number(4)), reader.number(4), reader.take(20)
    return Event(pcr=pcr, type=kind, digests={Alg.SHA1: digest}, data=_data(reader))


def _agile(reader: _Bytes, sizes: Mapping[int, int]) -> Event:
    """TCG_PCR_EVENT2: a digest for each bank of the header."""
    pcr, kind, count = _register(reader.number(4)), reader.number(4), reader.number(4)
    if count > len(sizes):
        raise Rejected("log_alg", f"{count} digests where the header announces {len(sizes)}")
    digests: dict[int, bytes] = {}
    for _ in range(count):
        alg = reader.number(2)
        if alg not in sizes or alg in digests:
            raise Rejected("log_alg", f"a digest of algorithm {alg:#06x}, unannounced or twice")
        digests[alg] = reader.take(sizes[alg])
    return Event(pcr=pcr, type=kind, digests=digests, data=_data(reader))


def _register(number: int) -> int:
    if number >= REGISTERS and number != 0xFFFFFFFF:  # some firmware logs NO_ACTION beside all registers
        raise Rejected("log_pcr", f"an event of PCR {number}")
    return number


def _data(reader: _Bytes) -> bytes:
    size = reader.number(4)
    if size > MAX_EVENT:
        raise Rejected("log_size", f"an event of {size} bytes")
    return reader.take(size)


def _spec(data: bytes) -> dict[int, int]:
    """Read TCG_EfiSpecIDEvent: algorithms and their digest sizes. The sizes of known algorithms are not the log's to say."""
    reader = _Bytes(data)
    reader.take(16 + 4 + 4)
    count = reader.number(4)
    if not 1 <= count <= 8:
        raise Rejected("log_spec", f"{count} algorithms")
    sizes: dict[int, int] = {}
    for _ in range(count):
        alg, size = reader.number(2), reader.number(2)
        known = digest_size(alg) if alg in (Alg.SHA1, Alg.SHA256, Alg.SHA384, Alg.SHA512) else size
        if alg in sizes or size != known or not 1 <= size <= 64:
            raise Rejected("log_spec", f"algorithm {alg:#06x} with digests of {size} bytes")
        sizes[alg] = size
    reader.take(reader.number(1))
    if reader.left:
        raise Rejected("log_spec", "bytes after the header")
    return sizes


def replay(log: Log, bank: int = Alg.SHA256) -> dict[int, bytes]:
    """Return the values of the registers that the log extends in this bank. Raises Rejected: log_alg, hash_alg."""
    if bank not in log.banks:
        raise Rejected("log_alg", f"the log has no digests of algorithm {bank:#06x}")
    size, hasher = digest_size(bank), _HASHES[bank]
    values: dict[int, bytes] = {}
    for event in log.events:
        if event.type == NO_ACTION:
            continue
        digest = event.digests.get(bank)
        if digest is None:
            raise Rejected("log_alg", "an event without a digest of this bank")
        before = values.get(event.pcr)
        if before is None:
            before = log.locality.to_bytes(size, "big") if event.pcr == 0 else bytes(size)
        values[event.pcr] = hasher(before + digest, usedforsecurity=False).digest()
    return values


def holds(event: Event, bank: int, data: bytes) -> bool:
    """Return whether the event's digest of this bank is that of `data`. Raises Rejected(hash_alg)."""
    if bank not in _HASHES:
        raise Rejected("hash_alg", f"hash algorithm {bank:#06x}")
    return event.digests.get(bank) == _HASHES[bank](data, usedforsecurity=False).digest()


def agrees(log: Log, quoted: Mapping[int, bytes], bank: int = Alg.SHA256, only: Iterable[int] = range(8)) -> None:
    """Check that the log replays to the quoted values of these registers. Raises Rejected(log_replay)."""
    values = replay(log, bank)
    for pcr in only:
        if pcr in quoted and quoted[pcr] != values.get(pcr, bytes(digest_size(bank))):
            raise Rejected("log_replay", f"PCR {pcr} is not what the log extends")
