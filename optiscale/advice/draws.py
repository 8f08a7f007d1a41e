"""Draws from what the points leave open: laws by their weight, parameters by the bootstrap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optiscale.advice.curve import choice_of
from optiscale.laws import FitOptions, Series, bootstrap, get_law
from optiscale.laws.extrapolation import at_edge

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
    damping, largest
        Of the ensemble that they are drawn from (:class:`~optiscale.laws.Choice`): every draw is damped beyond the
        points as that is. Laws as they are if not given.
    """

    parameters: Mapping[str, Array]
    damping: float = 1.0
    largest: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(len(one) for one in self.parameters.values())

    def predict(self, x: Mapping[str, ArrayLike]) -> Array:
        """Mean loss of every draw, (n, m), at variables by name: (m,) each, or (n, m) with a row a draw."""
        sizes = {name: np.asarray(values, dtype=float) for name, values in x.items()}
        losses = self._of_laws(sizes)
        if self.damping == 1.0:
            return losses
        edge = self._of_laws(at_edge(sizes, self.largest))
        return np.asarray(edge * (losses / edge) ** self.damping)

    def _of_laws(self, x: Mapping[str, Array]) -> Array:
        parts = []
        start = 0
        for name, values in self.parameters.items():
            law = get_law(name)
            rows = slice(start, start + len(values))
            start += len(values)
            variables = [_rows(x[one], rows) for one in law.variables]
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
    return Draws(found, choice.damping, choice.largest)
