"""Reference bands: reading them, and the model's bands of the same crystals with their derivatives.

With the bond integrals I of each class of equal pairs, H(k) = levels + sum_c I_c G_c(k), and G never changes while
parameters do. By Hellmann and Feynman dE = C+ (dH - E dS) C, so one diagonalization gives all derivatives; eigenvalues
that are degenerate at the solution need no care.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import primitive_neighbor_list
from torch import Tensor

from optiscale.errors import UserError
from optiscale.spectra.tight_binding.bonds import FIRST, KIND, SECOND, Species, bare_integrals, bond_integrals
from optiscale.spectra.tight_binding.bonds import weights as bond_weights
from optiscale.spectra.tight_binding.slater_koster import INTEGRALS, N_ORBITALS, SHELLS, slater_koster_blocks

KT = 0.1
"""Fermi-Dirac width of the reference calculations, eV."""


@dataclass(frozen=True, eq=False)
class ReferenceBands:
    """Bands of one crystal from density functional theory.

    Attributes
    ----------
    name
        Of the file.
    atoms
        The crystal.
    k_points, weights
        (K, 3) reduced coordinates, (K,) summing to 1.
    energies
        (K, B) eV from the Fermi level, without the semicore bands.
    omega_D, eps_inter
        eV, and (2001,) on 0 to 20 eV; None where the file has none.
    """

    name: str
    atoms: Atoms
    k_points: Tensor
    weights: Tensor
    energies: Tensor
    omega_D: float | None  # noqa: N815
    eps_inter: np.ndarray | None


def read_reference(path: Path, n_valence: dict[str, int]) -> ReferenceBands:
    """Read one file of reference bands.

    Parameters
    ----------
    path
        An npz with E (K, B) eV from the Fermi level, ibz (K, 3), w (K,), nv and either cell, numbers, positions or, for
        the first set, a name that says the structure.
    n_valence
        Valence electrons of each element in the model; electrons beyond them are semicore, and their bands, the lowest,
        are counted off.

    Raises
    ------
    UserError
        If the file cannot be read, or holds fewer electrons than the model.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {key: data[key] for key in data.files}
        energies, k_points, weights, electrons = (arrays[key] for key in ("E", "ibz", "w", "nv"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable file of reference bands ({error}); compute it again") from error
    atoms = _crystal(path.stem, arrays)
    if missing := sorted(set(atoms.get_chemical_symbols()) - set(n_valence)):
        raise UserError(f"{path}: no tight-binding parameters for {', '.join(missing)}; leave the file out")
    semicore = int(electrons) - sum(n_valence[symbol] for symbol in atoms.get_chemical_symbols())
    if semicore < 0 or semicore % 2:
        raise UserError(f"{path}: {int(electrons)} electrons, {-semicore} fewer than the model's; use another setup")
    omega_D = None
    if "pf" in arrays:
        omega_D = 27.211386 * float(np.sqrt(np.trace(arrays["pf"].real) / 3))
    return ReferenceBands(
        name=path.stem,
        atoms=atoms,
        k_points=torch.as_tensor(k_points, dtype=torch.float64),
        weights=torch.as_tensor(weights / weights.sum(), dtype=torch.float64),
        energies=torch.as_tensor(energies[:, semicore // 2 :], dtype=torch.float64),
        omega_D=omega_D,
        eps_inter=arrays.get("inter"),
    )


# Lattice constants a, c in Å and the sites of the first set's binaries, whose files hold no crystal.
_BINARIES = {
    "NiAl": (2.887, 2.887), "CuZn": (2.945, 2.945), "AgMg": (3.31, 3.31), "CoTi": (2.995, 2.995),
    "PdIn": (3.25, 3.25), "CaZn": (3.9, 3.9), "ZrRu": (3.25, 3.25), "LiAg": (3.17, 3.17),
    "TiAl": (2.83, 4.07), "AuCu": (2.80, 3.67), "Al3Sc": (4.10, 4.10), "Ni3Al": (3.57, 3.57),
}  # fmt: skip
_L1_2 = {"Al3Sc": ("Sc", "Al"), "Ni3Al": ("Al", "Ni")}


def _crystal(name: str, arrays: dict[str, np.ndarray]) -> Atoms:
    if "cell" in arrays:
        return Atoms(arrays["numbers"], positions=arrays["positions"], cell=arrays["cell"], pbc=True)
    group, label, *kind = name.split("_")
    if group == "el":
        unit = np.ones((3, 3)) - (1 if kind[0] == "fcc" else 2) * np.eye(3)
        return Atoms(label, positions=[(0, 0, 0)], cell=float(arrays["a"]) / 2 * unit, pbc=True)
    a, c = _BINARIES[label]
    if label in _L1_2:
        corner, face = _L1_2[label]
        sites = [(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
        return Atoms([corner, face, face, face], scaled_positions=sites, cell=(a, a, a), pbc=True)
    return Atoms(label, scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], cell=(a, a, c), pbc=True)


class BandModel:
    """The model's bands of one crystal at fixed k points, as a function of the parameters of its elements.

    Parameters
    ----------
    atoms
        The crystal.
    k_points
        (K, 3) reduced coordinates.
    cutoff
        Å; no pair of its elements may reach farther.
    """

    def __init__(self, atoms: Atoms, k_points: Tensor, cutoff: float) -> None:
        self.numbers = torch.tensor(atoms.numbers)
        i, j, shift, distance, vector = (
            torch.as_tensor(part)
            for part in primitive_neighbor_list("ijSdD", atoms.pbc, atoms.cell.array, atoms.positions, cutoff)
        )
        # A class: pairs of the same two sites at the same distance; they share their bond integrals.
        key = torch.stack([i, j, (distance * 1e4).round().long()], 1)
        classes, member = torch.unique(key, dim=0, return_inverse=True)
        self.first, self.second = classes[:, 0], classes[:, 1]
        count = torch.bincount(member, minlength=len(classes))
        self.distance = torch.zeros(len(classes), dtype=torch.float64).index_add(0, member, distance) / count
        phase = torch.exp(2j * torch.pi * (k_points @ shift.to(k_points).T))  # (K, P)
        n_integrals = len(INTEGRALS)
        unit = torch.eye(n_integrals, dtype=torch.float64).repeat(len(i), 1)
        direction = (vector / distance[:, None]).repeat_interleave(n_integrals, 0)
        blocks = slater_koster_blocks(unit, direction).view(len(i), n_integrals, N_ORBITALS, N_ORBITALS).to(phase)
        geometry = [
            torch.einsum("kp,pcab->kcab", phase[:, member == one], blocks[member == one]) for one in range(len(classes))
        ]
        self.geometry = torch.stack(geometry, 1)  # (K, classes, 14, 9, 9)

    def bloch_sum(self, integrals: Tensor) -> Tensor:
        """Sum bond integrals (classes, 14) over the crystal: (K, 9 A, 9 A)."""
        n, k = len(self.numbers), len(self.geometry)
        blocks = torch.einsum("kqcab,qc->qkab", self.geometry, integrals.to(self.geometry))
        matrix = blocks.new_zeros((n * n, k, N_ORBITALS, N_ORBITALS))
        matrix.index_add_(0, self.first * n + self.second, blocks)
        matrix = matrix.view(n, n, k, N_ORBITALS, N_ORBITALS).permute(2, 0, 3, 1, 4)
        return matrix.reshape(k, n * N_ORBITALS, n * N_ORBITALS)

    def overlap(self, atoms: Species) -> tuple[Tensor, Tensor]:
        """Eigenvalues (K, 9 A), ascending, and eigenvectors of S(k), from the parameters of each atom."""
        pairs = atoms[self.first], atoms[self.second]
        integrals = bare_integrals(*pairs, pairs[0].exponent, pairs[1].exponent, self.distance)[0]
        matrix = self.bloch_sum(integrals)
        values, vectors = torch.linalg.eigh(matrix + torch.eye(matrix.shape[-1]).to(matrix))
        return values, vectors

    def overlap_jacobian(self, atoms: Species, vectors: Tensor, slopes: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Differentiate (K, A, 18) the eigenvalue of S(k) with eigenvectors `vectors` (K, 9 A)."""
        slopes = slopes or _integral_jacobian(atoms[self.first], atoms[self.second], self.distance)
        u = vectors.view(len(vectors), len(self.numbers), N_ORBITALS, 1)
        by_integral = _expectation(self.geometry, u[:, self.first], u[:, self.second])[..., 0]
        result = slopes[0].new_zeros((len(vectors), len(self.numbers), slopes[0].shape[-1]))
        for side, derivative in zip((self.first, self.second), slopes, strict=True):
            change = torch.einsum("kqc,qcp->kqp", by_integral, derivative[:, len(INTEGRALS) :])
            result.index_add_(1, side, change)
        return result

    def bands(self, atoms: Species) -> Bands:
        """Solve for the bands, from the parameters of each atom."""
        hamiltonian, _ = bond_integrals(atoms[self.first], atoms[self.second], self.distance)
        levels = atoms.onsite[:, list(SHELLS)].reshape(-1)
        H = self.bloch_sum(hamiltonian)
        H = H + torch.diag(levels).to(H)
        smallest, direction = self.overlap(atoms)
        # Canonical orthogonalization; a bad overlap still gives numbers, and the fit's penalty moves it away.
        root = direction / smallest.clamp(min=1e-3).sqrt()[:, None, :]
        energies, vectors = torch.linalg.eigh(root.mH @ H @ root)
        return Bands(self, energies, root @ vectors, smallest[:, 0], direction[:, :, 0])


@dataclass(frozen=True, eq=False)
class Bands:
    """Eigenvalues (K, 9 A) eV, eigenvectors, and the smallest eigenvalue of S(k) with its vector."""

    model: BandModel
    energies: Tensor
    vectors: Tensor
    overlap_min: Tensor
    overlap_vector: Tensor

    def jacobian(self, atoms: Species) -> tuple[Tensor, Tensor]:
        """Differentiate by the parameters of each atom.

        Returns
        -------
        tuple of Tensor
            Of the energies (K, 9 A, A, 18), and of the smallest eigenvalue of S (K, A, 18): 3 levels, 3 exponents,
            6 kappa, 6 kinetic.
        """
        model, n = self.model, len(atoms.onsite)
        slopes = _integral_jacobian(atoms[model.first], atoms[model.second], model.distance)  # (classes, 28, 18) each
        k, n_bands = self.energies.shape
        C = self.vectors.view(k, n, N_ORBITALS, n_bands)
        by_h = _expectation(model.geometry, C[:, model.first], C[:, model.second])  # (K, classes, 14, bands)
        by_integral = torch.cat([by_h, -by_h * self.energies[:, None, None, :]], 2)  # (K, classes, 28, bands)
        energy = self.energies.new_zeros((k, n_bands, n, slopes[0].shape[-1]))
        for side, derivative in zip((model.first, model.second), slopes, strict=True):
            for atom in range(n):
                mine = side == atom
                energy[:, :, atom] += torch.einsum("kqcn,qcp->knp", by_integral[:, mine], derivative[mine])
        charge = (C.abs() ** 2).permute(0, 3, 1, 2)  # (K, bands, A, 9)
        energy[..., :3] += torch.stack([charge[..., 0], charge[..., 1:4].sum(-1), charge[..., 4:].sum(-1)], -1)
        return energy, model.overlap_jacobian(atoms, self.overlap_vector, slopes)


def _expectation(geometry: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Re left+ G right for each band: (K, Q, 14, 9, 9), (K, Q, 9, n) twice -> (K, Q, 14, n)."""
    return torch.einsum("kqan,kqcan->kqcn", left.conj(), geometry @ right[:, :, None]).real


_FITTED = ("onsite", "exponent", "kappa", "kinetic")


def pack(species: Species) -> Tensor:
    """Fitted parameters of each row, (P, 18)."""
    return torch.cat([getattr(species, name) for name in _FITTED], 1)


def unpack(species: Species, values: Tensor) -> Species:
    """Species with the fitted parameters replaced by `values` (P, 18)."""
    parts = dict(zip(_FITTED, values.split([3, 3, 6, 6], 1), strict=True))
    return Species(*(parts.get(field.name, getattr(species, field.name)) for field in fields(Species)))


_STEP = 1e-4  # 1/Å


def _integral_jacobian(first: Species, second: Species, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives of the bond integrals (H, S: 28) by the parameters of either atom, (P, 28, 18) each.

    H is linear in all but the exponents; for those, central differences in one batch.
    """
    pairs, n = len(distance), len(FIRST)
    zeta = torch.cat([first.exponent, second.exponent], 1)  # (P, 6)
    steps = _STEP * torch.eye(6, dtype=zeta.dtype)
    every = torch.cat([zeta[:, None], zeta[:, None] + steps, zeta[:, None] - steps], 1).view(-1, 6)  # (P * 13, 6)
    spread = torch.arange(pairs).repeat_interleave(13)
    bare = torch.stack(bare_integrals(first[spread], second[spread], every[:, :3], every[:, 3:], distance[spread]))
    bare = bare.view(2, pairs, 13, n)
    overlap, kinetic = bare[:, :, 0]
    d_overlap, d_kinetic = ((bare[:, :, 1:7] - bare[:, :, 7:]) / (2 * _STEP)).transpose(2, 3)  # (P, 14, 6)
    level, factor = bond_weights(first, second)
    d_hamiltonian = level[:, :, None] * d_overlap + factor[:, :, None] * d_kinetic
    result = []
    kind = torch.nn.functional.one_hot(KIND, 6).to(zeta)
    for side, shell in enumerate((FIRST, SECOND)):
        exponents = slice(3 * side, 3 * side + 3)
        own = torch.nn.functional.one_hot(shell, 3).to(zeta)
        by_level = 0.5 * overlap[:, :, None]
        by_kinetic = 0.5 * kinetic[:, :, None] * kind
        hamiltonian = torch.cat([by_level * own, d_hamiltonian[..., exponents], -by_level * kind, by_kinetic], 2)
        nothing = torch.zeros_like(by_kinetic)
        of_overlap = torch.cat([nothing[..., :3], d_overlap[..., exponents], nothing, nothing], 2)
        result.append(torch.cat([hamiltonian, of_overlap], 1))
    return result[0], result[1]


def fermi_level(energies: Tensor, weights: Tensor, electrons: float, kT: float = KT) -> tuple[float, Tensor]:
    """Fermi level of bands (K, B) by bisection, and the share of each state in the density of states there."""
    low, high = float(energies.min()) - 1, float(energies.max()) + 1
    for _ in range(60):
        middle = (low + high) / 2
        filled = 2 * float((weights[:, None] * torch.sigmoid((middle - energies) / kT)).sum())
        low, high = (middle, high) if filled < electrons else (low, middle)
    occupation = torch.sigmoid((middle - energies) / kT)
    share = weights[:, None] * occupation * (1 - occupation)
    return middle, share / share.sum()
