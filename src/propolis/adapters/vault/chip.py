"""The stand-in TPM for a vault's key: the same demands, kept in memory. For tests where there is no emulator.

It answers with the response codes of a TPM, so that what judges them is tried, too.
"""

import hmac
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from propolis.crypto.tpm import public
from propolis.crypto.vault import conditions as demands
from propolis.ports.entropy import Entropy
from propolis.terms.errors import TpmError, TpmLocked
from propolis.terms.vault import Approval, Chip, Conditions, SealedKey

MOST_WRONG = 5
_NONCE = 12


class MemoryChip:
    """A TPM's memory. `registers` may be moved, `counts` set back, `seed` replaced (that is what TPM2_Clear does)."""

    def __init__(self, entropy: Entropy, step: Callable[[], None] = lambda: None) -> None:
        """`step` is called before each durable change: a power cut may come from it."""
        self._entropy = entropy
        self._step = step
        self.registers = {register: bytes(32) for register in range(24)}
        self.counts: dict[int, int] = {}
        self.seed = entropy.draw(32)
        self.highest = 0
        self.wrong = 0

    def clear(self) -> None:
        """As TPM2_Clear does."""
        self.seed, self.counts, self.wrong = self._entropy.draw(32), {}, 0

    def _storage(self) -> bytes:
        digest = Hash(SHA256())
        digest.update(self.seed)
        scalar = int.from_bytes(digest.finalize(), "big") % 2**255 + 1
        key = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
        template = public.srk_ecc()
        return template[: -2 * (2 + 32)] + public.ecc_unique(key)

    def look(self, registers: Sequence[int], counters: Sequence[int]) -> Chip:
        """Return what it shows."""
        return Chip(
            storage=self._storage(),
            manufacturer="none",
            emulated=True,
            registers={register: self.registers[register] for register in registers},
            counts={index: self.counts[index] for index in counters if index in self.counts},
        )

    def seal(self, key: bytes, pinned: bytes, policy: bytes, auth: bytes) -> SealedKey:
        """Seal under a policy; the auth value goes inside."""
        self._same(pinned)
        nonce = self._entropy.draw(_NONCE)
        inside = len(auth).to_bytes(1, "big") + auth + key
        return SealedKey(nonce + AESGCM(self.seed).encrypt(nonce, inside, policy), policy)

    def unseal(self, sealed: SealedKey, pinned: bytes, asked: Conditions, approval: Approval, auth: bytes) -> bytes:
        """Return what is sealed."""
        self._same(pinned)
        try:
            inside = AESGCM(self.seed).decrypt(sealed.private[:_NONCE], sealed.private[_NONCE:], sealed.public)
        except (InvalidTag, ValueError) as error:
            raise TpmError("not made here", response=0x1DF) from error
        if any(self.registers[register] != value for register, value in approval.values):
            raise TpmError("other registers", response=0x99D)
        if not demands.genuine(approval, asked):
            raise TpmError("not the admin key's", response=0x2DB)
        if asked.counter and self._at(asked.counter) > asked.limit:
            raise TpmError("another epoch", response=0x126)
        if demands.digest(asked) != sealed.public:
            raise TpmError("another policy", response=0x99D)
        wanted, key = inside[1 : 1 + inside[0]], inside[1 + inside[0] :]
        if asked.pin:
            self._guess(wanted, auth)
        return key

    def _guess(self, wanted: bytes, auth: bytes) -> None:
        if self.wrong >= MOST_WRONG:
            raise TpmLocked("too many wrong PINs", response=0x921)
        if not hmac.compare_digest(wanted, auth):
            self.wrong += 1
            raise TpmError("wrong auth value", response=0x98E)

    def define(self, pinned: bytes) -> tuple[int, int]:
        """Make a counter."""
        self._same(pinned)
        self._step()
        index = 0x01800000 + len(self.counts) + 1 + self.highest
        self.highest += 1
        self.counts[index] = self.highest
        return index, self.highest

    def increment(self, counter: int) -> int:
        """Count up."""
        self._at(counter)
        self._step()
        self.counts[counter] += 1
        self.highest = max(self.highest, self.counts[counter])
        return self.counts[counter]

    def undefine(self, counter: int) -> None:
        """Remove a counter."""
        self._step()
        self.counts.pop(counter, None)

    def _at(self, counter: int) -> int:
        if counter not in self.counts:
            raise TpmError("no such counter", response=0x18B)
        return self.counts[counter]

    def _same(self, pinned: bytes) -> None:
        if pinned != self._storage():
            raise TpmError("another storage key", response=0x1DF)
