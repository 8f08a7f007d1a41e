"""Least squares for many small problems at once: Levenberg-Marquardt whose rows are starts, resamples or origins.

A scaling-law fit has few points and few parameters, so that the time of one search is the time of calling Python. A
bootstrap, a profile and a multi-start are thousands of such searches; here they are the rows of one array, and a step
of all of them costs a few array operations. The damping follows H. B. Nielsen, "Damping parameter in Marquardt's
method", IMM-REP-1999-05 (1999); bounds are kept by projection, with parameters held while the descent points outward.
What is minimised is a sum of squares; a robust cost comes as the root of it (:mod:`optiscale.laws.robust`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
Residuals = Callable[[Array, Rows], Array]
"""``residuals(values, rows)``: values (r, k) of the problems `rows` (r,) -> residuals (r, n)."""
_STEP = 1e-7
_SMALLEST_STEP = 1e-9
_FIRST_DAMPING = 1e-3
_LARGEST_DAMPING = 1e14
_FLAT = 1e-12
_STALLED = 1e-11
_PATIENCE = 3
_CHECK_EVERY, _CREEPING = 12, 1e-5


@dataclass(frozen=True)
class Minima:
    """Where each row ended: values (r, k), cost (r,), and whether it converged (r,)."""

    values: Array
    cost: Array
    converged: NDArray[np.bool_]


def _squares(residuals: Array) -> Array:
    return np.einsum("rn,rn->r", residuals, residuals)


def jacobian(
    residuals: Residuals, values: Array, rows: Rows, base: Array | None = None, *, units: ArrayLike = 1.0
) -> Array:
    """Differentiate the residuals, (r, n, k): forward differences from `base`, central ones without it.

    `units`, (r, k) or one that broadcasts, is what counts as one of a parameter that is itself near zero.
    """
    r, k = values.shape
    step = np.maximum(np.abs(values) * (_STEP if base is not None else 1e-5), _SMALLEST_STEP * np.asarray(units))
    shift = step[:, None, :] * np.eye(k)  # (r, k, k)
    many = np.repeat(rows, k)
    upper = residuals((values[:, None, :] + shift).reshape(r * k, k), many).reshape(r, k, -1)
    if base is not None:
        slopes = (upper - base[:, None, :]) / step[:, :, None]
    else:
        lower = residuals((values[:, None, :] - shift).reshape(r * k, k), many).reshape(r, k, -1)
        slopes = (upper - lower) / (2.0 * step[:, :, None])
    return slopes.transpose(0, 2, 1)


def minimise(
    residuals: Residuals,
    start: Array,
    low: Array,
    high: Array,
    *,
    held: NDArray[np.bool_] | None = None,
    units: ArrayLike = 1.0,
    iterations: int = 100,
) -> Minima:
    """Minimise the sum of squared residuals of every row from its own start.

    Parameters
    ----------
    residuals
        Residuals of given rows at given values.
    start
        First values, (r, k).
    low, high
        Bounds, (k,).
    held
        Parameters that a row keeps at its start, (r, k) or (k,).
    units
        Of the parameters, (r, k) or one that broadcasts (:func:`jacobian`).
    iterations
        Steps at most; a row that needs more counts as not converged.
    """
    values = np.clip(np.array(start, dtype=float), low, high)
    total, k = values.shape
    units = np.broadcast_to(np.asarray(units, dtype=float), (total, k))
    fixed = np.broadcast_to(np.zeros(k, dtype=bool) if held is None else held, (total, k))
    everything = np.arange(total)
    current = residuals(values, everything)
    costs = np.where(np.isfinite(current).all(axis=1), _squares(np.nan_to_num(current)), np.inf)
    converged = np.zeros(total, dtype=bool)
    damping, growth = np.full(total, _FIRST_DAMPING), np.full(total, 2.0)
    quiet = np.zeros(total, dtype=int)
    scale = np.zeros((total, k))
    active = everything[np.isfinite(costs)]
    fresh = np.ones(total, dtype=bool)  # rows whose slopes are out of date
    normal, descent = np.zeros((total, k, k)), np.zeros((total, k))
    before = costs.copy()
    for count in range(iterations):
        if count % _CHECK_EVERY == _CHECK_EVERY - 1:
            # A row that creeps along a flat valley would creep for ever: its cost no longer changes to any effect.
            active = active[before[active] - costs[active] > _CREEPING * costs[active]]
            before[active] = costs[active]
        if not active.size:
            break
        new = active[fresh[active]]
        if new.size:
            slopes = np.nan_to_num(jacobian(residuals, values[new], new, current[new], units=units[new]))
            normal[new] = np.einsum("rni,rnj->rij", slopes, slopes)
            descent[new] = -np.einsum("rni,rn->ri", slopes, current[new])
            scale[new] = np.maximum(scale[new], np.einsum("rii->ri", normal[new]))
            fresh[new] = False
        step, gain = _steps(normal, descent, scale, damping, fixed, values, low, high, active)
        trial = values[active] + step
        tried = residuals(trial, active)
        finite = np.isfinite(tried).all(axis=1)
        trial_cost = np.where(finite, _squares(np.nan_to_num(tried)), np.inf)
        drop = costs[active] - trial_cost
        ratio = drop / np.maximum(gain, 1e-300 + 1e-6 * np.abs(drop))
        better = finite & (drop > 0)
        accepted, refused = active[better], active[~better]
        small = (drop[better] <= _STALLED * (costs[accepted] + _FLAT)) & (
            gain[better] <= 10 * _STALLED * (costs[accepted] + _FLAT)
        )
        quiet[accepted] = np.where(small, quiet[accepted] + 1, 0)
        values[accepted], current[accepted], costs[accepted] = trial[better], tried[better], trial_cost[better]
        fresh[accepted] = True
        damping[accepted] *= np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.minimum(ratio[better], 1.0) - 1.0) ** 3)
        growth[accepted] = 2.0
        damping[refused] *= growth[refused]
        growth[refused] *= 2.0
        # No step predicts a gain that double precision could show: this is the minimum.
        flat = np.zeros(total, dtype=bool)
        flat[active] = np.abs(gain) <= 1e-14 * (costs[active] + _FLAT)
        converged[active] = flat[active] | (quiet[active] >= _PATIENCE) | (costs[active] < 1e-25)
        stuck = damping[active] > _LARGEST_DAMPING
        converged[active] |= stuck & (gain <= 1e-9 * (costs[active] + _FLAT))
        active = active[~(converged[active] | stuck)]
    return Minima(values, costs, converged)


def _steps(
    normal: Array, descent: Array, scale: Array, damping: Array, fixed: NDArray[np.bool_], values: Array,
    low: Array, high: Array, active: Rows,
) -> tuple[Array, Array]:  # fmt: skip
    """Damped step of each active row, (r, k), kept within the bounds, and the gain that the model predicts."""
    here, down = values[active], descent[active]
    blocked: NDArray[np.bool_] = fixed[active] | ((here <= low) & (down < 0)) | ((here >= high) & (down > 0))
    width = np.maximum(scale[active], 1e-30)
    k = here.shape[1]
    inner = np.arange(k)

    def solve(blocked: NDArray[np.bool_], target: Array) -> Array:
        matrix = np.where(blocked[:, :, None] | blocked[:, None, :], 0.0, normal[active])
        matrix[:, inner, inner] += np.where(blocked, 1.0, damping[active][:, None] * width)
        size = np.sqrt(np.maximum(np.einsum("rii->ri", matrix), 1e-300))
        scaled = matrix / (size[:, :, None] * size[:, None, :])
        scaled[:, inner, inner] += 1e-15
        target = np.where(blocked, 0.0, target)
        return np.asarray(np.linalg.solve(scaled, (target / size)[..., None])[..., 0] / size)

    step = solve(blocked, down)
    crosses: NDArray[np.bool_] = np.asarray(((here + step < low) | (here + step > high)) & ~blocked)
    if crosses.any():  # go to the bound along what crosses it, and solve again for the rest
        edge = np.where(crosses, np.clip(here + step, low, high) - here, 0.0)
        rest = solve(blocked | crosses, down - np.einsum("rij,rj->ri", normal[active], edge))
        step = np.where(crosses, edge, rest)
    step = np.clip(here + step, low, high) - here
    model = np.einsum("ri,rij,rj->r", step, normal[active], step)
    return step, 2.0 * np.einsum("ri,ri->r", step, np.where(blocked, 0.0, down)) - model
