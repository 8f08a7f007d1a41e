from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from optiscale.baselines import MagpieBaseline, n_parameters
from optiscale.baselines.cost import measure_baseline, memory_mb
from optiscale.baselines.estimators import MAX_SCORES, N_FEATURES
from optiscale.config import MagpieForest, MagpieRidge

FOREST = MagpieForest(type="magpie-forest", trees=12, leaves=8)
RIDGE = MagpieRidge(type="magpie-ridge", alpha=3.0)
N_VALUES = 42


def materials(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, spectra and two scalars that follow from a few of the features."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, N_FEATURES)) * random.uniform(0.1, 50, N_FEATURES)
    waves = np.sin(np.outer(np.arange(1, 4), np.linspace(0, 3, N_VALUES)))
    spectrum = np.tanh(features[:, :3] / np.abs(features[:, :3]).mean(axis=0)) @ waves
    return features, spectrum, np.stack([features[:, 0], np.abs(features[:, 1])], axis=1)


def test_ridge_is_the_closed_form() -> None:
    features, spectrum, scalars = materials(50)
    fresh = materials(7, seed=1)[0]
    said = MagpieBaseline(RIDGE, seed=0).fit(features, spectrum, scalars).predict(fresh)
    # minimum of |y - mean - Z w|^2 + alpha |w|^2 with Z the standardized features; fresh ones are kept in their range
    mean, std = features.mean(axis=0), features.std(axis=0)
    z = (features - mean) / std
    fresh = fresh.clip(features.min(axis=0), features.max(axis=0))
    for true, predicted in zip((spectrum, scalars), said, strict=True):
        assert predicted is not None
        weights = np.linalg.solve(z.T @ z + RIDGE.alpha * np.eye(N_FEATURES), z.T @ (true - true.mean(axis=0)))
        np.testing.assert_allclose(predicted, true.mean(axis=0) + (fresh - mean) / std @ weights, rtol=1e-6, atol=1e-8)


def test_ridge_does_not_extrapolate_a_feature_that_hardly_varied() -> None:
    features, spectrum, scalars = materials(50)
    features[:, 100] = np.where(np.arange(50) == 7, 1e-4, 0.0)
    strange = features[:5].copy()
    strange[:, 100] = 2.1  # as the magnetic moment of iron among copper's
    _, said = MagpieBaseline(RIDGE, seed=0).fit(features, spectrum, scalars).predict(strange)
    assert said is not None
    assert np.ptp(scalars) > np.abs(said - scalars[:5]).max()


def test_n_of_ridge_counts_coefficients_and_intercepts() -> None:
    model: Any = MagpieBaseline(RIDGE, seed=0).fit(*materials(50))
    steps = [model._spectrum[-1], *(one[-1] for one in model._scalars)]
    stored = sum(np.size(step.coef_) + np.size(step.intercept_) for step in steps)
    assert n_parameters(RIDGE, n_values=N_VALUES, n_scalars=2) == stored


def leaf_values(forest: RandomForestRegressor) -> int:
    return sum(tree.get_n_leaves() * tree.tree_.n_outputs for tree in forest.estimators_)


def test_n_of_a_forest_counts_leaf_values_and_bounds_what_it_stores() -> None:
    whole = n_parameters(FOREST, n_values=N_VALUES, n_scalars=2)
    assert whole == 12 * 8 * (N_VALUES + 2)
    for n, full in ((300, True), (5, False)):
        model: Any = MagpieBaseline(FOREST, seed=0).fit(*materials(n))
        stored = leaf_values(model._spectrum.regressor_) + sum(leaf_values(one) for one in model._scalars)
        assert stored == whole if full else stored < whole
    assert n_parameters(FOREST, n_values=4002, n_scalars=1) == 12 * 8 * (MAX_SCORES + 1)
    assert n_parameters(FOREST, n_values=0, n_scalars=3) == 12 * 8 * 3


def test_a_forest_averages_spectra_that_it_has_seen() -> None:
    features, spectrum, scalars = materials(40)  # fewer than the principal components: nothing is lost
    fresh = materials(30, seed=1)[0]
    said = MagpieBaseline(FOREST, seed=0).fit(features, spectrum, scalars).predict(fresh)
    for true, predicted in zip((spectrum, scalars), said, strict=True):
        assert predicted is not None
        assert (predicted >= true.min(axis=0) - 1e-9).all()
        assert (predicted <= true.max(axis=0) + 1e-9).all()
        assert (predicted.std(axis=0) > 0).all()


@pytest.mark.parametrize("config", [FOREST.model_copy(update={"leaves": 512, "trees": 40}), RIDGE])
def test_more_materials_make_better_predictions(config: MagpieForest | MagpieRidge) -> None:
    features, spectrum, scalars = materials(1200)
    fresh, *true = (part[1000:] for part in (features, spectrum, scalars))
    errors = []
    for n in (30, 1000):
        said = MagpieBaseline(config, seed=0).fit(features[:n], spectrum[:n], scalars[:n]).predict(fresh)
        errors.append([np.abs(one - other).mean(axis=0) for one, other in zip(said, true, strict=True)])
    for few, many in zip(*errors, strict=True):
        assert many.mean() < 0.8 * few.mean()


def test_a_seed_fixes_a_forest_whatever_the_threads() -> None:
    data, fresh = materials(60), materials(9, seed=1)[0]
    one, same, other = (
        MagpieBaseline(FOREST, seed=seed, threads=threads).fit(*data).predict(fresh)
        for seed, threads in ((1, 1), (1, 2), (2, 1))
    )
    assert one[0] is not None
    assert other[0] is not None
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert (one[0] != other[0]).any()


def test_what_cannot_be_negative_is_not() -> None:
    features, _, scalars = materials(60)
    shifted = scalars - scalars.mean(axis=0)
    free = MagpieBaseline(RIDGE, seed=0).fit(features, None, shifted).predict(features)
    bound = MagpieBaseline(RIDGE, seed=0).fit(features, None, shifted, nonnegative=np.array([True, False]))
    spectrum, said = bound.predict(features)
    assert spectrum is None
    assert free[1] is not None
    assert said is not None
    assert (free[1] < 0).any(axis=0).all()
    np.testing.assert_array_equal(said, np.stack([free[1][:, 0].clip(0), free[1][:, 1]], axis=1))


def test_spectra_alone_leave_no_scalars() -> None:
    features, spectrum, _ = materials(20)
    said = MagpieBaseline(FOREST, seed=0).fit(features, spectrum, None).predict(features)
    assert said[0] is not None
    assert said[0].shape == (20, N_VALUES)
    assert said[1] is None


def test_the_cost_grows_with_trees_and_materials() -> None:
    rates = measure_baseline(FOREST, n_values=N_VALUES, n_scalars=1, threads=1)
    many = FOREST.model_copy(update={"trees": 1000})
    small, more_trees, more_data = (
        rates.estimate(config, D=D, n_validation=100) for config, D in ((FOREST, 100), (many, 100), (FOREST, 10_000))
    )
    assert 0 < small < more_trees
    assert small < more_data
    none = rates.estimate(FOREST.model_copy(update={"trees": 1}), D=2, n_validation=2)
    assert none > 1e-3, "a call of scikit-learn takes milliseconds whatever it is given"
    assert measure_baseline(RIDGE, n_values=N_VALUES, n_scalars=1, threads=1).estimate(RIDGE, D=9, n_validation=9) > 0


@pytest.mark.parametrize("config", [MagpieRidge(type="magpie-ridge"), MagpieForest(type="magpie-forest", trees=3)])
def test_the_memory_of_a_large_fit_is_told_beforehand(config: Any) -> None:
    random = np.random.default_rng(0)
    D, n_values = 1500, 3000
    MagpieBaseline(config, seed=0).fit(random.random((50, N_FEATURES)), random.random((50, 9)), None)  # imports
    tracemalloc.start()
    spectrum = random.random((D, n_values), dtype=np.float32)
    features = random.random((D, N_FEATURES))
    predicted, _ = MagpieBaseline(config, seed=0).fit(features, spectrum, None).predict(features[:1024])
    assert predicted is not None
    np.abs(predicted - spectrum[:1024].astype(np.float64)).mean()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert memory_mb(config, D=D, n_values=n_values, n_scalars=0) == pytest.approx(peak, rel=0.3)
