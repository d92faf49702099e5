"""What a link is told and what it says: its bounds and times, and how a peer stands."""

from enum import Enum

import msgspec


class LinkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times of a link, in seconds, packets and bytes."""

    beat: float = 1.0
    suspect: float = 3.0
    dead: float = 5.0
    ack_delay: float = 0.2
    gap_delay: float = 0.02
    resend: float = 8.0
    window_packets: int = 256
    window_bytes: int = 24 * 1024 * 1024
    ack_packets: int = 16
    resend_again: float = 0.3
    held_bytes: int = 24 * 1024 * 1024  # of what came early; beyond it nothing is kept, and it is sent again
    stranger_bytes: int = 64 * 1024  # of body in one packet of who has not been let in
    outbox_packets: int = 16_384  # never acknowledged; over either bound the session is over
    outbox_bytes: int = 256 * 1024 * 1024  # in memory: what a driver reads from its store when it writes counts nothing


class Standing(Enum):
    """How a peer stands, by the time since it was heard or by a bound."""

    NOTHING = "nothing"
    SUSPECT = "suspect"
    DEAD = "dead"
