"""The scaling laws of one variable as plain functions, evaluated in log space; :mod:`optiscale.laws.maps` has two.

A length (the data size or parameter count at which a law changes or reaches one) enters by its decimal logarithm, the
form in which it is fitted: ``log10_x0`` stands for x0 = 10**log10_x0. Exponents are dimensionless; losses carry the
unit of the loss that was fitted. Every function broadcasts its arguments and returns float64.

Sources: M. Großmann, M. Grunert, E. Runge, "Broken neural scaling laws in materials science", arXiv:2602.05702 (power,
floor, broken, broken with amplitude); I. Alabdulmohsin, B. Neyshabur, X. Zhai, "Revisiting neural scaling laws in
language and vision", arXiv:2209.06640 (M1 to M4, of which M1 is the power law and M2 the one with a floor);
E. Caballero et al., "Broken neural scaling laws", arXiv:2210.14891 (free sharpness, one and two breaks).

Notes
-----
Arguments of the exponential are held within ±300, so that a minimiser that wanders off meets a large number, never an
infinity or NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
_LARGEST_EXPONENT = 300.0
_LN10 = float(np.log(10.0))
_NEWTON_STEPS = 12


def exp_(exponent: ArrayLike) -> Array:
    """Exponential that is never infinite."""
    return np.exp(np.clip(exponent, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))


def log_ratio(log10_length: ArrayLike, x: ArrayLike) -> Array:
    """ln(length / x)."""
    return np.asarray(log10_length, dtype=float) * _LN10 - np.log(np.asarray(x, dtype=float))


def log_broken(u: Array, a1: ArrayLike, a2: ArrayLike) -> Array:
    """ln[e^(a2 u) (1 + e^u)^(a1 - a2)], with u = ln(xc / x)."""
    return np.asarray(a2) * u + (np.asarray(a1) - np.asarray(a2)) * np.logaddexp(0.0, u)


def power(x: ArrayLike, log10_x0: ArrayLike, a: ArrayLike) -> Array:
    """Power law, L = (x0 / x)^a.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_x0
        Decimal logarithm of x0, the x at which L = 1.
    a
        Exponent; L falls with x for a > 0.
    """
    return exp_(np.asarray(a) * log_ratio(log10_x0, x))


def floor(x: ArrayLike, log10_x0: ArrayLike, a: ArrayLike, Linf: ArrayLike) -> Array:
    """Power law with a floor, L = Linf + (x0 / x)^a; L -> Linf for x -> infinity.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_x0
        Decimal logarithm of x0, the x at which L = Linf + 1.
    a
        Exponent of the part above the floor.
    Linf
        Loss that remains at infinite x, >= 0.
    """
    return np.asarray(Linf) + power(x, log10_x0, a)


def broken(x: ArrayLike, log10_xc: ArrayLike, a1: ArrayLike, a2: ArrayLike) -> Array:
    """Broken power law, L = (xc / x)^a2 (1 + xc / x)^(a1 - a2).

    Limits: L -> (xc / x)^a1 for x << xc and (xc / x)^a2 for x >> xc; L = 2^(a1 - a2) at x = xc.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_xc
        Decimal logarithm of xc, where the slope changes.
    a1, a2
        Exponents below and above xc.
    """
    return exp_(log_broken(log_ratio(log10_xc, x), a1, a2))


def broken_amplitude(x: ArrayLike, log10_xc: ArrayLike, a1: ArrayLike, a2: ArrayLike, A: ArrayLike) -> Array:
    """Broken power law with amplitude, L = A (xc / x)^a2 (1 + xc / x)^(a1 - a2).

    The amplitude frees the loss at the break, which :func:`broken` ties to 2^(a1 - a2).

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_xc
        Decimal logarithm of xc, where the slope changes.
    a1, a2
        Exponents below and above xc.
    A
        Amplitude, > 0.
    """
    return np.asarray(A) * broken(x, log10_xc, a1, a2)


def saturating(x: ArrayLike, log10_x0: ArrayLike, a: ArrayLike, log10_xs: ArrayLike) -> Array:
    """Saturating power law, M3 of arXiv:2209.06640, L = [x0 (1/x + 1/xs)]^a.

    Limits: L -> (x0 / x)^a for x << xs and the constant (x0 / xs)^a for x >> xs.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_x0
        Decimal logarithm of x0, the x at which the power law that rules at small x is 1.
    a
        Exponent at small x.
    log10_xs
        Decimal logarithm of xs, the x beyond which more of it no longer helps.
    """
    return exp_(
        np.asarray(a) * np.logaddexp(log_ratio(log10_x0, x), log_ratio(log10_x0, 1.0) - log_ratio(log10_xs, 1.0))
    )


def m4(x: ArrayLike, log10_x0: ArrayLike, a: ArrayLike, b: ArrayLike, Linf: ArrayLike, L0: ArrayLike) -> Array:
    """M4 of arXiv:2209.06640, the L that solves (L - Linf) / (L0 - L)^b = (x0 / x)^a.

    Limits: L -> L0, the loss of a guess, for x -> 0 and Linf for x -> infinity; with b = 0 it is the power law with
    floor. Between the limits a sigmoid in ln x; found by Newton's method in its logit, where the equation is monotone.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_x0
        Decimal logarithm of x0, where both sides are 1.
    a
        Exponent of the approach to the floor.
    b
        Exponent of the distance to L0, >= 0.
    Linf, L0
        Loss at infinite and at no x, L0 > Linf.
    """
    low, b = np.asarray(Linf, dtype=float), np.asarray(np.maximum(b, 0.0), dtype=float)
    span = np.maximum(np.asarray(L0, dtype=float) - low, 1e-12 * np.abs(L0) + 1e-300)
    target = np.clip(np.asarray(a) * log_ratio(log10_x0, x), -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    target = target - (1.0 - b) * np.log(span)
    # ln(s) - b ln(1 - s) = target with s = sigmoid(t): slope 1 at t -> -inf, b at t -> +inf.
    t = np.where(target < 0, target, target / np.maximum(b, 0.05))
    for _ in range(_NEWTON_STEPS):
        up, down = np.logaddexp(0.0, t), np.logaddexp(0.0, -t)
        s = np.exp(-down)
        t = t - np.clip((b * up - down - target) / np.maximum(1.0 - s + b * s, 1e-6), -20.0, 20.0)
        t = np.clip(t, -_LARGEST_EXPONENT, 40.0)
    return low + span * np.exp(-np.logaddexp(0.0, -t))


def broken_floor(
    x: ArrayLike, log10_xc: ArrayLike, a1: ArrayLike, a2: ArrayLike, A: ArrayLike, Linf: ArrayLike
) -> Array:
    """Broken power law with amplitude and floor, L = Linf + A (xc / x)^a2 (1 + xc / x)^(a1 - a2).

    Limits: Linf + A (xc / x)^a1 for x << xc, Linf + A (xc / x)^a2 for x >> xc, Linf for x -> infinity. It is the form
    with one break of arXiv:2210.14891 at sharpness 1.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_xc
        Decimal logarithm of xc, where the slope changes.
    a1, a2
        Exponents below and above xc of the part above the floor.
    A
        Amplitude, > 0.
    Linf
        Loss that remains at infinite x, >= 0.
    """
    return np.asarray(Linf) + np.asarray(A) * broken(x, log10_xc, a1, a2)


def _log_bend(x: ArrayLike, log10_xc: ArrayLike, change: ArrayLike, s: ArrayLike) -> Array:
    """Ln of (1 + (x / xc)^(1/s))^(-change s), the factor that adds `change` to the exponent beyond xc."""
    width = np.maximum(np.asarray(s, dtype=float), 1e-6)
    return -np.asarray(change) * width * np.logaddexp(0.0, -log_ratio(log10_xc, x) / width)


def bnsl1(
    x: ArrayLike,
    log10_xc: ArrayLike,
    a1: ArrayLike,
    a2: ArrayLike,
    s: ArrayLike,
    A: ArrayLike,
    Linf: ArrayLike,
) -> Array:
    """Broken law with free sharpness, one break: L = Linf + A (xc/x)^a1 (1 + (x/xc)^(1/s))^(-(a2 - a1) s).

    arXiv:2210.14891, equation 1 with n = 1, b = A xc^a1, c0 = a1, c1 = a2 - a1, f1 = s. Limits as for
    :func:`broken_floor`, which it is at s = 1; s -> 0 is a kink.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_xc
        Decimal logarithm of the break.
    a1, a2
        Exponents below and above it of the part above the floor.
    s
        Width of the break in units of ln x (the sharpness f of the source: small is sharp), > 0.
    A
        Amplitude, > 0.
    Linf
        Loss that remains at infinite x, >= 0.
    """
    rise = exp_(np.asarray(a1) * log_ratio(log10_xc, x) + _log_bend(x, log10_xc, np.asarray(a2) - np.asarray(a1), s))
    return np.asarray(Linf) + np.asarray(A) * rise


def bnsl2(
    x: ArrayLike,
    log10_xc: ArrayLike,
    log10_xd: ArrayLike,
    a1: ArrayLike,
    a2: ArrayLike,
    a3: ArrayLike,
    s: ArrayLike,
    sd: ArrayLike,
    A: ArrayLike,
    Linf: ArrayLike,
) -> Array:
    """Broken law with free sharpness and two breaks.

    L = Linf + A (xc/x)^a1 (1 + (x/xc)^(1/s))^(-(a2 - a1) s) (1 + (x/xd)^(1/sd))^(-(a3 - a2) sd); arXiv:2210.14891,
    equation 1 with n = 2. Limits: exponents a1 below xc, a2 between, a3 above xd.

    Parameters
    ----------
    x
        Data size D or parameter count N, > 0.
    log10_xc, log10_xd
        Decimal logarithms of the first and the second break.
    a1, a2, a3
        Exponents below, between and above them of the part above the floor.
    s, sd
        Widths of the breaks in units of ln x, > 0.
    A
        Amplitude, > 0.
    Linf
        Loss that remains at infinite x, >= 0.
    """
    a1, a2, a3 = np.asarray(a1), np.asarray(a2), np.asarray(a3)
    bends = _log_bend(x, log10_xc, a2 - a1, s) + _log_bend(x, log10_xd, a3 - a2, sd)
    return np.asarray(Linf) + np.asarray(A) * exp_(a1 * log_ratio(log10_xc, x) + bends)
