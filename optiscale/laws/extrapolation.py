"""Rolling-origin extrapolation: fit to what was known at a smaller scale, predict what came next, many times over.

The last sizes are held out, a law is fitted to those before them, and its error there is measured; then the origin
moves. No criterion that looks at the fitted points alone can see whether a law extrapolates. The same table always
holds the last-value baseline, which says that the loss stays what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optiscale.laws.fit import FitOptions, sigma_of
from optiscale.laws.points import Noise, Points, estimate_noise
from optiscale.laws.registry import get_law
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
_SMALLEST_SKILL = 1e-4


@dataclass(frozen=True, eq=False)
class Origin:
    """One cut of the points: fit to `train`, judge on `held`, both masks (n,); `cut` is the largest size fitted."""

    train: Mask
    held: Mask
    cut: float


@dataclass(frozen=True, eq=False)
class Holdout:
    """Held-out errors of one law.

    Attributes
    ----------
    law
        Its name, or :data:`LAST_VALUE`.
    errors
        ln predicted - ln observed at the held-out points of each origin that the law could be fitted at; None where it
        could not.
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


def _predict(name: str, cuts: Sequence[tuple[Points, Origin, Array]], options: FitOptions) -> list[Array | None]:
    """Predictions of one law at the held-out points of each cut; None where it cannot be fitted."""
    law = get_law(name)
    found: list[Array | None] = [None] * len(cuts)
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
    for i, values, cost in zip(usable, ends.best(), ends.cost.min(axis=1), strict=True):
        if np.isfinite(cost):
            points, origin, _ = cuts[i]
            held = [points.x[variable][origin.held] for variable in law.variables]
            found[i] = np.maximum(np.asarray(law.function(*held, *values), dtype=float), 1e-300)
    return found


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
    for name in laws:
        predicted = _predict(name, cuts, options)
        errors[name] = [
            None if one is None else np.log(one) - seen for one, seen in zip(predicted, observed, strict=True)
        ]
    reaches = [reach_of(points, one) for points, one, _ in cuts]
    worth = [_independent(origins_of(points, reach=reach), reach) for points in sets]
    tables: list[dict[str, Holdout]] = []
    for i in range(len(sets)):
        mine = [row for row, whose in enumerate(owner) if whose == i]
        base_, reach_ = [base[r] for r in mine], [reaches[r] for r in mine]
        table = {name: _holdout(name, [own[r] for r in mine], base_, reach_, worth[i]) for name, own in errors.items()}
        tables.append(table if mine else {})
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


def _holdout(
    name: str, errors: Sequence[Array | None], base: Sequence[Array], reaches: Sequence[Array], independent: float
) -> Holdout:
    same = [one for one, own in zip(base, errors, strict=True) if own is not None]
    rmsle = _rms(errors)
    skill = rmsle / max(_rms(same), _SMALLEST_ERROR) if same else float("nan")
    return Holdout(name, tuple(errors), tuple(reaches), independent, rmsle, skill)


def _rms(errors: Iterable[Array | None]) -> float:
    squares = [float(np.mean(one**2)) for one in errors if one is not None]
    return float(np.sqrt(np.mean(squares))) if squares else float("nan")


def held_out_weights(table: Mapping[str, Holdout]) -> dict[str, float]:
    """Weights of an ensemble of laws by held-out error, summing to one.

    Pseudo Bayesian model averaging: with j independent held-out windows and a Gaussian error of unknown size the
    predictive likelihood of a law goes with its root mean square error to the power -j. Errors are taken relative to
    the last value, so that laws that could be fitted at fewer origins are comparable.
    """
    usable = {name: one for name, one in table.items() if name != LAST_VALUE and one.n_origins}
    if not usable:
        return {}
    power = max(one.independent for one in usable.values())
    scores = np.array([max(one.skill, _SMALLEST_SKILL) for one in usable.values()])
    weights = (scores / scores.min()) ** -power
    return dict(zip(usable, (weights / weights.sum()).tolist(), strict=True))
