"""Seeded draws that give the same numbers on every platform and with every NumPy.

Purpose: a composition must be the same notes everywhere. NumPy promises that for the bit generator,
but not for its distributions, so every draw here is plain arithmetic on ``Generator.random()``.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Dice"]

T = TypeVar("T")

_POOL_DRAWS = 512


class Dice:
    """A stream of draws named by a key of integers of at least 0; equal keys give equal streams."""

    def __init__(self, *key: int) -> None:
        self._generator = np.random.default_rng(list(key))
        self._pool: list[float] = []

    def random(self) -> float:
        """Draw a number in [0, 1)."""
        if not self._pool:
            self._pool = self._generator.random(_POOL_DRAWS).tolist()[::-1]
        return self._pool.pop()

    def chance(self, probability: float) -> bool:
        """Draw True with `probability`."""
        return self.random() < probability

    def between(self, low: float, high: float) -> float:
        """Draw a number in [low, high), rounded to four decimals."""
        return round(low + (high - low) * self.random(), 4)

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number in low..high, both ends included."""
        return low + int((high - low + 1) * self.random())

    def spread(self) -> float:
        """Draw a bell-shaped number: mean 0, standard deviation 1, never beyond -3..3."""
        return 2.0 * (self.random() + self.random() + self.random()) - 3.0

    def pick(self, items: Sequence[T], weights: Sequence[float] | None = None) -> T:
        """Draw one of `items`, all alike or by `weights` (not negative, not all 0)."""
        if weights is None:
            return items[int(len(items) * self.random())]
        rest = self.random() * sum(weights)
        for item, weight in zip(items, weights, strict=True):
            rest -= weight
            if rest < 0:
                return item
        return max(zip(weights, items, strict=True), key=lambda pair: pair[0])[1]

    def name(self, weights: Mapping[str, float]) -> str:
        """Draw a key of `weights`, by its weight."""
        return self.pick(list(weights), list(weights.values()))

    def sample(self, items: Sequence[T], count: int, weights: Sequence[float]) -> list[T]:
        """Draw up to `count` different positions of `items` by `weights`, in the order of items."""
        left = list(range(len(items)))
        chosen = []
        for _ in range(min(count, len(items))):
            position = self.pick(left, [weights[i] for i in left])
            left.remove(position)
            chosen.append(position)
        return [items[i] for i in sorted(chosen)]
