"""Any number of intermetallic crystals by substitution: structure types, elements, volumes, small strains.

Draw i of a seed depends on the seed and on the draws before it alone: a longer sequence begins with a shorter one, and
every draw is a crystal that no earlier one is (the same elements on the same sites of a type, up to its symmetry).
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from optiscale.errors import UserError
from optiscale.structures.structure_types import LARGEST, StructureType, TypeEntry, build_type, structure_types
from optiscale.structures.volumes import ATOMIC_VOLUMES

PUBLISHED_SITES = MappingProxyType(
    {1: 68, 2: 924, 3: 11854, 4: 73403, 5: 28938, 6: 19068, 7: 7905, 8: 18146, 9: 9287, 10: 31768}
)
"""Crystals by number of sites in the published data set (Großmann et al., arXiv:2602.05702)."""
CLOSEST_CONTACT = 0.6
"""Atoms closer than this, in units of the sum of their Wigner-Seitz radii, overlap; 0.9 in close packing."""

# Share of crystals by number of elements, where types for it exist; half of the types are named ones where they exist.
_ELEMENT_COUNTS = {1: 0.002, 2: 0.2, 3: 0.65, 4: 0.148}
_TRIES = 100  # before another size is drawn, because all crystals of this one have been
_WIDEST = 2.5  # standard deviations


@dataclass(frozen=True, kw_only=True)
class SubstitutionPlan:
    """What is drawn.

    Attributes
    ----------
    seed
        Of the sequence.
    elements
        Symbols, equally probable.
    sites
        Weight of each number of sites, 1 to 10.
    volume_spread
        Standard deviation of the volume, relative to the sum of the elements' atomic volumes times the type's factor.
    shape_spread
        Standard deviation of the strain, as far as the type's symmetry leaves it free (c/a of a tetragonal type,
        nothing of a cubic one), volume kept.
    strain
        Standard deviation of the components of a further strain that breaks the symmetry.
    rattle
        Standard deviation of each atom's displacement along x, y and z, Å.
    """

    seed: int = 0
    elements: tuple[str, ...] = tuple(ATOMIC_VOLUMES)
    sites: Mapping[int, float] = field(default_factory=lambda: dict(PUBLISHED_SITES))
    volume_spread: float = 0.04
    shape_spread: float = 0.02
    strain: float = 0.0
    rattle: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sites", dict(self.sites))  # a mapping proxy could not go to other processes
        if not isinstance(self.seed, int) or self.seed < 0:
            raise UserError(f"seed must be a whole number from 0, not {self.seed!r}")
        if unknown := [symbol for symbol in self.elements if symbol not in ATOMIC_VOLUMES]:
            raise UserError(f"no atomic volume is known for {', '.join(unknown)}; use {', '.join(ATOMIC_VOLUMES)}")
        if not self.elements or len(set(self.elements)) < len(self.elements):
            raise UserError("elements must be different symbols, at least one")
        if bad := [n for n in self.sites if n not in range(1, LARGEST + 1)]:
            raise UserError(f"sites must be numbers from 1 to {LARGEST}, not {bad[0]}")
        if not self.sites or not all(math.isfinite(w) and w > 0 for w in self.sites.values()):
            raise UserError("sites: every number of sites needs a weight above 0")
        for name, largest in (("volume_spread", 0.2), ("shape_spread", 0.2), ("strain", 0.2), ("rattle", 0.5)):
            if not 0 <= getattr(self, name) <= largest:
                raise UserError(f"{name} must be from 0 to {largest}, not {getattr(self, name)}")

    @property
    def keeps_symmetry(self) -> bool:
        """Whether every crystal has the space group of its type."""
        return self.strain == 0 and self.rattle == 0

    def capacity(self) -> int:
        """Count the different crystals of the plan's sizes."""
        return sum(
            math.perm(len(self.elements), entry.n_elements) // len(entry.twins)
            for entry in structure_types()
            if entry.n_sites in self.sites
        )

    def as_plain(self) -> dict[str, Any]:
        """Every value as JSON takes it."""
        values = {name: getattr(self, name) for name in ("seed", "volume_spread", "shape_spread", "strain", "rattle")}
        return {**values, "elements": list(self.elements), "sites": {str(n): w for n, w in sorted(self.sites.items())}}


@dataclass(frozen=True)
class Decoration:
    """One draw: `index` in the sequence, the name of the type, and its elements in the order of the labels."""

    index: int
    type_name: str
    elements: tuple[str, ...]

    @property
    def id(self) -> str:
        """Name of the crystal, such as ``B2_Ni-Al``."""
        return f"{self.type_name}_{'-'.join(self.elements)}"


@dataclass(frozen=True, eq=False)
class SubstitutedCrystal:
    """A crystal of a plan.

    Attributes
    ----------
    lattice, numbers, position
        (3, 3) rows in Å, (n,) atomic numbers, (n, 3) Cartesian Å.
    rotations
        (G, 3, 3) of its space group on fractional coordinates; None if strain or displacements broke it.
    space_group
        International number, None likewise.
    volume_factor
        Volume relative to the sum of the elements' atomic volumes.
    closest_contact
        Shortest distance between two atoms over the sum of their Wigner-Seitz radii.
    """

    lattice: np.ndarray
    numbers: np.ndarray
    position: np.ndarray
    rotations: np.ndarray | None
    space_group: int | None
    volume_factor: float
    closest_contact: float


