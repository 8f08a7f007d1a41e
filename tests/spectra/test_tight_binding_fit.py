from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms

from optiscale.errors import UserError
from optiscale.spectra.tight_binding import fit
from optiscale.spectra.tight_binding.dipoles import fit_dipoles, slater_dipoles
from optiscale.spectra.tight_binding.engine import TightBindingEngine
from optiscale.spectra.tight_binding.model import TightBinding, species
from optiscale.spectra.tight_binding.objective import Objective, Target, band_rms, minimize
from optiscale.spectra.tight_binding.parameters import ElementParameters, read_parameters
from optiscale.spectra.tight_binding.reference import BandModel, fermi_level, pack, read_reference, unpack
from optiscale.spectra.tight_binding.start import N_VALENCE, start_parameters
from optiscale.structures import ATOMIC_VOLUMES, build_crystal


def fcc(symbol: str) -> Atoms:
    a = (4 * ATOMIC_VOLUMES[symbol]) ** (1 / 3)
    return Atoms(symbol, cell=a / 2 * (np.ones((3, 3)) - np.eye(3)), pbc=True)


def write_bands(path, atoms: Atoms, elements: dict[str, ElementParameters], n_semicore: int = 0, **arrays) -> None:
    """Bands of the model itself, in the layout of the reference files, with semicore bands below."""
    mesh = torch.cartesian_prod(*[torch.arange(4, dtype=torch.float64) / 4] * 3)
    symbols = atoms.get_chemical_symbols()
    rows = torch.tensor([list(elements).index(symbol) for symbol in symbols])
    energies = BandModel(atoms, mesh, 7.0).bands(species(elements)[rows]).energies
    n_electrons = sum(elements[symbol].n_valence for symbol in symbols)
    level, _ = fermi_level(energies, torch.full((64,), 1 / 64), n_electrons)
    energies = torch.cat([torch.full((64, n_semicore), -40.0).double(), energies - level], 1)
    np.savez(
        path,
        E=energies.numpy(),
        ibz=mesh.numpy(),
        w=np.full(64, 1 / 64),
        nv=n_electrons + 2 * n_semicore,
        cell=atoms.cell.array,
        numbers=atoms.numbers,
        positions=atoms.positions,
        **arrays,
    )


@pytest.mark.parametrize("prototype", ["B2", "L1_0"])
def test_derivatives_of_bands_and_overlap(prototype):
    atoms = build_crystal(prototype, ("Ti", "Al"))
    elements = {symbol: read_parameters()[symbol] for symbol in ("Ti", "Al")}
    k = torch.tensor([[0.11, 0.23, 0.37], [0.4, 0.05, 0.21]], dtype=torch.float64)
    model = BandModel(atoms, k, 6.0)
    start = pack(species(elements))
    by_energy, by_overlap = model.bands(species(elements)).jacobian(species(elements))
    for atom, parameter in ((0, 1), (1, 2), (0, 3), (1, 5), (0, 8), (1, 11), (1, 14), (0, 17)):
        step = torch.zeros_like(start)
        step[atom, parameter] = 1e-5
        ahead, behind = (model.bands(unpack(species(elements), start + sign * step)) for sign in (1, -1))
        slope = (ahead.energies - behind.energies) / 2e-5
        torch.testing.assert_close(by_energy[:, :, atom, parameter], slope, atol=1e-5, rtol=1e-5)
        slope = (ahead.overlap_min - behind.overlap_min) / 2e-5
        torch.testing.assert_close(by_overlap[:, atom, parameter], slope, atol=1e-6, rtol=1e-5)


def test_the_bands_are_those_of_the_engine():
    """The fit and the engine build their matrices apart; both must be the same physics."""
    atoms = build_crystal("B2", ("Ni", "Al"))
    elements = {symbol: read_parameters()[symbol] for symbol in ("Ni", "Al")}
    engine = TightBindingEngine(TightBinding(elements))
    crystal = engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions)
    (optics,) = engine.solve([crystal])
    k, weights = torch.from_numpy(crystal.mesh.points).double(), torch.from_numpy(crystal.mesh.weights).double()
    bands = BandModel(atoms, k, 6.0).bands(species(elements)[[0, 1] if atoms.numbers[0] == 28 else [1, 0]])
    level, _ = fermi_level(bands.energies, weights / weights.sum(), 13)
    assert level == pytest.approx(optics.fermi_level, abs=2e-3)


