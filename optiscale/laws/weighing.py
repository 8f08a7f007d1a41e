"""From held-out errors to one law, or to the weights of several and how far their fall is to be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMALLEST_SKILL = 1e-3
"""Held-out error over that of the last value below which laws are exact, and level."""
PRIOR_WINDOWS = 5.0
"""Held-out windows that what is believed before any is worth: that stated errors are true, candidates level, and that a
predicted fall comes (benchmarks/laws_coverage.py)."""
_ONE_OPINION, _ABOUT = 0.1, 0.3  # of the scatter of a point


def pick(logs: Mapping[str, Array], ensemble: Array, k: Mapping[str, int], scatter: float) -> str:
    """Law to use: of those that lie about as near to the ensemble as the nearest does, the one of fewest parameters.

    The law of lowest held-out error is often lucky; what the ensemble says is steadier, and a single law that says
    about the same is the one to show and to reason with. About is a third of what a point scatters by.

    Parameters
    ----------
    logs
        ln L of each law beyond the points, (m,).
    ensemble
        That of the ensemble, (m,).
    k
        Parameters of each.
    scatter
        Deviation of ln L of a point.
    """
    far = {name: float(np.mean(np.abs(one - ensemble))) for name, one in logs.items()}
    limit = min(far.values()) + _ABOUT * scatter
    return min((name for name in far if far[name] <= limit), key=lambda name: (k[name], far[name]))


def by_skill(skills: Mapping[str, float], windows: Mapping[str, float]) -> dict[str, float]:
    """Weights of an ensemble of laws, summing to one: one over the mean squared held-out error.

    J. M. Bates and C. W. J. Granger, "The combination of forecasts", Oper. Res. Q. 20, 451 (1969). Errors are relative
    to those of the last value, so that laws that could be fitted at fewer origins are comparable. Few windows tell a
    squared error badly, and weights made of it do worse than equal ones (J. Smith, K. F. Wallis, Oxf. Bull. Econ.
    Stat. 71, 331 (2009)): it is drawn towards the geometric mean of the candidates' by :data:`PRIOR_WINDOWS`.

    Parameters
    ----------
    skills
        Held-out error over that of the last value, by law.
    windows
        Held-out windows that each is known from.
    """
    squares = {name: max(skill, SMALLEST_SKILL) ** 2 for name, skill in skills.items()}
    level = float(np.exp(np.mean(np.log(list(squares.values())))))
    drawn = {
        name: (windows[name] * square + PRIOR_WINDOWS * level) / (windows[name] + PRIOR_WINDOWS)
        for name, square in squares.items()
    }
    return _shares({name: 1.0 / square for name, square in drawn.items()})


def one_vote(weights: Mapping[str, float], logs: Mapping[str, Array], scatter: float) -> dict[str, float]:
    """Split the weight among laws that say the same, summing to one.

    A law whose floor is zero *is* the one without: counted twice, it would outvote the others (E. I. George, "Dilution
    priors", IMS Collections 6, 158 (2010)).

    Parameters
    ----------
    weights
        By law.
    logs
        ln L of each at the same places, (m,).
    scatter
        Deviation of ln L of a point: laws that differ by less than a tenth of it everywhere are one.
    """
    groups: list[list[str]] = []
    for name in weights:
        same = (one for one in groups if np.abs(logs[name] - logs[one[0]]).max() <= _ONE_OPINION * scatter)
        group = next(same, None)
        if group is None:
            groups.append([name])
        else:
            group.append(name)
    return _shares({name: weights[name] / len(group) for group in groups for name in group})


def damping(falls: Sequence[Array], errors: Sequence[Array], windows: float) -> float:
    """Share of a predicted fall beyond the points that is to be believed, from 0 to 1.

    The slope of what came over what was predicted at the cuts, drawn towards one by :data:`PRIOR_WINDOWS`: extrapolated
    trends overshoot, and damped ones err less (J. B. Copas, J. R. Stat. Soc. B 45, 311 (1983); E. S. Gardner, E.
    McKenzie, Manag. Sci. 31, 1237 (1985)). A fall is never made steeper, nor a rise.

    Parameters
    ----------
    falls
        Predicted change of ln L from the edge of the points fitted to those held out, a cut each, (m,).
    errors
        ln predicted - ln observed there.
    windows
        Held-out windows that the cuts are worth.
    """
    squares = [float(np.mean(fall**2)) for fall in falls]
    if not squares or not np.mean(squares) > 0:
        return 1.0
    came = [float(np.mean(fall * (fall - error))) for fall, error in zip(falls, errors, strict=True)]
    share = float(np.clip(np.mean(came) / np.mean(squares), 0.0, 1.0))  # one window that rose is no reason for none
    windows = min(windows, float(len(squares)))
    return (windows * share + PRIOR_WINDOWS) / (windows + PRIOR_WINDOWS)


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


def unconditional(variance: Array, away: Array, share: Array) -> Array:
    """Deviation of a prediction that laws disagree about: the mean of the root of variance + away^2.

    S. T. Buckland, K. P. Burnham, N. H. Augustin, Biometrics 53, 603 (1997), equation 9: the laws' errors are taken as
    going together, which says less than their disagreement and their errors added as if independent.

    Parameters
    ----------
    variance
        Of a law from its parameters, any shape.
    away
        How far each law lies from the prediction, a row a law.
    share
        Weights, of the shape of `away` or one that broadcasts.
    """
    return np.asarray(np.sum(share * np.sqrt(variance + away**2), axis=0))
