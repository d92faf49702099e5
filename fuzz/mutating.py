"""The n-th mutation of a target, a function of seed, name and n: first what is owed to all, then what the dice say."""

import itertools
import random
from collections.abc import Sequence

from fuzz import bytewise, derwise, treewise
from fuzz.target import Shape, Target

PLANNED_SHARE = 3  # one in so many is of what is owed to all
MOST_PLANNED = 4096
_TREES = (Shape.JSON, Shape.CBOR, Shape.MSGPACK)


class Mutations:
    """Mutations of one target's samples."""

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._seed = seed
        self._samples: Sequence[bytes] = [bytes(sample) for sample in target.samples()]
        self._bytewise = bytewise.Bytewise(self._samples, target.shape)
        self._planned = list(itertools.islice(bytewise.planned(self._samples, target.shape), MOST_PLANNED))
        random.Random(f"{seed}/{target.name}/order").shuffle(self._planned)  # a short run meets all kinds

    def number(self, n: int) -> bytes:
        """Return the n-th mutation, finished."""
        if n % PLANNED_SHARE == 0 and n // PLANNED_SHARE < len(self._planned):
            made = self._planned[n // PLANNED_SHARE]
        else:
            made = self._random(random.Random(f"{self._seed}/{self._target.name}/{n}"))
        return self._target.finish(made) if self._target.finish is not None else made

    def _random(self, dice: random.Random) -> bytes:
        made: bytes | None = None
        if dice.random() < 0.6:
            base = dice.choice(self._samples)
            if self._target.shape in _TREES:
                made = treewise.mutated(dice, base, self._target.shape)
            elif self._target.shape is Shape.DER:
                made = derwise.mutated(dice, base)
        return made if made is not None else self._bytewise.mutated(dice)
