"""Where a verifier stands with one node: the conversation that goes on, and until when what was concluded holds."""

from enum import StrEnum

from propolis.decisions.appraisal.member import Judged
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.time import Instant

MAX_BEGUN = 65_536  # nodes of which the beginning of their last round is remembered
MAX_JUDGING = 256 * 2**20  # bytes of evidence that wait to be judged, of all nodes
EACH_JUDGING = 64 * 1024  # of which each counts for so many, beside its logs


class Stage(StrEnum):
    """Where a round stands."""

    ASKED = "asked"
    JUDGED = "judged"
    ACTIVATING = "activating"
    SIGNING = "signing"


class Round:
    """One conversation with one node."""

    def __init__(self, nonce: bytes, due: Instant) -> None:
        self.nonce = nonce
        self.due = due
        self.stage = Stage.ASKED
        self.judged: Judged | None = None
        self.proven: Proven = NOTHING
        self.secret = b""


class Standing:
    """A node that is here: its round, and until when what was concluded holds."""

    def __init__(self, kinds: tuple[str, ...]) -> None:
        self.kinds = kinds
        self.round: Round | None = None
        self.next: Instant | None = None  # when to ask again
        self.until: Instant | None = None
