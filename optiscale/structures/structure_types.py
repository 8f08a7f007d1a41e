"""Every structure type that elements can be put into: the prototypes, their decorations, and ordered superlattices.

A decoration gives the orbits of a prototype other elements than the prototype itself does: ``D0_22:ABC`` is TiAl3 with
a third element on one of the two aluminium orbits.

``structure_types.txt`` lists them, so that a set of any size starts at once;
``python -m optiscale.structures.structure_types`` writes it again, in a minute.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from ase.spacegroup import crystal

from optiscale.errors import UserError
from optiscale.io import atomic_write
from optiscale.structures.prototypes import PROTOTYPES
from optiscale.structures.superlattices import build_superlattice, orderings
from optiscale.structures.symmetry import SiteSymmetry, find_site_symmetry, find_space_group

LARGEST = 10
_FILE = "structure_types.txt"
_HEADER = "# name, sites, and the orders of the elements that give the same crystal once more\n"


@dataclass(frozen=True, kw_only=True)
class TypeEntry:
    """One line of the list.

    Attributes
    ----------
    name
        Of the type.
    n_sites, n_elements
        Counts.
    twins
        Orders of the elements A, B, C, … that give the same crystal, each as a tuple of places; the first is 0, 1, 2, …
    """

    name: str
    n_sites: int
    n_elements: int
    twins: tuple[tuple[int, ...], ...]

    @property
    def is_superlattice(self) -> bool:
        """Whether the type orders a simple lattice, rather than being a named prototype or a decoration of one."""
        return self.name.startswith(("fcc-", "bcc-", "hcp-"))


@dataclass(frozen=True, eq=False)
class StructureType:
    """A structure type of unit volume.

    Attributes
    ----------
    name
        ``B2``, ``D0_22:ABC`` or ``fcc-1.0.0.1.1.2-AB``.
    lattice
        (3, 3) rows of the primitive cell, of volume 1.
    position
        (n, 3) fractional.
    labels
        (n,) the place of each site's element, from 0.
    symmetry
        Operations of the labelled crystal.
    space_group
        International number.
    volume_factor
        As of `Prototype`.
    """

    name: str
    lattice: np.ndarray
    position: np.ndarray
    labels: np.ndarray
    symmetry: SiteSymmetry
    space_group: int
    volume_factor: float


@functools.cache
def structure_types() -> tuple[TypeEntry, ...]:
    """Return the list of types of 1 to 10 sites, without building any."""
    lines = files("optiscale.structures").joinpath(_FILE).read_text(encoding="ascii").splitlines()
    entries = []
    for line in lines[1:]:
        name, n_sites, *others = line.split()
        n_elements = len(others[0]) if others else _n_elements(name)
        orders = [tuple(map("ABCD".index, order)) for order in others]
        entries.append(
            TypeEntry(
                name=name,
                n_sites=int(n_sites),
                n_elements=n_elements,
                twins=(tuple(range(n_elements)), *orders),
            )
        )
    return tuple(entries)


def _n_elements(name: str) -> int:
    if name in PROTOTYPES:
        return PROTOTYPES[name].n_elements
    return len(set(name.split("-")[-1].split(":")[-1]))


@functools.cache
def build_type(name: str) -> StructureType:
    """Build a type from its name; kept for the next time.

    Raises
    ------
    UserError
        For a name that is not of a type.
    """
    if name.startswith(("fcc-", "bcc-", "hcp-")):
        lattice, position, letters = build_superlattice(name)
        return _structure_type(name, lattice, position, np.array(["ABCD".index(letter) for letter in letters]), 1.0)
    base, _, letters = name.partition(":")
    if base not in PROTOTYPES:
        raise UserError(f"structure type {name!r} is unknown; `optiscale.structures.structure_types()` lists them")
    lattice, position, orbits = _prototype_sites(base)
    prototype = PROTOTYPES[base]
    labels = np.array(["ABCD".index(letter) for letter in letters or prototype.labels])[orbits]
    return _structure_type(name, lattice, position, labels, prototype.volume_factor)


def _structure_type(
    name: str, lattice: np.ndarray, position: np.ndarray, labels: np.ndarray, volume_factor: float
) -> StructureType:
    lattice = lattice / abs(np.linalg.det(lattice)) ** (1 / 3)
    return StructureType(
        name=name,
        lattice=lattice,
        position=position,
        labels=labels,
        symmetry=find_site_symmetry(lattice, position, labels),
        space_group=find_space_group(lattice, position, labels),
        volume_factor=volume_factor,
    )


@functools.cache
def _prototype_sites(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Primitive cell of a prototype (rows), fractional positions, and the orbit of each site."""
    prototype = PROTOTYPES[name]
    atoms = crystal(
        list(range(1, len(prototype.sites) + 1)),  # a chemical element an orbit
        basis=prototype.sites,
        spacegroup=prototype.space_group,
        cellpar=prototype.cellpar,
        primitive_cell=True,
    )
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers - 1


def _find_types() -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield the name, the number of sites and the twins of every type."""
    taken: set[tuple[object, ...]] = set()
    named = list(PROTOTYPES)
    for name in [*named, *_decorations(named)]:
        kind = build_type(name)
        signature = _signature(kind)
        if ":" in name and (kind.symmetry.has_translations or signature in taken):
            continue
        taken.add(signature)
        yield name, len(kind.labels), find_site_symmetry(kind.lattice, kind.position).twins(kind.labels)
    for n_sites in range(3, LARGEST + 1):
        for name in orderings(n_sites):
            kind = build_type(name)
            if _signature(kind) not in taken:  # the ideal form of a prototype
                yield name, n_sites, find_site_symmetry(kind.lattice, kind.position).twins(kind.labels)


def _decorations(names: list[str]) -> Iterator[str]:
    for name in names:
        prototype = PROTOTYPES[name]
        for labels in _groupings(len(prototype.labels)):
            if len(set(labels)) > 1 and labels != prototype.labels:
                yield f"{name}:{labels}"


def _groupings(n: int, prefix: str = "") -> Iterator[str]:
    """Every way to group n orbits by element, letters in the order of their appearance."""
    if len(prefix) == n:
        yield prefix
        return
    for letter in "ABCD"[: len(set(prefix)) + 1]:
        yield from _groupings(n, prefix + letter)


def _signature(kind: StructureType) -> tuple[object, ...]:
    """Return what two types that may be the same crystal share: space group and composition."""
    return kind.space_group, *sorted(np.bincount(kind.labels).tolist())


def _write_list() -> None:
    with atomic_write(Path(__file__).with_name(_FILE), "w") as stream:
        stream.write(_HEADER)
        for name, n_sites, twins in _find_types():
            orders = ["".join("ABCD"[place] for place in order) for order in twins[1:]]
            stream.write(" ".join([name, str(n_sites), *orders]) + "\n")


if __name__ == "__main__":
    _write_list()
