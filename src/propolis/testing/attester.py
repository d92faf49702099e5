"""What every attester must do. `make` returns a fresh one over the same machine."""

import secrets
from collections.abc import Awaitable, Callable

from propolis.crypto.tpm import attest, bound, outside, public
from propolis.crypto.tpm.ids import Alg
from propolis.ports.attester import Attester
from propolis.terms.errors import TpmError

Make = Callable[[], Awaitable[Attester]]
PCRS = (0, 4, 7)


def _scalar() -> int:
    return secrets.randbelow(2**255) + 1


async def it_is_the_same_machine_each_time(make: Make) -> None:
    """Keys do not change from call to call."""
    one, other = await make(), await make()
    assert await one.identity() == await other.identity()


async def a_quote_is_bound_and_of_the_registers_asked_for(make: Make) -> None:
    """Indices are those asked for, and the binding value is inside what is signed."""
    attester = await make()
    shown = await attester.show(b"b" * 32, PCRS, Alg.SHA256)
    assert tuple(sorted(shown.values)) == PCRS
    assert b"b" * 32 in shown.attest


async def a_credential_made_for_it_opens_and_no_other(make: Make) -> None:
    """The endorsement key and the attestation key have to be the two that the credential names."""
    attester = await make()
    identity = await attester.identity()
    ek, ak = public.parse(identity.ek), public.parse(identity.ak)
    secret = secrets.token_bytes(32)
    made = outside.make_credential(ek, ak.name, secret, secrets.token_bytes(32), _scalar())
    assert await attester.activate(*made) == secret
    other = outside.make_credential(
        ek, bytes([*ak.name[:-1], ak.name[-1] ^ 1]), secret, secrets.token_bytes(32), _scalar()
    )
    try:
        await attester.activate(*other)
    except TpmError:
        return
    raise AssertionError("a credential for another attestation key opened")


async def what_is_sealed_to_it_opens_while_it_is_as_it_was_quoted(make: Make) -> None:
    """Both parts open for the machine that was quoted, and for no other purpose."""
    attester = await make()
    identity = await attester.identity()
    shown = await attester.show(b"b" * 32, PCRS, Alg.SHA256)
    said = attest.parse(shown.srk_attest)
    srk = public.parse(identity.srk)
    assert (said.certified, said.extra) == (srk.name, b"b" * 32)
    machine = bound.Machine(ek=public.parse(identity.ek), ak=public.parse(identity.ak), srk=srk, registers=shown.values)
    sealed = bound.read(bound.seal(machine, b"a grant", b"purpose", secrets.token_bytes))
    parts = await attester.unwrap(sealed)
    assert bound.opened(sealed, *parts, b"purpose") == b"a grant"
    moved = {**shown.values, PCRS[0]: secrets.token_bytes(32)}
    other = bound.Machine(ek=machine.ek, ak=machine.ak, srk=srk, registers=moved)
    try:
        await attester.unwrap(bound.read(bound.seal(other, b"a grant", b"purpose", secrets.token_bytes)))
    except TpmError:
        return
    raise AssertionError("what was sealed to other registers opened")


SUITE = (
    it_is_the_same_machine_each_time,
    a_quote_is_bound_and_of_the_registers_asked_for,
    a_credential_made_for_it_opens_and_no_other,
    what_is_sealed_to_it_opens_while_it_is_as_it_was_quoted,
)
