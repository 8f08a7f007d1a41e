"""The scaling laws of two variables, L(N, D), as plain functions, evaluated in log space.

Conventions are those of :mod:`optiscale.laws.functions`. Sources: M. Großmann, M. Grunert, E. Runge, arXiv:2602.05702
(both maps with broken data scaling); J. Kaplan et al., arXiv:2001.08361 (equation 1.5, without break); J. Hoffmann et
al., arXiv:2203.15556 (equation 2, "Chinchilla"). The maps with a coupling g generalise both: g = 1 adds the two
shortages, g -> 0 takes the larger one alone, and g tied to the exponent in D is Kaplan's form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from optiscale.laws.functions import Array, broken, exp_, log_broken, log_ratio, power

_DRIFT_FROM = 6.0
"""log10 of the N at which the break of the drifting map lies at Dc."""


def _off_zero(exponent: ArrayLike) -> Array:
    """Keep what is divided by off zero: a minimiser may step on it, and the forms have no value there."""
    exponent = np.asarray(exponent, dtype=float)
    return np.where(exponent == 0.0, np.finfo(float).tiny ** 0.25, exponent)


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
    u, v = log_ratio(log10_Nc, N), log_ratio(log10_Dc, D)
    exponent = _off_zero(a2)
    from_n = np.asarray(aN) / exponent * u
    from_d = log_broken(v, np.asarray(a1) / exponent, 1.0)
    return exp_(exponent * np.logaddexp(from_n, from_d))


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


def kaplan_plain(
    N: ArrayLike, D: ArrayLike, log10_Nc: ArrayLike, log10_Dc: ArrayLike, aN: ArrayLike, aD: ArrayLike
) -> Array:
    """Kaplan map without break, L = [(Nc/N)^(aN/aD) + Dc/D]^aD; arXiv:2001.08361, equation 1.5.

    Limits: (Nc/N)^aN for D -> infinity, (Dc/D)^aD for N -> infinity.

    Parameters
    ----------
    N, D
        Parameter count and data size, > 0, of one shape.
    log10_Nc, log10_Dc
        Decimal logarithms of Nc and Dc, where the limits are 1.
    aN, aD
        Exponents in N and D; aD must not be 0.
    """
    exponent = _off_zero(aD)
    return exp_(exponent * np.logaddexp(np.asarray(aN) / exponent * log_ratio(log10_Nc, N), log_ratio(log10_Dc, D)))


def chinchilla(
    N: ArrayLike, D: ArrayLike, log10_A: ArrayLike, log10_B: ArrayLike, aN: ArrayLike, aD: ArrayLike, E: ArrayLike
) -> Array:
    """Hoffmann (Chinchilla) map, L = E + A / N^aN + B / D^aD; arXiv:2203.15556, equation 2.

    Limits: E + A / N^aN for D -> infinity, E + B / D^aD for N -> infinity, E for both.

    Parameters
    ----------
    N, D
        Parameter count and data size, > 0, of one shape.
    log10_A, log10_B
        Decimal logarithms of the amplitudes.
    aN, aD
        Exponents in N and D.
    E
        Loss that remains at infinite N and D, >= 0.
    """
    return np.asarray(E) + _term(log10_A, aN, N) + _term(log10_B, aD, D)


def _log_term(log10_amplitude: ArrayLike, exponent: ArrayLike, x: ArrayLike) -> Array:
    return log_ratio(log10_amplitude, 1.0) - np.asarray(exponent) * np.log(np.asarray(x, dtype=float))


def _term(log10_amplitude: ArrayLike, exponent: ArrayLike, x: ArrayLike) -> Array:
    return exp_(_log_term(log10_amplitude, exponent, x))


def _couple(log_first: ArrayLike, log_second: ArrayLike, g: ArrayLike) -> Array:
    """(e^(first/g) + e^(second/g))^g, the larger of the two for g -> 0 and their sum at g = 1."""
    width = np.maximum(np.asarray(g, dtype=float), 1e-6)
    return exp_(width * np.logaddexp(np.asarray(log_first) / width, np.asarray(log_second) / width))


def coupled(
    N: ArrayLike,
    D: ArrayLike,
    log10_A: ArrayLike,
    log10_B: ArrayLike,
    aN: ArrayLike,
    aD: ArrayLike,
    g: ArrayLike,
    E: ArrayLike,
) -> Array:
    """Coupled map, L = E + [(A / N^aN)^(1/g) + (B / D^aD)^(1/g)]^g.

    The form E + (A' N^(-aN/g) + B' D^(-aD/g))^g with A' = A^(1/g) and B' = B^(1/g), so that A and B keep their meaning
    for every g. Limits: as :func:`chinchilla`, which it is at g = 1; with E = 0 and g = aD, Kaplan's map without break.

    Parameters
    ----------
    N, D
        Parameter count and data size, > 0, of one shape.
    log10_A, log10_B
        Decimal logarithms of the amplitudes.
    aN, aD
        Exponents in N and D.
    g
        Coupling, > 0.
    E
        Loss that remains at infinite N and D, >= 0.
    """
    return np.asarray(E) + _couple(_log_term(log10_A, aN, N), _log_term(log10_B, aD, D), g)


def coupled_broken(
    N: ArrayLike,
    D: ArrayLike,
    log10_Nc: ArrayLike,
    log10_Dc: ArrayLike,
    aN: ArrayLike,
    a1: ArrayLike,
    a2: ArrayLike,
    g: ArrayLike,
) -> Array:
    """Coupled map with broken data scaling, L = [(Nc/N)^(aN/g) + B(D)^(1/g)]^g, B = (Dc/D)^a2 (1 + Dc/D)^(a1 - a2).

    Limits: (Nc/N)^aN for D -> infinity, the broken law in D for N -> infinity. With g = a2 it is the published Kaplan
    map :func:`kaplan`; the free g lets the corner between the two shortages be as sharp as the data say.

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
    g
        Coupling, > 0.
    """
    in_n = np.asarray(aN) * log_ratio(log10_Nc, N)
    return _couple(in_n, log_broken(log_ratio(log10_Dc, D), a1, a2), g)


def coupled_drift(
    N: ArrayLike,
    D: ArrayLike,
    log10_Nc: ArrayLike,
    log10_Dc: ArrayLike,
    aN: ArrayLike,
    a1: ArrayLike,
    a2: ArrayLike,
    g: ArrayLike,
    d: ArrayLike,
) -> Array:
    """Coupled map whose break drifts with N: :func:`coupled_broken` with Dc (N / 10^6)^d in place of Dc.

    Limits in D at fixed N are those of :func:`coupled_broken`; for N -> infinity the break moves out of any range
    unless d = 0, so that the form describes a grid and is not to be carried far beyond it in N.

    Parameters
    ----------
    N, D
        Parameter count and data size, > 0, of one shape.
    log10_Nc, log10_Dc
        Decimal logarithms of Nc, and of Dc at N = 10^6.
    aN
        Exponent in N.
    a1, a2
        Exponents in D below and above the break.
    g
        Coupling, > 0.
    d
        Exponent with which the break moves with N.
    """
    log10_break = np.asarray(log10_Dc) + np.asarray(d) * (np.log10(np.asarray(N, dtype=float)) - _DRIFT_FROM)
    return coupled_broken(N, D, log10_Nc, log10_break, aN, a1, a2, g)
