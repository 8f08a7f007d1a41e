"""Costs of residuals that are kinder than squares: to outliers, and to runs that were trained too short.

A cost is minimised through its root, residuals whose squares sum up to it, so that every minimiser of squares takes it.
P. J. Huber, Ann. Math. Statist. 35, 73 (1964).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Cost = Literal["squares", "huber", "asymmetric"]
COSTS: tuple[Cost, ...] = ("squares", "huber", "asymmetric")

HUBER_AT = 1.345
"""Residual, in standard deviations, at which Huber's cost turns linear: 95 % efficiency on Gaussian noise."""
ASYMMETRIC_AT = 0.3
"""The same, for runs above the law, in the asymmetric cost: a run trained too short can only lie above."""
_NEVER = 1e100


def cost_root(residuals: Array, cost: Cost) -> Array:
    """Root of the cost of residuals (model - observed) / sigma, element by element, with their sign and shape."""
    if cost == "squares":
        return residuals
    size, turn = np.abs(residuals), _turns(residuals, cost)
    beyond = np.sqrt(np.maximum(2.0 * turn * size - np.square(np.minimum(turn, size)), 0.0))
    return np.sign(residuals) * np.where(size <= turn, size, beyond)


def _turns(residuals: Array, cost: Cost) -> Array:
    above = np.where(residuals < 0, ASYMMETRIC_AT, _NEVER) if cost == "asymmetric" else HUBER_AT
    return np.broadcast_to(above, residuals.shape)
