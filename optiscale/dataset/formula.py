"""Reduced formulas: the unit of the split."""

from __future__ import annotations

import numpy as np


def reduced_formula(atomic_number: np.ndarray) -> str:
    """Return the reduced formula of a cell, elements in alphabetical order, e.g. "AlNi3".

    Parameters
    ----------
    atomic_number
        (n,).
    """
    from ase.formula import Formula

    return Formula.from_list([_symbol(number) for number in atomic_number]).reduce()[0].format("abc")


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return str(chemical_symbols[int(number)])
