"""First guesses of each law's parameters from the points themselves.

A guess takes the variables by name, each of shape (n,), and the losses, shape (n,), and returns one finite start value
a parameter. It need only lie in the right valley: the fit also starts around it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

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


def guess_saturating(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Slope of the lower half; saturation at the last point."""
    head = np.argsort(x["x"])[: max(2, (len(loss) + 1) // 2)]
    log10_x0, a = _power(x["x"][head], loss[head])
    return {"log10_x0": log10_x0, "a": abs(a), "log10_xs": float(np.log10(x["x"].max()))}


def guess_m4(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Power law with floor, beside a loss at no data just above the largest one."""
    start = guess_floor(x, loss)
    return {**start, "a": abs(start["a"]), "b": 0.3, "L0": 1.05 * float(loss.max())}


def guess_broken_floor(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Broken law with amplitude above half of the lowest loss."""
    floor = 0.5 * float(loss.min())
    start = guess_broken_amplitude(x, loss - floor)
    return {**start, "a1": abs(start["a1"]), "a2": abs(start["a2"]), "Linf": floor}


def guess_bnsl1(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Broken law with floor at sharpness one."""
    return {**guess_broken_floor(x, loss), "s": 1.0}


def guess_bnsl2(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Broken law with floor, its break split into two, a third of the range apart."""
    start = guess_broken_floor(x, loss)
    apart = float(np.ptp(np.log10(x["x"]))) / 6.0
    middle, a1, a2 = start["log10_xc"], start["a1"], start["a2"]
    both = {"log10_xc": middle - apart, "log10_xd": middle + apart, "a1": a1, "a2": 0.5 * (a1 + a2), "a3": a2}
    return {**both, "s": 1.0, "sd": 1.0, "A": start["A"], "Linf": start["Linf"]}


def guess_kaplan_plain(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Power laws along the edges of the grid."""
    start = _guess_map(x, loss)
    a_d = max(0.5 * abs(start["a1"] + start["a2"]), _SMALLEST_SLOPE)
    return {"log10_Nc": start["log10_Nc"], "log10_Dc": start["log10_Dc"], "aN": abs(start["aN"]), "aD": a_d}


def guess_chinchilla(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Half of the lowest loss as the floor, the rest shared between N and D at the middle of the points."""
    floor = 0.5 * float(loss.min())
    half = float(np.exp(np.log(loss - floor).mean())) / 2.0
    amplitudes = {
        f"log10_{name}": float(np.log10(half) + 0.4 * np.log10(x[size]).mean())
        for name, size in (("A", "N"), ("B", "D"))
    }
    return {**amplitudes, "aN": 0.4, "aD": 0.4, "E": floor}


def guess_coupled(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Start at the Hoffmann map without break."""
    return {**guess_chinchilla(x, loss), "g": 0.7}


def guess_coupled_broken(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Take the Kaplan map's start with the coupling of that map."""
    start = _guess_map(x, loss)
    return {**start, "g": max(abs(start["a2"]), 0.1)}


def guess_coupled_drift(x: Mapping[str, Array], loss: Array) -> dict[str, float]:
    """Start at the coupled broken map."""
    return {**guess_coupled_broken(x, loss), "d": 0.01}
