"""What a conclusion looks like to others: the claims that placement reads, and the EAR that people and tools read."""

from propolis.crypto import ear
from propolis.decisions.appraisal.member import Judged
from propolis.terms.calendar import Seconds, day
from propolis.terms.evidence import Attested, Proven
from propolis.terms.identity import NodeId

RESIDENT = "resident-key"  # what an opened credential shows


def proven(found: Judged, until: Seconds) -> Proven:
    """Return the claims for every technology that this evidence speaks of; its credential was opened."""
    claims = tuple(sorted({*found.claims, RESIDENT}))
    return tuple(
        Attested(technology=name, claims=claims, until=day(until), emulated=found.emulated)
        for name in found.technologies
    )


def result(
    found: Judged, node: NodeId, kind: str, policy: str, nonce: bytes, now: Seconds, until: Seconds
) -> ear.Result:
    """Return the claims set of a node's EAR. An emulated TPM affirms nothing: its vector says that it is no hardware."""
    appraisal = ear.Appraisal(
        status=found.vector.status,
        vector=found.vector,
        policies=(policy,),
        claims=tuple(sorted({*found.claims, RESIDENT})),
        technology=kind,
        technologies=found.technologies,
        emulated=found.emulated,
    )
    return ear.Result(
        iat=int(now),
        exp=int(until),
        node=node.hex(),
        verifier=ear.VerifierId(developer="propolis", build="1"),
        submods={ear.SUBMODULE: appraisal},
        nonce=nonce.hex(),
    )
