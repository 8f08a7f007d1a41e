"""One crystal out of a file, and what makes it unusable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from optiscale.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms

#: Å; shorter than any bond (H2: 0.74 Å), so two atoms this close are one atom written twice or a wrong unit
MIN_DISTANCE = 0.5
#: Å^3 an atom; below any solid (diamond: 5.7), so the lattice is flat, in another unit, or its rows are not vectors
MIN_VOLUME = 1.0
#: Å; beyond any cell of a data set, so the lattice is in another unit or damaged
MAX_LENGTH = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Crystal:
    """A periodic crystal: `lattice` (3, 3) Å with vectors as rows, `atomic_number` (n,), `position` (n, 3) Å.

    `fields` are the plain values that the file gives beside the structure.
    """

    id: str
    lattice: np.ndarray
    atomic_number: np.ndarray
    position: np.ndarray
    fields: Mapping[str, Any] = field(default_factory=dict)


def crystal_from_atoms(atoms: Atoms, *, name: str, fields: Mapping[str, Any] | None = None) -> Crystal:
    """Take lattice, species and positions of `ase.Atoms`."""
    return Crystal(
        id=name,
        lattice=np.array(atoms.cell.array),
        atomic_number=np.array(atoms.numbers),
        position=np.array(atoms.positions),
        fields=fields or {},
    )


def crystal_from_dict(structure: Any, *, name: str, fields: Mapping[str, Any] | None = None) -> Crystal:
    """Read a pymatgen `Structure` dictionary.

    Only lattice, species and coordinates are read. pymatgen's own `Structure.from_dict` hands the site properties to
    monty's decoder, which imports and calls any class that the file names.

    Raises
    ------
    UserError
        If it is not such a dictionary, a site is not fully occupied by one element, or an element is unknown.
    """
    try:
        lattice = np.array(structure["lattice"]["matrix"], dtype=float)
        species = [site["species"] for site in structure["sites"]]
        fractional = np.array([site["abc"] for site in structure["sites"]], dtype=float).reshape(-1, 3)
        occupied = [[(one["element"], one["occu"]) for one in site] for site in species]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{name}: not a pymatgen Structure ({type(error).__name__}: {error}); write it with Structure.as_dict()"
        ) from error
    if lattice.shape != (3, 3):
        raise UserError(f"{name}: the lattice has shape {lattice.shape}, not (3, 3); write it with Structure.as_dict()")
    for site in occupied:
        if len(site) != 1 or site[0][1] != 1:
            raise UserError(f"{name}: a site is shared or partly occupied ({site}); give an ordered crystal")
    return Crystal(
        id=name,
        lattice=lattice,
        atomic_number=np.array([number_of(site[0][0], name=name) for site in occupied], dtype=int),
        position=fractional @ lattice,
        fields=fields or {},
    )


def number_of(symbol: object, *, name: str) -> int:
    """Return the atomic number of a chemical symbol.

    Raises
    ------
    UserError
        If there is no such element.
    """
    from ase.data import atomic_numbers

    number = atomic_numbers.get(symbol, 0) if isinstance(symbol, str) else 0
    if number == 0:  # ase's 0 is the dummy atom X
        raise UserError(f"{name}: unknown element {symbol!r}; use chemical symbols such as 'Al'")
    return int(number)


def check_crystal(crystal: Crystal) -> None:
    """Refuse a lattice without volume and atoms that overlap.

    Shapes, atomic numbers and values that are not finite are left to the data set's writer.

    Raises
    ------
    UserError
        Naming the material, for a vector above `MAX_LENGTH`, less than `MIN_VOLUME` an atom, or atoms closer than
        `MIN_DISTANCE` (periodic images included).
    """
    name, lattice, position = crystal.id, crystal.lattice, crystal.position
    n = len(crystal.atomic_number)
    if n == 0 or lattice.shape != (3, 3) or position.shape != (n, 3):
        return
    if not (np.isfinite(lattice).all() and np.isfinite(position).all()):
        return
    length = float(np.linalg.norm(lattice, axis=1).max())
    if length > MAX_LENGTH:
        raise UserError(
            f"{name}: a lattice vector is {length:.3g} Å long, above {MAX_LENGTH:g}; give three vectors in Å, as rows"
        )
    volume = abs(np.linalg.det(lattice)) / n
    if volume < MIN_VOLUME:
        raise UserError(
            f"{name}: the cell has {volume:.3g} Å^3 an atom, below {MIN_VOLUME:g}; "
            "give three independent lattice vectors in Å, as rows"
        )
    from vesin import NeighborList

    pairs = NeighborList(cutoff=MIN_DISTANCE, full_list=False)
    (lengths,) = pairs.compute(
        points=np.ascontiguousarray(position), box=np.ascontiguousarray(lattice), periodic=True, quantities="d"
    )
    if len(lengths):
        raise UserError(
            f"{name}: two atoms are {lengths.min():.3g} Å apart, below {MIN_DISTANCE:g} Å; "
            "remove the doubled atom or give positions in Å"
        )
