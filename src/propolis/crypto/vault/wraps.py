"""How the vault's key is wrapped where no TPM holds it: by a passphrase, and by the recovery code (docs/specs/vault.md, 4 and 5).

The recovery wrap is sealed to a public key that comes out of the code: whoever has the vault open can renew the wrap for a
new key without the code, and a key that leaks opens no later wrap.
"""

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from propolis.crypto.vault.code import HINT
from propolis.crypto.vault.state import LEAST_COST, MOST_COST, PassphraseHome, Recovery, derive
from propolis.terms.errors import ConfigError, VaultDamaged, VaultError, WrongSecret
from propolis.terms.vault import KEY_BYTES, VaultId

COST, R, P = 17, 8, 1  # 128 MiB: the first choice of OWASP's password storage sheet
PIN_COST = 15  # behind the TPM's own limit of guesses; for who taps the bus with a header of his own (step 7)
LEAST_PASSPHRASE = 8  # characters
_ONCE = bytes(12)  # each wrapping key comes from a fresh salt and wraps once
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _bound(vault: VaultId, epoch: int) -> bytes:
    return msgspec.msgpack.encode((1, "vault key", vault, epoch))


def _stretched(secret: str, salt: bytes, cost: int, r: int, p: int) -> bytes:
    try:
        stretch = Scrypt(salt=salt, length=KEY_BYTES, n=1 << cost, r=r, p=p)
        return stretch.derive(secret.encode("utf-8", "surrogatepass"))
    except MemoryError as error:
        raise VaultError(
            f"trying the passphrase takes {(128 * r << cost) >> 20} MiB of memory, and this machine does not give it",
            hint="close something, or open the vault on a machine with more memory",
        ) from error


def by_passphrase(
    kek: bytes, passphrase: str, vault: VaultId, epoch: int, salt: bytes, *, cost: int = COST
) -> PassphraseHome:
    """Wrap under a passphrase; `salt` is 16 fresh random bytes, `cost` log2 of scrypt's N.

    Raises WrongSecret: too short, ConfigError: a cost that no opening would believe.
    """
    if not LEAST_COST <= cost <= MOST_COST:
        raise ConfigError(f"scrypt's cost is {LEAST_COST} to {MOST_COST} (log2 of N), not {cost}")
    if len(passphrase) < LEAST_PASSPHRASE:
        raise WrongSecret(
            f"a passphrase has at least {LEAST_PASSPHRASE} characters",
            hint="nothing slows down who guesses at a stolen copy but its length: take four words or more",
        )
    wrapping = _stretched(passphrase, salt, cost, R, P)
    sealed = AESGCM(wrapping).encrypt(_ONCE, kek, _bound(vault, epoch))
    return PassphraseHome(cost=cost, r=R, p=P, salt=salt, sealed=sealed)


def with_passphrase(home: PassphraseHome, passphrase: str, vault: VaultId, epoch: int) -> bytes:
    """Return the vault's key. Raises WrongSecret."""
    wrapping = _stretched(passphrase, home.salt, home.cost, home.r, home.p)
    try:
        return AESGCM(wrapping).decrypt(_ONCE, home.sealed, _bound(vault, epoch))
    except InvalidTag as error:
        raise WrongSecret("the passphrase is not the vault's, or the file `vault` was altered") from error


def pin_auth(pin: str, vault: VaultId) -> bytes:
    """Return the auth value that stands for a PIN in the TPM, 32 bytes without trailing zeros (a TPM drops them)."""
    return _stretched(pin, b"propolis/vault/1 pin" + vault, PIN_COST, R, P).rstrip(b"\x00")


# -- the recovery code


def _private(code: bytes, vault: VaultId) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(derive(code, vault, b"recovery"))


def recovery_public(code: bytes, vault: VaultId) -> bytes:
    """Return the public half of a recovery code of this vault."""
    return _private(code, vault).public_key().public_bytes_raw()


def by_recovery(kek: bytes, public: bytes, vault: VaultId, epoch: int) -> Recovery:
    """Wrap to the public half of the recovery code. Raises VaultDamaged when that is no key."""
    try:
        key = X25519PublicKey.from_public_bytes(public)
        return Recovery(public=public, sealed=_SUITE.encrypt(kek, key, info=_bound(vault, epoch)))
    except ValueError as error:
        raise VaultDamaged("the recovery key in the file `vault` is none") from error


def with_recovery(recovery: Recovery, code: bytes, vault: VaultId, epoch: int) -> bytes:
    """Return the vault's key. Raises WrongSecret, VaultDamaged."""
    private = _private(code, vault)
    if private.public_key().public_bytes_raw() != recovery.public:
        raise WrongSecret("this is the recovery code of another vault, or one that was replaced", hint=HINT)
    try:
        kek = _SUITE.decrypt(recovery.sealed, private, info=_bound(vault, epoch))
    except (InvalidTag, ValueError) as error:
        raise VaultDamaged("the recovery wrap in the file `vault` was altered") from error
    if len(kek) != KEY_BYTES:
        raise VaultDamaged("the recovery wrap in the file `vault` holds no key")
    return kek


_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def admin_key(code: bytes, vault: VaultId) -> ec.EllipticCurvePrivateKey:
    """Return the key that approves policies, from the recovery code: who keeps the code keeps no second thing."""
    wide = derive(code, vault, b"admin 1") + derive(code, vault, b"admin 2")
    return ec.derive_private_key(int.from_bytes(wide, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
