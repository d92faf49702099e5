"""What every key home must do. `open_home` returns a fresh home each time."""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from propolis.crypto import identity
from propolis.ports.keyhome import KeyHome
from propolis.terms.errors import ProtocolMisuse, SealBroken

Open = Callable[[], KeyHome]


def signs_under_its_identity_and_for_one_purpose(open_home: Open) -> None:
    """A signature verifies under the public half, for its context and its data alone."""
    home = open_home()
    signature = home.sign(identity.RECEIPT, b"words")
    identity.verify(home.identity, identity.RECEIPT, b"words", signature)
    for context, data in ((identity.CHANNEL, b"words"), (identity.RECEIPT, b"other words")):
        try:
            identity.verify(home.identity, context, data, signature)
        except SealBroken:
            continue
        raise AssertionError("a signature serves another purpose")


def gives_the_carrier_the_same_identity(open_home: Open) -> None:
    """What the carrier proves and what signs are one key."""
    home = open_home()
    assert identity.public_of(home.seed_for_wire()) == home.identity


def every_home_has_a_key_of_its_own(open_home: Open) -> None:
    """Two homes are two identities."""
    assert open_home().identity != open_home().identity


def a_token_is_signed_as_it_is_and_nothing_else_is(open_home: Open) -> None:
    """A token's signature verifies over its own bytes; what is no token is refused, so that no purpose is evaded."""
    keys = open_home()
    signed = keys.sign_token(b"eyJhbGciOiJFZERTQSJ9.e30")
    Ed25519PublicKey.from_public_bytes(keys.identity).verify(signed, b"eyJhbGciOiJFZERTQSJ9.e30")
    for data in (b"", b"propolis/receipt/1\x00x"):
        try:
            keys.sign_token(data)
        except ProtocolMisuse:
            continue
        raise AssertionError("something else than a token was signed without a purpose")


SUITE = (
    signs_under_its_identity_and_for_one_purpose,
    gives_the_carrier_the_same_identity,
    every_home_has_a_key_of_its_own,
    a_token_is_signed_as_it_is_and_nothing_else_is,
)
