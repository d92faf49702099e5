"""Authorisations of commands: the password session, and salted sessions that encrypt and authenticate (Part 1, 17 to 21).

The salt is encrypted to a key of the TPM whose Name the caller pinned: without that, an interposer on the bus
substitutes a key of its own (facts: TPM Genie). The first parameter is encrypted both ways, all of it is under HMAC.
"""

import hmac as constant_time

from propolis.crypto.tpm import kdf
from propolis.crypto.tpm.ids import Alg, Handle, SessionAttribute
from propolis.crypto.tpm.marshal import sized, u8, u16, u32
from propolis.terms.errors import TpmError

NONCE_BYTES = 32


class Password:
    """TPM_RS_PW with an auth value: in clear, so only for empty ones and for what a reset TPM has."""

    handle = int(Handle.PASSWORD)
    attributes = SessionAttribute(0)

    def __init__(self, auth: bytes = b"") -> None:
        self._auth = auth

    def area(self, digest: bytes) -> bytes:
        """Return the TPMS_AUTH_COMMAND."""
        return u32(self.handle) + sized(b"") + u8(SessionAttribute.CONTINUE) + sized(self._auth)


class Session:
    """A started session. `auth` is the auth value of the object whose use it authorises, set before each such use."""

    def __init__(self, handle: int, key: bytes, nonce_tpm: bytes, *, policy: bool) -> None:
        self.handle = handle
        self.policy = policy
        self.attributes = SessionAttribute.CONTINUE
        self.auth = b""
        self.needs_auth = not policy  # a policy session proves the auth value only after PolicyAuthValue
        self.nonce_caller = b""
        self.nonce_tpm = nonce_tpm
        self._key = key

    def begin(self, nonce: bytes, auth: bytes) -> None:
        """Begin a command with a new nonce of ours; `auth` = the auth value of the entity it authorises."""
        self.nonce_caller, self.auth = nonce, auth
        self.attributes = SessionAttribute.CONTINUE

    def hide(self, *, commands: bool, responses: bool) -> None:
        """Encrypt the first parameter of this command, of its response, or both."""
        self.attributes |= SessionAttribute.DECRYPT if commands else SessionAttribute(0)
        self.attributes |= SessionAttribute.ENCRYPT if responses else SessionAttribute(0)

    def witness(self) -> None:
        """Stand beside this command for nothing but the HMAC of its answer."""
        self.attributes |= SessionAttribute.AUDIT

    def encrypt(self, parameter: bytes) -> bytes:
        """Hide the first command parameter."""
        key, iv = self._stream(self.nonce_caller, self.nonce_tpm)
        return kdf.cfb_encrypt(key, iv, parameter)

    def decrypt(self, parameter: bytes) -> bytes:
        """Read the first response parameter; after `check`."""
        key, iv = self._stream(self.nonce_tpm, self.nonce_caller)
        return kdf.cfb_decrypt(key, iv, parameter)

    def area(self, digest: bytes) -> bytes:
        """Return the TPMS_AUTH_COMMAND for the command with this cpHash."""
        mac = self._mac(digest, self.nonce_caller, self.nonce_tpm, self.attributes)
        return u32(self.handle) + sized(self.nonce_caller) + u8(self.attributes) + sized(mac)

    def check(self, digest: bytes, nonce_tpm: bytes, attributes: int, mac: bytes) -> None:
        """Check the response's HMAC over its rpHash. Raises TpmError: bytes were changed on the way."""
        self.nonce_tpm = nonce_tpm
        wanted = self._mac(digest, nonce_tpm, self.nonce_caller, SessionAttribute(attributes))
        if not constant_time.compare_digest(wanted, mac):
            raise TpmError("the response of the TPM was changed on its way", hint="something sits on the bus or socket")

    def _mac(self, digest: bytes, newer: bytes, older: bytes, attributes: SessionAttribute) -> bytes:
        key = self._key + (self.auth.rstrip(b"\x00") if self.needs_auth else b"")
        return kdf.hmac(Alg.SHA256, key, digest, newer, older, u8(attributes))

    def _stream(self, newer: bytes, older: bytes) -> tuple[bytes, bytes]:
        value = self._key + self.auth.rstrip(b"\x00")
        both = kdf.kdf_a(Alg.SHA256, value, b"CFB", newer, older, 2 * kdf.AES_BYTES)
        return both[: kdf.AES_BYTES], both[kdf.AES_BYTES :]


def session_key(salt: bytes, nonce_tpm: bytes, nonce_caller: bytes) -> bytes:
    """Return the key of a salted, unbound session."""
    return kdf.kdf_a(Alg.SHA256, salt, b"ATH", nonce_tpm, nonce_caller, kdf.digest_size(Alg.SHA256))


def symmetric() -> bytes:
    """Return the TPMT_SYM_DEF of parameter encryption: AES-128-CFB."""
    return u16(Alg.AES) + u16(128) + u16(Alg.CFB)


Authorisation = Password | Session
