"""The guest's life: take an order, make a key, open the grant, load the program, lock, then open, compute, seal.

Reads frames from one descriptor and writes them to another; everything in them is sealed for or by the owner. Tasks are
computed strictly in order and results leave every 40 ms, or when nothing is left to do: each frame costs every hop an await,
and the agent still knows about where a guest died (a suspect task runs alone before it is blamed).
"""

import os
import select
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from propolis.crypto import granting, sealing
from propolis.guest import work
from propolis.messages import codec
from propolis.messages import guest as frames
from propolis.messages.program import Program
from propolis.terms.capability import Isolation, Rung
from propolis.terms.errors import MalformedMessage, PropolisError, SealBroken
from propolis.terms.identity import GuestId, JobId
from propolis.terms.job import MAX_PROGRAM_BYTES, Kind

FLUSH_SECONDS = 0.04
READ_BYTES = 1024 * 1024

Lock = Callable[[], None]
LimitMemory = Callable[[int], None]


class GuestLoop:
    """One guest. `lock` and `limit` confine further; None where nothing confines (bare)."""

    def __init__(
        self, source: int, sink: int, isolation: Isolation, lock: Lock | None, limit: LimitMemory | None
    ) -> None:
        self._source = source
        self._sink = sink
        self._isolation = isolation
        self._lock = lock
        self._limit = limit
        self._order: frames.Order | None = None
        self._private: X25519PrivateKey | None = None
        self._roots: granting.Roots | None = None
        self._pieces: list[frames.Segment] = []
        self._compute: work.Compute | None = None
        self._attempt = -1  # the highest seen
        self._done: list[tuple[int, int, float, bytes]] = []  # index, attempt, milliseconds, sealed result
        self._flushed = 0.0

    def run(self) -> None:
        """Serve until the agent closes its end."""
        reader = frames.Frames()
        waiting = select.poll()
        waiting.register(self._source, select.POLLIN)
        while True:
            if self._done and not waiting.poll(0):
                self._flush()  # nothing more to do: nobody waits for the rest of 40 ms
            data = os.read(self._source, READ_BYTES)
            if not data:
                return
            for tag, payload in reader.feed(data):
                self._handle(tag, payload)

    def _handle(self, tag: frames.Tag, payload: frames.Segment) -> None:
        try:
            match tag:
                case frames.Tag.ORDER if self._order is None:
                    self._ordered(codec.decode(payload, frames.Order))
                case frames.Tag.GRANT if self._order is not None and self._roots is None:
                    self._granted(payload)
                case frames.Tag.PIECE if self._roots is not None and self._compute is None:
                    self._piece(payload)
                case frames.Tag.LOAD if self._roots is not None and self._compute is None:
                    self._load()
                case frames.Tag.TASKS if self._compute is not None:
                    self._tasks(payload)
                case _:
                    raise MalformedMessage(f"a frame of type {tag.name} has no place here")
        except PropolisError as error:
            self._complain(error)

    # -- becoming a guest of one job

    def _ordered(self, order: frames.Order) -> None:
        self._order = order
        if self._limit is not None:
            self._limit(order.memory_mb)
        self._private = X25519PrivateKey.generate()
        born = frames.Born(key=self._private.public_key().public_bytes_raw(), isolation=self._isolation)
        self._write(frames.frame(frames.Tag.KEY, codec.encode(born)))

    def _granted(self, sealed: frames.Segment) -> None:
        assert self._private is not None
        self._roots = granting.open_grant(self._private, self._job, self._guest, bytes(sealed))
        self._private = None  # one handshake per guest
        self._write(frames.frame(frames.Tag.GRANTED))

    def _piece(self, payload: frames.Segment) -> None:
        if sum(map(len, self._pieces)) + len(payload) > MAX_PROGRAM_BYTES:
            raise MalformedMessage("the program is over the bound")
        self._pieces.append(payload)

    def _load(self) -> None:
        assert self._roots is not None
        assert self._order is not None
        sealed = b"".join(self._pieces)
        self._pieces.clear()
        program: Program = codec.decode(sealing.open_program(self._roots.program, self._job, sealed), Program)
        del sealed
        if program.kind is not self._order.kind:  # admission and the lock go by the order; nothing of another kind runs
            raise SealBroken(frames.other_kind(program.kind, self._order.kind))
        try:
            self._compute = work.load(program)
        except BaseException as error:  # noqa: BLE001  the owner's program: its owner reads why, sealed
            self._compute = work.failed(error)
        if self._order.kind is Kind.INFERENCE and self._lock is not None:
            self._lock()  # fixed model, all in memory: nothing new may be opened or executed from here on
            self._isolation = _locked(self._isolation)
        loaded = frames.Loaded(isolation=self._isolation)
        self._write(frames.frame(frames.Tag.LOADED, codec.encode(loaded)))

    # -- tasks

    def _tasks(self, payload: frames.Segment) -> None:
        batch, bodies = frames.open_batch(payload)
        if not self._done:
            self._flushed = time.monotonic()
        for index, attempt, sealed in zip(batch.indices, batch.attempts, bodies, strict=True):
            started = time.monotonic()
            try:
                result = self._task(index, attempt, sealed)
            except PropolisError as error:
                self._flush()
                self._complain(error, index, attempt)
                continue
            now = time.monotonic()
            self._done.append((index, attempt, (now - started) * 1e3, result))
            if now - self._flushed > FLUSH_SECONDS:
                self._flush()

    def _task(self, index: int, attempt: int, sealed: memoryview) -> bytes:
        assert self._roots is not None
        assert self._compute is not None
        if attempt <= self._attempt:
            raise SealBroken("this attempt is not newer than the last; its result key may be spent")
        plain = sealing.open_input(self._roots.inputs, self._job, index, sealed)
        self._attempt = attempt
        outcome = work.outcome(self._compute, plain, scratch=self._isolation.rung is not Rung.FLAT)
        return sealing.seal_result(self._roots.results, self._job, self._guest, index, attempt, outcome)

    def _flush(self) -> None:
        done, self._done, self._flushed = self._done, [], time.monotonic()
        if not done:
            return
        batch = frames.Batch(
            indices=tuple(item[0] for item in done),
            attempts=tuple(item[1] for item in done),
            milliseconds=tuple(item[2] for item in done),
            sizes=tuple(len(item[3]) for item in done),
        )
        self._write(frames.batch_frame(frames.Tag.RESULTS, batch, [item[3] for item in done]))

    # -- small

    @property
    def _job(self) -> JobId:
        assert self._order is not None
        return JobId(self._order.job)

    @property
    def _guest(self) -> GuestId:
        assert self._order is not None
        return GuestId(self._order.guest)

    def _complain(self, error: PropolisError, index: int = -1, attempt: int = -1) -> None:
        broken = frames.Broken(code=error.code, reason=str(error)[:300], index=index, attempt=attempt)
        self._write(frames.frame(frames.Tag.BROKEN, codec.encode(broken)))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._sink, view) :]


def _locked(isolation: Isolation) -> Isolation:
    import msgspec

    return msgspec.structs.replace(isolation, lock=True)