def test_a_fit_finds_bands_that_the_model_can_make(tmp_path):
    truth = {"Cu": read_parameters()["Cu"]}
    write_bands(tmp_path / "el_Cu_fcc.npz", fcc("Cu"), truth, n_semicore=3)
    bands = read_reference(tmp_path / "el_Cu_fcc.npz", N_VALENCE)
    assert bands.energies.shape == (64, 9)  # semicore bands are counted off
    assert band_rms(truth, bands) < 1e-6
    off = truth["Cu"]
    start = dataclasses.replace(
        off, exponent=tuple(1.1 * x for x in off.exponent), onsite=tuple(x + 1.0 for x in off.onsite)
    )
    assert band_rms({"Cu": start}, bands) > 0.5
    objective = Objective({"Cu": start}, [Target(bands.atoms, bands.k_points, start.cutoff, bands)])
    values, value, rms = minimize(objective, objective.centre, iterations=15)
    assert rms[0] < 0.05
    assert value < 0.01 * objective.value(objective.centre)
    assert band_rms({"Cu": fit.replace_fitted(start, values[0])}, bands) == pytest.approx(rms[0], abs=1e-6)


def test_the_command_fits_elements_and_reads_no_compound(tmp_path, monkeypatch):
    element = {"Cu": read_parameters()["Cu"]}
    write_bands(tmp_path / "el_Cu_fcc.npz", fcc("Cu"), element)
    (tmp_path / "bin_AuCu.npz").write_bytes(b"never read")
    (tmp_path / "pair_Cu-Ir_B2.npz").write_bytes(b"never read")
    monkeypatch.setattr(fit, "_GOOD", 10.0)  # the first start is enough
    fit.main([str(tmp_path), "--out", str(tmp_path / "table.json"), "--workers", "1"])
    fitted = read_parameters(tmp_path / "table.json")
    assert set(fitted) == {"Cu"}
    assert band_rms(fitted, read_reference(tmp_path / "el_Cu_fcc.npz", N_VALENCE)) < 0.3
    assert fitted["Cu"].dipole == pytest.approx(slater_dipoles(fitted["Cu"]), abs=1e-4)  # no spectrum: Slater's


def test_dipole_lengths_are_found_from_a_spectrum(tmp_path):
    truth = {"Cu": dataclasses.replace(read_parameters()["Cu"], dipole=(1.0, 0.5))}
    atoms = fcc("Cu")
    engine = TightBindingEngine(TightBinding(truth))
    (optics,) = engine.solve([engine.prepare(atoms.cell.array, atoms.numbers, atoms.positions)])
    write_bands(tmp_path / "el_Cu_fcc.npz", atoms, truth, inter=optics.eps_inter, pf=np.eye(3) * 0.1 + 0j)
    bands = read_reference(tmp_path / "el_Cu_fcc.npz", N_VALENCE)
    assert bands.omega_D == pytest.approx(27.211386 * 0.1**0.5)
    gold = read_parameters()["Au"]
    fitted = fit_dipoles(truth | {"Au": gold}, {"Cu": [bands]})
    assert fitted["Cu"].dipole == pytest.approx((1.0, 0.5), abs=0.05)  # the pull to Slater's integrals is weak
    scale = np.divide(fitted["Cu"].dipole, slater_dipoles(truth["Cu"]))
    np.testing.assert_allclose(np.divide(fitted["Au"].dipole, slater_dipoles(gold)), scale)  # the nearest d metal's


def test_slater_dipoles():
    """By quadrature on a line."""
    element = dataclasses.replace(read_parameters()["Al"], principal=(1, 2, 3), exponent=(1.3, 0.9, 1.1))
    r = np.linspace(0, 60, 200_001)

    def radial(n: int, zeta: float) -> np.ndarray:
        shape = r ** (n - 1) * np.exp(-zeta * r)
        return shape / np.sqrt(np.trapezoid((shape * r) ** 2, r))

    s, p, d = (radial(n, zeta) for n, zeta in zip((1, 2, 3), (1.3, 0.9, 1.1), strict=True))
    expected = [np.trapezoid(s * p * r**3, r), np.trapezoid(p * d * r**3, r)]
    np.testing.assert_allclose(slater_dipoles(element), expected, rtol=1e-6)


def test_bad_reference_files_are_one_clear_line(tmp_path):
    path = tmp_path / "el_Cu_fcc.npz"
    write_bands(path, fcc("Cu"), {"Cu": read_parameters()["Cu"]})
    whole = path.read_bytes()
    for cut in np.random.default_rng(0).integers(1, len(whole) - 1, 10):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"el_Cu_fcc\.npz: not a readable file"):
            read_reference(path, N_VALENCE)
    path.write_bytes(whole)
    with pytest.raises(UserError, match="no tight-binding parameters for Cu"):
        read_reference(path, {"Al": 3})
    with pytest.raises(UserError, match="2 fewer than the model's"):
        read_reference(path, {"Cu": 13})
    with pytest.raises(UserError, match=r"no reference bands \(el_\*\.npz\)"):
        fit.find_references([tmp_path / "nothing"])
    with pytest.raises(UserError, match="Pu has no known atomic volume"):
        start_parameters("Pu")
