from __future__ import annotations

import numpy as np
import pytest

from optiscale.laws import LAWS
from optiscale.laws.functions import bnsl1, bnsl2, broken, broken_amplitude, broken_floor, floor, m4, power, saturating
from optiscale.laws.maps import chinchilla, coupled, coupled_broken, coupled_drift, hoffmann, kaplan, kaplan_plain

X = np.logspace(2, 8, 13)
N, D = (values.ravel() for values in np.meshgrid(np.logspace(4, 8, 5), np.logspace(3, 6, 5)))


def slope(function, x):
    """-d ln L / d ln x by a small step."""
    return -np.log(function(x * 1.001) / function(x / 1.001)) / np.log(1.001**2)


def test_values_equal_the_formulas_as_printed():
    x0, xc, a, a1, a2, A, linf = 3e4, 5e4, 0.3, 0.17, 0.41, 1.3, 0.2
    np.testing.assert_allclose(power(X, np.log10(x0), a), (x0 / X) ** a)
    np.testing.assert_allclose(floor(X, np.log10(x0), a, linf), linf + (x0 / X) ** a)
    expected = (xc / X) ** a2 * (1 + xc / X) ** (a1 - a2)
    np.testing.assert_allclose(broken(X, np.log10(xc), a1, a2), expected)
    np.testing.assert_allclose(broken_amplitude(X, np.log10(xc), a1, a2, A), A * expected)
    Nc, Dc, aN, L0 = 2e5, 3e4, 0.3, 0.15
    in_d = (Dc / D) * (1 + Dc / D) ** (a1 / a2 - 1)
    np.testing.assert_allclose(
        kaplan(N, D, np.log10(Nc), np.log10(Dc), aN, a1, a2), ((Nc / N) ** (aN / a2) + in_d) ** a2
    )
    np.testing.assert_allclose(
        hoffmann(N, D, np.log10(Nc), np.log10(Dc), aN, a1, a2, L0),
        L0 + (Nc / N) ** aN + (Dc / D) ** a2 * (1 + Dc / D) ** (a1 - a2),
    )


def test_broken_laws_have_the_first_exponent_far_below_the_break_and_the_second_far_above():
    for function in (lambda x: broken(x, 5.0, 0.15, 0.42), lambda x: broken_amplitude(x, 5.0, 0.15, 0.42, 2.0)):
        assert slope(function, 1e-3) == pytest.approx(0.15, abs=1e-6)
        assert slope(function, 1e13) == pytest.approx(0.42, abs=1e-6)
    assert broken(1e5, 5.0, 0.15, 0.42) == pytest.approx(2 ** (0.15 - 0.42))


def test_maps_reduce_to_their_one_dimensional_laws():
    p = {"log10_Nc": 5.3, "log10_Dc": 4.5, "aN": 0.3, "a1": 0.2, "a2": 0.4}
    np.testing.assert_allclose(kaplan(X, 1e60, **p), power(X, 5.3, 0.3), rtol=1e-9)
    np.testing.assert_allclose(kaplan(1e90, X, **p), broken(X, 4.5, 0.2, 0.4), rtol=1e-9)
    np.testing.assert_allclose(hoffmann(X, 1e60, **p, L0=0.1), 0.1 + power(X, 5.3, 0.3), rtol=1e-9)
    np.testing.assert_allclose(hoffmann(1e90, X, **p, L0=0.1), 0.1 + broken(X, 4.5, 0.2, 0.4), rtol=1e-9)
    assert hoffmann(1e300, 1e300, **p, L0=0.1) == pytest.approx(0.1)


def test_m1_to_m4_are_those_of_their_source():
    # arXiv:2209.06640: M3 is b (1/x + g)^c, M4 solves (L - Linf) / (L0 - L)^alpha = b x^-c.
    np.testing.assert_allclose(saturating(X, 4.0, 0.3, 6.0), 1e4**0.3 * (1 / X + 1e-6) ** 0.3)
    for b in (0.1, 0.7, 1.0, 3.0):
        loss = m4(X, 5.0, 0.4, b, 0.2, 1.5)
        np.testing.assert_allclose((loss - 0.2) / (1.5 - loss) ** b, (1e5 / X) ** 0.4, rtol=1e-6)
        assert (np.diff(loss) < 0).all()
    np.testing.assert_allclose(m4(X[5:], 4.0, 0.4, 0.0, 0.2, 50.0), floor(X[5:], 4.0, 0.4, 0.2), rtol=1e-8)


