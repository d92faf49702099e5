"""Who got a job's key is read from the exact words the node signed, and from nobody else's."""

from blake3 import blake3

from propolis.cli.rows import grantees_table
from propolis.cli.show import SafeConsole
from propolis.crypto import credential, identity
from propolis.messages import codec
from propolis.messages.membership import Role
from propolis.sdk.grantees import grantees
from propolis.terms.capability import Isolation, Offer, Rung
from propolis.terms.evidence import Attested
from propolis.terms.job import Granted, Receipt

OPERATOR, FLEET, NODE, SECRET = identity.public_of(b"w" * 32), b"h" * 32, b"n" * 32, b"1" * 32


def receipt(number):
    word = credential.grant(lambda c, d: identity.sign(b"w" * 32, c, d), FLEET, Role.NODE, SECRET, 99)
    return codec.encode(
        Receipt(
            node=NODE, job=b"j" * 16, guest=bytes([number]) * 16, guest_key=b"k" * 32,
            isolation=Isolation(rung=Rung.FLAT), offer=Offer(region="eu-fr", cost=0.5),
            credential=credential.take(SECRET, word, NODE, until=99, joined=42),
        )
    )  # fmt: skip


def test_what_is_shown_is_what_was_signed():
    (one,) = grantees([Granted(receipt=receipt(1), signature=bytes(64), at=1_700_000_000)], OPERATOR)
    assert (one.node, one.guest, one.at, one.joined) == (NODE, bytes([1]) * 16, 1_700_000_000, 42)
    assert (one.invited_by, one.invitation) == (OPERATOR, identity.public_of(SECRET))
    assert one.isolation.rung is Rung.FLAT
    assert one.receipt == blake3(receipt(1)).digest()


def test_the_table_has_the_last_ones_and_says_where_the_others_are():
    many = grantees([Granted(receipt=receipt(n), signature=bytes(64), at=n) for n in range(25)], OPERATOR)
    console = SafeConsole(width=200)
    with console.capture() as said:
        console.print(grantees_table(many, ()))
    text = " ".join(said.get().split())
    assert "5 earlier ones: --json" in text
    assert "eu-fr, 0.5/h" in text
    assert many[-1].receipt.hex()[:8] in text
    assert many[0].receipt.hex()[:8] not in text


def test_what_the_owner_verified_before_it_gave_the_key_is_kept_and_an_emulated_tpm_says_so():
    proven = (Attested(technology="tpm", claims=("endorsed",), until="2026-12-01", emulated=True),)
    granted = grantees(
        [
            Granted(receipt=receipt(1), signature=bytes(64), at=1, proven=proven),
            Granted(receipt=receipt(2), signature=bytes(64), at=2),
        ],
        OPERATOR,
    )
    assert [one.proven for one in granted] == [proven, ()]
    console = SafeConsole(width=200)
    with console.capture() as said:
        console.print(grantees_table(granted, ()))
    assert "PROVEN" in said.get()
    assert said.get().count("EMULATED tpm") == 1
    assert "nothing" in said.get().splitlines()[2]
