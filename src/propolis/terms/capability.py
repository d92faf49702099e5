"""What a machine SAYS of itself. Self-told: enough to plan with, worth nothing against the machine's owner.

An attestation result is an unrelated type, so that one can never stand in for the other.
"""

from enum import IntEnum
from typing import Annotated

import msgspec

from propolis.terms.finding import FactName, State
from propolis.terms.requirement import Region

Text = Annotated[str, msgspec.Meta(max_length=200)]
Short = Annotated[str, msgspec.Meta(max_length=100)]
MOST_MB = 2**40


class Rung(IntEnum):
    """The ladder of isolation (facts: executor ladder), weakest first. Probed by doing, never by looking."""

    BARE = 0  # an ordinary process; only by the lender's explicit option
    FLAT = 2  # rlimits + Landlock + seccomp
    NAMESPACES = 3  # FLAT + own root, PIDs, network, IPC, hostname


class Isolation(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """What isolation was reached, by doing it; part of every receipt."""

    rung: Rung
    landlock_abi: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    filter_hash: Text = ""
    own_uid: bool = False
    lock: bool = False
    memory_mb: Annotated[int, msgspec.Meta(ge=0, le=MOST_MB)] = 0
    notes: Annotated[tuple[Text, ...], msgspec.Meta(max_length=8)] = ()


Gflops = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
"""Speed of one slot: 10**9 floating-point operations per second of float32 matrix products on one core; 0 = unknown."""


class Offer(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """A lender's terms, its own word. What is not stated meets no floor that asks for it. `cost` per guest and hour."""

    region: Region = ""
    cost: Annotated[float, msgspec.Meta(ge=0, le=1e9)] | None = None


Detected = tuple[FactName, State]
"""A fact of a probe and how far it is there: self-told, without its value."""


class CapabilityReport(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """One machine's offer, as its agent tells it."""

    name: Text
    system: Text  # "linux", "windows", "darwin"
    machine: Text  # "x86_64", "aarch64"
    python: Text  # "3.11"
    slots: Annotated[int, msgspec.Meta(ge=0, le=4096)]  # guests at the same time
    memory_mb: Annotated[int, msgspec.Meta(ge=0, le=MOST_MB)]  # offered to one guest
    speed: Gflops
    isolation: Isolation
    packages: Annotated[
        tuple[Short, ...], msgspec.Meta(max_length=256)
    ] = ()  # "numpy==2.4.6": what a guest can import here
    kinds: Annotated[tuple[Short, ...], msgspec.Meta(max_length=8)] = ("inference", "function")
    functions_from: Rung = Rung.NAMESPACES  # the weakest rung under which its lender runs strangers' code
    offer: Offer = Offer()
    shows: Annotated[tuple[Short, ...], msgspec.Meta(max_length=4)] = ()  # kinds of evidence it can show; its own word
    found: Annotated[tuple[Detected, ...], msgspec.Meta(max_length=32)] = ()  # for people to look at; decides nothing
