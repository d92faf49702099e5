"""From one recording to findings: every fact of the catalogue, contradictions said and believed no further.

Steps 1 to 4 of docs/specs/capabilities.md. Never raises on any recording: what is nonsense finds nothing.
"""

import msgspec

from propolis.decisions.capabilities import (
    accelerators,
    contradictions,
    firmware,
    isolation,
    macos,
    memory,
    processor,
    storage,
    tee,
    tpm,
    virtualisation,
    windows,
)
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.look import Look, words
from propolis.decisions.weaknesses import NONE_KNOWN, Weaknesses
from propolis.terms.finding import Contradiction, Fact, Findings, State
from propolis.terms.recording import Recording

SYSTEMS = ("linux", "windows", "darwin")
ONLY_ON = {"isolation": "linux", "tee.report": "linux", "tee.vbs": "windows", "tee.vbs-enclave": "windows"}


def read(recording: Recording, known: Weaknesses = NONE_KNOWN) -> Findings:
    """Return what a recording shows, with `known` bad TPMs. Facts come in the order of the catalogue."""
    look = Look(recording)
    told = {fact.name: fact for fact in _told(look, known)}
    facts = {name: told.get(name) or _not_asked(look, name) for name in CATALOGUE}
    said = contradictions.found(look, facts)
    return Findings(
        system=recording.system,
        when=recording.taken,
        facts=tuple(_doubted(fact, said) for fact in facts.values()),
        contradictions=said,
    )


def _told(look: Look, known: Weaknesses) -> list[Fact]:
    match look.recording.system:
        case "linux":
            guest = virtualisation.guest(look).state
            plain = (processor, memory, accelerators, storage, firmware, tee, isolation, virtualisation)
            return [*(fact for part in plain for fact in part.facts(look)), *tpm.facts(look, known, guest=guest)]
        case "windows":
            return windows.facts(look, known)
        case "darwin":
            return macos.facts(look)
        case _:
            return []


def _not_asked(look: Look, name: str) -> Fact:
    only = ONLY_ON.get(name) or ONLY_ON.get(name.partition(".")[0])
    if only and look.recording.system in SYSTEMS and look.recording.system != only:
        return look.fact(name, State.ABSENT, how=f"only {only} has it")
    return look.fact(name, State.UNKNOWN, how=f"not asked on {look.recording.system or 'this system'}")


def _doubted(fact: Fact, said: tuple[Contradiction, ...]) -> Fact:
    """Return the fact, no longer found when something contradicts it."""
    reasons = [each.says for each in said if fact.name in each.facts]
    if not reasons or fact.state is State.UNKNOWN or (not fact.found and fact.name != "virtual.guest"):
        return fact
    return msgspec.structs.replace(fact, state=State.UNKNOWN, how=words(f"contradicted: {reasons[0]}"))
