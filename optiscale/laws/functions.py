"""The six scaling laws as plain functions, evaluated in log space.

A length (the data size or parameter count at which a law changes or reaches one) enters by its decimal logarithm, the
form in which it is fitted: ``log10_x0`` stands for x0 = 10**log10_x0. Exponents are dimensionless; losses carry the
unit of the loss that was fitted. Every function broadcasts its arguments and returns float64.

Source of all six: M. Großmann, M. Grunert, E. Runge, "Broken neural scaling laws in materials science",
arXiv:2602.05702. The broken form without amplitude is a smoothly broken power law after E. Caballero et al.,
arXiv:2210.14891; the two maps extend J. Kaplan et al., arXiv:2001.08361, and J. Hoffmann et al., arXiv:2203.15556.

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


def _exp(exponent: ArrayLike) -> Array:
    return np.exp(np.clip(exponent, -_LARGEST_EXPONENT, _LARGEST_EXPONENT))


def _log_ratio(log10_length: ArrayLike, x: ArrayLike) -> Array:
    """ln(length / x)."""
    return np.asarray(log10_length, dtype=float) * _LN10 - np.log(np.asarray(x, dtype=float))


def _log_broken(u: Array, a1: ArrayLike, a2: ArrayLike) -> Array:
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
    return _exp(np.asarray(a) * _log_ratio(log10_x0, x))


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
    return _exp(_log_broken(_log_ratio(log10_xc, x), a1, a2))


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


def kaplan(
    N: ArrayLike, D: ArrayLike, log10_Nc: ArrayLike, log10_Dc: ArrayLike, aN: ArrayLike, a1: ArrayLike, a2: ArrayLike
) -> Array:
    """Kaplan map with broken data scaling, L = [(Nc/N)^(aN/a2) + (Dc/D) (1 + Dc/D)^(a1/a2 - 1)]^a2.

    Limits: L -> (Nc/N)^aN for D -> infinity, and the broken law in D with a1, a2 for N -> infinity.

    Parameters
    ----------
    N, D
        Parameter count and data size, > 0, of one shape.
    log10_Nc, log10_Dc
        Decimal logarithms of Nc and Dc.
    aN
        Exponent in N.
    a1, a2
        Exponents in D below and above Dc; a2 must not be 0.
    """
    u, v = _log_ratio(log10_Nc, N), _log_ratio(log10_Dc, D)
    exponent = np.asarray(a2, dtype=float)
    # A minimiser may step on a2 = 0 itself, where the form has no value: take the nearest number that has one.
    exponent = np.where(exponent == 0.0, np.finfo(float).tiny ** 0.25, exponent)
    from_n = np.asarray(aN) / exponent * u
    from_d = _log_broken(v, np.asarray(a1) / exponent, 1.0)
    return _exp(exponent * np.logaddexp(from_n, from_d))


def hoffmann(
    N: ArrayLike,
    D: ArrayLike,
    log10_Nc: ArrayLike,
    log10_Dc: ArrayLike,
    aN: ArrayLike,
    a1: ArrayLike,
    a2: ArrayLike,
    L0: ArrayLike,
) -> Array:
    """Hoffmann map with broken data scaling, L = L0 + (Nc/N)^aN + (Dc/D)^a2 (1 + Dc/D)^(a1 - a2).

    Limits: L -> L0 + (Nc/N)^aN for D -> infinity, L0 + the broken law in D for N -> infinity, L0 for both.

    Parameters
    ----------
    N, D
        Parameter count and data size, > 0, of one shape.
    log10_Nc, log10_Dc
        Decimal logarithms of Nc and Dc.
    aN
        Exponent in N.
    a1, a2
        Exponents in D below and above Dc.
    L0
        Loss that remains at infinite N and D, >= 0.
    """
    return np.asarray(L0) + power(N, log10_Nc, aN) + broken(D, log10_Dc, a1, a2)
