"""Checks of crystals: atoms too close, doubles, and compositions in two parts of the split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from optiscale.dataset.check.findings import Check, Finding
from optiscale.dataset.store import OpticalDataset

OVERLAP, CLOSE = 0.4, 0.7
"""Shortest distance over the sum of the covalent radii: below the first it is an error, below the second an outlier."""
LENGTHS, SITES, ANGLES = 0.01, 0.03, 1.0
"""Two crystals are one when cell lengths agree to this part, sites to this part of (volume an atom)^(1/3), angles to
this many degrees."""


class CloseAtoms:
    """Look for atoms that overlap."""

    def __init__(self, dataset: OpticalDataset) -> None:
        self.dataset = dataset
        self.found: list[Finding] = []

    def rows(self) -> Iterator[int]:
        """Check all crystals; yield every row as it is done."""
        from ase.data import covalent_radii
        from vesin import NeighborList

        data, ids = self.dataset, self.dataset.materials["id"].to_numpy()
        offset, lattice, position, number = data.site_offset, data.lattice, data.position, data.atomic_number
        for row in range(len(data)):
            sites = slice(int(offset[row]), int(offset[row + 1]))
            radius = covalent_radii[number[sites]]
            pairs = NeighborList(cutoff=2 * CLOSE * float(radius.max()), full_list=False)
            first, second, length = pairs.compute(
                points=np.ascontiguousarray(position[sites]),
                box=np.ascontiguousarray(lattice[row]),
                periodic=True,
                quantities="ijd",
                copy=True,
            )
            ratio = length / (radius[first] + radius[second])
            if len(ratio) and ratio.min() < CLOSE:
                self._add(ids[row], float(ratio.min()), float(length[ratio.argmin()]))
            yield row

    def _add(self, name: str, ratio: float, length: float) -> None:
        note = f"atoms {length:.2f} Å apart, {ratio:.2f} of the sum of their covalent radii"
        self.found.append(Finding(name, "error" if ratio < OVERLAP else "outlier", ratio, note))

    def check(self) -> Check:
        """Return what was found."""
        rule = f"no atoms closer than {CLOSE:g} of the sum of their covalent radii (below {OVERLAP:g} is an error)"
        return Check(
            "close atoms", rule, len(self.dataset), tuple(sorted(self.found, key=lambda found: found.value or 0))
        )


class Duplicates:
    """Look for the same crystal under two ids, relabelled twins (AB and BA) included.

    Candidates share the reduced formula and the number of sites, and their volumes agree.
    """

    def __init__(self, dataset: OpticalDataset) -> None:
        self.dataset = dataset
        self.found: list[Finding] = []
        volume = np.abs(np.linalg.det(dataset.lattice))
        keys = dataset.materials.groupby(["reduced_formula", "n_sites"]).ngroup().to_numpy()
        by_group = np.lexsort((volume, keys))
        groups = np.split(by_group, np.flatnonzero(np.diff(keys[by_group])) + 1)
        self._groups = [rows for rows in groups if len(rows) > 1]
        self._volume = volume

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._groups)

    def rows(self) -> Iterator[int]:
        """Compare the candidates; yield every row as it is done."""
        from pymatgen.analysis.structure_matcher import StructureMatcher

        matcher = StructureMatcher(ltol=LENGTHS, stol=SITES, angle_tol=ANGLES, primitive_cell=False, scale=False)
        ids = self.dataset.materials["id"].to_numpy()
        for rows in self._groups:
            crystals: dict[int, Any] = {}
            for place, row in enumerate(rows):
                for other in rows[:place][self._volume[rows[:place]] > self._volume[row] * (1 - 3 * LENGTHS)]:
                    one, two = (crystals.setdefault(int(member), self._structure(member)) for member in (other, row))
                    if matcher.fit(one, two):
                        note = f"the same crystal as {ids[other]}"
                        self.found.append(Finding(ids[row], "outlier", None, note))
                        break
                yield int(row)

    def _structure(self, row: int) -> Any:
        from pymatgen.core import Structure

        atoms = self.dataset.atoms(int(row))
        return Structure(atoms.cell.array, atoms.numbers, atoms.positions, coords_are_cartesian=True)

    def check(self) -> Check:
        """Return what was found."""
        rule = f"no crystal twice: lengths within {LENGTHS:g}, sites within {SITES:g}, angles within {ANGLES:g} degree"
        return Check("duplicates", rule, len(self), tuple(self.found))


def check_split(dataset: OpticalDataset) -> Check:
    """Look for compositions in two parts of the split that the set carries."""
    rule = "no reduced composition in two parts of the split"
    materials = dataset.materials
    if materials["split"].isna().all():
        return Check("split", rule, 0, skipped="the set carries no split; a study makes its own by composition")
    parts = materials.groupby("reduced_formula")["split"].unique()
    twice = parts[parts.map(len) > 1]
    found = [
        Finding(str(formula), "error", None, f"in {', '.join(map(str, names))}") for formula, names in twice.items()
    ]
    found += [
        Finding(name, "error", None, "in no part of the split") for name in materials["id"][materials["split"].isna()]
    ]
    return Check("split", rule, len(materials), tuple(found))