def decorations(plan: SubstitutionPlan) -> Iterator[Decoration]:
    """Draw types and elements without end, no crystal twice.

    Raises
    ------
    UserError
        Once nearly all crystals of the plan have been drawn.
    """
    menu = _menu(plan)
    sizes = sorted(plan.sites)
    shares = list(itertools.accumulate(plan.sites[n] for n in sizes))
    seen: set[tuple[str, tuple[str, ...]]] = set()
    index = 0
    while True:
        generator = random.Random(f"{plan.seed} {index}")  # noqa: S311 (no secrets here)
        for _ in range(_TRIES):
            size = generator.choices(sizes, cum_weights=shares)[0]
            if (found := _draw_new(plan, menu[size], generator, seen)) is not None:
                break
        else:
            raise UserError(
                f"the plan holds about {plan.capacity()} different crystals, and {index} have been drawn; "
                "ask for fewer, or for more sites or elements"
            )
        yield Decoration(index, *found)
        index += 1


_Menu = list[tuple[float, list[list[TypeEntry]]]]


def _menu(plan: SubstitutionPlan) -> dict[int, _Menu]:
    """For each size the cumulative share of each number of elements, with its named types and superlattices."""
    menu: dict[int, _Menu] = {}
    for size in plan.sites:
        fitting = [e for e in structure_types() if e.n_sites == size and e.n_elements <= len(plan.elements)]
        counts = sorted({entry.n_elements for entry in fitting})
        if not counts:
            raise UserError(f"no structure type of {size} sites takes only {len(plan.elements)} elements; give more")
        total = sum(_ELEMENT_COUNTS[count] for count in counts)
        share, menu[size] = 0.0, []
        for count in counts:
            share += _ELEMENT_COUNTS[count] / total
            families = [
                [e for e in fitting if e.n_elements == count and e.is_superlattice is kind] for kind in (False, True)
            ]
            menu[size].append((share, [family for family in families if family]))
    return menu


def _draw_new(
    plan: SubstitutionPlan, menu: _Menu, generator: random.Random, seen: set[tuple[str, tuple[str, ...]]]
) -> tuple[str, tuple[str, ...]] | None:
    """Draw until a crystal is new, and remember it; None if none of many is."""
    for _ in range(_TRIES):
        place = generator.random()
        families = next((families for share, families in menu if place < share), menu[-1][1])
        entry = generator.choice(generator.choice(families))
        elements = tuple(generator.sample(plan.elements, entry.n_elements))
        key = entry.name, min(tuple(elements[place] for place in order) for order in entry.twins)
        if key not in seen:
            seen.add(key)
            return entry.name, elements
    return None


def build_substituted(plan: SubstitutionPlan, decoration: Decoration) -> SubstitutedCrystal:
    """Build the crystal of a draw; its volume, shape and displacements depend on the seed and the index alone."""
    kind = build_type(decoration.type_name)
    generator = np.random.default_rng([plan.seed, decoration.index, 1])
    symbols = [decoration.elements[label] for label in kind.labels]
    volumes = np.array([ATOMIC_VOLUMES[symbol] for symbol in symbols])
    factor = kind.volume_factor * (1 + plan.volume_spread * float(_normal(generator)))
    shape = plan.shape_spread * _free_strain(kind, _symmetric(generator))
    strain = plan.strain * _symmetric(generator)
    displacement = plan.rattle * _normal(generator, (len(symbols), 3))

    deformation = _volume_kept(np.eye(3) + shape) @ (np.eye(3) + strain)
    lattice = kind.lattice @ deformation * (factor * volumes.sum()) ** (1 / 3)
    position = kind.position @ lattice + displacement
    intact = plan.keeps_symmetry
    return SubstitutedCrystal(
        lattice=lattice,
        numbers=np.array([atomic_numbers[symbol] for symbol in symbols]),
        position=position,
        rotations=kind.symmetry.distinct_rotations if intact else None,
        space_group=kind.space_group if intact else None,
        volume_factor=abs(float(np.linalg.det(lattice))) / float(volumes.sum()),
        closest_contact=_closest_contact(lattice, position, (3 * volumes / (4 * np.pi)) ** (1 / 3)),
    )


def _normal(generator: np.random.Generator, shape: Sequence[int] = ()) -> np.ndarray:
    return np.clip(generator.standard_normal(shape), -_WIDEST, _WIDEST)


def _symmetric(generator: np.random.Generator) -> np.ndarray:
    matrix = _normal(generator, (3, 3))
    return np.tril(matrix) + np.tril(matrix, -1).T


def _free_strain(kind: StructureType, strain: np.ndarray) -> np.ndarray:
    """Part of a strain that the type's rotations leave as it is."""
    rotations = _cartesian_rotations(kind.name)
    return np.einsum("gij,jk,glk->il", rotations, strain, rotations) / len(rotations)


@functools.cache
def _cartesian_rotations(name: str) -> np.ndarray:
    kind = build_type(name)
    return kind.lattice.T @ kind.symmetry.distinct_rotations @ np.linalg.inv(kind.lattice.T)


def _volume_kept(deformation: np.ndarray) -> np.ndarray:
    return deformation / np.linalg.det(deformation) ** (1 / 3)


def _closest_contact(lattice: np.ndarray, position: np.ndarray, radius: np.ndarray) -> float:
    from vesin import NeighborList

    finder = NeighborList(cutoff=2 * float(radius.max()), full_list=False)
    first, second, length = finder.compute(points=position, box=lattice, periodic=True, quantities="ijd")
    return float((length / (radius[first] + radius[second])).min(initial=1.0))
