"""What the two published layouts share, and which layout a folder has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from optiscale.dataset.schema import EnergyGrid, Scalar
from optiscale.errors import UserError

#: every published spectrum (arXiv:2602.05702): 0 to 20 eV in steps of 0.01 eV, averaged over the directions
ENERGY = EnergyGrid(start=0.0, stop=20.0, n=2001)
COMPONENTS = ("re", "im")
SCALARS = (Scalar(name="omega_D", unit="eV", nonnegative=True),)


def check_drude(value: float, *, name: str) -> None:
    """Refuse a Drude frequency below zero.

    Raises
    ------
    UserError
        Naming the material.
    """
    if value < 0 or math.isnan(value):
        raise UserError(f"{name}: omega_D is {value:g} eV; a Drude frequency is 0 or more, mend or drop the material")


def stamp(path: Path) -> dict[str, Any]:
    """Name and size of a file: enough to notice that another one took its place."""
    return {"name": path.name, "bytes": path.stat().st_size}
