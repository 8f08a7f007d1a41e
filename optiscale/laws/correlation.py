"""Whether the residuals of neighbouring sizes go together, and what that costs.

Residuals that keep their sign over neighbouring sizes, because the law is a little off or because the points were not
made independently, tell less than as many independent ones. For a first-order autocorrelation r the variance of what is
fitted to them is (1 + r)/(1 - r) times as large as it looks (G. V. Bayley, J. M. Hammersley, J. R. Stat. Soc. Suppl. 8,
184 (1946)).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

_SIGNIFICANT = 0.05
_LARGEST = 0.9


def design_effect(x: Mapping[str, Array], residuals: Array) -> float:
    """Factor on the variance of what is fitted, from residuals (n,) in standard deviations; 1 where none shows.

    Neighbours are those along x, or along D at one N and along N at one D; their correlation counts where it is larger
    than chance would have it in one of twenty cases.
    """
    square, effect = float(np.mean(residuals**2)), 1.0
    if square <= 0.0:
        return effect
    for first, second in _neighbours(x):
        found = float(np.mean(residuals[first] * residuals[second])) / square if len(first) else 0.0
        if found > stats.norm.isf(_SIGNIFICANT) / np.sqrt(max(len(first), 1)):
            found = min(found, _LARGEST)
            effect *= (1.0 + found) / (1.0 - found)
    return effect


def _neighbours(x: Mapping[str, Array]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the indices of neighbouring points along each variable."""
    for along in x:
        fixed = [values for name, values in x.items() if name != along]
        order = np.lexsort([x[along], *fixed])
        first, second = order[:-1], order[1:]
        same = np.ones(len(first), dtype=bool)
        for values in fixed:
            same &= values[first] == values[second]
        yield first[same], second[same]
