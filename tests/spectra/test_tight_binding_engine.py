"""The engine against physics and against a slow loop that shares none of its code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from optiscale.errors import UserError
from optiscale.spectra.tight_binding import TightBinding
from optiscale.spectra.tight_binding.bloch import BlochInput, bloch_sums, dipole_blocks
from optiscale.spectra.tight_binding.engine import (
    Optics,
    Rejected,
    TightBindingEngine,
    _bands,
    _velocities2,
    find_rotations,
)
from optiscale.spectra.tight_binding.kmesh import Mesh, irreducible_points, mesh_divisions, mesh_offset
from optiscale.spectra.tight_binding.response import (
    COULOMB,
    ENERGY_STEP,
    N_ENERGIES,
    dielectric_function,
    fermi_level,
    free_electron_frequency,
)
from optiscale.structures import build_crystal

ONE = np.eye(3, dtype=int)[None]
OMEGA = np.arange(N_ENERGIES) * ENERGY_STEP


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return TightBinding.load()


@pytest.fixture(scope="module")
def engine(model):
    return TightBindingEngine(model, spacing=0.5)


def full_mesh(divisions):
    """Every point of the mesh that starts at Gamma."""
    points = np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), -1).reshape(-1, 3) / divisions
    return Mesh(points, np.full(len(points), 1 / len(points)), divisions)


def prepare(engine, atoms, **options) -> BlochInput:
    crystal = engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions, **options)
    assert isinstance(crystal, BlochInput)
    return crystal


def solve(engine, atoms, **options) -> Optics:
    (optics,) = engine.solve([prepare(engine, atoms, **options)])
    assert isinstance(optics, Optics)
    return optics


def skewed(seed=0, formula="NiAl", a=2.9) -> Atoms:
    """A triclinic crystal of two atoms: no symmetry, no degenerate bands but by accident."""
    generator = np.random.default_rng(seed)
    cell = a * (np.eye(3) + 0.08 * generator.standard_normal((3, 3)))
    return Atoms(formula, cell=cell, scaled_positions=[(0, 0, 0), (0.52, 0.47, 0.51)], pbc=True)


def distance(one: Optics, other: Optics) -> float:
    """Relative L1 distance of omega eps2."""
    a, b = OMEGA * one.eps_inter.imag, OMEGA * other.eps_inter.imag
    return float(np.abs(a - b).sum() / np.abs(b).sum())


def smooth_slope(x, variance):
    """Minus the derivative of the Fermi-Dirac function at a kT with more variance, by finite differences."""
    if abs(x) > 2:
        return 0.0
    kT = math.sqrt(0.1**2 + 3 * variance / math.pi**2)
    below, above = (1 / (math.exp((x + step) / kT) + 1) for step in (-1e-5, 1e-5))
    return (below - above) / 2e-5


class SlowLoop:
    """The formulas of the response, one point, pair of bands and direction at a time; dH/dk by finite differences."""

    def __init__(self, model, atoms):
        self.model, self.volume, self.n = model, atoms.get_volume(), 9 * len(atoms)
        self.i, self.j, self.d = neighbor_list("ijD", atoms, model.cutoff)
        Z = torch.tensor(atoms.numbers)
        H, S = model.pair_blocks(Z[self.i], Z[self.j], torch.tensor(self.d))
        self.H, self.S = H.numpy(), S.numpy()
        self.onsite = model.onsite(Z).numpy().ravel()
        blocks = dipole_blocks(model.dipole(Z)).numpy()
        self.D0 = [scipy.linalg.block_diag(*blocks[:, axis]) for axis in range(3)]
        self.electrons = float(model.n_valence(Z).sum())
        self.reciprocal = 2 * np.pi * np.linalg.inv(atoms.cell.array).T

    def matrices(self, k):
        H, S = np.diag(self.onsite).astype(complex), np.eye(self.n, dtype=complex)
        for i, j, d, h, s in zip(self.i, self.j, self.d, self.H, self.S, strict=True):
            rows, columns = slice(9 * i, 9 * i + 9), slice(9 * j, 9 * j + 9)
            H[rows, columns] += np.exp(1j * k @ d) * h
            S[rows, columns] += np.exp(1j * k @ d) * s
        return H, S

    def at(self, k, step=1e-4):
        """Energies and hbar v (3, n, n)."""
        H, S = self.matrices(k)
        E, C = scipy.linalg.eigh(H, S)
        velocity = []
        for axis in range(3):
            up, down = (self.matrices(k + sign * step * np.eye(3)[axis]) for sign in (1, -1))
            dH, dS = (up[0] - down[0]) / (2 * step), (up[1] - down[1]) / (2 * step)
            X, Y = C.conj().T @ dS @ C, C.conj().T @ (S @ self.D0[axis] + self.D0[axis] @ S) @ C / 2
            E_n, E_m = E[:, None], E[None]
            velocity.append(C.conj().T @ dH @ C - (E_n + E_m) / 2 * X + 1j * (E_n - E_m) * Y)
        return E, np.asarray(velocity)

    def spectrum(self, mesh):
        bands = [self.at(k @ self.reciprocal) for k in mesh.points]
        steps = self.reciprocal / np.asarray(mesh.divisions)[:, None]
        spread2 = (steps**2).sum() / 12 / 3  # of a cell's points, along one direction
        low, high = -60.0, 120.0
        for _ in range(60):
            mu = (low + high) / 2
            count = 2 * np.mean([(1 / (np.exp(np.clip((E - mu) / 0.1, -60, 60)) + 1)).sum() for E, _ in bands])
            low, high = (mu, high) if count < self.electrons else (low, mu)
        eps, drude, z = np.zeros(N_ENERGIES, complex), 0.0, OMEGA + 0.1j
        for E, v in bands:
            f = 1 / (np.exp(np.clip((E - mu) / 0.1, -60, 60)) + 1)
            v2 = (np.abs(v) ** 2).mean(0)
            alike = np.abs(E[:, None] - E) < 0.02
            for n in range(self.n):
                for m in range(self.n):
                    gap = E[m] - E[n]
                    if abs(gap) < 0.02:
                        variance = spread2 * 3 * (v2[n, alike[n]].sum() + v2[m, alike[m]].sum()) / 2
                        drude += smooth_slope((E[n] + E[m]) / 2 - mu, variance) * v2[n, m]
                    elif gap > 0 and f[n] - f[m] > 1e-12:
                        eps += (f[n] - f[m]) * v2[n, m] / gap * 2 / (gap**2 - z**2)
        factor = 2 * COULOMB / (self.volume * len(mesh.points))
        return 1 + factor * eps, math.sqrt(factor * drude)


def test_equals_a_slow_loop(model, engine):
    for atoms in (build_crystal("B2", ["Ni", "Al"]), skewed()):
        mesh = full_mesh((2, 2, 3))
        optics = solve(engine, atoms, mesh=mesh)
        eps_inter, omega_D = SlowLoop(model, atoms).spectrum(mesh)
        assert optics.omega_D == pytest.approx(omega_D, rel=1e-5)
        error = np.abs(optics.eps_inter - eps_inter).max() / np.abs(eps_inter - 1).max()
        assert error < 2e-3  # the bins: (h / eta)^2 / 8 at a single pole
        error = np.abs(optics.eps_inter - eps_inter).sum() / np.abs(eps_inter - 1).sum()
        assert error < 1e-3


def test_intraband_velocity_is_the_slope_of_the_band(model, engine):
    atoms = skewed(1)
    k, step = np.array([[0.13, 0.21, -0.34]]), 1e-4
    cartesian = step * np.eye(3) @ atoms.cell.array.T / (2 * np.pi)  # in units of the reciprocal vectors
    points = np.concatenate([k, k + cartesian, k - cartesian])
    sums = bloch_sums([prepare(engine, atoms, mesh=Mesh(points, np.full(7, 1 / 7), (1, 1, 1)))], model)
    energies, vectors, _ = _bands(sums)
    n = energies.shape[-1]
    velocity2 = _velocities2(sums, energies, vectors, n, 0)[0, 0].diagonal()
    slope = (energies[0, 1:4] - energies[0, 4:7]) / (2 * step)
    torch.testing.assert_close(velocity2, slope.square().mean(0), rtol=1e-4, atol=1e-4)


def test_vectors_are_orthonormal_and_velocities_hermitian(model, engine):
    sums = bloch_sums([prepare(engine, skewed(2), mesh=full_mesh((1, 2, 3)))], model)
    H, S = sums.bands()
    torch.testing.assert_close(H, H.mH)
    energies, C, sound = _bands(sums)
    assert sound.all()
    torch.testing.assert_close(C.mH @ S @ C, torch.eye(18, dtype=C.dtype).expand_as(S))
    torch.testing.assert_close(C.mH @ H @ C, torch.diag_embed(energies).to(C.dtype), rtol=0, atol=1e-8)
    velocity2 = _velocities2(sums, energies, C, 18, 0)
    torch.testing.assert_close(velocity2, velocity2.mT)


def test_dipoles_are_those_of_real_harmonics():
    # <a|r_i|b> over the unit sphere, with the harmonics written out and summed on a product quadrature.
    cos, weight = np.polynomial.legendre.leggauss(12)
    phi = np.arange(24) * 2 * np.pi / 24
    sin = np.sqrt(1 - cos**2)
    x, y = sin[:, None] * np.cos(phi), sin[:, None] * np.sin(phi)
    z = np.repeat(cos[:, None], 24, 1)
    s, p, d = 1 / np.sqrt(4 * np.pi), np.sqrt(3 / (4 * np.pi)), np.sqrt(15 / (4 * np.pi))
    harmonics = [
        s + 0 * x, p * y, p * z, p * x,
        d * x * y, d * y * z, d / np.sqrt(12) * (3 * z**2 - 1), d * x * z, d / 2 * (x**2 - y**2),
    ]  # fmt: skip
    measure = weight[:, None] * 2 * np.pi / 24
    shell = np.array([0, 1, 1, 1, 2, 2, 2, 2, 2])
    radial = {frozenset((0, 1)): 0.7, frozenset((1, 2)): 1.3}
    expected = np.array(
        [
            [
                [radial.get(frozenset((shell[a], shell[b])), 0) * (harmonics[a] * r * harmonics[b] * measure).sum()
                 for b in range(9)]
                for a in range(9)
            ]
            for r in (x, y, z)
        ]
    )  # fmt: skip
    blocks = dipole_blocks(torch.tensor([0.7, 1.3], dtype=torch.float64)).numpy()
    np.testing.assert_allclose(blocks, expected, atol=1e-12)


def test_rotation_changes_nothing(engine):
    atoms = skewed(3)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ Rotation.random(random_state=4).as_matrix().T, scale_atoms=True)
    mesh = full_mesh((2, 2, 2))
    one, other = solve(engine, atoms, mesh=mesh), solve(engine, turned, mesh=mesh)
    assert other.omega_D == pytest.approx(one.omega_D, rel=1e-8)
    np.testing.assert_allclose(other.eps_inter, one.eps_inter, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("repeat", [(2, 1, 1), (1, 2, 2)])
def test_supercell_changes_nothing(engine, repeat):
    atoms = build_crystal("B2", ["Zn", "Cu"])
    one = solve(engine, atoms, mesh=full_mesh((4, 4, 4)))
    other = solve(engine, atoms.repeat(repeat), mesh=full_mesh(tuple(4 // r for r in repeat)))
    assert other.fermi_level == pytest.approx(one.fermi_level, abs=1e-6)
    assert other.omega_D == pytest.approx(one.omega_D, rel=1e-6)
    np.testing.assert_allclose(other.eps_inter, one.eps_inter, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("atoms", "offset"),
    [
        (bulk("Al"), (0, 0, 0)),
        (bulk("Mg"), (0, 0, 1)),
        (build_crystal("B2", ["Ni", "Al"]), (1, 1, 1)),
        (build_crystal("L1_0", ["Ti", "Al"]), (1, 1, 1)),
    ],
    ids=["fcc", "hcp", "B2", "L1_0"],
)
def test_symmetry_leaves_the_spectrum(engine, atoms, offset):
    rotations = find_rotations(atoms.cell.array, atoms.numbers, atoms.positions)
    divisions = mesh_divisions(atoms.cell.array, rotations, 0.6)
    assert mesh_offset(divisions, rotations) == offset
    mesh = irreducible_points(divisions, rotations)
    assert mesh.weights.sum() == pytest.approx(1)
    everything = (np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), -1).reshape(-1, 3)
                  + np.asarray(offset) / 2) / divisions  # fmt: skip
    assert len(mesh.points) < len(everything) / 4
    one = solve(engine, atoms, mesh=mesh)
    other = solve(engine, atoms, mesh=Mesh(everything, np.full(len(everything), 1 / len(everything)), divisions))
    assert one.omega_D == pytest.approx(other.omega_D, rel=1e-6)
    np.testing.assert_allclose(one.eps_inter, other.eps_inter, rtol=1e-4, atol=1e-4)


def test_mesh_is_as_dense_as_asked():
    cell = bulk("Zn").cell.array
    rotations = find_rotations(cell, np.array([30, 30]), bulk("Zn").positions)
    divisions = mesh_divisions(cell, rotations, 0.2)
    lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(cell), axis=0)
    assert (lengths / divisions <= 0.2 + 1e-9).all()
    assert divisions[0] == divisions[1]
    assert (lengths / (np.asarray(divisions) - 1) > 0.2).any()
    with pytest.raises(ValueError, match="mesh"):
        irreducible_points((3, 4, 5), rotations)


def test_batch_and_order_change_nothing(model):
    engine = TightBindingEngine(model, spacing=0.6, memory=2e8)
    crystals = [
        build_crystal("B2", ["Ni", "Al"]), bulk("Cu"), skewed(5), build_crystal("L1_2", ["Al", "Sc"]),
        build_crystal("B2", ["Ag", "Li"]), bulk("Al"),
    ]  # fmt: skip
    inputs = [prepare(engine, atoms) for atoms in crystals]
    together = engine.solve(inputs)
    backwards = engine.solve(inputs[::-1])[::-1]
    for one, crystal, other in zip(together, inputs, backwards, strict=True):
        (alone,) = engine.solve([crystal])
        for result in (alone, other):
            assert result.omega_D == pytest.approx(one.omega_D, rel=1e-9)
            np.testing.assert_allclose(result.eps_inter, one.eps_inter, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu
def test_cuda_gives_the_same_spectra(model):
    crystals = [
        build_crystal("B2", ["Ni", "Al"]), skewed(7), build_crystal("L1_2", ["Al", "Sc"]),
        build_crystal("D2_d", ["Ca", "Cu"]), bulk("Al"), build_crystal("D5_a", ["Sn", "Zr"]),
    ]  # fmt: skip
    spectra = []
    for device, dtype in (("cpu", torch.float64), ("cuda", torch.float64), ("cuda", torch.float32)):
        engine = TightBindingEngine(model.to(device, dtype), spacing=0.5)
        spectra.append(engine.solve([prepare(engine, atoms) for atoms in crystals]))
    for host, double, single in zip(*spectra, strict=True):
        assert double.omega_D == pytest.approx(host.omega_D, rel=1e-8)
        np.testing.assert_allclose(double.eps_inter, host.eps_inter, rtol=1e-5, atol=1e-5)
        assert single.omega_D == pytest.approx(host.omega_D, rel=1e-4)
        assert distance(single, host) < 2e-4


def test_single_precision_is_enough(model):
    atoms = [build_crystal("L2_1", ["Cu", "Al", "Ti"]), skewed(6), build_crystal("L1_0", ["Au", "Cu"])]
    spectra = []
    for dtype in (torch.float64, torch.float32):
        engine = TightBindingEngine(model.to("cpu", dtype), spacing=0.5)
        spectra.append([solve(engine, crystal) for crystal in atoms])
    for double, single in zip(*spectra, strict=True):
        assert single.omega_D == pytest.approx(double.omega_D, rel=1e-4)
        assert distance(single, double) < 2e-4


def test_metals_are_metals(engine):
    """eps2 >= 0, a causal response, a Drude part, and the sum rule of free electrons for aluminium."""
    fine = TightBindingEngine(engine.model, spacing=0.2)
    optics = solve(fine, bulk("Al", a=4.05))
    assert optics.omega_D > 5
    eps2 = optics.eps_inter.imag
    assert (eps2 > -1e-5).all()
    # Kramers-Kronig without the singular point: the other sublattice of energies.
    static = 1 + 2 / np.pi * np.trapezoid(eps2[1:] / OMEGA[1:], OMEGA[1:])
    assert static == pytest.approx(optics.eps_inter.real[0], rel=0.05)
    odd, even = OMEGA[1::2], OMEGA[200:800:2]
    weights = odd * eps2[1::2] * 2 * ENERGY_STEP
    real = 1 + 2 / np.pi * (weights / (odd**2 - even[:, None] ** 2)).sum(1)
    assert np.abs(real - optics.eps_inter.real[200:800:2]).max() < 0.03 * np.abs(optics.eps_inter.real).max()
    plasma = math.sqrt(optics.omega_D**2 + 2 / np.pi * np.trapezoid(OMEGA * eps2, OMEGA))
    assert plasma == pytest.approx(free_electron_frequency(3, 4.05**3 / 4), rel=0.15)  # 15.8 eV


def test_broadening_is_that_of_each_transition():
    generator = np.random.default_rng(7)
    bins = torch.zeros(2, 12_001, dtype=torch.float64)
    places = np.stack([generator.choice(np.arange(2, 12_000), 40, replace=False) for _ in range(2)])
    for row in range(2):
        bins[row, places[row]] = torch.from_numpy(generator.random(40))
    volume = torch.tensor([20.0, 35.0], dtype=torch.float64)
    eps = dielectric_function(bins, volume).numpy()
    for row in range(2):
        E = places[row] * ENERGY_STEP
        z = OMEGA[:, None] + 0.1j
        weight = bins[row, places[row]].numpy() * E**2  # (f_n - f_m) |v|^2
        direct = 1 + 2 * COULOMB / volume[row].item() * (weight / E * 2 / (E**2 - z**2)).sum(1)
        np.testing.assert_allclose(eps[row], direct, rtol=1e-9, atol=1e-9)


def test_fermi_level_holds_the_electrons():
    generator = torch.Generator().manual_seed(8)
    energies = torch.randn(3, 5, 9, dtype=torch.float64, generator=generator) * 4
    weights = torch.rand(3, 5, dtype=torch.float64, generator=generator)
    weights /= weights.sum(1, keepdim=True)
    wanted = torch.tensor([1.0, 7.5, 16.0], dtype=torch.float64)
    level = fermi_level(energies, weights, wanted)
    counted = 2 * ((1 / (1 + ((energies - level[:, None, None]) / 0.1).exp())).sum(2) * weights).sum(1)
    torch.testing.assert_close(counted, wanted, rtol=1e-9, atol=1e-9)


def test_impossible_crystals_are_rejected_alone(engine):
    close = Atoms("Al2", cell=4 * np.eye(3), positions=[(0, 0, 0), (0, 0, 0.9)], pbc=True)
    rejected = engine.prepare(close.cell.array, close.numbers, close.positions)
    assert isinstance(rejected, Rejected)
    assert "0.90 Å" in rejected.reason
    dense, fine = bulk("Cs", "sc", a=2.0), bulk("Cs", "sc", a=5.5)
    first, second = engine.solve([prepare(engine, dense), prepare(engine, fine)])
    assert isinstance(first, Rejected)
    assert "overlap" in first.reason
    assert isinstance(second, Optics)
    with pytest.raises(UserError, match="no tight-binding parameters for He"):
        engine.prepare(4 * np.eye(3), np.array([2]), np.zeros((1, 3)))
