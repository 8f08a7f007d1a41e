"""From bonds to Bloch matrices: Hamiltonian, overlap and velocity of a batch of crystals.

With F(R) the block between the home cell and the cell at lattice vector R, a Bloch matrix is the sum of
exp(2 pi i k.R) F(R) over R, one matrix product for all points of a mesh. The velocity needs the distance d between the
two atoms themselves, not between their cells, and the on-site dipoles D0 (s-p and p-d, without which transitions within
an atom are missing):

    hbar v_nm = C_n^+ [dH/dk - (E_n + E_m) / 2 dS/dk] C_m + i (E_n - E_m) C_n^+ A C_m,    A = (S D0 + D0 S) / 2

With dH/dk = i sum exp(2 pi i k.R) d H(R), and the same of S,

    hbar v_nm / i = C_n^+ [F C_m - P C_m E_m] + E_n C_n^+ Q C_m

where F, P and Q are the Bloch sums of d H(R), A(R) + d S(R) / 2 and A(R) - d S(R) / 2: real blocks of each bond.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from optiscale.spectra.tight_binding.kmesh import Mesh
from optiscale.spectra.tight_binding.model import TightBinding

N_ORBITALS = 9


@dataclass(frozen=True, eq=False)
class BlochInput:
    """A crystal made ready for the engine: atoms, bonds, points in reciprocal space.

    Attributes
    ----------
    numbers
        (n,) atomic numbers.
    lattice, position
        (3, 3) rows are the lattice vectors, and (n, 3) Cartesian, Å.
    first, second, vector
        (P,) every bond, both ways: from atom `first` to atom `second` in the cell at lattice vector `vector`.
    vectors
        (R, 3) the lattice vectors that occur, integers; 0 is the first.
    mesh
        Points in reciprocal space.
    """

    numbers: np.ndarray
    lattice: np.ndarray
    position: np.ndarray
    first: np.ndarray
    second: np.ndarray
    vector: np.ndarray
    vectors: np.ndarray
    mesh: Mesh

    @property
    def volume(self) -> float:
        """Å^3."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def cell_variance(self) -> float:
        """Mean square distance, along one direction, of a mesh cell's points from its centre, 1/Å^2."""
        steps = 2 * np.pi * np.linalg.inv(self.lattice) / np.asarray(self.mesh.divisions)  # columns
        return float(np.square(steps).sum()) / 36

    @property
    def distance(self) -> np.ndarray:
        """(P, 3) from the first to the second atom of each bond, Å."""
        cells = (self.vectors @ self.lattice)[self.vector]
        return cells + self.position[self.second] - self.position[self.first]


