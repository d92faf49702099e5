"""Whether an RSA modulus is of the kind that Infineon's library made until 2017 and that can be factored (CVE-2017-15361).

Its primes were k * M + (65537 ** a mod M), M the product of the first primes, so the modulus is a power of 65537 modulo each of
them. A sound modulus passes for one with a chance of about 2 ** -27 (Nemec et al., CCS 2017, 2.2 and 5.4).
"""

GENERATOR = 65537
PRIMES = (3, 5, 7, 11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157)  # those that tell


def _powers(prime: int) -> frozenset[int]:
    found, value = {1}, GENERATOR % prime
    while value not in found:
        found.add(value)
        value = value * GENERATOR % prime
    return frozenset(found)


_POWERS = tuple((prime, _powers(prime)) for prime in PRIMES)


def weak(modulus: int) -> bool:
    """Return whether the modulus bears the mark."""
    return all(modulus % prime in powers for prime, powers in _POWERS)
