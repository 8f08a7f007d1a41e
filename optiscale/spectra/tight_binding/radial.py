"""Bond integrals of Slater-type orbitals: overlap and kinetic energy by quadrature in prolate spheroidal coordinates.

An orbital is N r^(n-1) exp(-zeta r) Y_lm with N = (2 zeta)^(n+1/2) / sqrt((2n)!) (Slater, Phys. Rev. 36, 57, 1930).
With the atoms at the foci, xi = (r_a + r_b) / R and eta = (r_a - r_b) / R, the integrand is a polynomial times
exp(-R (zeta_a + zeta_b) xi / 2) exp(-R (zeta_a - zeta_b) eta / 2) (Mulliken, Rieke, Orloff and Orloff, J. Chem. Phys.
17, 1248, 1949): Gauss-Laguerre in xi is exact and Gauss-Legendre in eta converges fast. Everything is differentiable.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

HBAR2_OVER_M = 7.61996423
"""hbar^2 / m_e in eV Å^2."""

_N_XI = 8  # exact up to degree 15: principal quantum numbers up to 7
_N_ETA = 16


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Laguerre nodes, Legendre nodes and the product of the weights (8, 16)."""
    t, weight_t = np.polynomial.laguerre.laggauss(_N_XI)
    eta, weight_eta = np.polynomial.legendre.leggauss(_N_ETA)
    return t, eta, weight_t[:, None] * weight_eta


def _log_norm(principal: Tensor, exponent: Tensor) -> Tensor:
    return (principal + 0.5) * torch.log(2 * exponent) - 0.5 * torch.lgamma(2 * principal + 1)


def _kinetic_factor(r: Tensor, principal: Tensor, exponent: Tensor, shell: Tensor) -> Tensor:
    """(-hbar^2 / 2 m) laplacian of the orbital over the orbital, eV."""
    centrifugal = principal * (principal - 1) - shell * (shell + 1)
    return -0.5 * HBAR2_OVER_M * (exponent**2 - (2 * principal * exponent - centrifugal / r) / r)


def _polar(shell: int, m: int, cos: Tensor, sin: Tensor) -> Tensor | float:
    """Real harmonic over its dependence on the azimuth, times sqrt(4 pi)."""
    if shell == 0:
        return 1.0
    if shell == 1:
        return math.sqrt(3) * (cos if m == 0 else sin)
    if m == 0:
        return math.sqrt(5) / 2 * (3 * cos**2 - 1)
    return math.sqrt(15) * sin * (cos if m == 1 else sin / 2)


_AZIMUTH = (0.5, 0.25, 0.25)  # integral of cos^2(m phi) over 4 pi


def shell_integrals(
    distance: Tensor,
    shells: Sequence[tuple[int, int]],
    n_a: Tensor,
    zeta_a: Tensor,
    n_b: Tensor,
    zeta_b: Tensor,
) -> tuple[Tensor, Tensor]:
    """Overlap and kinetic-energy integrals of Q pairs of shells on each of P pairs of atoms.

    Parameters
    ----------
    distance
        (P,) Å, above zero.
    shells
        Q pairs of angular momenta, 0 to 2: first atom, second atom.
    n_a, n_b
        (P, Q) principal quantum numbers, above the angular momentum.
    zeta_a, zeta_b
        (P, Q) exponents, 1/Å.

    Returns
    -------
    tuple of Tensor
        Overlap, and kinetic energy in eV: one column for sigma, pi, delta of each pair of shells, as far as both have
        them. Both orbitals are taken in one frame with z from the first to the second.
    """
    t, eta, weight = (torch.as_tensor(part, dtype=distance.dtype, device=distance.device) for part in _quadrature())
    t = t[:, None]
    half, n_a, zeta_a, n_b, zeta_b = (
        x[..., None, None] for x in (distance[:, None] / 2, n_a, zeta_a, n_b, zeta_b)
    )  # (P, Q, 1, 1)
    decay = half * (zeta_a + zeta_b)
    xi = 1 + t / decay  # (P, Q, 8, 1)
    r_a, r_b = half * (xi + eta), half * (xi - eta)  # (P, Q, 8, 16)
    product = xi * eta
    cos_a, cos_b = half * (1 + product) / r_a, half * (product - 1) / r_b
    across = half * (torch.sqrt(xi**2 - 1) * torch.sqrt(1 - eta**2))
    sin_a, sin_b = across / r_a, across / r_b
    log_radial = (
        (_log_norm(n_a, zeta_a) + _log_norm(n_b, zeta_b) + torch.log(half / decay) - decay)
        + n_a * torch.log(r_a)
        + n_b * torch.log(r_b)
        - half * (zeta_a - zeta_b) * eta
    )  # the volume element xi^2 - eta^2 raises both powers by one
    integrand = weight * torch.exp(log_radial)
    l_a, l_b = torch.tensor(shells, dtype=distance.dtype, device=distance.device)[:, :, None, None].unbind(1)
    # The Laplacian may act on either orbital; the mean is symmetric to the last digit.
    kinetic = 0.5 * (_kinetic_factor(r_a, n_a, zeta_a, l_a) + _kinetic_factor(r_b, n_b, zeta_b, l_b))
    kinetic = kinetic * integrand
    columns: tuple[list[Tensor], list[Tensor]] = ([], [])
    for q, (first, second) in enumerate(shells):
        for m in range(min(first, second) + 1):
            angular = _polar(first, m, cos_a[:, q], sin_a[:, q]) * _polar(second, m, cos_b[:, q], sin_b[:, q])
            for column, function in zip(columns, (integrand, kinetic), strict=True):
                column.append(_AZIMUTH[m] * (angular * function[:, q]).sum((1, 2)))
    return torch.stack(columns[0], 1), torch.stack(columns[1], 1)


def smooth_cutoff(distance: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """1 up to `start`, 0 from `stop` on, with two continuous derivatives between."""
    x = ((distance - start) / (stop - start)).clamp(0, 1)
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)
