"""Bond integrals of Slater-type orbitals: overlap and kinetic energy by quadrature in prolate spheroidal coordinates.

An orbital is N r^(n-1) exp(-zeta r) Y_lm with N = (2 zeta)^(n+1/2) / sqrt((2n)!) (Slater, Phys. Rev. 36, 57, 1930).
With the atoms at the foci, xi = (r_a + r_b) / R and eta = (r_a - r_b) / R, the integrand is a polynomial times
exp(-R (zeta_a + zeta_b) xi / 2) exp(-R (zeta_a - zeta_b) eta / 2) (Mulliken, Rieke, Orloff and Orloff, J. Chem. Phys.
17, 1248, 1949): Gauss-Laguerre in xi is exact and Gauss-Legendre in eta converges fast. Everything is differentiable.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

HBAR2_OVER_M = 7.61996423
"""hbar^2 / m_e in eV Å^2."""

_N_XI = 8  # exact up to degree 15: principal quantum numbers up to 7
_N_ETA = 20


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Laguerre nodes, Legendre nodes and the product of the weights (8, 20)."""
    t, weight_t = np.polynomial.laguerre.laggauss(_N_XI)
    eta, weight_eta = np.polynomial.legendre.leggauss(_N_ETA)
    return t, eta, weight_t[:, None] * weight_eta


def _log_norm(principal: Tensor, exponent: Tensor) -> Tensor:
    return (principal + 0.5) * torch.log(2 * exponent) - 0.5 * torch.lgamma(2 * principal + 1)


def _kinetic_factor(r: Tensor, principal: Tensor, exponent: Tensor, shell: int) -> Tensor:
    """(-hbar^2 / 2 m) laplacian of the orbital over the orbital, eV."""
    centrifugal = principal * (principal - 1) - shell * (shell + 1)
    return -0.5 * HBAR2_OVER_M * (exponent**2 - 2 * principal * exponent / r + centrifugal / r**2)


def _angular(l_a: int, l_b: int, cos_a: Tensor, sin_a: Tensor, cos_b: Tensor, sin_b: Tensor) -> list[Tensor]:
    """Angular factors, integrated over the azimuth, for sigma, pi, delta as far as both shells have them."""

    def polar(shell: int, m: int, cos: Tensor, sin: Tensor) -> Tensor:
        if shell == m == 0:
            return torch.ones_like(cos)
        if shell == 1:
            return math.sqrt(3) * (cos if m == 0 else sin)
        if m == 0:
            return math.sqrt(5) / 2 * (3 * cos**2 - 1)
        return math.sqrt(15) * sin * (cos if m == 1 else sin / 2)

    azimuth = (0.5, 0.25, 0.25)  # integral of cos^2(m phi) over 4 pi
    return [azimuth[m] * polar(l_a, m, cos_a, sin_a) * polar(l_b, m, cos_b, sin_b) for m in range(min(l_a, l_b) + 1)]


def shell_integrals(
    distance: Tensor, l_a: int, n_a: Tensor, zeta_a: Tensor, l_b: int, n_b: Tensor, zeta_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Overlap and kinetic-energy integrals of two shells.

    Parameters
    ----------
    distance
        (P,) Å, above zero.
    l_a, l_b
        Angular momenta, 0 to 2.
    n_a, n_b
        (P,) principal quantum numbers, above the angular momentum.
    zeta_a, zeta_b
        (P,) exponents, 1/Å.

    Returns
    -------
    tuple of Tensor
        (P, min(l_a, l_b) + 1) each: overlap, and kinetic energy in eV; sigma, pi, delta. Both orbitals are taken in one
        frame with z from the first to the second.
    """
    nodes = [torch.as_tensor(part, dtype=distance.dtype, device=distance.device) for part in _quadrature()]
    t, eta, weight = nodes[0][:, None], nodes[1], nodes[2]
    half, n_a, zeta_a, n_b, zeta_b = (x[:, None, None] for x in (distance / 2, n_a, zeta_a, n_b, zeta_b))
    decay = half * (zeta_a + zeta_b)
    xi = 1 + t / decay  # (P, 8, 1)
    r_a, r_b = half * (xi + eta), half * (xi - eta)
    cos_a, cos_b = (1 + xi * eta) / (xi + eta), (xi * eta - 1) / (xi - eta)
    across = torch.sqrt((xi**2 - 1) * (1 - eta**2))
    sin_a, sin_b = across / (xi + eta), across / (xi - eta)
    log_radial = (
        _log_norm(n_a, zeta_a)
        + _log_norm(n_b, zeta_b)
        + (n_a - 1) * torch.log(r_a)
        + (n_b - 1) * torch.log(r_b)
        - decay
        - half * (zeta_a - zeta_b) * eta
    )
    integrand = weight * half**3 * (xi**2 - eta**2) / decay * torch.exp(log_radial)
    # The Laplacian may act on either orbital; the mean is symmetric to the last digit.
    kinetic = 0.5 * (_kinetic_factor(r_a, n_a, zeta_a, l_a) + _kinetic_factor(r_b, n_b, zeta_b, l_b))
    factors = [factor * integrand for factor in _angular(l_a, l_b, cos_a, sin_a, cos_b, sin_b)]
    overlap = torch.stack([factor.sum((1, 2)) for factor in factors], -1)
    return overlap, torch.stack([(factor * kinetic).sum((1, 2)) for factor in factors], -1)


def smooth_cutoff(distance: Tensor, start: Tensor, stop: Tensor) -> Tensor:
    """1 up to `start`, 0 from `stop` on, with two continuous derivatives between."""
    x = ((distance - start) / (stop - start)).clamp(0, 1)
    return 1 - x**3 * (10 - 15 * x + 6 * x**2)
