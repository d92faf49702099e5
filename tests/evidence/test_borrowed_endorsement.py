"""A quote of a key in software, shown beside the endorsement of a real chip that anybody can read."""

import asyncio

import mint
import mint_tpm
import msgspec

from propolis.adapters.tpm.software import SoftwareAttester
from propolis.crypto.tpm import public
from propolis.crypto.tpm.ids import Alg
from propolis.decisions.appraisal import tpm2
from propolis.terms.trust import Value


def test_a_quote_beside_somebody_elses_endorsement_key_is_the_signers_and_endorsed_by_nobody():
    """A certificate and its key are public: a key in software quotes whatever it likes, and shows a neighbour's chip."""
    stranger = SoftwareAttester(b"stranger")
    stranger.clock = msgspec.structs.replace(stranger.clock, firmware=7 << 32)
    keys = asyncio.run(stranger.identity())
    made = asyncio.run(stranger.show(mint.NONCE, mint_tpm.PCRS, Alg.SHA256))
    shown = msgspec.structs.replace(
        mint_tpm.evidence(), ak=keys.ak, attest=made.attest, signature=made.signature, values=made.values
    )
    verified = tpm2.verify(
        msgspec.msgpack.encode(shown), mint.endorsements(), mint.NONCE, mint_tpm.maker_roots(), mint.NOW
    )
    assert verified.facts["endorsed"], "so much is true of the key that is shown"
    assert verified.identity == f"ak:{public.parse(keys.ak).name.hex()}"
    found = tpm2.appraise(verified)
    assert found.attested.claims == ()
    assert found.vector.hardware == Value.UNTRUSTED
    assert found.status == "contraindicated"
