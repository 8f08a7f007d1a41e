from __future__ import annotations

import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.spectra import ENERGIES, read_record
from optiscale.spectra.gpaw_recipe import roughness


def test_a_record_gives_the_direction_averages(write_record):
    record = read_record(write_record())
    assert record.id == "B2_Ni-Al"
    assert record.prototype == "B2"
    assert record.omega_D == pytest.approx(6.0)  # sqrt((30 + 36 + 42) / 3)
    assert record.eps_inter.dtype == np.complex64
    np.testing.assert_allclose(record.eps_inter, 1 + 20.0 / (9 - ENERGIES**2 - 0.5j * ENERGIES), rtol=1e-5, atol=1e-5)
    assert record.atoms.get_chemical_formula() == "AlNi"
    assert all(record.atoms.pbc)
    assert record.provenance["recipe_version"] == 1
    assert record.provenance["kpts"] == [16, 16, 16]
    assert read_record(write_record(recipe_version=np.array(2))).provenance["recipe_version"] == 2


def broken(record_fields, name, index, value):
    changed = record_fields[name].copy()
    changed[index] = value
    return {name: changed}


@pytest.mark.parametrize(
    ("name", "index", "value", "word"),
    [
        ("eps_inter", (0, 7), complex(0, np.nan), "'eps_inter' holds a number that is not finite"),
        ("positions", (1, 1), np.inf, "'positions' holds"),
        ("eps_inter", (slice(None), 9), 1 - 2e-3j, "Im eps_inter falls to -0.002"),
        ("omega_D2", (0, 0), -100.0, "negative trace"),
    ],
)
def test_impossible_numbers_are_named(write_record, record_fields, name, index, value, word):
    path = write_record(**broken(record_fields, name, index, value))
    with pytest.raises(UserError, match=word) as error:
        read_record(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_noise_below_zero_passes(write_record, record_fields):
    eps = record_fields["eps_inter"].copy()
    eps[:, 0] -= 1e-4j
    assert read_record(write_record(eps_inter=eps)).eps_inter[0].imag == pytest.approx(-1e-4, rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"omega_D2": None}, "'omega_D2' is missing"),
        ({"prototype": None}, "'prototype' is missing"),
        ({"eps_inter": np.zeros((3, 100), complex)}, r"'eps_inter' has shape \(3, 100\)"),
        ({"numbers": np.array([28])}, "1 atomic numbers but 2 positions"),
    ],
)
def test_wrong_fields_are_named(write_record, changes, word):
    with pytest.raises(UserError, match=word):
        read_record(write_record(**changes))


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_clear_line(write_record, keep):
    path = write_record()
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(UserError, match="not a complete record") as error:
        read_record(path)
    assert "\n" not in str(error.value)


def test_a_flipped_byte_is_found(write_record):
    path = write_record()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(UserError, match="not a complete record"):
        read_record(path)


def test_foreign_and_missing_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such record"):
        read_record(tmp_path / "absent.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(UserError, match="not a complete record"):
        read_record(tmp_path / "array.npy")
    np.savez(tmp_path / "pickled.npz", cell=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="not a complete record"):
        read_record(tmp_path / "pickled.npz")


def test_a_spectrum_that_shows_its_mesh_is_flagged(write_record):
    band = np.array([1 + 60 / (25 - ENERGIES**2 - 3j * ENERGIES)] * 3, dtype=np.complex64)
    smooth = read_record(write_record(eps_inter=band)).provenance
    assert not smooth["coarse_mesh"]
    assert smooth["roughness"] < 0.05
    # A mesh that is too coarse leaves separate peaks of the broadening's width.
    peaks = np.zeros(2001, complex)
    for center in np.arange(1, 19, 0.7):
        peaks += 1 / (center**2 - ENERGIES**2 - 0.2j * ENERGIES)
    jagged = np.array([1 + peaks] * 3, dtype=np.complex64)
    flagged = read_record(write_record(eps_inter=jagged)).provenance
    assert flagged["coarse_mesh"]
    assert flagged["roughness"] > 0.2
    # A second mesh is the better judge.
    again = read_record(write_record(eps_inter=jagged, mesh_change=np.array(0.05), omega_D_change=np.array(-0.1)))
    assert not again.provenance["coarse_mesh"]
    assert again.provenance["omega_D_change"] == -0.1
    assert read_record(write_record(eps_inter=band, mesh_change=np.array(0.5))).provenance["coarse_mesh"]


def test_roughness_is_what_is_finer_than_the_window():
    energies = ENERGIES + 1e-9
    straight = 1j * (3 + 2 * energies) / energies
    assert roughness(straight) < 1e-3
    # A Gaussian of standard deviation w takes cos(k x) to exp(-(k w)^2 / 2) cos(k x).
    for k in (2 * np.pi, 6 * np.pi):  # whole periods
        wave = 1j * (1 + 0.5 * np.cos(k * energies)) / energies
        expected = 0.5 * (1 - np.exp(-((k * 0.15) ** 2) / 2)) * 2 / np.pi
        assert roughness(wave) == pytest.approx(expected, rel=0.05)
