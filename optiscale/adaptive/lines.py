"""What the cells of a network's grid can be fitted with: a map of N and D, or one line over either."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from optiscale.advice.answers import LOSS, SLOPE
from optiscale.laws import LAWS
from optiscale.laws.registry import LOG_PREFIX
from optiscale.laws.study import MIN_POINTS

Pair = tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """The cells of a grid that go into one fit.

    Attributes
    ----------
    along
        "map", or "D" or "N" for a line over it.
    pairs
        N and D of its cells, in order.
    """

    along: str
    pairs: tuple[Pair, ...]

    def knows(self, answer: str) -> bool:
        """Whether a law of this shape has the answer (`optiscale.advice.answers.answer_of`)."""
        if answer == SLOPE:
            return self.along != "N"
        if answer.startswith(LOSS):
            return self._has_sizes(answer)
        laws = [law for law in LAWS.values() if law.kind == ("2d" if self.along == "map" else "1d")]
        if answer in ("D_c", "N_c"):
            variable = answer[0]
            wanted = variable if self.along == "map" else "x"
            return self.along in ("map", variable) and any(wanted in law.breaks.values() for law in laws)
        return any(answer in (name, name.removeprefix(LOG_PREFIX)) for law in laws for name in law.parameters)

    def _has_sizes(self, answer: str) -> bool:
        try:
            D, N = (float(part) for part in answer.removeprefix(LOSS).split(","))
        except ValueError:
            return False
        if self.along == "map":
            return min(D, N) > 0
        n, d = self.pairs[0]
        return min(D, N) > 0 and (n == N if self.along == "D" else d == D)


def shape_of(pairs: Collection[Pair]) -> Shape:
    """Return the map of a grid with three or more N and D, else its longest line, the cheapest of equally long ones."""
    sizes = [{pair[place] for pair in pairs} for place in (0, 1)]
    if min(map(len, sizes)) >= MIN_POINTS:
        return Shape("map", tuple(sorted(pairs)))
    lines = [
        ("D" if place == 0 else "N", tuple(sorted(pair for pair in pairs if pair[place] == size)))
        for place in (0, 1)
        for size in sorted(sizes[place])
    ]
    return Shape(*max(lines, key=lambda line: len(line[1])))
