"""Features of atoms, edges and angles before any learned layer (only `atom` learns)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from optiscale.networks.elements import LAST_ELEMENT, N_GROUPS, N_PERIODS, group_and_period
from optiscale.networks.registry import EDGES, NODES


@NODES.register("group_period")
class GroupPeriod(nn.Module):
    """One-hot group and one-hot period of an element: (A,) -> (A, 24).

    Grunert, Großmann, Runge, Phys. Rev. Materials 8, L122201 (2024). Elements up to Z = 86; see `check_elements`.
    """

    width = N_GROUPS + N_PERIODS
    table: Tensor

    def __init__(self) -> None:
        super().__init__()
        table = torch.zeros(LAST_ELEMENT + 1, self.width)  # row 0 is no element
        for number in range(1, LAST_ELEMENT + 1):
            group, period = group_and_period(number)
            table[number, group - 1] = 1.0
            table[number, N_GROUPS + period - 1] = 1.0
        self.register_buffer("table", table, persistent=False)

    def forward(self, atomic_number: Tensor) -> Tensor:
        """Features (A, 24) of atomic numbers (A,)."""
        return self.table.index_select(0, atomic_number)


@NODES.register("atom")
class AtomNumber(nn.Embedding):
    """A learned vector of 64 for every element up to Z = 86: (A,) -> (A, 64).

    64 does not grow with the width of the network, so the node MLP [64, W, W, W] stands in for [24, W, W, W].
    """

    width = 64

    def __init__(self) -> None:
        super().__init__(LAST_ELEMENT, self.width)

    def forward(self, atomic_number: Tensor) -> Tensor:
        """Features (A, 64) of atomic numbers (A,)."""
        return super().forward(atomic_number - 1)


def polynomial_envelope(x: Tensor, *, p: int) -> Tensor:
    """Smooth step from 1 at x = 0 to 0 at x = 1, with zero first and second derivative there.

    DimeNet, arXiv:2003.03123, eq. 8: 1 - (p+1)(p+2)/2 x^p + p(p+2) x^(p+1) - p(p+1)/2 x^(p+2).
    """
    polynomial = -(p + 1) * (p + 2) / 2 + p * (p + 2) * x - p * (p + 1) / 2 * x * x
    return torch.where(x < 1, 1 + x**p * polynomial, torch.zeros_like(x))


class RadialBasis(nn.Module):
    """Functions of the edge length on [0, cutoff], times the envelope with p = 4 unless `envelope` is off.

    Parameters
    ----------
    cutoff
        Å.
    width
        Number of functions.
    envelope
        Whether the functions go to zero smoothly at the cutoff.
    """

    ENVELOPE_P = 4

    def __init__(self, *, cutoff: float, width: int, envelope: bool) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.width = width
        self.envelope = envelope

    def basis(self, length: Tensor) -> Tensor:
        """Values (E, width) at lengths (E, 1) in Å."""
        raise NotImplementedError

    def forward(self, length: Tensor) -> Tensor:
        """Features (E, width) of edge lengths (E,) in Å."""
        length = length.unsqueeze(-1)
        values = self.basis(length)
        return values * polynomial_envelope(length / self.cutoff, p=self.ENVELOPE_P) if self.envelope else values


@EDGES.register("gaussian")
class GaussianBasis(RadialBasis):
    """Gaussians centred on linspace(0, cutoff, width) with a standard deviation of `spread` spacings.

    The defaults are those of OptiMetal; OptiMate has 56, a spread of 2 and no envelope.
    """

    centers: Tensor

    def __init__(self, *, cutoff: float, width: int = 32, spread: float = 4.0, envelope: bool = True) -> None:
        super().__init__(cutoff=cutoff, width=width, envelope=envelope)
        self.std = spread * cutoff / (width - 1)
        self.register_buffer("centers", torch.linspace(0.0, cutoff, width), persistent=False)

    def basis(self, length: Tensor) -> Tensor:
        """Gaussians (E, width) at lengths (E, 1)."""
        return torch.exp(-0.5 * ((length - self.centers) / self.std) ** 2)


@EDGES.register("bessel")
class BesselBasis(RadialBasis):
    """Spherical Bessel functions of order 0: sqrt(2/c) sin(n pi d/c)/d, n = 1..width.

    DimeNet, arXiv:2003.03123, eq. 7. The wave numbers are fixed (DimeNet's are learned from this start), so that the
    parameter count is the one of the Gaussians.
    """

    wave_number: Tensor

    def __init__(self, *, cutoff: float, width: int = 32, envelope: bool = True) -> None:
        super().__init__(cutoff=cutoff, width=width, envelope=envelope)
        wave_number = torch.arange(1, width + 1) * (math.pi / cutoff)
        self.register_buffer("wave_number", wave_number, persistent=False)  # 1/Å

    def basis(self, length: Tensor) -> Tensor:
        """Bessel functions (E, width) at lengths (E, 1)."""
        return math.sqrt(2 / self.cutoff) * torch.sin(self.wave_number * length) / length


class AngleBasis(nn.Module):
    """Spherical harmonics Y_l0, l = 0..3, of the cosine of an angle: (T,) -> (T, 4).

    Orthonormal on the sphere: Y_l0 = sqrt((2l + 1) / 4 pi) P_l(cos theta).
    """

    width = 4

    def forward(self, cos: Tensor) -> Tensor:
        """Features (T, 4) of cosines (T,)."""
        legendre = (torch.ones_like(cos), cos, (3 * cos**2 - 1) / 2, (5 * cos**3 - 3 * cos) / 2)
        harmonics = [math.sqrt((2 * l + 1) / (4 * math.pi)) * value for l, value in enumerate(legendre)]  # noqa: E741
        return torch.stack(harmonics, dim=-1)
