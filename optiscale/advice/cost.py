"""What a run costs as a function of N and D: measured where the runs say it, counted where they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from optiscale.errors import UserError

Array = NDArray[np.float64]
Cost = Callable[[ArrayLike, ArrayLike], Array]
"""``cost(N, D)`` of one run, of the arguments' common shape."""

WALL = "wall_s"
_FLOPS = 6.0  # a parameter and a sample: two forward, four backward (arXiv:2001.08361, section 2.1)
_FEWEST_CELLS = 3
_LARGEST = 1e30


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Cost of one run, c = constant + per_parameter N + per_material D + per_pair N D, no term negative.

    A step costs a constant and a share a parameter; there are as many steps as the materials need, or a fixed number.

    Attributes
    ----------
    unit
        Of the cost, such as ``"s"``.
    source
        Where it is from, in words.
    constant, per_parameter, per_material, per_pair
        The terms.
    error
        Root mean square relative error on the runs that it was fitted to; None for a count.
    """

    unit: str
    source: str
    constant: float = 0.0
    per_parameter: float = 0.0
    per_material: float = 0.0
    per_pair: float = 0.0
    error: float | None = None

    def __call__(self, N: ArrayLike, D: ArrayLike) -> Array:
        """Cost of one run, of the arguments' common shape."""
        N, D = np.asarray(N, dtype=float), np.asarray(D, dtype=float)
        return self.constant + self.per_parameter * N + (self.per_material + self.per_pair * N) * D

    def data_for(self, budget: ArrayLike, N: ArrayLike) -> Array:
        """Return the D that a budget buys at N: infinite where data cost nothing, 0 where not even the rest is paid."""
        N = np.asarray(N, dtype=float)
        left = np.asarray(budget, dtype=float) - self.constant - self.per_parameter * N
        slope = self.per_material + self.per_pair * N
        return np.where(left <= 0, 0.0, np.minimum(left / np.maximum(slope, 1.0 / _LARGEST), _LARGEST))


def counted_cost(epochs: float = 1.0) -> CostModel:
    """Count 6 N D operations an epoch (arXiv:2001.08361), a material counted as one sample.

    Raises
    ------
    UserError
        If there is no epoch.
    """
    if not (np.isfinite(epochs) and epochs > 0):
        raise UserError(f"epochs {epochs:g}: must be a positive number")
    words = f"6 N D E with E = {epochs:g} {'epoch' if epochs == 1 else 'epochs'}"
    return CostModel(unit="6 N D E", source=words, per_pair=_FLOPS * epochs)


def measured_cost(runs: pd.DataFrame, *, column: str = WALL, unit: str | None = None) -> CostModel:
    """Fit the cost of a run to a measured column, by least squares of relative errors with terms that are not negative.

    Parameters
    ----------
    runs
        A row a run with N, D and the column; of one network.
    column
        What was measured, such as the wall time.
    unit
        Of the column; seconds for the wall time, else its name.

    Raises
    ------
    UserError
        If there is no such column, a value is not positive, or fewer than three cells have one.
    """
    if column not in runs.columns:
        raise UserError(f"no column {column} to take the cost from: choose one of {', '.join(map(str, runs.columns))}")
    values = pd.to_numeric(runs[column], errors="coerce")
    known = runs[values.notna()].assign(**{column: values.dropna()})
    if (known[column] <= 0).any():
        raise UserError(f"{column} of a run is {known[column].min():g}: a cost must be positive")
    if len(known[["N", "D"]].drop_duplicates()) < _FEWEST_CELLS:
        raise UserError(
            f"{column} is known for fewer than {_FEWEST_CELLS} cells (N, D): too few to tell what a run costs"
        )
    N, D, spent = (known[name].to_numpy(dtype=float) for name in ("N", "D", column))
    terms = np.stack([np.ones_like(N), N, D, N * D], axis=1)
    size = terms.max(axis=0)
    share, _ = nnls(terms / size / spent[:, None], np.ones_like(spent))
    constant, per_parameter, per_material, per_pair = (float(value) for value in share / size)
    error = float(np.sqrt(np.mean((terms @ (share / size) / spent - 1.0) ** 2)))
    return CostModel(
        unit=unit or ("s" if column == WALL else column),
        source=f"{column} of {len(known)} runs, which it describes to {100 * error:.0f} %",
        constant=constant,
        per_parameter=per_parameter,
        per_material=per_material,
        per_pair=per_pair,
        error=error,
    )


def cost_of(runs: pd.DataFrame, *, column: str | None = None, epochs: float | None = None) -> CostModel:
    """Cost of a run of one network: of the column named, else its wall time where the runs have it, else 6 N D E.

    Parameters
    ----------
    runs
        A row a run or a point.
    column
        Column of the cost.
    epochs
        Of the count 6 N D E, which is then taken even where the runs have a wall time; the median of the runs'
        epochs, or one, if not given.
    """
    if column is not None:
        return measured_cost(runs, column=column)
    if epochs is None and WALL in runs.columns and pd.to_numeric(runs[WALL], errors="coerce").notna().any():
        return measured_cost(runs)
    if epochs is None and "epochs" in runs.columns and runs["epochs"].notna().any():
        epochs = float(runs["epochs"].median())
    return counted_cost(1.0 if epochs is None else epochs)
