"""The engine: crystals in, eps_inter and omega_D out, batched over crystals and points of the Brillouin zone.

Crystals of one size make a batch; nothing is padded but points. Per batch: Bloch sums, Cholesky factors of the
overlaps, one batched eigensolver, Fermi levels, velocities along x, y, z, one histogram, one FFT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.bloch import N_ORBITALS, BlochInput, BlochSums, bloch_input, bloch_sums
from optiscale.spectra.tight_binding.eigensolver import eigh
from optiscale.spectra.tight_binding.kmesh import Mesh, irreducible_points, mesh_divisions
from optiscale.spectra.tight_binding.model import SHORTEST, TightBinding
from optiscale.spectra.tight_binding.response import (
    TAIL,
    dielectric_function,
    drude_frequency,
    fermi_level,
    sum_drude,
    sum_transitions,
)

VERSION = 3
"""Raised whenever the same crystal would get another spectrum."""
SPACING = 0.15
"""1/Å between neighbouring points of the mesh, for cells of `SMALL_CELL` atoms and more."""
SMALL_CELL = 5
"""Atoms: smaller cells have a denser mesh, since a few bands make sharper features and cost little."""
SMALLEST_OVERLAP = 0.02
"""A smaller eigenvalue of the overlap matrix means atoms too close for this basis."""

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_COPIES = 24  # matrices alive at once, for each point


@dataclass(frozen=True, eq=False)
class Optics:
    """The response of a crystal, averaged over directions.

    Attributes
    ----------
    eps_inter
        (2001,) complex64 on 0 to 20 eV.
    omega_D
        eV.
    fermi_level
        eV on the model's scale.
    """

    eps_inter: np.ndarray
    omega_D: float  # noqa: N815
    fermi_level: float


@dataclass(frozen=True)
class Rejected:
    """Why a crystal has no spectrum."""

    reason: str


class TightBindingEngine:
    """Spectra of crystals from a tight-binding model.

    Parameters
    ----------
    model
        Its device and precision are the engine's.
    spacing
        Of the meshes, 1/Å; cells of n < 5 atoms have it times sqrt(n / 5).
    memory
        Bytes that one batch may take, about.

    Examples
    --------
    >>> from ase.build import bulk
    >>> engine = TightBindingEngine(TightBinding.load())
    >>> al = bulk("Al")
    >>> optics, = engine.solve([engine.prepare(al.cell.array, al.numbers, al.positions)])
    >>> optics.eps_inter.shape
    (2001,)
    """

    def __init__(self, model: TightBinding, *, spacing: float = SPACING, memory: float = 1e9) -> None:
        if not spacing > 0:
            raise UserError(f"spacing must be above 0, not {spacing}")
        self.model, self.spacing, self.memory = model, spacing, memory
        numbers = torch.tensor([atomic_numbers[symbol] for symbol in model.elements])
        self._reach = np.zeros(119)
        self._reach[numbers] = model.pair_cutoff(numbers, numbers).double().cpu()

    def divisions(self, lattice: np.ndarray, rotations: np.ndarray, n_atoms: int) -> tuple[int, int, int]:
        """Return the divisions of a crystal's mesh, see `mesh_divisions`."""
        return mesh_divisions(lattice, rotations, self.spacing * min(1.0, math.sqrt(n_atoms / SMALL_CELL)))

    def prepare(
        self,
        lattice: np.ndarray,
        numbers: np.ndarray,
        position: np.ndarray,
        *,
        rotations: np.ndarray | None = None,
        mesh: Mesh | None = None,
    ) -> BlochInput | Rejected:
        """Find a crystal's bonds and mesh, on the CPU.

        Parameters
        ----------
        lattice, numbers, position
            (3, 3) rows are the lattice vectors, (n,), and (n, 3) Cartesian, Å.
        rotations
            Of the space group; found with spglib if neither they nor the mesh are given.
        mesh
            From `irreducible_points`, if it is known.

        Raises
        ------
        UserError
            For an element without parameters.
        """
        self.model.n_valence(torch.from_numpy(np.asarray(numbers, dtype=np.int64)))  # refuses elements it lacks
        if mesh is None:
            if rotations is None:
                rotations = find_rotations(lattice, numbers, position)
            mesh = irreducible_points(self.divisions(lattice, rotations, len(numbers)), rotations)
        crystal = bloch_input(lattice, numbers, position, reach=self._reach[numbers], mesh=mesh)
        shortest = float(np.sqrt(np.square(crystal.distance).sum(1).min(initial=np.inf)))
        if shortest < SHORTEST:
            return Rejected(f"two atoms are {shortest:.2f} Å apart")
        return crystal

    def solve(self, crystals: Sequence[BlochInput]) -> list[Optics | Rejected]:
        """Compute the spectra of crystals, of any sizes, in their order."""
        results: dict[int, Optics | Rejected] = {}
        for batch in self._batches(crystals):
            results.update(zip(batch, self._solve_batch([crystals[index] for index in batch]), strict=True))
        return [results[index] for index in range(len(crystals))]

    def _batches(self, crystals: Sequence[BlochInput]) -> list[list[int]]:
        """Split into batches of one size and similar meshes that fit into the memory."""
        order = sorted(range(len(crystals)), key=lambda i: (len(crystals[i].numbers), len(crystals[i].mesh.points)))
        batches: list[list[int]] = []
        for index in order:
            crystal = crystals[index]
            size, n_points = N_ORBITALS * len(crystal.numbers), len(crystal.mesh.points)
            needed = size**2 * self.model.dtype.itemsize * (2 * _COPIES * n_points + 11 * len(crystal.vectors))
            if batches:
                last = batches[-1]
                first = crystals[last[0]]
                alike = len(first.numbers) == len(crystal.numbers) and n_points <= 1.25 * len(first.mesh.points)
                if alike and (len(last) + 1) * needed <= self.memory:
                    last.append(index)
                    continue
            batches.append([index])
        return batches

    def _solve_batch(self, crystals: list[BlochInput]) -> list[Optics | Rejected]:
        sums = bloch_sums(crystals, self.model)
        device = self.model.device
        weights = torch.zeros(sums.phase.shape[:2], dtype=torch.float64)
        for row, crystal in enumerate(crystals):
            weights[row, : len(crystal.mesh.weights)] = torch.from_numpy(crystal.mesh.weights)
        weights = weights.to(device)
        volume = torch.tensor([crystal.volume for crystal in crystals], dtype=torch.float64, device=device)
        variance = torch.tensor([crystal.cell_variance for crystal in crystals], dtype=torch.float64, device=device)
        numbers = torch.from_numpy(np.stack([crystal.numbers for crystal in crystals]).astype(np.int64))
        n_electrons = self.model.n_valence(numbers).sum(1).double().to(device)

        energies, vectors, sound = _bands(sums)
        E = energies.double()
        level = fermi_level(E, weights, n_electrons)
        distance = E - level[:, None, None]
        n_lower = int((distance < TAIL).sum(-1).max())  # bands that are not empty somewhere
        n_full = int((distance <= -TAIL).sum(-1).min())  # bands that are full everywhere
        velocity2 = _velocities2(sums, energies, vectors, n_lower, n_full)
        bins = sum_transitions(E[..., :n_lower], E[..., n_full:], level, velocity2, weights)
        partly = velocity2[..., n_full:, : n_lower - n_full]
        drude = sum_drude(E[..., n_full:n_lower], level, partly, weights, variance)
        eps_inter = dielectric_function(bins, volume).to(torch.complex64).cpu().numpy()
        omega_D = drude_frequency(drude, volume).cpu().tolist()
        return [
            Optics(eps_inter[row], omega_D[row], float(level_))
            if good
            else Rejected(f"the overlap matrix has an eigenvalue under {SMALLEST_OVERLAP}")
            for row, (good, level_) in enumerate(zip(sound.tolist(), level.tolist(), strict=True))
        ]


