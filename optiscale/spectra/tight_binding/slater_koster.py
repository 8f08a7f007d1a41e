"""Two-centre blocks between s, p and d shells from their bond integrals (Slater and Koster, Phys. Rev. 94, 1498, 1954).

Orbital order: s, py, pz, px, dxy, dyz, dz2, dxz, dx2-y2 (real harmonics, ``m`` from -l to l).

The published table is replaced by projectors. With the unit vector n from the first atom to the second, p orbitals span
the vector n (sigma) and the plane across it (pi); d orbitals span y(n) (sigma), the gradient of y across n divided by
sqrt(3) (pi) and what is left (delta). No angle is ever divided by, so every direction is regular.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

INTEGRALS = (
    "sss", "sps", "pss", "sds", "dss", "pps", "ppp", "pds", "pdp", "dps", "dpp", "dds", "ddp", "ddd",
)  # fmt: skip
"""Names of the bond integrals, in order: shell of the first atom, shell of the second, sigma, pi or delta.

Both orbitals are taken in one frame with z from the first atom to the second.
"""

N_ORBITALS = 9
SHELLS = (0, 1, 1, 1, 2, 2, 2, 2, 2)
"""Angular momentum of each orbital."""

_ROOT3 = math.sqrt(3)


def _d_harmonics(n: Tensor) -> tuple[Tensor, Tensor]:
    """Return y (P, 5) and its pi vectors B (P, 5, 3), columns in the order y, z, x, for unit vectors n (P, 3).

    B is the gradient of y across n over sqrt(3): B^T B = 1 - n n^T and y^T B = 0.
    """
    x, y, z = n.unbind(-1)
    harmonics = torch.stack(
        [_ROOT3 * x * y, _ROOT3 * y * z, 1.5 * z * z - 0.5, _ROOT3 * x * z, _ROOT3 / 2 * (x * x - y * y)], -1
    )
    zero = torch.zeros_like(x)
    # Gradient of the quadratic forms (d/dy, d/dz, d/dx) over sqrt(3); Euler's theorem gives its part along n.
    gradient = torch.stack(
        [
            torch.stack([x, zero, y], -1),
            torch.stack([z, y, zero], -1),
            torch.stack([-y / _ROOT3, 2 * z / _ROOT3, -x / _ROOT3], -1),
            torch.stack([zero, x, z], -1),
            torch.stack([-y, zero, x], -1),
        ],
        -2,
    )
    # dz2 as a homogeneous form is z^2 - (x^2 + y^2) / 2, so n . gradient = 2 y / sqrt(3) for all five.
    along = 2 / _ROOT3 * harmonics
    return harmonics, gradient - along[:, :, None] * n[:, None, [1, 2, 0]]


def slater_koster_blocks(integrals: Tensor, direction: Tensor) -> Tensor:
    """Rotate bond integrals into blocks <i at 0| |j at vector>.

    Parameters
    ----------
    integrals
        (P, 14), in the order of `INTEGRALS`.
    direction
        (P, 3) unit vectors x, y, z from the first atom to the second.

    Returns
    -------
    Tensor
        (P, 9, 9), rows for the orbitals of the first atom.
    """
    sss, sps, pss, sds, dss, pps, ppp, pds, pdp, dps, dpp, dds, ddp, ddd = integrals.unbind(-1)
    p = direction[:, [1, 2, 0]]  # (P, 3) as py, pz, px
    d, pi = _d_harmonics(direction)
    blocks = integrals.new_empty((len(integrals), N_ORBITALS, N_ORBITALS))
    blocks[:, 0, 0] = sss
    blocks[:, 0, 1:4] = sps[:, None] * p
    blocks[:, 1:4, 0] = pss[:, None] * p
    blocks[:, 0, 4:] = sds[:, None] * d
    blocks[:, 4:, 0] = dss[:, None] * d
    unit = torch.eye(5, dtype=integrals.dtype, device=integrals.device)

    def scaled(factor: Tensor, matrix: Tensor) -> Tensor:
        return factor[:, None, None] * matrix

    pp = p[:, :, None] * p[:, None, :]
    blocks[:, 1:4, 1:4] = scaled(ppp, unit[:3, :3]) + scaled(pps - ppp, pp)
    dp = d[:, :, None] * p[:, None, :]
    blocks[:, 4:, 1:4] = scaled(dps, dp) + scaled(dpp, pi)
    blocks[:, 1:4, 4:] = (scaled(pds, dp) + scaled(pdp, pi)).transpose(1, 2)
    dd = d[:, :, None] * d[:, None, :]
    blocks[:, 4:, 4:] = scaled(ddd, unit) + scaled(ddp - ddd, pi @ pi.transpose(1, 2)) + scaled(dds - ddd, dd)
    return blocks
