"""Rolling-origin extrapolation: fit to what was known at a smaller scale, predict what came next, many times over.

The last sizes are held out, a law is fitted to those before them, and its error there is measured; then the origin
moves. No criterion that looks at the fitted points alone can see whether a law extrapolates. The same table always
holds the last-value baseline, which says that the loss stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.correlation import design_effect
from optiscale.laws.engine import jacobian
from optiscale.laws.final import at_bounds
from optiscale.laws.fit import FitOptions, sigma_of
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.registry import Law, get_law
from optiscale.laws.search import Data, descend, draw_starts

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

LAST_VALUE = "last value"
REACH = 2.0
MOST_ORIGINS = 8
_FEWEST_SIZES = 4
_STARTS = 10
_MOST_SIZES = 24
_SMALLEST_ERROR = 1e-6
_SINGULAR = 1e-12


@dataclass(frozen=True, eq=False)
class Origin:
    """One cut of the points: fit to `train`, judge on `held`, both masks (n,); `cut` is the largest size fitted."""

    train: Mask
    held: Mask
    cut: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Holdout:
    """Held-out errors of one law.

    Attributes
    ----------
    law
        Its name, or :data:`LAST_VALUE`.
    errors
        ln predicted - ln observed at the held-out points of each origin that the law could be fitted at; None where it
        could not.
    falls
        ln of the predicted losses there over those predicted at the largest sizes fitted, as long: what the law says
        that going beyond the points changes.
    deviations
        Deviation of ln L of those predictions from the errors of the parameters, where the points scatter by sigma; as
        long.
    chi2
        Chi-square of the points fitted at each cut, as long.
    effects
        Design effect of their residuals (:mod:`optiscale.laws.correlation`), as long; 1 where it was not fitted.
    fitted
        Number of those points, as long.
    scatter
        Deviation sigma of ln L of each held-out point, as long.
    reaches
        ln of the factor by which each of those points lies beyond the sizes fitted, as long.
    independent
        Number of held-out windows that do not overlap: what the errors are worth as evidence.
    rmsle
        Root of the mean over origins of the mean squared error; NaN without any.
    skill
        That over the same of the last value, on the same points; below 1 is better than saying that nothing changes.
    """

    law: str
    errors: tuple[Array | None, ...]
    falls: tuple[Array | None, ...]
    deviations: tuple[Array | None, ...]
    chi2: tuple[float | None, ...]
    effects: tuple[float, ...]
    fitted: tuple[int, ...]
    scatter: tuple[Array, ...]
    reaches: tuple[Array, ...]
    independent: float
    rmsle: float
    skill: float

    @property
    def n_origins(self) -> int:
        """Origins that count."""
        return sum(one is not None for one in self.errors)


def origins_of(points: Points, *, reach: float = REACH, most: int = MOST_ORIGINS) -> list[Origin]:
    """Cuts of the points, the latest last, each with the sizes up to `reach` times its largest held out.

    Along x for one variable. A map is cut along D, along N and along their product, the compute, each a third of
    `most`; held out is what lies beyond the cut, in that direction, within the reach.

    Parameters
    ----------
    points
        All of them.
    reach
        Factor in size by which the answer is to be extrapolated. The next size is always held out, however far.
    most
        Cuts at most.
    """
    if "x" in points.x:
        return list(_cuts(points.x["x"], reach, most))
    directions = (points.x["D"], points.x["N"], points.x["N"] * points.x["D"])
    each = max(1, most // 3)
    return [cut for values in directions for cut in _cuts(values, reach, each)]


def _cuts(size: Array, reach: float, most: int) -> Iterator[Origin]:
    steps = np.unique(size)
    if len(steps) > _MOST_SIZES:  # scattered sizes: cut them into groups of about as many points
        steps = np.unique(np.quantile(size, np.linspace(0, 1, _MOST_SIZES), method="nearest"))
    usable = steps[max(_FEWEST_SIZES, len(steps) // 3) - 1 : -1]
    if len(usable) > most:  # neighbouring cuts hold out nearly the same points: spread them evenly over the scale
        wanted = np.geomspace(usable[0], usable[-1], most)
        usable = np.unique(usable[np.argmin(np.abs(np.log(usable[:, None] / wanted)), axis=0)])
    for cut in usable:
        limit = max(cut * reach * (1.0 + 1e-9), steps[np.searchsorted(steps, cut, side="right")])
        yield Origin(size <= cut, (size > cut) & (size <= limit), float(cut))


def last_value(points: Points, origin: Origin) -> Array:
    """Loss of the last point before each held-out one; of a map, the lowest among those no larger in N and D."""
    loss, train = points.loss, origin.train
    if "x" in points.x:
        largest = points.x["x"][train].max()
        return np.full(int(origin.held.sum()), float(loss[train][points.x["x"][train] == largest].mean()))
    N, D = points.x["N"], points.x["D"]
    inside = (N[train][None, :] <= N[origin.held][:, None]) & (D[train][None, :] <= D[origin.held][:, None])
    candidates = np.where(inside, loss[train][None, :], np.inf).min(axis=1)
    return np.where(np.isfinite(candidates), candidates, loss[train].min())


@dataclass(frozen=True, eq=False)
class _Ahead:
    """Prediction of ln L at held-out points, its change from the edge and its deviation, (m,); what the fit left."""

    log_loss: Array
    fall: Array
    deviation: Array
    chi2: float
    effect: float


def _predict(name: str, cuts: Sequence[tuple[Points, Origin, Array]], options: FitOptions) -> list[_Ahead | None]:
    """Predictions of one law at each cut; None where it cannot be fitted."""
    law = get_law(name)
    found: list[_Ahead | None] = [None] * len(cuts)
    usable = [i for i, (_, origin, _) in enumerate(cuts) if origin.train.sum() > len(law.parameters)]
    if not usable:
        return found
    sets = []
    for i in usable:
        points, origin, sigma = cuts[i]
        known = points.take(origin.train)
        sets.append((known.x, known.loss, sigma[origin.train]))
    data = Data.of(law, sets, space=options.space, cost=options.cost)
    rng = np.random.default_rng(options.seed)
    ends = descend(data, np.stack([draw_starts(data, i, _STARTS, rng) for i in range(len(usable))]))
    best, units = ends.best(), data.units()
    slopes = np.nan_to_num(jacobian(data.residuals(), best, np.arange(len(best)), units=units))  # (p, n, k)
    stuck = np.stack([at_bounds(law, values, unit) for values, unit in zip(best, units, strict=True)])
    slopes = np.where(stuck[:, None, :], 0.0, slopes)
    covariance = np.linalg.pinv(np.einsum("pni,pnj->pij", slopes, slopes), rcond=_SINGULAR, hermitian=True)
    cost = ends.cost.min(axis=1)
    plain = replace(data, cost="squares", prior=False).residuals()(best, np.arange(len(best)))
    for row, i in enumerate(usable):
        if np.isfinite(cost[row]):
            points, origin, _ = cuts[i]
            held = [points.x[variable][origin.held] for variable in law.variables]
            log_loss, deviation = _ahead(law, held, best[row], covariance[row], units[row])
            edge = at_edge(dict(zip(law.variables, held, strict=True)), largest_of(sets[row][0]))
            at = np.asarray(law.function(*(edge[variable] for variable in law.variables), *best[row]), dtype=float)
            fall = log_loss - np.log(np.maximum(at, 1e-300))
            effect = design_effect(sets[row][0], plain[row, : len(sets[row][1])])
            found[i] = _Ahead(log_loss, fall, deviation, float(cost[row]), effect)
    return found


def _ahead(law: Law, held: Sequence[Array], values: Array, covariance: Array, units: Array) -> tuple[Array, Array]:
    step = 1e-5 * np.maximum(np.abs(values), 1e-2 * units)
    places = np.concatenate([values[None], values + np.diag(step), values - np.diag(step)])  # (1 + 2k, k)
    losses = np.asarray(law.function(*(one[None] for one in held), *places.T[:, :, None]), dtype=float)
    logs = np.log(np.maximum(losses, 1e-300))
    k = len(values)
    slopes = (logs[1 : k + 1] - logs[k + 1 :]) / (2.0 * step[:, None])  # (k, m)
    variance = np.einsum("im,ij,jm->m", slopes, covariance, slopes)
    return logs[0], np.sqrt(np.maximum(variance, 0.0))


def rolling_origin(
    points: Points,
    laws: Iterable[str],
    *,
    options: FitOptions | None = None,
    noise: Noise | None = None,
    reach: float = REACH,
) -> dict[str, Holdout]:
    """Held-out errors of every law and of the last value, by name.

    Returns an empty dictionary if the points have too few sizes for any cut.
    """
    return rolling_origins([points], laws, options=options, noises=[noise], reach=reach)[0]


def rolling_origins(
    sets: Sequence[Points],
    laws: Iterable[str],
    *,
    options: FitOptions | None = None,
    noises: Sequence[Noise | None] | None = None,
    reach: float = REACH,
) -> list[dict[str, Holdout]]:
    """:func:`rolling_origin` of many sets of points at once, which takes little longer than of one."""
    options = options or FitOptions()
    given = list(noises) if noises is not None else [None] * len(sets)
    cuts, owner = [], []
    for i, points in enumerate(sets):
        noise = given[i] if given[i] is not None else estimate_noise(points, options.weights)
        sigma = sigma_of(points, options, noise).sigma
        for origin in origins_of(points, reach=reach):
            cuts.append((points, origin, sigma))
            owner.append(i)
    observed = [np.log(points.loss[one.held]) for points, one, _ in cuts]
    base = [np.log(last_value(points, one)) - seen for (points, one, _), seen in zip(cuts, observed, strict=True)]
    errors: dict[str, list[Array | None]] = {LAST_VALUE: list(base)}
    falls: dict[str, list[Array | None]] = {LAST_VALUE: [np.zeros_like(one) for one in base]}
    deviations: dict[str, list[Array | None]] = {LAST_VALUE: [None] * len(cuts)}
    chi2: dict[str, list[float | None]] = {LAST_VALUE: [None] * len(cuts)}
    effects: dict[str, list[float]] = {LAST_VALUE: [1.0] * len(cuts)}
    for name in laws:
        predicted = _predict(name, cuts, options)
        errors[name] = [None if one is None else one.log_loss - o for one, o in zip(predicted, observed, strict=True)]
        falls[name] = [None if one is None else one.fall for one in predicted]
        deviations[name] = [None if one is None else one.deviation for one in predicted]
        effects[name] = [1.0 if one is None else one.effect for one in predicted]
        chi2[name] = [None if one is None else one.chi2 for one in predicted]
    reaches = [reach_of(points, one) for points, one, _ in cuts]
    scatter = [sigma[one.held] / points.loss[one.held] for points, one, sigma in cuts]
    worth = [_independent(origins_of(points, reach=reach), reach) for points in sets]
    tables: list[dict[str, Holdout]] = []
    for i in range(len(sets)):
        mine = [row for row, whose in enumerate(owner) if whose == i]
        tables.append(
            {
                name: _holdout(
                    name,
                    [own[r] for r in mine],
                    [base[r] for r in mine],
                    falls=tuple(falls[name][r] for r in mine),
                    deviations=tuple(deviations[name][r] for r in mine),
                    chi2=tuple(chi2[name][r] for r in mine),
                    effects=tuple(effects[name][r] for r in mine),
                    fitted=tuple(int(cuts[r][1].train.sum()) for r in mine),
                    scatter=tuple(scatter[r] for r in mine),
                    reaches=tuple(reaches[r] for r in mine),
                    independent=worth[i],
                )
                for name, own in errors.items()
            }
            if mine
            else {}
        )
    return tables


def _independent(origins: Sequence[Origin], reach: float) -> float:
    """Count the windows of one reach that the cuts span, no more than there are cuts.

    Cuts of a map along its directions hold out the same cells, so that they count as those of one direction.
    """
    if not origins:
        return 0.0
    runs: list[list[float]] = [[]]
    for one in origins:
        if runs[-1] and one.cut < runs[-1][-1]:
            runs.append([])
        runs[-1].append(one.cut)
    return max(min(float(len(cuts)), 1.0 + float(np.log(cuts[-1] / cuts[0]) / np.log(reach))) for cuts in runs)


def reach_of(points: Points, origin: Origin) -> Array:
    """Return ln of the factor by which each held-out point lies beyond those fitted, where that is largest."""
    held = sizes_of({name: values[origin.held] for name, values in points.x.items()})
    known = sizes_of({name: values[origin.train] for name, values in points.x.items()})
    return np.max([np.log(held[name] / known[name].max()) for name in held], axis=0)


def sizes_of(x: Mapping[str, Array]) -> dict[str, Array]:
    """Sizes along which a prediction can leave the points: x; or N, D and their product, the compute C."""
    return dict(x) if "x" in x else {"N": x["N"], "D": x["D"], "C": x["N"] * x["D"]}


def largest_of(x: Mapping[str, Array]) -> dict[str, float]:
    """Largest value of each variable, and of N D for a map."""
    return {name: float(values.max()) for name, values in sizes_of(x).items()}


def at_edge(x: Mapping[str, Array], largest: Mapping[str, float]) -> dict[str, Array]:
    """Sizes that lie beyond the points brought back to the largest of these, each variable by itself."""
    return {name: np.minimum(values, largest[name]) for name, values in x.items()}


def _holdout(name: str, errors: Sequence[Array | None], base: Sequence[Array], **rest: Any) -> Holdout:
    same = [one for one, own in zip(base, errors, strict=True) if own is not None]
    rmsle = _rms(errors)
    skill = rmsle / max(_rms(same), _SMALLEST_ERROR) if same else float("nan")
    return Holdout(law=name, errors=tuple(errors), rmsle=rmsle, skill=skill, **rest)


def _rms(errors: Iterable[Array | None]) -> float:
    squares = [float(np.mean(one**2)) for one in errors if one is not None]
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")
