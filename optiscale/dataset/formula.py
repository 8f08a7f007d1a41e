"""Formulas of a cell and of its reduced composition, the unit of the split."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np


def cell_formula(atomic_number: np.ndarray) -> str:
    """Return the formula of a cell, elements in alphabetical order, e.g. "Al2Ni6".

    Parameters
    ----------
    atomic_number
        (n,).
    """
    return _formula(_counts(atomic_number))


def reduced_formula(atomic_number: np.ndarray) -> str:
    """Return the reduced formula of a cell, elements in alphabetical order, e.g. "AlNi3".

    Parameters
    ----------
    atomic_number
        (n,).
    """
    counts = _counts(atomic_number)
    divisor = math.gcd(*counts.values())
    return _formula({symbol: count // divisor for symbol, count in counts.items()})


def _counts(atomic_number: np.ndarray) -> dict[str, int]:
    counts: dict[str, int] = {}
    for number in np.asarray(atomic_number).tolist():
        symbol = symbols()[int(number)]
        counts[symbol] = counts.get(symbol, 0) + 1
    return counts


def _formula(counts: dict[str, int]) -> str:
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(counts.items()))


@lru_cache(maxsize=1)
def symbols() -> list[str]:
    """Return the element symbols by atomic number; the first is "X"."""
    from ase.data import chemical_symbols  # imported here: opening a data set must stay quick

    return list(chemical_symbols)
