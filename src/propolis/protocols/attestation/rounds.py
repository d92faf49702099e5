"""Where a verifier stands with nodes: the conversation that goes on, until when what was concluded holds, what waits."""

from collections.abc import Sequence
from enum import StrEnum

from propolis.decisions.appraisal.member import Judged
from propolis.messages.envelope import Segment
from propolis.terms.evidence import NOTHING, Proven
from propolis.terms.identity import NodeId
from propolis.terms.time import Instant

ROUND_SECONDS = 120.0  # a slow chip makes a key and two signatures in it
PAUSE_SECONDS = 5.0  # between two rounds of one node, however often it comes back: judging costs us more than asking it
AGAIN_SECONDS = 60.0  # after a round that came to nothing
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


class Waiting:
    """Evidence that waits to be judged, also of rounds that are over: one node's once, all within MAX_JUDGING (step 15a)."""

    def __init__(self) -> None:
        self._of: dict[NodeId, tuple[int, int]] = {}  # ticket of the work, bytes

    def __contains__(self, node: NodeId) -> bool:
        return node in self._of

    def room(self, body: Sequence[Segment]) -> bool:
        """Return whether evidence with these logs may wait, too."""
        return _size(body) + sum(size for _, size in self._of.values()) <= MAX_JUDGING

    def add(self, node: NodeId, ticket: int, body: Sequence[Segment]) -> None:
        """It waits."""
        self._of[node] = (ticket, _size(body))

    def judged(self, node: NodeId, ticket: int) -> None:
        """Work ended; where it was a judgement of this node's evidence, that waits no more."""
        if self._of.get(node, (0, 0))[0] == ticket:
            del self._of[node]


def _size(body: Sequence[Segment]) -> int:
    return EACH_JUDGING + sum(map(len, body))
