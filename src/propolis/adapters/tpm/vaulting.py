"""A TPM as home of a vault's key: seal, unseal under the vault's policy, counters (docs/specs/vault.md, steps 6 to 9).

Every session is salted to the storage key, whose public area the vault's header pins: a key that somebody put in between
has another Name. The line is open only while a call needs it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from propolis.adapters.tpm import keys, storage
from propolis.adapters.tpm.client import Key, Sealed, Tpm
from propolis.adapters.tpm.engine import base
from propolis.adapters.tpm.session import Password, Session
from propolis.crypto.tpm.ids import Command, Compare, SessionKind
from propolis.crypto.tpm.marshal import Reader, u16
from propolis.crypto.vault import conditions as demands
from propolis.ports.entropy import Entropy
from propolis.ports.tpm import TpmLine
from propolis.terms.errors import TpmError, TpmMissing
from propolis.terms.vault import Approval, Chip, Conditions, SealedKey

FIRST_INDEX, INDICES = 0x01800000, 0x00400000  # NV handles of the owner (TCG registry of reserved handles, 2.2.2)
NV_DEFINED, NO_INDEX = 0x14C, 0x08B
POLICY_FAIL, INTEGRITY, VALUE = 0x99D, 0x1DF, 0x084
LEFT = (0x80000000, 0x02000000, 0x03000000)  # transient objects, sessions, saved sessions
TRIES = 8
WAITS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds: an attestation of this machine holds the TPM for a moment


class TpmChip:
    """One machine's TPM."""

    def __init__(self, line: Callable[[], TpmLine], entropy: Entropy) -> None:
        """`line` opens the way to the TPM."""
        self._line = line
        self._entropy = entropy

    @contextmanager
    def _open(self) -> Iterator[Tpm]:
        with Tpm(self._patiently(), self._entropy) as tpm:
            if tpm.emulated:
                _sweep(tpm)
            yield tpm

    def _patiently(self) -> TpmLine:
        for pause in WAITS:
            try:
                return self._line()
            except TpmMissing:
                raise
            except TpmError:  # in use by another agent of this machine
                time.sleep(pause)
        return self._line()

    @contextmanager
    def _pinned(self, pinned: bytes) -> Iterator[tuple[Tpm, Key]]:
        with self._open() as tpm, keys.storage_key(tpm) as srk:
            if srk.public.raw != pinned:
                raise TpmError("the TPM's storage key is not the vault's", response=INTEGRITY)
            yield tpm, srk

    def look(self, registers: Sequence[int], counters: Sequence[int]) -> Chip:
        """Return what it shows. Counters and registers come in a salted session: who sits on the bus cannot change them
        unseen, and have what he chose approved."""
        with self._open() as tpm, keys.storage_key(tpm) as srk, tpm.session(srk) as session:
            told = keys.maker(tpm)
            counts = {index: _count(tpm, index, session) for index in counters}
            return Chip(
                storage=srk.public.raw,
                manufacturer=told.manufacturer.strip(),
                emulated=told.emulated,
                registers=tpm.pcr_read(registers, session=session) if registers else {},
                counts={index: value for index, value in counts.items() if value is not None},
            )

    def seal(self, key: bytes, pinned: bytes, policy: bytes, auth: bytes) -> SealedKey:
        """Seal under a policy."""
        with self._pinned(pinned) as (tpm, srk), tpm.session(srk) as session:
            made = tpm.seal(srk, session, key, policy, auth)
        return SealedKey(made.private, made.public)

    def unseal(self, sealed: SealedKey, pinned: bytes, asked: Conditions, approval: Approval, auth: bytes) -> bytes:
        """Return what is sealed: registers, approval, epoch, PIN, in the policy's order.

        Loading needs no session of its own: what passes is sealed already, and under another Name the last command fails.
        """
        found = Sealed(sealed.private, sealed.public)
        with (
            self._pinned(pinned) as (tpm, srk),
            tpm.loaded(srk, found, Password(), auth) as item,
            tpm.session(srk, kind=SessionKind.POLICY) as proof,
        ):
            tpm.policy_pcr(proof, [register for register, _ in approval.values])
            _authorize(tpm, proof, asked, approval)
            if asked.counter:
                index = storage.counter(asked.counter)
                tpm.policy_nv(proof, index, demands.operand(asked), Compare.UNSIGNED_LE)
            if asked.pin:
                tpm.policy_auth_value(proof)
            return tpm.unseal(item, proof)

    def define(self, pinned: bytes) -> tuple[int, int]:
        """Make a counter at a random index: nothing tells two vaults of one machine apart but their own headers."""
        with self._pinned(pinned) as (tpm, srk), tpm.session(srk) as session:
            for _ in range(TRIES):
                index = FIRST_INDEX + int.from_bytes(self._entropy.draw(4), "big") % INDICES
                try:
                    storage.define_counter(tpm, index, session)
                except TpmError as error:
                    if error.response != NV_DEFINED:
                        raise _no_counter(error) from error
                    continue
                value = _count(tpm, index, session)
                if value is not None:
                    return index, value
        raise TpmError("the TPM has no free place for a counter")

    def increment(self, counter: int) -> int:
        """Count up by one."""
        with self._open() as tpm, keys.storage_key(tpm) as srk, tpm.session(srk) as session:
            storage.increment(tpm, storage.counter(counter), session)
            value = _count(tpm, counter, session)
            if value is None:
                raise TpmError(f"the TPM's counter {counter:#x} is gone")
            return value

    def undefine(self, counter: int) -> None:
        """Remove a counter."""
        with self._open() as tpm:
            try:
                storage.undefine(tpm, storage.counter(counter))
            except TpmError as error:
                if base(error.response) != NO_INDEX:
                    raise


def _sweep(tpm: Tpm) -> None:
    """Flush what a killed client left. An emulator serves one client at a time, us, and nobody manages its few places."""
    for first in LEFT:
        for handle in tpm.handles(first):
            tpm.engine.flush(handle)


def _no_counter(error: TpmError) -> TpmError:
    return TpmError(
        f"the TPM makes no counter: {error}",
        response=error.response,
        hint="its owner may have set a password (Windows does): create the vault with --no-counters, "
        "then a revoked or older copy of it cannot be told from the newest",
    )


def _count(tpm: Tpm, index: int, session: Session) -> int | None:
    """Return a counter's value, None where there is none of ours at this index."""
    entity = storage.counter(index)
    try:
        _, answer = tpm.engine.run(Command.NV_READ, [entity, entity], u16(8) + u16(0), [session])
    except TpmError as error:
        if base(error.response) == NO_INDEX:
            return None
        raise
    return int.from_bytes(Reader(answer).sized(), "big")


def _authorize(tpm: Tpm, proof: Session, asked: Conditions, approval: Approval) -> None:
    """Run PolicyAuthorize. A policy that is not the approved one is told there as a wrong value: it is a changed policy."""
    try:
        r, s = demands.halves(approval)
        tpm.policy_authorize(proof, demands.admin(asked), demands.approved(approval), asked.ref, r, s)
    except TpmError as error:
        if base(error.response) == VALUE and "POLICY_AUTHORIZE" in str(error):
            raise TpmError("the registers are not what was approved", response=POLICY_FAIL) from error
        raise
