"""Commands to a TPM: headers, authorisations, retries, response codes. One command at a time; what it holds is given back.

`Engine.run` is the one way to the chip. Its callers (adapters/tpm/client.py and its neighbours) know the commands.
"""

import time
from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from propolis.adapters.tpm.session import NONCE_BYTES, Authorisation, Session
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Command, SessionAttribute, Tag
from propolis.crypto.tpm.marshal import MAX_SIZED, Reader, u16, u32
from propolis.crypto.tpm.public import Public
from propolis.ports.entropy import Entropy
from propolis.ports.tpm import TpmLine
from propolis.terms.errors import Rejected, TpmError, TpmLocked

MAX_RESPONSE = 4096
AGAIN = (0x908, 0x90A, 0x922)  # yielded, testing, retry
PAUSES = (0.0, 0.002, 0.01, 0.05, 0.2, 0.5, 1.0)
_NAMED = {
    0x100: "not started yet",
    0x101: "failure mode: it needs a restart",
    0x902: "no room for another object; somebody left keys loaded",
    0x903: "no room for another session",
    0x905: "no session left",
    0x921: "locked: too many wrong PINs",
    0x923: "the NV storage is busy or worn",
}
_FORMAT_ONE = {
    0x004: "a value that it does not take",
    0x00B: "a handle that is not there",
    0x00E: "wrong auth value",
    0x01D: "the policy does not hold",
    0x01F: "the object was not made by this TPM, or was changed",
    0x022: "wrong auth value (not counted)",
    0x026: "the policy's check failed",
    0x012: "does not match",
}


class Shape(msgspec.Struct, frozen=True):
    """Of a command: how many of its handles need an authorisation, whether its first parameter each way can be hidden."""

    auths: int = 0
    hides_in: bool = False
    hides_out: bool = False


_SHAPES = {
    Command.ACTIVATE_CREDENTIAL: Shape(2, True, True),
    Command.CERTIFY: Shape(2, True, True),
    Command.CLEAR: Shape(1),
    Command.CREATE: Shape(1, True, True),
    Command.CREATE_PRIMARY: Shape(1, True, True),
    Command.DICTIONARY_ATTACK_LOCK_RESET: Shape(1),
    Command.EVICT_CONTROL: Shape(1),
    Command.GET_RANDOM: Shape(0, False, True),
    Command.HIERARCHY_CHANGE_AUTH: Shape(1, True, False),
    Command.IMPORT: Shape(1, True, True),
    Command.LOAD: Shape(1, True, True),
    Command.NV_DEFINE_SPACE: Shape(1, True, False),
    Command.NV_INCREMENT: Shape(1),
    Command.NV_READ: Shape(1, False, True),
    Command.NV_UNDEFINE_SPACE: Shape(1),
    Command.NV_WRITE: Shape(1, True, False),
    Command.PCR_EXTEND: Shape(1),
    Command.PCR_RESET: Shape(1),
    Command.POLICY_NV: Shape(1, True, False),
    Command.POLICY_SECRET: Shape(1, True, True),
    Command.QUOTE: Shape(1, True, True),
    Command.READ_PUBLIC: Shape(0, False, True),
    Command.UNSEAL: Shape(1, False, True),
}


class Answer(Reader):
    """A response's parameters: what is not as it must be is the TPM's failing, or of whoever sits on its bus (TpmError)."""

    __slots__ = ()

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes. Raises TpmError."""
        try:
            return super().take(size)
        except Rejected as error:
            raise _no_answer(error) from error

    def sized(self, most: int = MAX_SIZED) -> bytes:
        """Return a TPM2B's content. Raises TpmError."""
        try:
            return super().sized(most)
        except Rejected as error:
            raise _no_answer(error) from error

    def public(self) -> Public:
        """Return a TPM2B_PUBLIC. Raises TpmError: it is none, or of a kind that we do not use."""
        try:
            return public.parse(self.sized())
        except Rejected as error:
            raise _no_answer(error) from error


def _no_answer(error: Rejected) -> TpmError:
    return TpmError(f"the TPM gave an answer that is none ({error.reason})")


class Entity(msgspec.Struct, frozen=True):
    """Something in the TPM that commands name: its handle, its Name, the auth value of its use."""

    handle: int
    name: bytes
    auth: bytes = b""


def permanent(handle: int, auth: bytes = b"") -> Entity:
    """Return a hierarchy or PCR: its Name is its handle."""
    return Entity(handle, u32(handle), auth)


def base(response: int) -> int:
    """Return a format-one code without the number of the handle, session or parameter it is about."""
    return response & 0x0BF if response & 0x080 else response


def told(response: int) -> str:
    """Return what a response code says."""
    if response & 0x080:
        return _FORMAT_ONE.get(response & 0x03F, "refused")
    return _NAMED.get(response, "refused")


