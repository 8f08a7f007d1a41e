"""Known laws to sample from, and the samples."""

from __future__ import annotations

import numpy as np

from optiscale.laws import LAWS, Points

TRUTH = {
    "power": (4.3, 0.23),
    "floor": (4.4, 0.55, 0.8),
    "broken": (4.7, 0.15, 0.42),
    "broken_amplitude": (4.6, 0.15, 0.45, 0.8),
    "saturating": (4.3, 0.3, 5.5),
    "m4": (4.5, 0.5, 0.6, 0.3, 2.0),
    "broken_floor": (4.6, 0.15, 0.9, 0.8, 0.3),
    "bnsl1": (4.6, 0.1, 0.8, 0.3, 0.8, 0.3),
    "bnsl2": (3.8, 5.4, 0.1, 0.6, 0.2, 0.2, 0.2, 1.0, 0.1),
    "kaplan": (5.3, 4.5, 0.3, 0.2, 0.4),
    "hoffmann": (4.6, 4.2, 0.45, 0.15, 0.5, 0.2),
    "kaplan_plain": (5.3, 4.5, 0.3, 0.3),
    "chinchilla": (2.0, 1.5, 0.4, 0.35, 0.4),
    "coupled": (2.0, 1.5, 0.4, 0.35, 0.5, 0.4),
    "coupled_broken": (5.3, 4.6, 0.3, 0.18, 0.5, 0.3),
    "coupled_drift": (5.3, 4.6, 0.3, 0.18, 0.5, 0.3, -0.1),
}
"""Parameters of every law that comes with the package, in its order."""


def places(name: str, n: int = 15) -> dict[str, np.ndarray]:
    """Sizes at which to sample a law: n over 3.5 decades, or a 7 x 7 grid like the published one."""
    if LAWS[name].kind == "1d":
        return {"x": np.logspace(3, 6.5, n)}
    grid = np.meshgrid(np.logspace(5.3, 8, 7), np.logspace(3.3, 5.3, 7))
    return {"N": grid[0].ravel(), "D": grid[1].ravel()}


def sample(name: str, *, seed: int = 0, n: int = 15, relative: float = 2e-3, seeds: int = 3) -> Points:
    """Mean and deviation over `seeds` runs of a law whose runs scatter by `relative` of the loss."""
    x = places(name, n)
    mean = LAWS[name].function(*x.values(), *TRUTH[name])
    runs = mean * np.exp(np.random.default_rng(seed).normal(0.0, relative, (seeds, len(mean))))
    return Points(x, runs.mean(axis=0), runs.std(axis=0), np.full(len(mean), seeds))


def exact(name: str, *, seed: int = 0, n: int = 15, relative: float = 2e-3) -> Points:
    """Means that scatter by `relative` of the loss and know it: the deviation is the true one."""
    x = places(name, n)
    mean = LAWS[name].function(*x.values(), *TRUTH[name])
    std = relative * mean
    return Points(x, mean + np.random.default_rng(seed).normal(0.0, std), std)
