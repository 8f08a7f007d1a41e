"""How far to trust the stated error of an extrapolation: what it was worth where the answer was held out.

At every cut of the rolling origin the whole procedure is gone through again without what was held out there: which laws
the points before the cut support, their weights and the law to use by their errors at the *other* cuts, what the
parameters and the disagreement of the laws say of the uncertainty. The held-out errors over the errors so stated tell
whether intervals are too narrow or too wide. Judged by the law that was chosen because it did well there, they would
look too good. A few cuts tell this factor badly, so that it is drawn towards one.

The same cuts tell how much of the fall that the ensemble predicts comes (:func:`optiscale.laws.weighing.damping`); at
each of them its errors are those with what the others tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from optiscale.laws.diagnose import dof_of, stretch_of
from optiscale.laws.extrapolation import LAST_VALUE, REACH, Holdout
from optiscale.laws.points import Noise
from optiscale.laws.result import LawFit
from optiscale.laws.support import NO_SUPPORT, scores_of, seldom
from optiscale.laws.weighing import (
    PRIOR_WINDOWS,
    by_score,
    by_skill,
    damping,
    one_vote,
    pick,
    unconditional,
    weighted_median,
)

Array = NDArray[np.float64]

_LEAST_DEVIATION = 1e-6
_LEAST_P = 1e-300
_SMALLEST_ERROR = 1e-6


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What held-out errors say of the stated ones.

    Attributes
    ----------
    scale
        Factor on the stated deviation; below one where intervals were too wide.
    dof
        Degrees of freedom that it is known to: the held-out windows and those that the prior is worth.
    reach
        Reach in ln size of those errors (root mean square); less far beyond the points the factor has less say, and
        none among them.
    """

    scale: float = 1.0
    dof: float = PRIOR_WINDOWS
    reach: float = float(np.log(REACH))

    def factor(self, level: float, reach: Array) -> Array:
        """Factor on the half width of an interval, shape of `reach`."""
        tail = 0.5 + level / 2.0
        whole = self.scale * float(stats.t.ppf(tail, self.dof) / stats.norm.ppf(tail))
        return np.asarray(whole ** np.minimum(1.0, reach / self.reach))


def mean_dof(weights: Sequence[float], dofs: Sequence[float]) -> float:
    """Degrees of freedom of an ensemble (harmonic mean): a law of little weight has little say."""
    return float(sum(weights) / sum(weight / dof for weight, dof in zip(weights, dofs, strict=True)))


@dataclass(frozen=True, eq=False)
class _Part:
    """One law at one cut: its errors, predicted fall, and the variances of parameters and scatter, (m,) each."""

    errors: Array
    fall: Array
    variance: Array
    scatter: Array
    dof: float


@dataclass(frozen=True, eq=False)
class _Cut:
    """What the procedure would have said at one cut: the laws, their weights, and what tells the one to use."""

    parts: Mapping[str, _Part]
    weights: Mapping[str, float]
    lowest: str | None
    k: Mapping[str, int]
    scatter: float

    def best(self, damped: float) -> str:
        """Law to use: that of the lowest BIC where nothing else could be held out."""
        if self.lowest is not None:
            return self.lowest
        fall, errors = self.ensemble()
        own = {name: self.parts[name].errors for name in self.weights}
        return pick(own, errors - (1.0 - damped) * fall, self.k, self.scatter)

    def ensemble(self) -> tuple[Array, Array]:
        """Predicted fall of the ensemble, and its errors before any damping, (m,) each."""
        share = np.array(list(self.weights.values()))[:, None]
        members = [self.parts[name] for name in self.weights]
        falls, errors = np.stack([one.fall for one in members]), np.stack([one.errors for one in members])
        return (share * falls).sum(axis=0), (share * errors).sum(axis=0)

    def normal(self, law: str | None, damped: float) -> tuple[Array, Array, float]:
        """Errors of a law or of the damped ensemble (None), the deviation stated of them, its degrees of freedom."""
        share = np.array(list(self.weights.values()))[:, None]
        members = [self.parts[name] for name in self.weights]
        errors = np.stack([one.errors for one in members])
        scatter = (share * np.stack([one.scatter for one in members])).sum(axis=0)
        if law is None:
            errors = errors - (1.0 - damped) * np.stack([one.fall for one in members])
            middle = (share * errors).sum(axis=0)
            variance = weighted_median(np.stack([one.variance for one in members]), share)
            dof = mean_dof(list(self.weights.values()), [one.dof for one in members])
        else:
            own = self.parts[law]
            middle, variance, scatter, dof = own.errors, own.variance, own.scatter, own.dof
        deviation = np.hypot(unconditional(variance, errors - middle, share), np.sqrt(scatter))
        return middle, np.maximum(deviation, _LEAST_DEVIATION), dof


@dataclass(frozen=True, eq=False)
class Calibration:
    """What held-out errors say of a choice.

    Attributes
    ----------
    spread
        Of every law held out, and of the ensemble under the empty name.
    rule
        Of the law to use, whichever it was at each cut; None where nothing was held out.
    damping
        Share of the fall that the ensemble predicts beyond the points which is to be believed.
    """

    spread: Mapping[str, Spread]
    rule: Spread | None = None
    damping: float = 1.0


