"""The points of one fit, and how much their seeds scatter.

A mean over three seeds tells little about its own error: the standard deviation of three numbers is itself uncertain by
half. Pooled over all points of a network it is known to a few percent. Over the published grids the scatter is
proportional to the loss (docs/laws.md), so that pooling the relative deviation is the default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from optiscale.errors import UserError

Array = NDArray[np.float64]
Weights = Literal["pooled", "pooled-absolute", "by-scale", "published", "equal"]
WEIGHTS: tuple[Weights, ...] = ("pooled", "pooled-absolute", "by-scale", "published", "equal")

MIN_DOF = 3
_SEEDS_IF_UNKNOWN = 2
_STEEPEST = 3.0
_HIGHEST_ORDER = 3
_LEAST_SCATTER, _SCATTER_IF_UNKNOWN = 1e-4, 1e-2
_MEDIAN_TO_DEVIATION = 1.4826  # of a normal distribution


@dataclass(frozen=True, eq=False)
class Points:
    """Mean losses over a variable x, or over N and D.

    Parameters
    ----------
    x
        ``{"x": …}`` or ``{"N": …, "D": …}``, each of shape (n,), > 0.
    loss
        Mean loss over the seeds, (n,), > 0.
    std
        Population standard deviation over the seeds (ddof = 0), (n,); zero or NaN where there is none. None: no spread.
    seeds
        Number of seeds behind each mean, (n,); 0 where unknown. None: unknown.

    Raises
    ------
    UserError
        If the arrays do not match or hold values that no law can take.
    """

    x: Mapping[str, Array]
    loss: Array
    std: Array | None = None
    seeds: Array | None = None

    def __post_init__(self) -> None:
        loss = np.atleast_1d(np.asarray(self.loss, dtype=float))
        set_ = object.__setattr__  # the dataclass is frozen for its users, not for its own constructor
        set_(self, "loss", loss)
        set_(self, "x", {name: np.atleast_1d(np.asarray(values, dtype=float)) for name, values in self.x.items()})
        for name, array in [*self.x.items(), ("loss", loss)]:
            if array.ndim != 1 or array.shape != loss.shape:
                raise UserError(f"{name} has shape {array.shape}, loss has {loss.shape}: give one value a point")
            if not (np.isfinite(array).all() and (array > 0).all()):
                raise UserError(f"{name} holds a value that is not a positive number: remove that point")
        for name in ("std", "seeds"):
            given = getattr(self, name)
            if given is not None:
                array = np.asarray(given, dtype=float)
                if array.shape != loss.shape:
                    raise UserError(f"{name} has shape {array.shape}, loss has {loss.shape}: give one value a point")
                set_(self, name, array)

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def size(self) -> Array:
        """The variable that data and seeds are counted along: x, or D of a map."""
        return self.x["x"] if "x" in self.x else self.x["D"]

    @property
    def n_seeds(self) -> Array:
        """Seeds a point, (n,); two where the table does not say, which takes its deviation for that of the mean."""
        seeds = np.zeros(len(self)) if self.seeds is None else np.nan_to_num(self.seeds)
        return np.where(seeds > 0, seeds, _SEEDS_IF_UNKNOWN)

    def take(self, chosen: ArrayLike) -> Points:
        """Points of a mask or of indices."""
        index = np.asarray(chosen)
        return Points(
            {name: values[index] for name, values in self.x.items()},
            self.loss[index],
            None if self.std is None else self.std[index],
            None if self.seeds is None else self.seeds[index],
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, variables: tuple[str, ...]) -> Points:
        """Points of a series' frame, with columns mean, std, n_seeds and those of `variables`."""
        x = {name: frame[name].to_numpy(dtype=float) for name in variables}
        return cls(x, *(frame[name].to_numpy(dtype=float) for name in ("mean", "std", "n_seeds")))


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Scatter of a single run around the law.

    Attributes
    ----------
    weights
        The way it was estimated.
    scale
        Standard deviation of a run: ``scale``, times the loss unless absolute, times (size / reference)^slope.
    slope, reference
        Change with the size of the data; slope 0 unless estimated by scale.
    dof
        Degrees of freedom that it was estimated from.
    """

    weights: Weights
    scale: float
    slope: float = 0.0
    reference: float = 1.0
    dof: int = 0

    def run(self, loss: ArrayLike, size: ArrayLike) -> Array:
        """Return the standard deviation of one run with the given mean loss and data size."""
        loss = np.asarray(loss, dtype=float)
        level = np.ones_like(loss) if self.weights == "pooled-absolute" else loss
        return self.scale * level * np.exp(self.slope * np.log(np.asarray(size, dtype=float) / self.reference))

    def mean(self, points: Points) -> Array:
        """Return the standard deviation of the mean of each point, (n,)."""
        return self.run(points.loss, points.size) / np.sqrt(points.n_seeds)

    def to_dict(self) -> dict[str, Any]:
        """JSON value."""
        return asdict(self)


def smooth_scatter(points: Points, *, robust: bool = False) -> float:
    """Relative scatter of the points about a smooth curve, for points whose seeds tell none; not below 1e-4.

    The curve is the polynomial in the logarithms, of first to third order, that leaves the smallest variance a degree
    of freedom; `robust` takes the median of the residuals' sizes, which single outliers do not move.
    """
    log_loss, best = np.log(points.loss), np.inf
    logs = [np.log(values) for values in points.x.values()]
    logs = [(one - one.mean()) / max(float(one.std()), 1e-12) for one in logs]
    columns = [np.ones(len(points))]
    for order in range(1, _HIGHEST_ORDER + 1):
        columns += [np.prod(one, axis=0) for one in combinations_with_replacement(logs, order)]
        dof = len(points) - len(columns)
        if dof < 1:
            break
        design = np.stack(columns, axis=1)
        residuals = log_loss - design @ np.linalg.lstsq(design, log_loss, rcond=None)[0]
        square = (_MEDIAN_TO_DEVIATION * np.median(np.abs(residuals))) ** 2 if robust else np.mean(residuals**2)
        best = min(best, float(np.sqrt(square * len(points) / dof)))
    return max(best, _LEAST_SCATTER) if np.isfinite(best) else _SCATTER_IF_UNKNOWN


def estimate_noise(points: Points, weights: Weights = "pooled") -> Noise | None:
    """Pool the scatter of the seeds over all points; None where too few points have any.

    ``"pooled"`` takes the deviation as proportional to the loss, ``"pooled-absolute"`` as constant, ``"by-scale"`` as
    proportional to the loss times a power of the size, found by maximum likelihood of the chi-square distribution.
    """
    if points.std is None or weights == "equal":
        return None
    n = points.n_seeds
    usable = np.isfinite(points.std) & (points.std > 0) & (n > 1)
    dof = (n - 1.0)[usable]
    if dof.sum() < MIN_DOF:
        return None
    variance = points.std[usable] ** 2 * n[usable] / dof  # unbiased, of one run
    if weights != "pooled-absolute":
        variance = variance / points.loss[usable] ** 2
    log_size = np.log(points.size[usable])
    reference = float(np.exp(log_size.mean()))
    slope = 0.0
    if weights == "by-scale" and np.ptp(log_size) > 0:
        centred = log_size - log_size.mean()

        def deviance(slope: float) -> float:
            level = np.average(variance * np.exp(-2.0 * slope * centred), weights=dof)
            return float(dof.sum() * np.log(level) + 2.0 * slope * np.sum(dof * centred))

        slope = float(minimize_scalar(deviance, bounds=(-_STEEPEST, _STEEPEST), method="bounded").x)
        variance = variance * np.exp(-2.0 * slope * centred)
    kind: Weights = "pooled" if weights == "published" else weights
    scale = float(np.sqrt(np.average(variance, weights=dof)))
    return Noise(weights=kind, scale=scale, slope=slope, reference=reference, dof=int(dof.sum()))
