"""What a placement really guarantees, and what nothing known ever could. Pure: (what is proven, isolation) -> guarantees.

In this release no attestation exists, so nothing is proven: guarantees come from cryptography between owner and guest
(against the network and the orchestrator) and from the sandbox (against co-tenants). The sandbox protects the lender and
the neighbours; it gives NOTHING against the machine's owner, who has root.
"""

from propolis.terms.capability import Isolation, Rung
from propolis.terms.requirement import Adversary, Asset, Demand, Guarantee, Guarantees, Level

_SEALED = Guarantee(
    level=Level.PROOF,
    because="sealed by the owner to a key made inside the guest (HPKE X25519, AES-256-GCM): the path sees ciphertext",
)


def guarantees(isolation: Isolation) -> Guarantees:
    """Return what a guest under `isolation`, on a machine that proved nothing, gives."""
    given: Guarantees = {
        (Asset.DATA_IN_USE, Adversary.NETWORK): _SEALED,
        (Asset.MODEL, Adversary.NETWORK): _SEALED,
        (Asset.KEYS, Adversary.NETWORK): _SEALED,
        (Asset.RESULT_INTEGRITY, Adversary.NETWORK): _SEALED,
    }
    if isolation.rung >= Rung.FLAT:
        walled = Guarantee(
            level=Level.EMPIRICAL,
            because=f"sandbox rung {isolation.rung.name.lower()}, reached by doing; shares the kernel with its neighbours",
        )
        for asset in (Asset.DATA_IN_USE, Asset.MODEL, Asset.KEYS):
            given[asset, Adversary.CO_TENANT] = walled
    return given


_NEVER: dict[tuple[Asset, Adversary], Level] = {
    # The most that any technology known to this house can give; above it a job can never run (facts: guarantees table).
    (Asset.DATA_IN_USE, Adversary.LABORATORY): Level.NONE,
    (Asset.KEYS, Adversary.LABORATORY): Level.NONE,
    (Asset.STORED_DATA, Adversary.LABORATORY): Level.EMPIRICAL,
    (Asset.MODEL, Adversary.LABORATORY): Level.NONE,
    (Asset.RESULT_INTEGRITY, Adversary.LABORATORY): Level.EMPIRICAL,
}


def beyond_reach(demand: Demand) -> bool:
    """Return whether no technology we know could ever meet the demand."""
    cap = _NEVER.get((demand.asset, demand.adversary), Level.PROOF)
    return demand.level > cap


def unmet(demands: tuple[Demand, ...], given: Guarantees) -> list[Demand]:
    """Return the demands that `given` does not meet; a missing pair is none."""
    nothing = Guarantee(level=Level.NONE, because="nothing")
    return [d for d in demands if given.get((d.asset, d.adversary), nothing).level < d.level]
