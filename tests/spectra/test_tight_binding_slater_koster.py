from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from optiscale.spectra.tight_binding.radial import HBAR2_OVER_M, shell_integrals, smooth_cutoff
from optiscale.spectra.tight_binding.slater_koster import INTEGRALS, slater_koster_blocks

SHELLS = ((0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (1, 1), (1, 2), (2, 1), (2, 2))


def harmonics(points: np.ndarray) -> np.ndarray:
    """The nine real harmonics, up to one factor a shell, at unit vectors (P, 3)."""
    x, y, z = points.T
    d = [3**0.5 * x * y, 3**0.5 * y * z, z * z - (x * x + y * y) / 2, 3**0.5 * x * z, 3**0.5 / 2 * (x * x - y * y)]
    return np.stack([np.ones_like(x), y, z, x, *d], 1)


def random_blocks(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    integrals = torch.randn(5, len(INTEGRALS), generator=generator, dtype=torch.float64)
    direction = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return integrals, direction / direction.norm(dim=1, keepdim=True)


def test_blocks_turn_with_the_bond():
    integrals, direction = random_blocks()
    turn = Rotation.random(random_state=3).as_matrix()
    points = np.random.default_rng(0).normal(size=(50, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    # Y(R r) = Y(r) D for all r defines D.
    D, residual, *_ = np.linalg.lstsq(harmonics(points), harmonics(points @ turn.T), rcond=None)
    assert residual.max(initial=0) < 1e-20
    D = torch.from_numpy(D)
    turned = slater_koster_blocks(integrals, direction @ torch.from_numpy(turn).T)
    torch.testing.assert_close(turned, D.T @ slater_koster_blocks(integrals, direction) @ D, atol=1e-12, rtol=0)


def test_entries_of_the_published_table():
    integrals, direction = random_blocks(1)
    V = dict(zip(INTEGRALS, integrals.T, strict=True))
    l, m, n = direction.T  # noqa: E741 (the names of the table)
    blocks = slater_koster_blocks(integrals, direction)
    y, z, x, xy, yz, z2, _xz, x2y2 = range(1, 9)
    table = {
        (0, x): l * V["sps"],
        (0, xy): 3**0.5 * l * m * V["sds"],
        (0, z2): (n**2 - (l**2 + m**2) / 2) * V["sds"],
        (x, x): l**2 * V["pps"] + (1 - l**2) * V["ppp"],
        (x, y): l * m * (V["pps"] - V["ppp"]),
        (x, xy): 3**0.5 * l**2 * m * V["pds"] + m * (1 - 2 * l**2) * V["pdp"],
        (z, x2y2): 3**0.5 / 2 * n * (l**2 - m**2) * V["pds"] - n * (l**2 - m**2) * V["pdp"],
        (y, z2): m * (n**2 - (l**2 + m**2) / 2) * V["pds"] - 3**0.5 * m * n**2 * V["pdp"],
        (xy, xy): 3 * l**2 * m**2 * V["dds"]
        + (l**2 + m**2 - 4 * l**2 * m**2) * V["ddp"]
        + (n**2 + l**2 * m**2) * V["ddd"],
        (xy, yz): 3 * l * m**2 * n * V["dds"] + l * n * (1 - 4 * m**2) * V["ddp"] + l * n * (m**2 - 1) * V["ddd"],
        (z2, z2): (n**2 - (l**2 + m**2) / 2) ** 2 * V["dds"]
        + 3 * n**2 * (l**2 + m**2) * V["ddp"]
        + 0.75 * (l**2 + m**2) ** 2 * V["ddd"],
    }
    for (row, column), expected in table.items():
        torch.testing.assert_close(blocks[:, row, column], expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("axis", [(0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -1, 0)])
def test_special_directions_are_regular(axis):
    direction = torch.tensor([axis], dtype=torch.float64, requires_grad=True)
    integrals = torch.ones(1, len(INTEGRALS), dtype=torch.float64)
    block = slater_koster_blocks(integrals, direction)
    (slope,) = torch.autograd.grad(block.sum(), direction)
    assert torch.isfinite(slope).all()
    # With all integrals of dd alike the block is the unit matrix, whatever the direction.
    torch.testing.assert_close(block[0, 4:, 4:], torch.eye(5, dtype=torch.float64), atol=1e-14, rtol=0)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_overlaps_against_closed_forms():
    """Mulliken, Rieke, Orloff and Orloff (1949), equal exponents: 1s-1s, 2p sigma, 2p pi."""
    R, zeta = torch.tensor([0.8, 2.0, 5.0], dtype=torch.float64), 1.3
    p = zeta * R
    exponent = torch.full((3, 2), zeta, dtype=torch.float64)
    principal = torch.tensor([[1.0, 2.0]] * 3, dtype=torch.float64)
    overlap, kinetic = shell_integrals(R, ((0, 0), (1, 1)), principal, exponent, principal, exponent)
    decay = torch.exp(-p)
    torch.testing.assert_close(overlap[:, 0], decay * (1 + p + p**2 / 3))
    torch.testing.assert_close(kinetic[:, 0], 0.5 * HBAR2_OVER_M * zeta**2 * decay * (1 + p - p**2 / 3))
    torch.testing.assert_close(overlap[:, 1], -decay * (-1 - p - p**2 / 5 + 2 * p**3 / 15 + p**4 / 15))
    torch.testing.assert_close(overlap[:, 2], decay * (1 + p + 2 * p**2 / 5 + p**3 / 15))


def test_integrals_against_a_grid_in_cylinder_coordinates():
    """p-d and d-d with different exponents, by brute force."""
    R, (n_a, zeta_a), (n_b, zeta_b) = 2.1, (3, 2.2), (4, 3.1)
    z, weight_z = np.polynomial.legendre.leggauss(400)
    z, weight_z = 10 * z + R / 2, 10 * weight_z
    rho, weight_rho = np.polynomial.legendre.leggauss(300)
    rho, weight_rho = 5 * (rho + 1), 5 * weight_rho
    rho, z = np.meshgrid(rho, z, indexing="ij")
    volume = 2 * np.pi * rho * weight_rho[:, None] * weight_z

    def radial(r: np.ndarray, n: int, zeta: float) -> np.ndarray:
        return (2 * zeta) ** (n + 0.5) / math.sqrt(math.factorial(2 * n)) * r ** (n - 1) * np.exp(-zeta * r)

    r_a, r_b = np.hypot(rho, z), np.hypot(rho, z - R)
    product = radial(r_a, n_a, zeta_a) * radial(r_b, n_b, zeta_b) / (4 * np.pi) * volume
    p = {0: math.sqrt(3) * z / r_a, 1: math.sqrt(3) * rho / r_a}
    cos, sin = (z - R) / r_b, rho / r_b
    d = {0: math.sqrt(5) / 2 * (3 * cos**2 - 1), 1: math.sqrt(15) * sin * cos}
    expected = [(product * p[0] * d[0]).sum(), (product * p[1] * d[1]).sum() / 2]
    bohr = (column(n_a), column(zeta_a), column(n_b), column(zeta_b))
    overlap, _ = shell_integrals(torch.tensor([R], dtype=torch.float64), ((1, 2),), *bohr)
    np.testing.assert_allclose(overlap[0].numpy(), expected, rtol=1e-6)


def test_overlap_and_kinetic_energy_at_no_distance():
    """An orbital with n = l + 1 overlaps itself by 1 and has the kinetic energy hbar^2 zeta^2 / 2 m."""
    shells = ((0, 0), (1, 1), (2, 2))
    principal = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    exponent = torch.full((1, 3), 1.7, dtype=torch.float64)
    near = torch.tensor([1e-3], dtype=torch.float64)
    overlap, kinetic = shell_integrals(near, shells, principal, exponent, principal, exponent)
    torch.testing.assert_close(overlap, torch.ones_like(overlap), atol=1e-5, rtol=0)
    torch.testing.assert_close(kinetic, torch.full_like(kinetic, 0.5 * HBAR2_OVER_M * 1.7**2), atol=0, rtol=1e-5)


def test_integrals_do_not_depend_on_which_atom_comes_first():
    R = torch.tensor([1.4, 3.3, 6.0], dtype=torch.float64)
    n, zeta = column(4, 4, 4).expand(3, 9), column(2.0, 2.5, 1.5).expand(3, 9)
    m, xi = column(3, 5, 3).expand(3, 9), column(4.0, 1.1, 2.6).expand(3, 9)
    forward = shell_integrals(R, SHELLS, n, zeta, m, xi)
    backward = shell_integrals(R, tuple((b, a) for a, b in SHELLS), m, xi, n, zeta)
    parity = torch.tensor([(-1.0) ** (a + b) for a, b in SHELLS for _ in range(min(a, b) + 1)], dtype=torch.float64)
    for one, other in zip(forward, backward, strict=True):
        torch.testing.assert_close(one, parity * other, atol=1e-10, rtol=1e-10)


def test_cutoff_is_smooth():
    R = torch.linspace(2, 6, 4001, dtype=torch.float64)
    start, stop = torch.tensor(3.0), torch.tensor(5.0)
    value = smooth_cutoff(R, start, stop)
    assert (value[R <= 3] == 1).all()
    assert (value[R >= 5] == 0).all()
    curvature = value.diff().diff() / 1e-6
    assert curvature.diff().abs().max() < 0.02  # no jump of the second derivative
