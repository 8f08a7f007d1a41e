"""How much to trust the stated error of an extrapolation: held-out errors over the errors that were stated there.

At every cut of the rolling origin a law says how uncertain its prediction is; the held-out points say how wrong it was.
The ratio of the two carries over to the forecast, whose own stated error is smaller since more points make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.extrapolation import Holdout
from optiscale.laws.result import LawFit

Array = NDArray[np.float64]

_LEAST_REACH = 0.1
_FEWEST = 2
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Held-out errors of a law or of the ensemble.

    Attributes
    ----------
    rate
        Root mean square over the cuts of the error over the reach: the deviation of ln L a unit of reach in ln size.
    dof
        Independent held-out windows: the degrees of freedom of Student's t.
    excess
        The same of what is left of the errors beyond those stated at the cuts; 0 where the stated ones explain them.
    """

    rate: float
    dof: int
    excess: float = 0.0


@dataclass(frozen=True, eq=False)
class _Cut:
    """Errors at one cut, their stated variances, and how far beyond the cut they lie, (m,) each."""

    errors: Array
    variance: Array
    reaches: Array


def spreads(
    judged: Mapping[str, Holdout], weights: Mapping[str, float], fits: Mapping[str, LawFit]
) -> dict[str, Spread]:
    """Spread of every judged law and, under the empty name, of the ensemble with these weights."""
    if not judged:
        return {}
    cuts = {name: [_cut(held, i, fits[name]) for i in range(len(held.errors))] for name, held in judged.items()}
    first = next(iter(judged.values()))
    cuts[""] = [_mixed([(cuts[name][i], weights[name]) for name in judged]) for i in range(len(first.errors))]
    found = {name: _spread([one for one in own if one is not None], first.independent) for name, own in cuts.items()}
    return {name: one for name, one in found.items() if one is not None}


def stretch_of(fit: LawFit) -> float:
    """Factor on the variances that the weights say: the reduced chi-square, at least 1 where seeds tell the scatter."""
    redchi = float(fit.redchi or 0.0)
    return max(1.0, redchi) if fit.noise is not None else redchi


def _cut(held: Holdout, i: int, fit: LawFit) -> _Cut | None:
    errors, deviation = held.errors[i], held.deviations[i]
    if errors is None or deviation is None:
        return None
    return _Cut(errors, stretch_of(fit) * (deviation**2 + held.scatter[i] ** 2), held.reaches[i])


def _mixed(parts: Sequence[tuple[_Cut | None, float]]) -> _Cut | None:
    """Join the laws that were fitted at one cut: their mean error, and their variances and disagreement."""
    usable = [(one, weight) for one, weight in parts if one is not None and weight > 0]
    if not usable:
        return None
    share = np.array([weight for _, weight in usable])[:, None] / sum(weight for _, weight in usable)
    errors = np.stack([one.errors for one, _ in usable])
    mean = (share * errors).sum(axis=0)
    variance = (share * (np.stack([one.variance for one, _ in usable]) + (errors - mean) ** 2)).sum(axis=0)
    return _Cut(mean, variance, usable[0][0].reaches)


def _spread(cuts: Sequence[_Cut], independent: float) -> Spread | None:
    """Pool the cuts; the rate is that of sums, which lets the far points speak."""
    if len(cuts) < _FEWEST:
        return None
    squares = [float(np.mean(one.errors**2)) for one in cuts]
    reaches = [float(np.mean(one.reaches**2)) for one in cuts]
    rate = np.sqrt(sum(squares) / max(sum(reaches), _LEAST_REACH**2))
    found = float(np.mean([np.mean(one.errors**2 / np.maximum(one.variance, _LEAST_VARIANCE)) for one in cuts]))
    lever = float(np.mean([np.mean(one.reaches**2 / np.maximum(one.variance, _LEAST_VARIANCE)) for one in cuts]))
    excess = np.sqrt(max(found - 1.0, 0.0) / max(lever, 1e-300))
    return Spread(rate=float(rate), dof=max(1, round(min(independent, float(len(cuts))))), excess=float(excess))
