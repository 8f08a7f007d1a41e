"""From bands and velocities to eps_inter and omega_D.

With E_F from the number of electrons, f the Fermi-Dirac function at kT = 0.1 eV, V the volume, and means over the mesh,

    eps_inter(w) = 1 + (2 e^2 / eps_0 V) sum_{n<m} (f_n - f_m) |hbar v_nm|^2 / E * 2 / [E^2 - (w + i eta)^2]
    omega_D^2 = (2 e^2 / eps_0 V) sum_n (-df/dE)~ |hbar v_nn|^2

with E = E_m - E_n and |v|^2 averaged over directions (the independent-particle approximation of Adler, Phys. Rev. 126,
413, 1962, and Wiser, Phys. Rev. 129, 62, 1963, without local fields; the long-wave limit of the intraband part is the
Drude term). Pairs of bands closer than 0.02 eV count as one degenerate block of the Drude part: the two parts exchange
weight there, and the split would not converge with the mesh.

The tilde: within the cell that a point of the mesh stands for, a band of slope hbar v spreads by sigma, the product of
the slope and the spread of the cell's points. Where that is more than kT the sum over points would be rough, so that
-df/dE is taken at (kT)^2 + 3 sigma^2 / pi^2, which has the variance of both together: the broadening that follows the
band's slope of Yates, Wang, Vanderbilt and Souza, Phys. Rev. B 75, 195121, 2007, with the width that a linear band has.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

COULOMB = 180.95128
"""e^2 / eps_0 in eV Å."""
TEMPERATURE = 0.1
"""kT of the occupations, eV."""
ETA = 0.1
"""Broadening, eV."""
DEGENERATE = 0.02
"""eV: closer bands belong to the Drude part."""
TAIL = 20 * TEMPERATURE
"""eV from E_F at which a state counts as full or empty (occupations within 2e-9)."""
ENERGY_STEP, N_ENERGIES = 0.01, 2001
"""The spectrum's grid, from 0, eV."""

_N_BINS = 12_000  # transitions up to 120 eV
_N_FFT = 27_000  # at least 2 _N_BINS + N_ENERGIES: no wrap-around; with small prime factors
_BISECTIONS = 48


def fermi_level(energies: Tensor, weights: Tensor, n_electrons: Tensor) -> Tensor:
    """Return the level that holds the electrons, two a band.

    Parameters
    ----------
    energies
        (C, K, n) eV, float64.
    weights
        (C, K), sum 1 for each crystal.
    n_electrons
        (C,) for each cell.

    Returns
    -------
    Tensor
        (C,) eV.
    """
    low, high = energies.amin((1, 2)) - 1, energies.amax((1, 2)) + 1
    for _ in range(_BISECTIONS):
        level = (low + high) / 2
        occupations = occupation(energies, level[:, None, None])
        too_many = 2 * (occupations.sum(2) * weights).sum(1) > n_electrons
        high = torch.where(too_many, level, high)
        low = torch.where(too_many, low, level)
    return (low + high) / 2


def occupation(energies: Tensor, level: Tensor) -> Tensor:
    """Fermi-Dirac occupations, 0 to 1."""
    return torch.sigmoid((level - energies) / TEMPERATURE)


def sum_drude(energies: Tensor, level: Tensor, velocity2: Tensor, weights: Tensor, cell_variance: Tensor) -> Tensor:
    """Sum the Drude part.

    Parameters
    ----------
    energies
        (C, K, p) eV, float64: the bands that are partly filled.
    level
        (C,) Fermi levels, eV.
    velocity2
        (C, K, p, p) |hbar v|^2 averaged over directions, eV^2 Å^2.
    weights
        (C, K) of the points.
    cell_variance
        (C,) `BlochInput.cell_variance`, 1/Å^2.

    Returns
    -------
    Tensor
        (C,) float64: sum of (-df/dE)~ |hbar v_nn|^2.
    """
    first, second = energies[..., :, None], energies[..., None, :]
    # States beyond the tail count for nothing: which bands are partly filled depends on the crystals solved together.
    near = (energies - level[:, None, None]).abs() < TAIL
    same = ((second - first).abs() < DEGENERATE) & near[..., :, None] & near[..., None, :]
    block2 = torch.where(same, velocity2.double(), 0.0)
    # |hbar v|^2 of a band, all directions together: the rows of a degenerate block do not depend on its basis.
    variance = 3 * cell_variance[:, None, None] * block2.sum(-1)  # (C, K, p)
    width = (TEMPERATURE**2 + 1.5 / math.pi**2 * (variance[..., :, None] + variance[..., None, :])).sqrt()
    filled = torch.sigmoid((level[:, None, None, None] - (first + second) / 2) / width)
    return (filled * (1 - filled) / width * block2 * weights[..., None, None]).sum((1, 2, 3))


