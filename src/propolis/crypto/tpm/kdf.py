"""TPM 2.0 key derivation and its stream cipher, from the library's own primitives (Part 1, 11.4.10 and 11.4.6.3)."""

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFHMAC, CounterLocation, Mode

from propolis.crypto.tpm.ids import Alg
from propolis.terms.errors import Rejected

AES_BYTES = 16

_HASHES: dict[int, type[HashAlgorithm]] = {
    Alg.SHA1: SHA1,
    Alg.SHA256: SHA256,
    Alg.SHA384: SHA384,
    Alg.SHA512: SHA512,
}


def hash_of(alg: int) -> HashAlgorithm:
    """Return the hash. Raises Rejected(hash_alg)."""
    if alg not in _HASHES:
        raise Rejected("hash_alg", f"hash algorithm {alg:#06x}")
    return _HASHES[alg]()


def digest_size(alg: int) -> int:
    """Return the digest's bytes. Raises Rejected(hash_alg)."""
    return hash_of(alg).digest_size


def kdf_a(alg: int, key: bytes, label: bytes, context_u: bytes, context_v: bytes, size: int) -> bytes:
    """KDFa: SP 800-108 counter mode over HMAC; `size` in bytes."""
    return KBKDFHMAC(
        algorithm=hash_of(alg),
        mode=Mode.CounterMode,
        length=size,
        rlen=4,
        llen=4,
        location=CounterLocation.BeforeFixed,
        label=label,
        context=context_u + context_v,
        fixed=None,
    ).derive(key)


def kdf_e(alg: int, shared: bytes, label: bytes, party_u: bytes, party_v: bytes, size: int) -> bytes:
    """KDFe: SP 800-56A concatenation; `size` in bytes."""
    info = label + b"\x00" + party_u + party_v
    return ConcatKDFHash(algorithm=hash_of(alg), length=size, otherinfo=info).derive(shared)


def hmac(alg: int, key: bytes, *parts: bytes) -> bytes:
    """HMAC over the parts joined."""
    mac = HMAC(key, hash_of(alg))
    for part in parts:
        mac.update(part)
    return mac.finalize()


def cfb_encrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """AES-CFB as the TPM specification demands it; always under an HMAC."""
    encryptor = Cipher(AES(key), CFB(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def cfb_decrypt(key: bytes, iv: bytes, data: bytes) -> bytes:
    """The inverse."""
    decryptor = Cipher(AES(key), CFB(iv)).decryptor()
    return decryptor.update(data) + decryptor.finalize()
