"""Kramers-Kronig consistency of a complex spectrum that is known on a window of energies only."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

#: poles of the absorption above the window, in units of its upper end; the last stands for "far above"
_TAIL = (1.003, 1.025, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 20.0)
#: and below it, in units of its lower end
_HEAD = (0.0, 0.5, 0.8, 0.9, 0.975)
#: the part of the window that is judged: near its ends the missing absorption is no smooth tail
_INNER = (0.025, 0.9)
_EVERY = 5


class KramersKronig:
    """How far Re eps is from what Im eps implies.

    Re eps(w) - 1 is the Kramers-Kronig integral of Im eps over the window, exact for straight lines between the grid
    points, plus what absorption outside the window adds. That part is unknown but not arbitrary: it is a sum of
    Sellmeier terms a / (w_j^2 - w^2) with a >= 0 and w_j above the window (or below, if the window begins above 0).
    Their best non-negative combination is taken off; what remains, relative to Re eps - 1 in the mean of absolute
    values, is zero for a causal response and of order 1 for unrelated parts.

    Parameters
    ----------
    energies
        (n,) eV, ascending.
    """

    def __init__(self, energies: np.ndarray) -> None:
        low, high = energies[0] + _INNER[0] * (energies[-1] - energies[0]), _INNER[1] * energies[-1]
        self._places = np.flatnonzero((energies > low) & (energies < high))[::_EVERY]
        judged = energies[self._places]
        self._integral = kramers_kronig_matrix(energies, judged)
        self._coarse = kramers_kronig_matrix(energies[::2], judged)
        terms = [1 / (1 - (judged / (pole * energies[-1])) ** 2) for pole in _TAIL]
        if energies[0] > 0:
            terms += [1 / (pole**2 - (judged / energies[0]) ** 2) for pole in _HEAD]
        self._orthogonal, self._triangle = np.linalg.qr(np.column_stack(terms))
        self._terms = np.column_stack(terms)

    def residual(self, re: np.ndarray, im: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what remains, and how well the grid resolves it.

        Parameters
        ----------
        re, im
            (M, n) of the interband dielectric function.

        Returns
        -------
        rest, resolution
            (M,) relative L1; NaN where a value is not finite. The resolution is the change of the integral when only
            every second grid point is kept: on a grid that is too coarse for the spectrum it is large.
        """
        im = np.asarray(im, dtype=np.float64)
        susceptibility = np.asarray(re, dtype=np.float64)[:, self._places] - 1
        integral = im @ self._integral.T
        missing = susceptibility - integral
        result = np.full(len(missing), np.nan)
        for row in np.flatnonzero(np.isfinite(missing).all(axis=1)):
            strength, _ = nnls(self._triangle, self._orthogonal.T @ missing[row])
            result[row] = np.abs(missing[row] - self._terms @ strength).mean()
        size = np.maximum(np.abs(susceptibility).mean(axis=1), 1e-12)
        resolution = np.abs(integral - im[:, ::2] @ self._coarse.T).mean(axis=1)
        return result / size, resolution / size


def kramers_kronig_matrix(energies: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Return the matrix of (2 / pi) P integral w' f(w') / (w'^2 - w^2) dw' over the window.

    Exact for a function that is straight between the grid points: 2 w' / (w'^2 - w^2) is 1 / (w' - w) + 1 / (w' + w),
    and the integral of a hat function over 1 / x is a divided difference of x ln|x| - x.

    Parameters
    ----------
    energies
        (n,) where the function is given, eV.
    judged
        (m,) where the integral is wanted, eV; inside the window.

    Returns
    -------
    ndarray
        (m, n).
    """
    matrix = np.zeros((len(judged), len(energies)))
    for sign in (-1, 1):
        x = energies + sign * judged[:, None]
        logarithm = np.log(np.abs(np.where(x == 0, 1, x)))
        slopes = np.diff(x * logarithm - x, axis=1) / np.diff(energies)
        matrix[:, 1:-1] += np.diff(slopes, axis=1)
        matrix[:, 0] += slopes[:, 0] - logarithm[:, 0]
        matrix[:, -1] += logarithm[:, -1] - slopes[:, -1]
    return matrix / np.pi
