"""What others do for a TPM without having one: MakeCredential, and wrapping an object to a storage key (Part 1, 24 and 23.3).

Chance is handed in: `seed` of 32 bytes, `ephemeral` the private scalar of a P-256 key where the TPM's key is ECC.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import Hash

from propolis.crypto.tpm import kdf
from propolis.crypto.tpm.ids import Alg
from propolis.crypto.tpm.marshal import sized, u16
from propolis.crypto.tpm.public import Public, ecc_unique
from propolis.terms.errors import Rejected

SEED_BYTES = 32
_IV = bytes(kdf.AES_BYTES)


def _seed_for(key: Public, label: bytes, seed: bytes, ephemeral: int) -> tuple[bytes, bytes]:
    """Return (seed, the encrypted secret that tells the TPM this seed)."""
    if isinstance(key.key, rsa.RSAPublicKey):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label + b"\x00")
        try:
            return seed, key.key.encrypt(seed, oaep)
        except ValueError as error:  # a modulus no TPM makes: whoever showed it is refused, nobody falls over it
            raise Rejected("weak_key", "an RSA key that nothing is encrypted to") from error
    if isinstance(key.key, ec.EllipticCurvePublicKey):
        mine = ec.derive_private_key(ephemeral, key.key.curve)
        shared = mine.exchange(ec.ECDH(), key.key)
        size = (key.key.curve.key_size + 7) // 8
        theirs = key.key.public_numbers().x.to_bytes(size, "big")
        ours = mine.public_key().public_numbers().x.to_bytes(size, "big")
        made = kdf.kdf_e(key.name_alg, shared, label, ours, theirs, kdf.digest_size(key.name_alg))
        return made, ecc_unique(mine.public_key())
    raise Rejected("key_type", "only RSA and ECC keys take a secret")


def salt_for(key: Public, salt: bytes, ephemeral: int) -> tuple[bytes, bytes]:
    """Return (salt, encrypted salt) for a session with the TPM that holds `key`."""
    return _seed_for(key, b"SECRET", salt, ephemeral)


def make_credential(ek: Public, name: bytes, secret: bytes, seed: bytes, ephemeral: int) -> tuple[bytes, bytes]:
    """Return (credential blob, encrypted secret): only the TPM with `ek` and an object of this Name opens it.

    Both as contents of TPM2B. `secret` is at most 32 bytes.
    """
    if len(secret) > kdf.digest_size(ek.name_alg):
        raise Rejected("oversize", "a credential holds one digest")
    made, encrypted = _seed_for(ek, b"IDENTITY", seed, ephemeral)
    return _outer(ek.name_alg, made, name, sized(secret)), encrypted


def wrap(parent: Public, public: bytes, sensitive: bytes, seed: bytes, ephemeral: int) -> tuple[bytes, bytes]:
    """Return (duplicate, encrypted seed) for TPM2_Import under `parent`, without inner wrapping. Contents of TPM2B."""
    digest = Hash(hashes.SHA256())
    digest.update(public)
    name = u16(Alg.SHA256) + digest.finalize()
    made, encrypted = _seed_for(parent, b"DUPLICATE", seed, ephemeral)
    return _outer(parent.name_alg, made, name, sized(sensitive)), encrypted


def _outer(alg: int, seed: bytes, name: bytes, plain: bytes) -> bytes:
    """Encrypt-then-MAC under keys of the seed: integrity TPM2B, then ciphertext."""
    key = kdf.kdf_a(alg, seed, b"STORAGE", name, b"", kdf.AES_BYTES)
    hidden = kdf.cfb_encrypt(key, _IV, plain)
    mac_key = kdf.kdf_a(alg, seed, b"INTEGRITY", b"", b"", kdf.digest_size(alg))
    return sized(kdf.hmac(alg, mac_key, hidden, name)) + hidden


def sealed_data(data: bytes, auth: bytes, obfuscation: bytes) -> tuple[bytes, bytes]:
    """Return (TPMT_SENSITIVE, unique) of a data object; `obfuscation` is 32 random bytes."""
    sensitive = u16(Alg.KEYEDHASH) + sized(auth) + sized(obfuscation) + sized(data)
    digest = Hash(hashes.SHA256())
    digest.update(obfuscation + data)
    return sensitive, digest.finalize()
