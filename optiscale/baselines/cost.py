"""What a baseline will cost, from fits to random numbers on this machine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from optiscale.baselines.estimators import MAX_SCORES, N_FEATURES, MagpieBaseline
from optiscale.config import BaselineConfig, MagpieForest

_SMALL, _LARGE = 16, 256  # materials: what one adds is told from what a call costs to begin
_JUDGED = 1024  # materials judged at once
_FEW, _MANY = 1, 8  # trees: as the materials


class Line(NamedTuple):
    """Seconds of a call with n materials: `begin` + n `share`."""

    begin: float
    share: float

    def at(self, n: float) -> float:
        """Return the seconds of n materials."""
        return self.begin + n * self.share

    def minus(self, other: Line, parts: int) -> Line:
        """Return what each of some parts adds."""
        return Line(max(0.0, self.begin - other.begin) / parts, max(0.0, self.share - other.share) / parts)


@dataclass(frozen=True)
class BaselineRates:
    """What a fit and a prediction take without trees, and what a tree adds; of a fitted tree by material and depth."""

    fit: Line
    tree: Line
    predict: Line
    predict_tree: Line

    def estimate(self, config: BaselineConfig, *, D: int, n_validation: int) -> float:
        """Return the seconds of a fit to D materials, judged on these and on the validation part."""
        trees = config.trees if isinstance(config, MagpieForest) else 0
        depth = math.log2(min(D, config.leaves)) if isinstance(config, MagpieForest) else 0.0
        fit = self.fit.at(D) + trees * self.tree.at(D * depth)
        return fit + sum(self.predict.at(n) + trees * self.predict_tree.at(n) for n in (D, n_validation))


def measure_baseline(config: BaselineConfig, *, n_values: int, n_scalars: int, threads: int) -> BaselineRates:
    """Fit and predict random numbers.

    Parameters
    ----------
    config
        The baseline.
    n_values, n_scalars
        Values of a spectrum and scalar targets.
    threads
        Processor cores of a forest.
    """
    random = np.random.default_rng(0)
    features = random.random((_LARGE, N_FEATURES))
    spectrum = random.random((_LARGE, n_values), dtype=np.float32) if n_values else None
    scalars = random.random((_LARGE, n_scalars)) if n_scalars else None

    def seconds(config: BaselineConfig, n: int) -> tuple[float, float]:
        model = MagpieBaseline(config, seed=0, threads=threads)
        targets = (None if values is None else values[:n] for values in (spectrum, scalars))
        began = time.perf_counter()
        model.fit(features[:n], *targets)
        fitted = time.perf_counter()
        model.predict(features[:n])
        return fitted - began, time.perf_counter() - fitted

    def lines(config: BaselineConfig) -> tuple[Line, Line]:
        pairs = zip(seconds(config, _SMALL), seconds(config, _LARGE), strict=True)
        shares = [(small, max(0.0, large - small) / (_LARGE - _SMALL)) for small, large in pairs]
        fit, predict = (Line(max(0.0, small - _SMALL * share), share) for small, share in shares)
        return fit, predict

    few = config.model_copy(update={"trees": _FEW}) if isinstance(config, MagpieForest) else config
    seconds(few, _SMALL)  # imports
    fit, predict = lines(few)
    if not isinstance(config, MagpieForest):
        return BaselineRates(fit, Line(0.0, 0.0), predict, Line(0.0, 0.0))
    fit_many, predict_many = lines(config.model_copy(update={"trees": _MANY}))
    tree, predict_tree = fit_many.minus(fit, _MANY - _FEW), predict_many.minus(predict, _MANY - _FEW)
    by_depth = Line(tree.begin, tree.share / math.log2(min(_LARGE, config.leaves)))
    return BaselineRates(fit.minus(tree, 1), by_depth, predict.minus(predict_tree, 1), predict_tree)


def memory_mb(config: BaselineConfig, *, D: int, n_values: int, n_scalars: int) -> float:
    """Count the MiB that a fit to D materials, and its judgement, add to a process: spectra, features, trees.

    Parameters
    ----------
    config
        The baseline.
    D
        Training materials.
    n_values, n_scalars
        Values of a spectrum and scalar targets.
    """
    fitted = D * n_values * 3 * 4  # standardized and centred, or solved
    judged = min(D, _JUDGED) * n_values * 3 * 8  # predicted, true, and their difference
    spectra = D * n_values * 4 + max(fitted, judged)
    features = D * N_FEATURES * 3 * 8
    trees = 0
    if isinstance(config, MagpieForest):
        nodes = 2 * min(config.leaves, D)
        trees = config.trees * nodes * 8 * (min(MAX_SCORES, n_values) + 8 + n_scalars * 9)  # 8 numbers tell a split
    return (spectra + features + trees) / 2**20
