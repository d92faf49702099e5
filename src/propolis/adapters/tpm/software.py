"""The stand-in attester: a TPM's structures from keys in memory. No assembly reaches it (import contract 6).

It signs what a TPM would sign and opens what a TPM would open, so that the machines above are tested by the thousand. Its
registers are a dict, its firmware is the emulator's: whoever appraises it sees that it is no chip.
"""

import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from propolis.crypto.tpm import kdf, policy, public
from propolis.crypto.tpm.attest import Clock
from propolis.crypto.tpm.ids import MAGIC, Alg, Handle, Tag
from propolis.crypto.tpm.marshal import Reader, sized, u8, u16, u32, u64
from propolis.ports.attester import Identity, Shown
from propolis.terms.bound import Bound
from propolis.terms.errors import Rejected, TpmError

FIRMWARE = 0x2019102300163636
_POINT_BYTES = 2 * (2 + 32)


class SoftwareAttester:
    """One machine that is none. `seed` makes its keys; registers and clock may be changed by tests."""

    def __init__(self, seed: bytes) -> None:
        self._ek, self._ak, self._srk = (_key(seed + name) for name in (b"ek", b"ak", b"sk"))
        self.registers: dict[int, bytes] = {pcr: bytes(32) for pcr in range(24)}
        self.clock = Clock(clock=1000, resets=1, restarts=0, safe=True, firmware=FIRMWARE)
        self.hierarchy = int(Handle.ENDORSEMENT)
        self.event_log = b""

    async def identity(self) -> Identity:
        """Return the keys."""
        return Identity(
            ek=_area(public.ek_ecc(), self._ek),
            certificate=b"",
            ak=_area(public.ak_ecc(), self._ak),
            srk=_area(public.srk_ecc(), self._srk),
            manufacturer="IBM",
            emulated=True,
        )

    async def show(self, binding: bytes, pcrs: Sequence[int], bank: int) -> Shown:
        """Quote."""
        values = {pcr: self.registers[pcr] for pcr in pcrs}
        ak = public.parse(_area(public.ak_ecc(), self._ak))
        clock = self.clock
        head = (
            u32(MAGIC) + u16(Tag.ATTEST_QUOTE) + sized(public.qualified(ak, hierarchy=self.hierarchy)) + sized(binding)
        )
        times = u64(clock.clock) + u32(clock.resets) + u32(clock.restarts) + u8(clock.safe) + u64(clock.firmware)
        attest = head + times + policy.selection(pcrs, bank) + sized(policy.pcr_digest(values))
        srk = public.parse(_area(public.srk_ecc(), self._srk))
        beside = (
            u32(MAGIC) + u16(Tag.ATTEST_CERTIFY) + sized(public.qualified(ak, hierarchy=self.hierarchy)) + sized(binding)
            + times + sized(srk.name) + sized(public.qualified(srk, hierarchy=Handle.OWNER))
        )  # fmt: skip
        return Shown(
            attest=attest,
            signature=self._signed(attest),
            srk_attest=beside,
            srk_signature=self._signed(beside),
            values=values,
            event_log=self.event_log,
        )

    def _signed(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._ak.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        return u16(Alg.ECDSA) + u16(Alg.SHA256) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))

    async def activate(self, blob: bytes, secret: bytes) -> bytes:
        """Open a credential made for our two keys, as Part 1, 24 says. Raises TpmError."""
        name = public.parse(_area(public.ak_ecc(), self._ak)).name
        return _reveal(self._ek, b"IDENTITY", name, blob, secret)

    async def unwrap(self, bound: Bound) -> tuple[bytes, bytes]:
        """Open both parts, while the registers are those of the object's policy. Raises TpmError."""
        one = await self.activate(bound.credential, bound.secret)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(bound.area)
        sensitive = Reader(
            _reveal(self._srk, b"DUPLICATE", u16(Alg.SHA256) + digest.finalize(), bound.duplicate, bound.seed)
        )
        now = policy.pcr(policy.EMPTY, {pcr: self.registers[pcr] for pcr in bound.pcrs}, Alg.SHA256)
        if public.parse(bound.area).policy != now:
            raise TpmError("the registers moved", response=0x99D)
        sensitive.u16()
        sensitive.sized()
        sensitive.sized()
        return one, sensitive.sized()

    async def close(self) -> None:
        """Nothing to close."""


def _key(seed: bytes) -> ec.EllipticCurvePrivateKey:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(seed)
    return ec.derive_private_key(int.from_bytes(digest.finalize(), "big") % 2**255 + 1, ec.SECP256R1())


def _reveal(key: ec.EllipticCurvePrivateKey, label: bytes, name: bytes, blob: bytes, secret: bytes) -> bytes:
    """Open what `outside` made for a key: credential or duplicate. Raises TpmError."""
    try:
        point, outer = Reader(secret), Reader(blob)
        x, y = point.sized(), point.sized()
        theirs = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        shared = key.exchange(ec.ECDH(), theirs.public_key())
        mac, hidden = outer.sized(), outer.take(outer.left)
    except (Rejected, ValueError) as error:
        raise TpmError("nothing that was made for a key") from error
    ours = key.public_key().public_numbers().x.to_bytes(32, "big")
    seed = kdf.kdf_e(Alg.SHA256, shared, label, x, ours, 32)
    check = kdf.kdf_a(Alg.SHA256, seed, b"INTEGRITY", b"", b"", 32)
    if not hmac.compare_digest(mac, kdf.hmac(Alg.SHA256, check, hidden, name)):
        raise TpmError("made for other keys", response=0x1DF)
    stream = kdf.kdf_a(Alg.SHA256, seed, b"STORAGE", name, b"", kdf.AES_BYTES)
    return Reader(kdf.cfb_decrypt(stream, bytes(kdf.AES_BYTES), hidden)).sized()


def _area(template: bytes, key: ec.EllipticCurvePrivateKey) -> bytes:
    return template[:-_POINT_BYTES] + public.ecc_unique(key.public_key())
