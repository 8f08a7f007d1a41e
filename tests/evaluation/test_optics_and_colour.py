from __future__ import annotations

import colour as reference
import numpy as np
import pytest

from optiscale.errors import UserError
from optiscale.evaluation.colour import (
    HC,
    ILLUMINANT,
    OBSERVER,
    VISIBLE,
    colour_difference,
    reflectance_to_lab,
    xyz_weights,
)
from optiscale.evaluation.optics import drude_term, reflectance

ENERGIES = np.linspace(0.01, 20, 2000)

# P. B. Johnson and R. W. Christy, Phys. Rev. B 6, 4370 (1972): energy (eV), n and k of gold, n and k of silver.
JOHNSON_CHRISTY = np.array(
    [
        (1.39, 0.17, 5.663, 0.04, 6.312), (1.51, 0.16, 5.083, 0.04, 5.727), (1.64, 0.14, 4.542, 0.03, 5.242),
        (1.76, 0.13, 4.103, 0.04, 4.838), (1.88, 0.14, 3.697, 0.05, 4.483), (2.01, 0.21, 3.272, 0.06, 4.152),
        (2.13, 0.29, 2.863, 0.05, 3.858), (2.26, 0.43, 2.455, 0.06, 3.586), (2.38, 0.62, 2.081, 0.05, 3.324),
        (2.50, 1.04, 1.833, 0.05, 3.093), (2.63, 1.31, 1.849, 0.05, 2.869), (2.75, 1.38, 1.914, 0.04, 2.657),
        (2.88, 1.45, 1.948, 0.04, 2.462), (3.00, 1.46, 1.958, 0.05, 2.275), (3.12, 1.47, 1.952, 0.05, 2.070),
        (3.25, 1.46, 1.933, 0.05, 1.864), (3.37, 1.48, 1.895, 0.07, 1.657), (3.50, 1.50, 1.866, 0.10, 1.419),
    ]
)  # fmt: skip


def measured_lab(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return reflectance_to_lab(JOHNSON_CHRISTY[:, 0], reflectance((n + 1j * k) ** 2))


def test_gold_is_golden_and_silver_nearly_white():
    _, n_gold, k_gold, n_silver, k_silver = JOHNSON_CHRISTY.T
    L, a, b = measured_lab(n_gold, k_gold)
    assert 75 < L < 92
    assert 0 < a < 15  # a little red
    assert b > 25  # much yellow
    L, a, b = measured_lab(n_silver, k_silver)
    assert L > 96
    assert np.hypot(a, b) < 5


def test_a_perfect_mirror_is_white_and_a_grey_one_has_no_colour():
    white, grey = reflectance_to_lab(ENERGIES, np.array([np.ones(2000), np.full(2000, 0.184187)]))
    np.testing.assert_allclose(white, [100, 0, 0], atol=1e-9)
    # L* = 116 Y^(1/3) - 16 above Y = 0.0089
    np.testing.assert_allclose(grey, [116 * 0.184187 ** (1 / 3) - 16, 0, 0], atol=1e-9)


def test_many_at_once_equal_the_reference_one_by_one():
    generator = np.random.default_rng(0)
    steps = generator.normal(size=(5, 40))
    coarse = np.linspace(0, 20, 40)
    curves = np.array([np.interp(ENERGIES, coarse, 1 / (1 + np.exp(-step))) for step in steps])
    lab = reflectance_to_lab(ENERGIES, curves)
    cmfs = reference.MSDS_CMFS[OBSERVER]
    light = reference.SDS_ILLUMINANTS[ILLUMINANT].copy().align(cmfs.shape)
    wavelengths = np.arange(360, 831)
    mirror = reference.SpectralDistribution(np.ones(471), wavelengths)
    white = reference.XYZ_to_xy(reference.sd_to_XYZ(mirror, cmfs, light, method="Integration"))
    for curve, ours in zip(curves, lab, strict=True):
        surface = reference.SpectralDistribution(np.interp(HC / wavelengths, ENERGIES, curve), wavelengths)
        theirs = reference.XYZ_to_Lab(reference.sd_to_XYZ(surface, cmfs, light, method="Integration") / 100, white)
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_white_point_is_that_of_daylight():
    white = reference.XYZ_to_xy(xyz_weights(ENERGIES).sum(axis=0))
    np.testing.assert_allclose(white, [0.3127, 0.3290], atol=1e-4)


def test_colour_difference_is_the_distance_in_lab():
    first, second = np.array([[50.0, 10, -20], [90, 0, 0]]), np.array([[53.0, 14, -20], [90, 0, 12]])
    np.testing.assert_allclose(colour_difference(first, second), [5, 12])


def test_a_grid_that_misses_the_visible_is_refused():
    with pytest.raises(UserError, match=r"1\.49 to 3\.44 eV"):
        xyz_weights(np.linspace(2, 20, 100))
    assert pytest.approx((1.494, 3.444), abs=1e-3) == VISIBLE


def test_a_free_electron_metal_reflects_below_its_plasma_frequency_only():
    omega_D = 9.0
    eps = 1 + drude_term(ENERGIES, np.array(omega_D), gamma=1e-4)
    R = reflectance(eps)
    assert R[0.98 * omega_D > ENERGIES].min() > 0.999
    assert R[1.3 * omega_D < ENERGIES].max() < 0.1
    assert drude_term(ENERGIES, np.array([1.0, 2.0])).shape == (2, 2000)


def test_low_energy_reflectance_follows_hagen_and_rubens():
    # far below the damping: R = 1 - 2 sqrt(2 omega gamma) / omega_D to leading order
    omega, omega_D, gamma = np.array([1e-6]), 8.0, 0.1
    R = reflectance(1 + drude_term(omega, np.array(omega_D), gamma))
    assert 1 - R[0] == pytest.approx(2 * np.sqrt(2 * omega[0] * gamma) / omega_D, rel=1e-2)


def test_the_drude_term_obeys_its_sum_rule():
    # integral of omega Im eps over all energies: pi / 2 omega_D^2
    energies = np.geomspace(1e-6, 1e5, 200_001)
    eps2 = drude_term(energies, np.array(7.0)).imag
    assert np.all(eps2 > 0)
    total = np.sum(np.diff(energies) * (energies * eps2)[1:])
    assert total == pytest.approx(np.pi / 2 * 49, rel=1e-3)


def test_the_drude_term_has_no_value_at_zero():
    with pytest.raises(ValueError, match="above zero"):
        drude_term(np.array([0.0, 1.0]), np.array(1.0))


def test_glass_reflects_as_fresnel_says():
    assert reflectance(np.array(1.5**2)) == pytest.approx(0.04)
    assert reflectance(np.array(1.0)) == 0
    generator = np.random.default_rng(1)
    anything = generator.normal(size=1000) + 1j * generator.normal(size=1000)  # a network may predict gain
    assert reflectance(10 * anything).max() <= 1 + 1e-12
