"""Recordings of machines: whatever a probe brought back, or somebody made up, is read into facts within their bounds."""

import msgspec

from fuzz.minting import trees
from fuzz.target import Shape, Target
from propolis.decisions.capabilities.catalogue import CATALOGUE
from propolis.decisions.capabilities.reading import read
from propolis.runtime.known import known_weaknesses
from propolis.terms.errors import DataError
from propolis.terms.finding import Findings
from propolis.terms.recording import Recording, from_json, to_json


def _recordings() -> list[Recording]:
    forged = [recording for recording, _ in trees.FORGED.values()]
    return [*trees.TREES.values(), *trees.recorded().values(), *forged]


def _told(recording: Recording) -> Recording:
    """Return a recording without what was not there: changes then meet what says something."""
    seen = {key: seen for key, seen in recording.seen.items() if seen.text}
    return msgspec.structs.replace(recording, seen=seen)


def _read(data: bytes) -> None:
    found = read(from_json(data), known_weaknesses())
    assert [fact.name for fact in found.facts] == list(CATALOGUE)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Findings) == found  # bounds are on the type


def targets() -> list[Target]:
    """Return them all."""
    return [
        Target(
            name="recording of a machine",
            run=_read,
            samples=lambda: [to_json(_told(recording)) for recording in _recordings()],
            shape=Shape.JSON,
            refusals=(DataError,),
        )
    ]