def bloch_input(
    lattice: np.ndarray,
    numbers: np.ndarray,
    position: np.ndarray,
    *,
    reach: np.ndarray,
    mesh: Mesh,
) -> BlochInput:
    """Find the bonds of a crystal.

    Parameters
    ----------
    lattice, numbers, position
        As in `BlochInput`.
    reach
        (n,) Å, how far each atom's orbitals go; two atoms bond within the mean of theirs.
    mesh
        From `irreducible_points`.
    """
    from vesin import NeighborList

    finder = NeighborList(cutoff=float(reach.max()), full_list=True)
    first, second, image, length = finder.compute(points=position, box=lattice, periodic=True, quantities="ijSd")
    near = length < 0.5 * (reach[first] + reach[second])
    first, second, image = first[near].astype(np.int64), second[near].astype(np.int64), image[near].astype(np.int64)
    # One integer a vector, ordered with 0 first, is much faster to sort than rows.
    bound = 2 * int(np.abs(image).max(initial=0)) + 1
    key = (image % bound) @ np.asarray([bound**2, bound, 1])
    keys, vector = np.unique(np.append(key, 0), return_inverse=True)
    vectors = np.stack([keys // bound**2, keys // bound % bound, keys % bound], axis=1)
    vectors = np.where(vectors > bound // 2, vectors - bound, vectors)
    return BlochInput(numbers, lattice, position, first, second, vector[:-1], vectors, mesh)


def dipole_blocks(lengths: Tensor) -> Tensor:
    """On-site matrices of x, y, z between real harmonics from the radial s-p and p-d lengths.

    Parameters
    ----------
    lengths
        (..., 2) Å: radial integrals of r between s and p and between p and d.

    Returns
    -------
    Tensor
        (..., 3, 9, 9) Å in the order s, py, pz, px, dxy, dyz, dz2, dxz, dx2-y2.
    """
    p_row = {"x": 3, "y": 1, "z": 2}
    pd = {
        ("x", "y"): ((4, 1.0),), ("y", "z"): ((5, 1.0),), ("x", "z"): ((7, 1.0),),
        ("x", "x"): ((6, -1 / math.sqrt(3)), (8, 1.0)), ("y", "y"): ((6, -1 / math.sqrt(3)), (8, -1.0)),
        ("z", "z"): ((6, 2 / math.sqrt(3)),),
    }  # fmt: skip
    angular = torch.zeros(2, 3, N_ORBITALS, N_ORBITALS, dtype=lengths.dtype)
    for direction, axis in enumerate("xyz"):
        angular[0, direction, 0, p_row[axis]] = 1 / math.sqrt(3)
        for other, row in p_row.items():
            for column, value in pd[min(axis, other), max(axis, other)]:
                angular[1, direction, row, column] = value / math.sqrt(5)
    angular = angular + angular.transpose(-1, -2)
    return torch.einsum("...l,ldab->...dab", lengths, angular.to(lengths.device))


@dataclass(frozen=True, eq=False)
class BlochSums:
    """Real blocks of a batch of crystals of one size, by lattice vector, padded with zeros to equal counts.

    Attributes
    ----------
    phase
        (C, K, R) 2 pi k.R.
    energy
        (C, R, 2, n, n) blocks of H and S.
    velocity
        (C, R, 3, 3, n, n): for x, y, z the blocks of F, P and Q.
    """

    phase: Tensor
    energy: Tensor
    velocity: Tensor

    def bands(self) -> tuple[Tensor, Tensor]:
        """Return H and S at every point, (C, K, n, n) complex."""
        matrices = self._sum(self.energy)
        return matrices[:, :, 0], matrices[:, :, 1]

    def velocities(self, axis: int) -> Tensor:
        """Return F, P and Q along an axis at every point, (C, K, 3, n, n) complex."""
        return self._sum(self.velocity[:, :, axis])

    def _sum(self, blocks: Tensor) -> Tensor:
        """Bloch sums (C, K, ...) of (C, R, ...)."""
        flat = blocks.flatten(2)
        shape = (*self.phase.shape[:2], *blocks.shape[2:])
        return torch.complex(torch.cos(self.phase) @ flat, torch.sin(self.phase) @ flat).view(shape)


def bloch_sums(crystals: Sequence[BlochInput], model: TightBinding) -> BlochSums:
    """Build the blocks of crystals that have the same number of atoms.

    Parameters
    ----------
    crystals
        The batch; crystals with fewer points than others have their last one repeated.
    model
        On the device and in the precision of the result.
    """
    count, n_atoms = len(crystals), len(crystals[0].numbers)
    dtype, device = model.dtype, model.device

    def joined(name: str, kind: torch.dtype) -> Tensor:
        return torch.from_numpy(np.concatenate([getattr(crystal, name) for crystal in crystals])).to(device, kind)

    crystal_of = torch.from_numpy(np.repeat(np.arange(count), [len(c.first) for c in crystals])).to(device)
    first, second, vector = (joined(name, torch.long) for name in ("first", "second", "vector"))
    distance = joined("distance", dtype)  # (P, 3)
    numbers = joined("numbers", torch.long).view(count, n_atoms)

    H, S = model.pair_blocks(numbers[crystal_of, first], numbers[crystal_of, second], distance)
    dipole = dipole_blocks(model.dipole(numbers))  # (C, n, 3, 9, 9)
    position = 0.5 * (S[:, None] @ dipole[crystal_of, second] + dipole[crystal_of, first] @ S[:, None])
    d = distance[:, :, None, None]
    F, half = d * H[:, None], 0.5 * d * S[:, None]  # (P, 3, 9, 9)

    n_vectors = max(len(crystal.vectors) for crystal in crystals)
    split = (n_atoms, N_ORBITALS, n_atoms, N_ORBITALS)
    energy = torch.zeros(count, n_vectors, 2, *split, dtype=dtype, device=device)
    velocity = torch.zeros(count, n_vectors, 3, 3, *split, dtype=dtype, device=device)
    energy[crystal_of, vector, :, first, :, second, :] = torch.stack([H, S], 1)
    velocity[crystal_of, vector, :, :, first, :, second, :] = torch.stack([F, position + half, position - half], 2)
    # On one atom: levels, the unit matrix and D0 itself.
    home, atom = torch.arange(count, device=device)[:, None], torch.arange(n_atoms, device=device)
    levels = torch.diag_embed(model.onsite(numbers))
    unit = torch.eye(N_ORBITALS, dtype=dtype, device=device).expand_as(levels)
    energy[home, 0, :, atom, :, atom, :] += torch.stack([levels, unit], 2)
    velocity[home, 0, :, :, atom, :, atom, :] += torch.stack([torch.zeros_like(dipole), dipole, dipole], 3)
    size = n_atoms * N_ORBITALS
    return BlochSums(
        phase=_phases(crystals, n_vectors, model),
        energy=energy.view(count, n_vectors, 2, size, size),
        velocity=velocity.view(count, n_vectors, 3, 3, size, size),
    )


def _phases(crystals: Sequence[BlochInput], n_vectors: int, model: TightBinding) -> Tensor:
    """(C, K, R) 2 pi k.R; the last point is repeated, so that padding brings no point that a crystal does not have."""
    n_points = max(len(crystal.mesh.points) for crystal in crystals)
    phase = np.zeros((len(crystals), n_points, n_vectors))
    for row, crystal in enumerate(crystals):
        turns = crystal.mesh.points @ crystal.vectors.T
        phase[row, : len(crystal.mesh.points), : len(crystal.vectors)] = 2 * np.pi * (turns % 1)
        phase[row, len(crystal.mesh.points) :] = phase[row, len(crystal.mesh.points) - 1]
    return torch.from_numpy(phase).to(model.device, model.dtype)