def sum_transitions(lower: Tensor, upper: Tensor, level: Tensor, velocity2: Tensor, weights: Tensor) -> Tensor:
    """Sort transitions into energy bins.

    Parameters
    ----------
    lower, upper
        (C, K, a) and (C, K, b) eV, float64: energies of the bands that are not empty, and of those that are not full.
    level
        (C,) Fermi levels, eV.
    velocity2
        (C, K, a, b) |hbar v|^2 averaged over directions, eV^2 Å^2.
    weights
        (C, K) of the points.

    Returns
    -------
    Tensor
        (C, _N_BINS + 1) float64: sum of (f_n - f_m) |hbar v_nm|^2 / E^2 around each multiple of the energy step.
    """
    n_crystals = len(level)
    level = level[:, None, None]
    first, second = lower[..., :, None], upper[..., None, :]
    E = second - first  # (C, K, a, b)
    strength = velocity2.double() * weights[..., None, None]
    f_first, f_second = occupation(lower, level)[..., :, None], occupation(upper, level)[..., None, :]

    inter = E >= DEGENERATE
    E = torch.where(inter, E, 1.0)
    amount = torch.where(inter, (f_first - f_second) * strength / E.square(), 0.0)
    place = E / ENERGY_STEP
    # What lies beyond the last bin keeps its static polarizability.
    amount = torch.where(place > _N_BINS - 1, amount * (_N_BINS - 1) / place, amount)
    place = place.clamp(max=_N_BINS - 1)
    bin_ = place.floor()
    share = place - bin_
    index = bin_.long() + (_N_BINS + 1) * torch.arange(n_crystals, device=E.device)[:, None, None, None]
    bins = torch.zeros(n_crystals * (_N_BINS + 1), dtype=torch.float64, device=E.device)
    bins.index_add_(0, index.flatten(), (amount * (1 - share)).flatten())
    bins.index_add_(0, index.flatten() + 1, (amount * share).flatten())
    return bins.view(n_crystals, -1)


def dielectric_function(bins: Tensor, volume: Tensor) -> Tensor:
    """Broaden binned transitions into eps_inter on the energy grid.

    One transition of energy E gives 2 E / (E^2 - z^2) = 1 / (E - z) + 1 / (E + z), z = w + i eta, so that the bins,
    continued as an odd function, are convolved with one fixed kernel by FFT.

    Parameters
    ----------
    bins
        From `sum_transitions`.
    volume
        (C,) of the cells, Å^3.

    Returns
    -------
    Tensor
        (C, 2001) complex128.
    """
    odd = torch.zeros(len(bins), _N_FFT, dtype=torch.float64, device=bins.device)
    odd[:, 1 : _N_BINS + 1] = bins[:, 1:]
    odd[:, -_N_BINS:] = -bins[:, 1:].flip(1)
    broadened = torch.fft.ifft(torch.fft.fft(odd) * _kernel(bins.device))[:, :N_ENERGIES]
    return 1 + (2 * COULOMB / volume)[:, None] * broadened


@functools.cache
def _kernel(device: torch.device) -> Tensor:
    """(_N_FFT,) transform of h(x) = 1 / (-x - i eta), for sum_b bins_b h(w - E_b) = sum_b bins_b / (E_b - z)."""
    step = torch.arange(_N_FFT, dtype=torch.float64, device=device)
    # w - E_b runs from -_N_BINS to N_ENERGIES - 1 + _N_BINS steps.
    offset = ENERGY_STEP * torch.where(step < _N_BINS + N_ENERGIES, step, step - _N_FFT)
    return torch.fft.fft(1 / torch.complex(-offset, torch.full_like(offset, -ETA)))


def drude_frequency(drude: Tensor, volume: Tensor) -> Tensor:
    """Return omega_D in eV from the sums of `sum_drude` and the volumes in Å^3."""
    return (2 * COULOMB * drude / volume).clamp(min=0).sqrt()


def free_electron_frequency(n_electrons: float, volume: float) -> float:
    """Return the plasma frequency of free electrons in eV: hbar^2 omega^2 = (hbar^2 e^2 / eps_0 m) N / V."""
    return math.sqrt(7.61996423 * COULOMB * n_electrons / volume)