def find_rotations(lattice: np.ndarray, numbers: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return the rotations of a crystal's space group on fractional coordinates, (G, 3, 3) integers.

    Raises
    ------
    UserError
        If spglib finds none, because atoms overlap.
    """
    import spglib

    scaled = np.linalg.solve(lattice.T, position.T).T
    try:
        symmetry = spglib.get_symmetry((lattice, scaled, numbers), symprec=1e-4)
    except getattr(spglib, "SpglibError", ()):  # what versions after 2.8 raise where older ones return None
        symmetry = None
    if symmetry is None:
        raise UserError("spglib finds no symmetry: atoms overlap, or the lattice vectors span no volume")
    return np.unique(symmetry["rotations"], axis=0)


def _bands(sums: BlochSums) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (C, K, n), vectors (C, K, n, n) with C^+ S C = 1, and whether each crystal's overlap is sound (C,)."""
    H, S = sums.bands()
    unit = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device)
    # S - 0.02 has a Cholesky factor exactly if every eigenvalue is above 0.02.
    info = torch.linalg.cholesky_ex(S - SMALLEST_OVERLAP * unit)[1]
    sound = (info == 0).all(1)
    if not bool(sound.all()):
        S = torch.where(sound[:, None, None, None], S, unit)
    L = torch.linalg.cholesky_ex(S)[0]
    half = torch.linalg.solve_triangular(L, H, upper=False)
    standard = torch.linalg.solve_triangular(L, half.mH, upper=False)  # L^-1 H L^-+, Hermitian
    energies, vectors = eigh(standard)
    return energies, torch.linalg.solve_triangular(L.mH, vectors, upper=True), sound


def _velocities2(sums: BlochSums, energies: Tensor, vectors: Tensor, n_lower: int, n_full: int) -> Tensor:
    """|hbar v|^2 averaged over directions, (C, K, n_lower, n - n_full): lower bands times those above the full."""
    left = vectors[..., :n_lower].mH
    right = vectors[..., n_full:].contiguous()
    E_left, E_right = energies[..., :n_lower, None], energies[..., None, n_full:]
    total = torch.zeros_like(E_left * E_right)
    for axis in range(3):
        matrices = sums.velocities(axis)  # (C, K, 3, n, n)
        F, P, Q = (matrices.flatten(2, 3) @ right).unflatten(2, (3, -1)).unbind(2)
        velocity = left @ (F - P * E_right) + E_left * (left @ Q)
        total += velocity.real.square() + velocity.imag.square()
    return total / 3
