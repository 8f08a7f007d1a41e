"""How far to trust the stated error of an extrapolation: what it was worth where the answer was held out.

At every cut of the rolling origin the whole procedure is gone through again without what was held out there: which laws
the points before the cut support, their weights and the law to use by their errors at the *other* cuts, what the
parameters and the disagreement of the laws say of the uncertainty. The held-out errors over the errors so stated tell
whether intervals are too narrow or too wide. Judged by the law that was chosen because it did well there, they would
look too good. A few cuts tell this factor badly, so that it is drawn towards one.
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
from optiscale.laws.weighing import by_score, by_skill, pick, weighted_median

Array = NDArray[np.float64]

PRIOR_WINDOWS = 5.0
"""Held-out windows that the prior, a factor of one, is worth (benchmarks/laws_coverage.py)."""
_LEAST_VARIANCE = 1e-12
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
    """One law at one cut: its errors, and the variances that its parameters and the scatter of the points say, (m,)."""

    errors: Array
    variance: Array
    scatter: Array
    dof: float


@dataclass(frozen=True, eq=False)
class _Cut:
    """What the procedure would have said at one cut: the laws with their weights, and the one to use."""

    parts: Mapping[str, _Part]
    weights: Mapping[str, float]
    best: str

    def normal(self, law: str | None) -> tuple[Array, Array, float]:
        """Errors of a law or of the ensemble (None), the deviation stated of them, its degrees of freedom."""
        share = np.array(list(self.weights.values()))[:, None]
        members = [self.parts[name] for name in self.weights]
        errors = np.stack([one.errors for one in members])
        scatter = (share * np.stack([one.scatter for one in members])).sum(axis=0)
        if law is None:
            middle = (share * errors).sum(axis=0)
            variance = weighted_median(np.stack([one.variance for one in members]), share) + scatter
            dof = mean_dof(list(self.weights.values()), [one.dof for one in members])
        else:
            own = self.parts[law]
            middle, variance, dof = own.errors, own.variance + own.scatter, own.dof
        disagreement = (share * (errors - middle) ** 2).sum(axis=0)
        return middle, np.sqrt(np.maximum(variance + disagreement, _LEAST_VARIANCE)), dof


def spreads(
    table: Mapping[str, Holdout], fits: Mapping[str, LawFit], noise: Noise | None, best: str | None
) -> dict[str, Spread]:
    """Spread of every law held out, of the ensemble under the empty name, and under `best` that of the rule of choice.

    Parameters
    ----------
    table
        Held-out errors of the laws that may be chosen, and of the last value.
    fits
        Their fits.
    noise
        Scatter of a run, if known.
    best
        Law that was chosen.
    """
    if LAST_VALUE not in table:
        return {}
    names = [name for name in table if name != LAST_VALUE]
    base = table[LAST_VALUE]
    cuts = [_cut(i, {name: table[name] for name in names}, base, fits, noise) for i in range(len(base.errors))]
    found = {}
    for name in [*names, ""]:
        rule = [None if cut is None else cut.best if name == best else name or None for cut in cuts]
        said, reaches = [], []
        for cut, law, reach in zip(cuts, rule, base.reaches, strict=True):
            if cut is not None and (law is None or law in cut.parts):
                said.append(cut.normal(law))
                reaches.append(reach)
        if said:
            found[name] = _spread(said, reaches, base.independent)
    return found


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
    lowest = min(scores.values())
    supported = {name: score for name, score in scores.items() if score <= lowest + NO_SUPPORT}
    elsewhere = {name: _skill_without(i, table[name], base) for name in supported}
    rare = seldom({name: count for name, (_, count) in elsewhere.items()})
    skills = {name: skill for name, (skill, _) in elsewhere.items() if name not in rare}
    if skills:
        return _Cut(parts, by_skill(skills), pick(skills, k))
    return _Cut(parts, by_score(supported), min(supported, key=lambda name: supported[name]))


def _part(held: Holdout, i: int, k: int, noise: Noise | None) -> _Part | None:
    errors, deviation, chi2 = held.errors[i], held.deviations[i], held.chi2[i]
    if errors is None or deviation is None or chi2 is None:
        return None
    n, effect = held.fitted[i], held.effects[i]
    stretch, dof = stretch_of(chi2, n, k, noise), dof_of(chi2, n, k, effect, noise)
    return _Part(errors, effect * stretch * deviation**2, stretch * held.scatter[i] ** 2, dof)


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
