"""Draws from what the points leave open: laws by their weight, parameters by the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optiscale.advice.curve import choice_of
from optiscale.laws import FitOptions, Series, bootstrap, get_law

Array = NDArray[np.float64]

DRAWS = 300
_COUNTS = 1e-3


@dataclass(frozen=True, eq=False)
class Draws:
    """Parameters of one or more laws, each set as likely as the next.

    Attributes
    ----------
    parameters
        By law, (n_law, k_law).
    """

    parameters: Mapping[str, Array]

    def __len__(self) -> int:
        return sum(len(one) for one in self.parameters.values())

    def predict(self, x: Mapping[str, ArrayLike]) -> Array:
        """Mean loss of every draw, (n, m), at variables by name: (m,) each, or (n, m) with a row a draw."""
        parts = []
        start = 0
        for name, values in self.parameters.items():
            law = get_law(name)
            rows = slice(start, start + len(values))
            start += len(values)
            variables = [_rows(np.asarray(x[one], dtype=float), rows) for one in law.variables]
            parts.append(np.asarray(law.function(*variables, *values.T[:, :, None]), dtype=float))
        return np.concatenate(parts)


def _rows(values: Array, rows: slice) -> Array:
    return values[rows] if values.ndim == 2 else values[None, :]


def draw(series: Series, *, n: int = DRAWS, seed: int = 1, options: FitOptions | None = None) -> Draws:
    """Draw laws and parameters of a fitted series.

    A law is drawn as often as its weight in the ensemble says; its parameters by the parametric bootstrap over seeds,
    whose noise is that of the residuals where those are larger than the seeds explain.

    Parameters
    ----------
    series
        Fitted in the held-out protocol.
    n
        About how many.
    seed
        Of the draws.
    options
        As for the fits.
    """
    choice, points = choice_of(series), series.as_points()
    weights = {name: weight for name, weight in choice.weights.items() if weight > _COUNTS}
    total = sum(weights.values())
    found = {}
    for name, weight in weights.items():
        count = max(1, round(n * weight / total))
        found[name] = bootstrap(choice.fits[name], points, n=count, seed=seed, options=options)
    return Draws(found)