def calibrate(
    table: Mapping[str, Holdout], fits: Mapping[str, LawFit], noise: Noise | None, *, damp: bool = True
) -> Calibration:
    """Go through the choice at every cut, without what was held out there, and compare.

    Parameters
    ----------
    table
        Held-out errors of the laws that may be chosen, and of the last value.
    fits
        Their fits.
    noise
        Scatter of a run, if known.
    damp
        Whether to ask how much of the fall came; else all of it is believed.
    """
    if LAST_VALUE not in table:
        return Calibration({})
    names = [name for name in table if name != LAST_VALUE]
    base = table[LAST_VALUE]
    cuts = [_cut(i, {name: table[name] for name in names}, base, fits, noise) for i in range(len(base.errors))]
    damped = [_damping(cuts, base, without=i) if damp else 1.0 for i in range(len(cuts))]
    bests = [None if cut is None else cut.best(share) for cut, share in zip(cuts, damped, strict=True)]

    def spread(rule: Sequence[str | None]) -> Spread | None:
        said, reaches = [], []
        for cut, law, share, reach in zip(cuts, rule, damped, base.reaches, strict=True):
            if cut is not None and (law is None or law in cut.parts):
                said.append(cut.normal(law, share))
                reaches.append(reach)
        return _spread(said, reaches, base.independent) if said else None

    found = {name: spread([name or None] * len(cuts)) for name in [*names, ""]}
    known = {name: one for name, one in found.items() if one is not None}
    return Calibration(known, spread(bests), _damping(cuts, base) if damp else 1.0)


def with_rule(calibration: Calibration, best: str | None) -> dict[str, Spread]:
    """Spread of every law and the ensemble; of the law chosen that of the rule that chose it."""
    if best is None or calibration.rule is None:
        return dict(calibration.spread)
    return {**calibration.spread, best: calibration.rule}


def _damping(cuts: Sequence[_Cut | None], base: Holdout, *, without: int | None = None) -> float:
    """Share of the predicted fall of the ensemble that came at the cuts, all but one."""
    told = [cut.ensemble() for i, cut in enumerate(cuts) if cut is not None and i != without]
    return damping([fall for fall, _ in told], [errors for _, errors in told], base.independent)


def _cut(
    i: int, table: Mapping[str, Holdout], base: Holdout, fits: Mapping[str, LawFit], noise: Noise | None
) -> _Cut | None:
    """Go through the choice at cut `i` without what was held out there."""
    parts = {name: part for name, held in table.items() if (part := _part(held, i, fits[name].k, noise)) is not None}
    if not parts:
        return None
    k = {name: fits[name].k for name in parts}
    n = base.fitted[i]
    scores = scores_of(
        {name: float(table[name].chi2[i] or 0.0) for name in parts},
        k,
        n,
        min(table[name].effects[i] for name in parts),
        known=noise is not None,
    )
    least = min(scores.values())
    supported = {name: score for name, score in scores.items() if score <= least + NO_SUPPORT}
    elsewhere = {name: _skill_without(i, table[name], base) for name in supported}
    rare = seldom({name: count for name, (_, count) in elsewhere.items()})
    lowest: str | None = None
    skills = {name: skill for name, (skill, _) in elsewhere.items() if name not in rare}
    if skills:
        weights = by_skill(skills, {name: min(base.independent, float(elsewhere[name][1])) for name in skills})
    else:
        weights, lowest = by_score(supported), min(supported, key=lambda name: supported[name])
    scatter = float(np.median(base.scatter[i]))
    weights = one_vote(weights, {name: parts[name].errors for name in weights}, scatter)
    return _Cut(parts, weights, lowest, k, scatter)


def _part(held: Holdout, i: int, k: int, noise: Noise | None) -> _Part | None:
    errors, fall, deviation, chi2 = held.errors[i], held.falls[i], held.deviations[i], held.chi2[i]
    if errors is None or fall is None or deviation is None or chi2 is None:
        return None
    n, effect = held.fitted[i], held.effects[i]
    stretch, dof = stretch_of(chi2, n, k, noise), dof_of(chi2, n, k, effect, noise)
    return _Part(errors, fall, effect * stretch * deviation**2, stretch * held.scatter[i] ** 2, dof)


def _skill_without(i: int, held: Holdout, base: Holdout) -> tuple[float, int]:
    """Held-out error over the last value's at all cuts but one, and the number of these."""
    pairs = [
        (float(np.mean(own**2)), float(np.mean(last**2)))
        for j, (own, last) in enumerate(zip(held.errors, base.errors, strict=True))
        if j != i and own is not None and last is not None
    ]
    if not pairs:
        return float("nan"), 0
    own, last = np.sqrt(np.mean(pairs, axis=0))
    return float(own / max(last, _SMALLEST_ERROR)), len(pairs)


def _spread(said: Sequence[tuple[Array, Array, float]], reaches: Sequence[Array], independent: float) -> Spread:
    """Scaled inverse chi-square posterior of the variance of the errors as they would be if normal.

    An error in units of a deviation that is itself estimated has Student's t distribution; it counts as the normal
    deviate of the same probability.
    """
    size = np.concatenate([np.abs(errors) / deviation for errors, deviation, _ in said])
    dof = np.concatenate([np.full(len(errors), dof) for errors, _, dof in said])
    normal = stats.norm.isf(np.maximum(stats.t.sf(size, dof), _LEAST_P))
    squares = np.split(normal**2, np.cumsum([len(errors) for errors, _, _ in said])[:-1])
    windows = min(independent, float(len(said)))
    total = PRIOR_WINDOWS + windows
    scale = np.sqrt((PRIOR_WINDOWS + windows * float(np.mean([one.mean() for one in squares]))) / total)
    reach = float(np.sqrt(np.mean([np.mean(one**2) for one in reaches])))
    return Spread(scale=float(scale), dof=total, reach=max(reach, np.log(REACH) / 10.0))
