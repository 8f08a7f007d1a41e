"""From held-out errors to one law, or to the weights of several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 1.05
"""Held-out errors within this factor of the lowest are level: the law with the fewest parameters is taken."""
SMALLEST_SKILL = 1e-3
"""Held-out error over that of the last value below which laws are exact, and level."""


def pick(skills: Mapping[str, float], k: Mapping[str, int]) -> str:
    """Law with the lowest held-out error over the last value's, among those level with it that of fewest parameters."""
    lowest = max(min(skills.values()), SMALLEST_SKILL)
    return min(
        (name for name, skill in skills.items() if skill <= LEVEL * lowest), key=lambda one: (k[one], skills[one])
    )


def by_skill(skills: Mapping[str, float]) -> dict[str, float]:
    """Weights of an ensemble of laws, summing to one: one over the mean squared held-out error.

    J. M. Bates and C. W. J. Granger, "The combination of forecasts", Oper. Res. Q. 20, 451 (1969). Errors are relative
    to those of the last value, so that laws that could be fitted at fewer origins are comparable.
    """
    return _shares({name: max(skill, SMALLEST_SKILL) ** -2.0 for name, skill in skills.items()})


def by_score(scores: Mapping[str, float]) -> dict[str, float]:
    """Weights by BIC, summing to one, where nothing could be held out."""
    lowest = min(scores.values(), default=0.0)
    return _shares({name: float(np.exp(-0.5 * (score - lowest))) for name, score in scores.items()})


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    total = sum(values.values())
    return {name: value / total for name, value in values.items()}


def weighted_median(values: Array, share: Array) -> Array:
    """Median over the first axis by weight: one law whose parameters are free must not widen the whole ensemble."""
    share = np.broadcast_to(share, values.shape)
    order = np.argsort(values, axis=0)
    passed = np.cumsum(np.take_along_axis(share, order, axis=0), axis=0) >= 0.5 - 1e-9
    first = np.argmax(passed, axis=0)
    return np.asarray(np.take_along_axis(np.take_along_axis(values, order, axis=0), first[None], axis=0)[0])