def test_laws_with_more_freedom_hold_those_with_less():
    np.testing.assert_allclose(broken_floor(X, 4.5, 0.2, 0.5, 1.3, 0.0), broken_amplitude(X, 4.5, 0.2, 0.5, 1.3))
    np.testing.assert_allclose(bnsl1(X, 4.5, 0.2, 0.5, 1.0, 1.3, 0.1), broken_floor(X, 4.5, 0.2, 0.5, 1.3, 0.1))
    one, two = bnsl1(X, 4.5, 0.2, 0.5, 0.4, 1.3, 0.1), bnsl2(X, 4.5, 6.0, 0.2, 0.5, 0.5, 0.4, 0.7, 1.3, 0.1)
    np.testing.assert_allclose(two, one)
    p = {"log10_Nc": 5.3, "log10_Dc": 4.5, "aN": 0.3, "a1": 0.2, "a2": 0.4}
    np.testing.assert_allclose(coupled_broken(N, D, **p, g=0.4), kaplan(N, D, **p), rtol=1e-12)
    np.testing.assert_allclose(coupled_broken(N, D, **p, g=1.0), hoffmann(N, D, **p, L0=0.0), rtol=1e-12)
    np.testing.assert_allclose(coupled_drift(N, D, **p, g=0.3, d=0.0), coupled_broken(N, D, **p, g=0.3), rtol=1e-12)
    np.testing.assert_allclose(
        coupled_drift(1e8, D, **p, g=0.3, d=0.2), coupled_broken(1e8, D, **{**p, "log10_Dc": 4.9}, g=0.3), rtol=1e-12
    )
    plain = kaplan_plain(N, D, 5.3, 4.5, 0.3, 0.4)
    np.testing.assert_allclose(kaplan(N, D, 5.3, 4.5, 0.3, 0.4, 0.4), plain, rtol=1e-12)
    np.testing.assert_allclose(coupled(N, D, 2.0, 1.5, 0.3, 0.4, 1.0, 0.7), chinchilla(N, D, 2.0, 1.5, 0.3, 0.4, 0.7))
    np.testing.assert_allclose(coupled(N, D, 0.3 * 5.3, 0.4 * 4.5, 0.3, 0.4, 0.4, 0.0), plain, rtol=1e-12)


def test_a_sharper_break_is_nearer_to_its_two_power_laws():
    kink = np.where(X < 1e5, (1e5 / X) ** 0.2, (1e5 / X) ** 0.6)
    misses = [np.abs(np.log(bnsl1(X, 5.0, 0.2, 0.6, s, 1.0, 0.0) / kink)).max() for s in (1.0, 0.3, 0.05)]
    assert misses[0] > misses[1] > misses[2]
    assert misses[2] < 0.02


def test_a_small_coupling_takes_the_larger_shortage():
    larger = np.maximum(100 / N**0.3, 30 / D**0.4)
    np.testing.assert_allclose(coupled(N, D, 2.0, np.log10(30), 0.3, 0.4, 0.01, 0.0), larger, rtol=0.01)


@pytest.mark.parametrize("name", LAWS)
def test_wild_parameters_never_give_nan_or_infinity(name):
    law = LAWS[name]
    rng = np.random.default_rng(0)
    variables = (X,) if law.kind == "1d" else (N, D)
    for scale in (1.0, 1e3, 1e9):
        for _ in range(50):
            assert np.isfinite(law.function(*variables, *rng.normal(0.0, scale, len(law.parameters)))).all()
    assert np.isfinite(law.function(*variables, *np.zeros(len(law.parameters)))).all()


def test_functions_broadcast():
    assert power(X[:, None], np.array([3.0, 4.0]), 0.3).shape == (len(X), 2)
