"""Group and period of the elements, from the atomic numbers of the noble gases."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from ase.data import chemical_symbols

from optiscale.errors import UserError

NOBLE_GASES = (2, 10, 18, 36, 54, 86, 118)
N_GROUPS = 18
N_PERIODS = 6
"""The published one-hot has six periods (Großmann et al., arXiv:2602.05702)."""
LAST_ELEMENT = NOBLE_GASES[N_PERIODS - 1]


def group_and_period(atomic_number: int) -> tuple[int, int]:
    """Group (1 to 18) and period (1 to 7) of an element; lanthanides and actinides count as group 3.

    A period ends at a noble gas. Its first two elements are groups 1 and 2, the others are counted back from group 18;
    what that count would put before group 3 are the f elements.
    """
    if not 1 <= atomic_number <= NOBLE_GASES[-1]:
        raise UserError(f"atomic number {atomic_number} is no element; give 1 to {NOBLE_GASES[-1]}")
    period = bisect_left(NOBLE_GASES, atomic_number) + 1
    end = NOBLE_GASES[period - 1]
    start = NOBLE_GASES[period - 2] if period > 1 else 0
    position = atomic_number - start
    if position <= 2 and atomic_number != end:
        return position, period
    return max(3, N_GROUPS - (end - atomic_number)), period


def check_elements(atomic_numbers: Iterable[int]) -> None:
    """Refuse elements that the node embeddings do not know.

    Parameters
    ----------
    atomic_numbers
        Any iterable of integers, e.g. the flat array of a data set.

    Raises
    ------
    UserError
        If a number lies outside periods 1 to 6 (Z = 1 to 86).
    """
    for number in sorted({int(number) for number in atomic_numbers}):
        if not 1 <= number <= LAST_ELEMENT:
            symbol = f" ({chemical_symbols[number]})" if 0 < number < len(chemical_symbols) else ""
            raise UserError(
                f"atomic number {number}{symbol}: the networks know the elements of periods 1 to {N_PERIODS} "
                f"(Z = 1 to {LAST_ELEMENT}); leave out the materials that contain it"
            )
