"""First guesses of each law's parameters from the points themselves.

A guess takes the variables by name, each of shape (n,), and the losses, shape (n,), and returns one finite start value
a parameter. It need only lie in the right valley: the fit also starts around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Guess = Callable[[Mapping[str, Array], Array], dict[str, float]]

_FLOOR_SHARES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
_SMALLEST_SLOPE = 0.01
_DECADES_BEYOND = 2.0


def _line(x: Array, loss: Array) -> tuple[float, float, float]:
    """Straight line of log10 loss over log10 x: exponent a = -slope, intercept, sum of squares."""
    log_x, log_loss = np.log10(x), np.log10(loss)
    if np.ptp(log_x) == 0.0:
        return _SMALLEST_SLOPE, float(log_loss.mean()), 0.0
    slope, intercept = np.polyfit(log_x, log_loss, 1)
    residual = log_loss - (slope * log_x + intercept)
    return -float(slope), float(intercept), float(residual @ residual)


def _power(x: Array, loss: Array) -> tuple[float, float]:
    """log10 x0 and a of a straight line, with a kept off zero, where x0 has no value."""
    a, intercept, _ = _line(x, loss)
    a = float(np.copysign(max(abs(a), _SMALLEST_SLOPE), a))
    return intercept / a, a


def _near(value: float, x: Array) -> float:
    """Hold the logarithm of a length within two decades of the points."""
    log_x = np.log10(x)
    return float(np.clip(value, log_x.min() - _DECADES_BEYOND, log_x.max() + _DECADES_BEYOND))


def _ends(x: Array, loss: Array) -> tuple[float, float]:
    """Exponents of the lower and the upper half of the points."""
    order = np.argsort(x)
    half = max(2, (len(x) + 1) // 2)
    head, tail = order[:half], order[-half:]
    return _power(x[head], loss[head])[1], _power(x[tail], loss[tail])[1]


def guess_power(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Straight line in the logarithms."""
    log10_x0, a = _power(x["x"], loss)
    return {"log10_x0": log10_x0, "a": a}


def guess_floor(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Straightest line in the logarithms after a trial floor is taken off."""
    share = min(_FLOOR_SHARES, key=lambda s: _line(x["x"], loss - s * loss.min())[2])
    linf = share * float(loss.min())
    log10_x0, a = _power(x["x"], loss - linf)
    return {"log10_x0": log10_x0, "a": a, "Linf": max(linf, 0.01 * float(loss.min()))}


def guess_broken(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Slopes of the two halves; the break, where the loss is near one."""
    a1, a2 = _ends(x["x"], loss)
    return {"log10_xc": _near(_power(x["x"], loss)[0], x["x"]), "a1": a1, "a2": a2}


def guess_broken_amplitude(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Slopes of the two halves, the break in their middle, the amplitude from the loss there."""
    a1, a2 = _ends(x["x"], loss)
    middle = float(np.log10(x["x"]).mean())
    amplitude = float(np.exp(np.log(loss).mean())) / 2.0 ** (a1 - a2)
    return {"log10_xc": middle, "a1": a1, "a2": a2, "A": amplitude}


def _edge(x: Mapping[str, Array], along: str, across: str) -> NDArray[np.bool_]:
    """Points at the largest `across` that has at least two values of `along`; all points if there is none."""
    for value in np.unique(x[across])[::-1]:
        chosen = x[across] == value
        if len(np.unique(x[along][chosen])) > 1:
            return np.asarray(chosen)
    return np.ones(len(x[along]), dtype=bool)


def _guess_map(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    at_large_d, at_large_n = _edge(x, "N", "D"), _edge(x, "D", "N")
    log10_nc, a_n = _power(x["N"][at_large_d], loss[at_large_d])
    log10_dc, _ = _power(x["D"][at_large_n], loss[at_large_n])
    a1, a2 = _ends(x["D"][at_large_n], loss[at_large_n])
    return {"log10_Nc": _near(log10_nc, x["N"]), "log10_Dc": _near(log10_dc, x["D"]), "aN": a_n, "a1": a1, "a2": a2}


def guess_kaplan(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Slopes along the edges of the grid where the other variable is largest."""
    return _guess_map(x, loss)


def guess_hoffmann(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Slopes along the same edges, with a third of the lowest loss as the floor."""
    floor = float(loss.min()) / 3.0
    return {**_guess_map(x, loss - floor), "L0": floor}
