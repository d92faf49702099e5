"""The recovery code: 160 random bits that a person writes down, with a checksum that finds a slip of the pen.

Crockford's base 32 (no I, L, O, U) in groups of four; the last group is 20 bits of SHA-256 over the rest (docs/specs/vault.md,
step 4). Upper or lower case, hyphens and spaces do not matter; O reads as 0, I and L as 1.
"""

from cryptography.hazmat.primitives.hashes import SHA256, Hash

from propolis.terms.errors import WrongSecret

SECRET_BYTES = 20
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)} | {"O": 0, "I": 1, "L": 1}
_BODY, _CHECK, _GROUP = 32, 4, 4
HINT = "type it as it was written down when it was shown; a newer code replaces the older"
_LONGEST = 200  # characters looked at: whoever pastes more pasted something else


def written(secret: bytes) -> str:
    """Return the code of 20 random bytes. Raises ValueError for another size."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a recovery code is {SECRET_BYTES} bytes")
    digits = _spelt(int.from_bytes(secret, "big"), _BODY) + _spelt(_check(secret), _CHECK)
    return "-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))


def read(text: str) -> bytes:
    """Return the 20 bytes of a code. Raises WrongSecret when it cannot be one."""
    bare = "".join(text[:_LONGEST].split()).replace("-", "").upper()
    if len(bare) != _BODY + _CHECK or len(text) > _LONGEST:
        raise WrongSecret(
            f"a recovery code has nine groups of four characters, this has {len(bare)} characters", hint=HINT
        )
    if wrong := sorted({digit for digit in bare if digit not in _VALUES}):
        raise WrongSecret(f"a recovery code has no {' '.join(wrong)}", hint=HINT)
    number = 0
    for digit in bare:
        number = number << 5 | _VALUES[digit]
    secret = (number >> 5 * _CHECK).to_bytes(SECRET_BYTES, "big")
    if number & (1 << 5 * _CHECK) - 1 != _check(secret):
        raise WrongSecret("the recovery code is mistyped: its last group does not fit the others")
    return secret


def _spelt(number: int, digits: int) -> str:
    return "".join(_DIGITS[number >> 5 * place & 31] for place in reversed(range(digits)))


def _check(secret: bytes) -> int:
    digest = Hash(SHA256())
    digest.update(b"propolis/vault/1 code" + secret)
    return int.from_bytes(digest.finalize()[:4], "big") >> 12
