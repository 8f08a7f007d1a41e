from __future__ import annotations

import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.spectra import ENERGIES, read_record


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
