"""Which laws may be chosen at all: those that the points support, and that do not rise beyond them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.extrapolation import Holdout
from optiscale.laws.points import Points
from optiscale.laws.result import LawFit

Array = NDArray[np.float64]

NO_SUPPORT = 10.0
"""BIC above the lowest from which a law has essentially no support (R. E. Kass, A. E. Raftery, J. Am. Stat. Assoc. 90,
773 (1995)): such a law is not chosen, however well it happened to extrapolate."""
_STEPS = 9  # sizes beyond the points at which a law must not rise
_EXACT = 1e-12  # mean squared residual, in units of the scatter, below which laws are level
_LEVEL_LOSS = 1e-6  # relative rise that counts as none


def supported(fits: Mapping[str, LawFit]) -> list[str]:
    """Laws whose BIC is within ten of the lowest.

    Where seeds tell the scatter it is chi-square that counts, over the lowest reduced one if that exceeds one: the
    logarithm of the residuals' variance is at the mercy of chance where hardly more points than parameters are left.
    """
    fitted = {name: fit for name, fit in fits.items() if fit.fitted}
    if not fitted:
        return []
    effect = min(fit.effect for fit in fitted.values())
    if all(fit.noise is not None for fit in fitted.values()):
        chi2 = {name: float(fit.chi2 or 0.0) for name, fit in fitted.items()}
        n = next(iter(fitted.values())).n
        scores = scores_of(chi2, {name: fit.k for name, fit in fitted.items()}, n, effect, known=True)
    else:
        penalty = {name: float(fit.k * np.log(fit.n)) for name, fit in fitted.items()}
        scores = {
            name: (float(fit.bic or 0.0) - penalty[name]) / effect + penalty[name] for name, fit in fitted.items()
        }
    lowest = min(scores.values())
    return [name for name, score in scores.items() if score <= lowest + NO_SUPPORT]


def scores_of(
    chi2: Mapping[str, float], k: Mapping[str, int], n: int, effect: float, *, known: bool
) -> dict[str, float]:
    """Score of laws fitted to the same n points, lower is better: as for :func:`supported`, `known` tells of seeds.

    The likelihood counts one over the design `effect` times: points that go together tell less (of the law that leaves
    the least correlation, since a wrong law leaves more).
    """
    if known:
        unit = max(1.0, min(value / max(n - k[name], 1) for name, value in chi2.items()))
        return {name: float(value / unit / effect + k[name] * np.log(n)) for name, value in chi2.items()}
    return {
        name: float(n / effect * np.log(max(value / n, _EXACT)) + k[name] * np.log(n)) for name, value in chi2.items()
    }


def well_judged(table: Mapping[str, Holdout]) -> dict[str, Holdout]:
    """Laws that were held out at no less than half of the cuts that any of them was.

    A law of many parameters can be fitted at the last cut only, and one hit there is luck as likely as skill.
    """
    rare = seldom({name: one.n_origins for name, one in table.items()})
    return {name: one for name, one in table.items() if name not in rare}


def seldom(cuts: Mapping[str, int]) -> set[str]:
    """Laws that were held out at less than half of the most cuts, or never."""
    most = max(cuts.values(), default=0)
    return {name for name, count in cuts.items() if not count or 2 * count < most}


def _ahead(largest: Mapping[str, float], along: str, reach: float) -> dict[str, Array]:
    """Sizes from the largest ones to `reach` times that of one variable."""
    factors = np.geomspace(1.0, reach, _STEPS)
    return {name: value * (factors if name == along else np.ones(_STEPS)) for name, value in largest.items()}


def beyond(points: Points, reach: float) -> dict[str, Array]:
    """Sizes from the largest of the points to `reach` times that, along each variable in turn, (m,)."""
    largest = {name: float(values.max()) for name, values in points.x.items()}
    places = [_ahead(largest, one, reach) for one in largest]
    return {name: np.concatenate([one[name] for one in places]) for name in largest}


def logs_of(names: Iterable[str], fits: Mapping[str, LawFit], points: Points, reach: float) -> dict[str, Array]:
    """Logarithm of every law at the points and, along each variable, beyond them up to the reach, (m,)."""
    x = {name: np.concatenate([points.x[name], sizes]) for name, sizes in beyond(points, reach).items()}
    return {name: np.log(np.maximum(fits[name].predict(**x), 1e-300)) for name in names}


def falling(
    names: Sequence[str], fits: Mapping[str, LawFit], points: Points, reach: float
) -> tuple[list[str], list[str]]:
    """Tell the laws that fall, or stay, beyond the points from those that rise there; all count if all rise.

    Along a variable with which the points themselves rise on the whole nothing is refused.
    """
    logs = [np.log(values) for values in points.x.values()]
    trend = np.linalg.lstsq(np.stack([np.ones(len(points)), *logs], axis=1), np.log(points.loss), rcond=None)[0][1:]
    largest = {name: float(values.max()) for name, values in points.x.items()}
    along = [name for name, slope in zip(largest, trend, strict=True) if slope < 0]
    rising = []
    for name in names:
        for one in along:
            loss = fits[name].predict(**_ahead(largest, one, reach))
            if loss.max() > loss[0] * (1.0 + _LEVEL_LOSS) and name not in rising:
                rising.append(name)
    if len(rising) == len(names):
        return list(names), []
    return [name for name in names if name not in rising], rising
