from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from optiscale.errors import UserError
from optiscale.evaluation import per_material_metrics, summarize
from optiscale.evaluation.metrics import metal_lab

ENERGIES = np.linspace(0, 20, 401)
COMPONENTS = ("re", "im")


def spectra(seed: int, n: int = 4) -> np.ndarray:
    """Random oscillators, (n, n_omega, 2)."""
    generator = np.random.default_rng(seed)
    center, width, strength = generator.uniform([1, 0.3, 5], [8, 2, 60], size=(n, 3)).T[..., None]
    eps = 1 + strength / (center**2 - ENERGIES**2 - 1j * width * ENERGIES)
    return np.stack([eps.real, eps.imag], axis=-1)


@pytest.fixture
def frame():
    return per_material_metrics(
        ENERGIES, spectra(0), spectra(1), COMPONENTS, np.array([3.0, 5, 0, 8]), np.array([4.0, 5, 1, 10])
    )


def test_identical_spectra_are_perfect():
    frame = per_material_metrics(ENERGIES, spectra(0), spectra(0), COMPONENTS, np.full(4, 6.0), np.full(4, 6.0))
    for name in ("sc_re", "sc_im", "r2_re", "r2_im"):
        assert (frame[name] == 1).all()
    for name in ("mae_re", "mae_im", "omega_D_error", "omega_D_error_percent", "loss", "dE"):
        assert (frame[name] == 0).all()


def test_values_follow_their_definitions(frame):
    pred, true = spectra(0), spectra(1)
    for material in range(4):
        for place, name in enumerate(COMPONENTS):
            p, t = pred[material, :, place], true[material, :, place]
            row = frame.loc[material]
            assert row[f"mae_{name}"] == pytest.approx(np.mean(np.abs(p - t)))
            assert row[f"r2_{name}"] == pytest.approx(r2_score(t, p))
    np.testing.assert_allclose(frame["omega_D_error"], [1, 0, 1, 2])
    np.testing.assert_allclose(frame["omega_D_error_percent"], [25, 0, 100, 20])
    whole = np.abs(pred - true).mean(axis=(1, 2))  # the loss averages over all values of both components
    np.testing.assert_allclose(frame["loss"], whole + np.array([1, 0, 1, 2]))


def test_similarity_of_a_scaled_spectrum_is_one_minus_the_change():
    true = spectra(2)
    frame = per_material_metrics(ENERGIES, 1.1 * true, true, COMPONENTS)
    np.testing.assert_allclose(frame["sc_re"], 0.9)
    np.testing.assert_allclose(frame["sc_im"], 0.9)
    assert not {"omega_D_error", "loss", "dE"} & set(frame)


def test_what_is_not_predicted_has_no_column():
    imaginary = spectra(0)[:, :, 1:]
    assert list(per_material_metrics(ENERGIES, imaginary, imaginary, ("im",))) == ["mae_im", "r2_im", "sc_im"]
    only_drude = per_material_metrics(ENERGIES, None, None, (), np.array([1.0]), np.array([2.0]))
    assert list(only_drude) == ["omega_D_error", "omega_D_error_percent"]
    narrow = ENERGIES[ENERGIES < 3]
    few = spectra(0)[:, : len(narrow)]
    assert "dE" not in per_material_metrics(narrow, few, few, COMPONENTS, np.ones(4), np.ones(4))


def test_components_are_taken_by_name():
    flipped = per_material_metrics(
        ENERGIES, spectra(0)[..., ::-1], spectra(1)[..., ::-1], ("im", "re"), np.ones(4), np.full(4, 3.0)
    )
    straight = per_material_metrics(ENERGIES, spectra(0), spectra(1), COMPONENTS, np.ones(4), np.full(4, 3.0))
    pd.testing.assert_frame_equal(flipped[list(straight)], straight)


def test_colour_difference_sees_the_drude_term():
    # two free-electron metals, one with its edge in the visible: reddish against white
    vacuum = np.broadcast_to(np.array([1.0, 0.0]), (2, len(ENERGIES), 2))
    frame = per_material_metrics(ENERGIES, vacuum, vacuum, COMPONENTS, np.array([2.2, 9.0]), np.array([9.0, 9.0]))
    assert frame["dE"][0] > 20
    assert frame["dE"][1] == 0
    L, a, _ = metal_lab(ENERGIES, np.ones((1, len(ENERGIES)), complex), np.array([2.2]))[0]
    assert L < 80
    assert a > 5
    white = metal_lab(ENERGIES, np.ones((1, len(ENERGIES)), complex), np.array([9.0]))[0]
    assert white[0] > 98


def test_relative_error_is_missing_without_a_true_value():
    frame = per_material_metrics(ENERGIES, None, None, (), np.array([1.0, 2.0]), np.array([0.0, 4.0]))
    assert np.isnan(frame["omega_D_error_percent"][0])
    summary = summarize(frame)
    assert summary.loc["omega_D_error_percent", "count"] == 1
    assert summary.loc["omega_D_error_percent", "mean"] == 50


def test_summary_is_one_row_a_metric(frame):
    summary = summarize(frame)
    assert list(summary.index) == list(frame.columns)
    assert summary.loc["omega_D_error", "mean"] == pytest.approx(1.0)
    assert summary.loc["omega_D_error", "median"] == pytest.approx(1.0)
    assert summary.loc["omega_D_error", "max"] == pytest.approx(2.0)
    assert {"10%", "90%"} <= set(summary)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((ENERGIES, spectra(0), spectra(1)[:3], COMPONENTS), "spectra"),
        ((ENERGIES[:-1], spectra(0), spectra(1), COMPONENTS), "spectra"),
        ((ENERGIES, spectra(0), spectra(1), ("im",)), "spectra"),
        ((ENERGIES, spectra(0), spectra(1), COMPONENTS, np.ones(3), np.ones(3)), "omega_D"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(arguments, word):
    with pytest.raises(UserError, match=word):
        per_material_metrics(*arguments)
