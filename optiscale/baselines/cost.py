"""What a baseline will cost, from fits to random numbers on this machine."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from optiscale.baselines.estimators import MAX_SCORES, N_FEATURES, MagpieBaseline
from optiscale.config import BaselineConfig, MagpieForest

_MATERIALS = 256
_JUDGED = 1024  # materials judged at once
_FEW, _MANY = 1, 8  # trees: what a tree adds is told from what it costs to begin


@dataclass(frozen=True)
class BaselineRates:
    """Seconds a training material, a tree and its material and depth, and a predicted material (of one tree)."""

    share: float
    tree: float
    predict: float
    predict_tree: float

    def estimate(self, config: BaselineConfig, *, D: int, n_validation: int) -> float:
        """Return the seconds of a fit to D materials, judged on these and on the validation part."""
        trees = config.trees if isinstance(config, MagpieForest) else 0
        depth = math.log2(min(D, config.leaves)) if isinstance(config, MagpieForest) else 0.0
        fit = D * (self.share + trees * depth * self.tree)
        return fit + (D + n_validation) * (self.predict + trees * self.predict_tree)


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
    features = random.random((_MATERIALS, N_FEATURES))
    spectrum = random.random((_MATERIALS, n_values), dtype=np.float32) if n_values else None
    scalars = random.random((_MATERIALS, n_scalars)) if n_scalars else None

    def seconds(config: BaselineConfig) -> tuple[float, float]:
        began = time.perf_counter()
        model = MagpieBaseline(config, seed=0, threads=threads).fit(features, spectrum, scalars)
        fitted = time.perf_counter()
        model.predict(features)
        return (fitted - began) / _MATERIALS, (time.perf_counter() - fitted) / _MATERIALS

    seconds(config if not isinstance(config, MagpieForest) else config.model_copy(update={"trees": _FEW}))  # imports
    if not isinstance(config, MagpieForest):
        fit, predict = seconds(config)
        return BaselineRates(share=fit, tree=0.0, predict=predict, predict_tree=0.0)
    few, many = (seconds(config.model_copy(update={"trees": trees})) for trees in (_FEW, _MANY))
    tree, predict_tree = (max(0.0, (more - less) / (_MANY - _FEW)) for less, more in zip(few, many, strict=True))
    return BaselineRates(
        share=max(0.0, few[0] - _FEW * tree),
        tree=tree / math.log2(min(_MATERIALS, config.leaves)),
        predict=max(0.0, few[1] - _FEW * predict_tree),
        predict_tree=predict_tree,
    )


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