class Engine:
    """One open line and the sessions and objects on it."""

    def __init__(self, line: TpmLine, entropy: Entropy) -> None:
        self.line = line
        self.entropy = entropy
        self._loaded: list[int] = []  # transient objects and sessions of ours, to be flushed

    def run(
        self,
        command: Command,
        entities: Sequence[Entity] = (),
        parameters: bytes = b"",
        auths: Sequence[Authorisation] = (),
        *,
        returns_handle: bool = False,
    ) -> tuple[int, bytes]:
        """Run one command; return (handle or 0, response parameters). Raises TpmError, TpmLocked.

        `auths` are for the first entities in order; one more may come along to encrypt alone, or where nothing can be hidden to
        authenticate the answer. The first session that encrypts hides the first parameter of both directions.
        """
        shape = _SHAPES.get(command, Shape())
        hider = next((auth for auth in auths if isinstance(auth, Session)), None)
        for place, auth in enumerate(auths):
            if isinstance(auth, Session):
                auth.begin(self.entropy.draw(NONCE_BYTES), entities[place].auth if place < shape.auths else b"")
        if hider is not None:
            hider.hide(commands=shape.hides_in, responses=shape.hides_out)
            parameters = _hidden(hider, parameters) if shape.hides_in else parameters
            if shape == Shape():
                hider.witness()
        digest = _hash(u32(command), *(entity.name for entity in entities), parameters)
        areas = b"".join(auth.area(digest) for auth in auths)
        body = b"".join(u32(entity.handle) for entity in entities)
        body += (u32(len(areas)) + areas if auths else b"") + parameters
        tag = Tag.SESSIONS if auths else Tag.NO_SESSIONS
        answer = self._transact(u16(tag) + u32(10 + len(body)) + u32(command) + body, command)
        return self._answer(command, answer, auths, hider, returns_handle)

    def _transact(self, wire: bytes, command: Command) -> Reader:
        for pause in PAUSES:
            if pause:  # a sleep of nothing gives the processor away: a tenth of a millisecond for each command
                time.sleep(pause)
            answer = self.line.transact(wire)
            if not 10 <= len(answer) <= MAX_RESPONSE:
                raise TpmError(f"the TPM answered {len(answer)} bytes")
            reader = Reader(answer)
            reader.u16()
            length, code = reader.u32(), reader.u32()
            if length != len(answer):
                raise TpmError(f"the TPM announced {length} bytes and sent {len(answer)}")
            if code not in AGAIN:
                if code:
                    kind = TpmLocked if code == 0x921 else TpmError
                    raise kind(f"TPM2_{command.name}: {told(code)} ({code:#05x})", response=code)
                return reader
        raise TpmError(f"TPM2_{command.name}: it asks to try again and again", response=AGAIN[-1])

    def _answer(
        self,
        command: Command,
        reader: Reader,
        auths: Sequence[Authorisation],
        hider: Session | None,
        returns_handle: bool,
    ) -> tuple[int, bytes]:
        try:
            handle = reader.u32() if returns_handle else 0
            if returns_handle and handle >> 24 in (0x80, 0x02, 0x03):
                self._loaded.append(handle)
            if not auths:
                return handle, reader.take(reader.left)
            parameters = reader.take(reader.u32())
            digest = _hash(u32(0), u32(command), parameters)
            for auth in auths:
                nonce, attributes, mac = reader.sized(64), reader.u8(), reader.sized(64)
                if isinstance(auth, Session):
                    auth.check(digest, nonce, attributes, mac)
            reader.end()
        except Rejected as error:
            raise TpmError(f"TPM2_{command.name}: an answer that is none ({error.reason})") from error
        if hider is not None and hider.attributes & SessionAttribute.ENCRYPT:
            parameters = _shown(hider, parameters)
        return handle, parameters

    # -- what is given back

    def flush(self, handle: int) -> None:
        """Give a transient object or session back. Raises TpmError."""
        if handle in self._loaded:
            self._loaded.remove(handle)
        self.run(Command.FLUSH_CONTEXT, parameters=u32(handle))

    def close(self) -> None:
        """Flush everything of ours and close the line; never raises: what is gone is gone."""
        for handle in list(reversed(self._loaded)):
            try:
                self.flush(handle)
            except TpmError:
                continue
        self.line.close()


def _hash(*parts: bytes) -> bytes:
    digest = Hash(SHA256())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def _hidden(session: Session, parameters: bytes) -> bytes:
    """Encrypt the content of the TPM2B that the parameters begin with."""
    size = int.from_bytes(parameters[:2], "big")
    return parameters[:2] + session.encrypt(parameters[2 : 2 + size]) + parameters[2 + size :]


def _shown(session: Session, parameters: bytes) -> bytes:
    size = int.from_bytes(parameters[:2], "big")
    return parameters[:2] + session.decrypt(parameters[2 : 2 + size]) + parameters[2 + size :]
