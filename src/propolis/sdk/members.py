"""Which member of the fleet a person means, by name or key."""

from collections.abc import Sequence

from propolis.messages.rows import NodeRow
from propolis.terms.credential import Credential
from propolis.terms.errors import DataError
from propolis.terms.identity import NODE_ID_BYTES, NodeId

SHORTEST_PREFIX = 4


def named(word: str, nodes: Sequence[NodeRow]) -> tuple[NodeId, Credential | None]:
    """Return the key and the credential of the node of this name or key. Raises DataError.

    A whole key means whoever has it, listed or not: a name is a node's own word and the list its orchestrator's.
    """
    key = word.lower()
    whole = _whole(key)
    if whole is not None:
        return whole, next((row.credential for row in nodes if row.node == whole), None)
    row = row_of(word, nodes)
    return NodeId(row.node), row.credential


def row_of(word: str, nodes: Sequence[NodeRow]) -> NodeRow:
    """Return the listed node of this name, or whose key begins so. Raises DataError."""
    key = word.lower()
    found = [
        row
        for row in nodes
        if row.report.name == word or (len(key) >= SHORTEST_PREFIX and row.node.hex().startswith(key))
    ]
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"{len(found) or 'no'} nodes are called {word!r} or have a key that begins so",
        hint="propolis nodes lists them; four digits of a key are enough, a member that is not listed takes its whole key",
    )


def _whole(word: str) -> NodeId | None:
    try:
        key = bytes.fromhex(word)
    except ValueError:
        return None
    return NodeId(key) if len(key) == NODE_ID_BYTES else None
