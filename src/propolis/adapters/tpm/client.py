"""The TPM 2.0 commands that Propolis uses, over any line (Part 3). Blocking; one caller at a time.

Objects and sessions are context managers: what was loaded is flushed, whatever happens in between.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from propolis.adapters.tpm.engine import Answer, Engine, Entity, permanent
from propolis.adapters.tpm.session import NONCE_BYTES, Authorisation, Password, Session, session_key, symmetric
from propolis.crypto.tpm import outside, policy, public
from propolis.crypto.tpm.ids import Alg, Command, Compare, Handle, SessionKind
from propolis.crypto.tpm.marshal import sized, u8, u16, u32
from propolis.crypto.tpm.public import Public
from propolis.ports.entropy import Entropy
from propolis.ports.tpm import TpmLine
from propolis.terms.errors import TpmError

OWNER, ENDORSEMENT, LOCKOUT = permanent(Handle.OWNER), permanent(Handle.ENDORSEMENT), permanent(Handle.LOCKOUT)
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Key(msgspec.Struct, frozen=True):
    """A key in the TPM: what names it, and its public area."""

    entity: Entity
    public: Public


class Sealed(msgspec.Struct, frozen=True):
    """An object outside the TPM: contents of TPM2B_PRIVATE and TPM2B_PUBLIC."""

    private: bytes
    public: bytes


class Quoted(msgspec.Struct, frozen=True):
    """Bytes of a TPMS_ATTEST and of a TPMT_SIGNATURE."""

    attest: bytes
    signature: bytes


class Tpm:
    """One TPM, ours while it is open."""

    def __init__(self, line: TpmLine, entropy: Entropy) -> None:
        self.engine = Engine(line, entropy)
        self._draw = entropy.draw

    def __enter__(self) -> "Tpm":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Flush what is ours and give the TPM back; idempotent."""
        self.engine.close()

    @property
    def emulated(self) -> bool:
        """Whether the line leads to an emulator."""
        return self.engine.line.emulated

    # -- what it is

    def random(self, size: int) -> bytes:
        """Return up to 32 random bytes."""
        _, answer = self.engine.run(Command.GET_RANDOM, parameters=u16(size))
        return Answer(answer).sized()

    def property(self, number: int) -> int:
        """Return one TPM_PT property. Raises TpmError."""
        _, answer = self.engine.run(Command.GET_CAPABILITY, parameters=u32(6) + u32(number) + u32(1))
        reader = Answer(answer)
        reader.u8()
        if reader.u32() != 6 or reader.u32() != 1 or reader.u32() != number:
            raise TpmError(f"the TPM does not tell property {number:#x}")
        return reader.u32()

    def handles(self, first: int, most: int = 64) -> list[int]:
        """Return the handles that exist from `first` on, of its kind."""
        _, answer = self.engine.run(Command.GET_CAPABILITY, parameters=u32(1) + u32(first) + u32(most))
        reader = Answer(answer)
        reader.u8()
        reader.u32()
        return [reader.u32() for _ in range(min(reader.u32(), most))]

    # -- PCRs

    def pcr_read(self, pcrs: Sequence[int], bank: int = Alg.SHA256, session: Session | None = None) -> dict[int, bytes]:
        """Return PCR values; the TPM gives eight at a time. Without a session whoever sits on the bus can tell others."""
        beside = [session] if session is not None else []
        found: dict[int, bytes] = {}
        wanted = sorted(pcrs)
        while wanted:
            _, answer = self.engine.run(Command.PCR_READ, parameters=policy.selection(wanted, bank), auths=beside)
            reader = Answer(answer)
            reader.u32()
            if reader.u32() != 1 or reader.u16() != bank:
                raise TpmError("the TPM has no such bank of PCRs")
            bits = int.from_bytes(reader.take(reader.u8()), "little")
            got = [pcr for pcr in wanted if bits >> pcr & 1][: reader.u32()]
            if not got:
                raise TpmError("the TPM has no such PCR")
            found.update((pcr, reader.sized()) for pcr in got)
            wanted = [pcr for pcr in wanted if pcr not in found]
        return found

    def pcr_extend(self, pcr: int, digest: bytes, bank: int = Alg.SHA256) -> None:
        """Extend a PCR of one bank."""
        self.engine.run(Command.PCR_EXTEND, [permanent(pcr)], u32(1) + u16(bank) + digest, [Password()])

    # -- sessions

    @contextmanager
    def session(self, salt_key: Key, *, kind: SessionKind = SessionKind.HMAC) -> Iterator[Session]:
        """Start a session salted to `salt_key`, whose Name the caller pinned."""
        ephemeral = int.from_bytes(self._draw(40), "big") % (_P256_ORDER - 1) + 1
        salt, encrypted = outside.salt_for(salt_key.public, self._draw(32), ephemeral)
        nonce = self._draw(NONCE_BYTES)
        parameters = sized(nonce) + sized(encrypted) + u8(kind) + symmetric() + u16(Alg.SHA256)
        entities = [salt_key.entity, permanent(Handle.NULL)]
        handle, answer = self.engine.run(Command.START_AUTH_SESSION, entities, parameters, returns_handle=True)
        nonce_tpm = Answer(answer).sized()
        started = Session(handle, session_key(salt, nonce_tpm, nonce), nonce_tpm, policy=kind is not SessionKind.HMAC)
        try:
            yield started
        finally:
            self.engine.flush(handle)

    # -- keys

    @contextmanager
    def primary(self, hierarchy: Entity, template: bytes, auth: bytes = b"") -> Iterator[Key]:
        """Make a primary key of a hierarchy: the same from the same template, until the hierarchy's seed changes."""
        parameters = sized(sized(auth) + sized(b"")) + sized(template) + sized(b"") + u32(0)
        handle, answer = self.engine.run(
            Command.CREATE_PRIMARY, [hierarchy], parameters, [Password(hierarchy.auth)], returns_handle=True
        )
        made = Answer(answer).public()
        try:
            yield Key(Entity(handle, made.name, auth), made)
        finally:
            self.engine.flush(handle)

    def read_public(self, handle: int) -> Key:
        """Return what is at a handle. Raises TpmError when nothing is."""
        _, answer = self.engine.run(Command.READ_PUBLIC, [permanent(handle)])
        found = Answer(answer).public()
        return Key(Entity(handle, found.name), found)

    @contextmanager
    def loaded(self, parent: Key, sealed: Sealed, session: Authorisation, auth: bytes = b"") -> Iterator[Entity]:
        """Load an object under its parent."""
        parameters = sized(sealed.private) + sized(sealed.public)
        handle, answer = self.engine.run(Command.LOAD, [parent.entity], parameters, [session], returns_handle=True)
        try:
            yield Entity(handle, Answer(answer).sized(), auth)
        finally:
            self.engine.flush(handle)

    # -- attestation

    def quote(self, ak: Key, pcrs: Sequence[int], qualifying: bytes, bank: int = Alg.SHA256) -> Quoted:
        """Quote PCRs of one bank with up to 64 qualifying bytes."""
        parameters = sized(qualifying) + u16(Alg.NULL) + policy.selection(pcrs, bank)
        _, answer = self.engine.run(Command.QUOTE, [ak.entity], parameters, [Password(ak.entity.auth)])
        return _quoted(answer)

    def certify(self, key: Key, ak: Key, qualifying: bytes) -> Quoted:
        """Let the attestation key say that `key` is in this TPM."""
        parameters = sized(qualifying) + u16(Alg.NULL)
        auths = [Password(key.entity.auth), Password(ak.entity.auth)]
        _, answer = self.engine.run(Command.CERTIFY, [key.entity, ak.entity], parameters, auths)
        return _quoted(answer)

    def activate(self, ak: Key, ek: Key, salt_key: Key, blob: bytes, secret: bytes) -> bytes:
        """Open a credential made for this EK and this AK. Raises TpmError: it was made for others."""
        with self.session(salt_key) as session, self.session(salt_key, kind=SessionKind.POLICY) as ek_session:
            self.policy_secret(ek_session, ENDORSEMENT)
            _, answer = self.engine.run(
                Command.ACTIVATE_CREDENTIAL, [ak.entity, ek.entity], sized(blob) + sized(secret), [session, ek_session]
            )
        return Answer(answer).sized()

    # -- policies

    def policy_secret(self, session: Session, entity: Entity) -> None:
        """Assert that we know the entity's auth value."""
        parameters = sized(b"") + sized(b"") + sized(b"") + u32(0)
        entities = [entity, permanent(session.handle)]
        self.engine.run(Command.POLICY_SECRET, entities, parameters, [Password(entity.auth)])

    def policy_pcr(self, session: Session, pcrs: Sequence[int], bank: int = Alg.SHA256) -> None:
        """Assert the PCRs as they are now."""
        parameters = sized(b"") + policy.selection(pcrs, bank)
        self.engine.run(Command.POLICY_PCR, [permanent(session.handle)], parameters)

    def policy_auth_value(self, session: Session) -> None:
        """Demand the object's auth value at its use."""
        self.engine.run(Command.POLICY_AUTH_VALUE, [permanent(session.handle)])
        session.needs_auth = True

    def policy_nv(self, session: Session, index: Entity, operand: bytes, compare: Compare) -> None:
        """Assert that an index holds what compares to the operand."""
        parameters = sized(operand) + u16(0) + u16(compare)
        entities = [index, index, permanent(session.handle)]
        self.engine.run(Command.POLICY_NV, entities, parameters, [Password(index.auth)])

    def policy_authorize(
        self, session: Session, signer: ec.EllipticCurvePublicKey, approved: bytes, ref: bytes, r: int, s: int
    ) -> None:
        """Replace the policy so far by what `signer` approved under `ref`. Raises TpmError: not what was approved."""
        template = public.verifying_key(signer)
        parameters = sized(b"") + sized(template) + u32(Handle.OWNER)
        handle, answer = self.engine.run(Command.LOAD_EXTERNAL, parameters=parameters, returns_handle=True)
        try:
            name = Answer(answer).sized()
            signature = u16(Alg.ECDSA) + u16(Alg.SHA256) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
            digest = sized(policy.approval(approved, ref))
            _, ticket = self.engine.run(Command.VERIFY_SIGNATURE, [Entity(handle, name)], digest + signature)
        finally:
            self.engine.flush(handle)
        parameters = sized(approved) + sized(ref) + sized(name) + ticket
        self.engine.run(Command.POLICY_AUTHORIZE, [permanent(session.handle)], parameters)

    def policy_digest(self, session: Session) -> bytes:
        """Return the session's policy digest."""
        _, answer = self.engine.run(Command.POLICY_GET_DIGEST, [permanent(session.handle)])
        return Answer(answer).sized()

    # -- sealing

    def seal(self, parent: Key, session: Session, data: bytes, digest: bytes, auth: bytes = b"") -> Sealed:
        """Seal up to 128 bytes under a policy (and an auth value); encrypted on the way."""
        template = public.sealed_object(digest, with_auth=bool(auth))
        parameters = sized(sized(auth) + sized(data)) + sized(template) + sized(b"") + u32(0)
        _, answer = self.engine.run(Command.CREATE, [parent.entity], parameters, [session])
        reader = Answer(answer)
        return Sealed(reader.sized(), reader.sized())

    def unseal(self, item: Entity, session: Session) -> bytes:
        """Return what is sealed, in a session whose policy holds. Raises TpmError, TpmLocked."""
        _, answer = self.engine.run(Command.UNSEAL, [item], auths=[session])
        return Answer(answer).sized()

    def import_wrapped(
        self, parent: Key, session: Session, public_area: bytes, duplicate: bytes, seed: bytes
    ) -> Sealed:
        """Take an object wrapped to `parent` from outside (crypto/tpm/outside.wrap). Raises TpmError."""
        parameters = sized(b"") + sized(public_area) + sized(duplicate) + sized(seed) + u16(Alg.NULL)
        _, answer = self.engine.run(Command.IMPORT, [parent.entity], parameters, [session])
        return Sealed(Answer(answer).sized(), public_area)


def _quoted(answer: bytes) -> Quoted:
    reader = Answer(answer)
    attest = reader.sized()
    return Quoted(attest, reader.take(reader.left))
