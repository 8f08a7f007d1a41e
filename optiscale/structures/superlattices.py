"""Ordered superlattices of close-packed and body-centred crystals: many structure types of up to 10 atoms.

Every sublattice of index m of a parent is given by one Hermite normal form (A. Santoro and A. D. Mighell, Acta Cryst.
A28, 284, 1972); an ordering is a colouring of the sites in one of its cells (G. L. W. Hart and R. W. Forcade, Phys.
Rev. B 77, 224115, 2008). Orderings that a symmetry of the parent maps onto each other count once. Most orderings have
no symmetry to speak of, unlike compounds that form: only those with at least `FEWEST_ROTATIONS` rotations are kept.

A name tells the parent, the rows of the Hermite normal form and the elements of the sites: ``fcc-1.0.1.0.0.2-AB``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from optiscale.structures.symmetry import SiteSymmetry, find_site_symmetry

FEWEST_ROTATIONS = 8

_PARENTS: dict[str, tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]]] = {
    "fcc": (((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)), ((0, 0, 0),)),
    "bcc": (((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)), ((0, 0, 0),)),
    "hcp": (
        ((1, 0, 0), (-0.5, math.sqrt(3) / 2, 0), (0, 0, math.sqrt(8 / 3))),
        ((0, 0, 0), (1 / 3, 2 / 3, 0.5)),
    ),
}  # rows of the primitive cell, and fractional positions


def build_superlattice(name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Build an ordering from its name.

    Returns
    -------
    lattice
        (3, 3) rows, in units of the parent's lattice constant.
    position
        (n, 3) fractional.
    labels
        A letter for each site.
    """
    parent, digits, labels = name.split("-")
    a, b, c, d, e, f = map(int, digits.split("."))
    cell, basis = _PARENTS[parent]
    lattice, position = _sites(np.asarray(cell), np.asarray(basis), np.array([[a, 0, 0], [b, c, 0], [d, e, f]]))
    return lattice, position, labels


def orderings(n_sites: int) -> Iterator[str]:
    """Find every symmetric ordering of two to four elements on cells of so many sites."""
    for parent, (cell, basis) in _PARENTS.items():
        if n_sites % len(basis):
            continue
        for form in _distinct_forms(np.asarray(cell), np.asarray(basis), n_sites // len(basis)):
            symmetry = find_site_symmetry(*_sites(np.asarray(cell), np.asarray(basis), form))
            if symmetry.n_rotations < FEWEST_ROTATIONS:
                continue
            digits = ".".join(str(form[i, j]) for i in range(3) for j in range(i + 1))
            for colours in _colourings(symmetry):
                yield f"{parent}-{digits}-{''.join('ABCD'[colour] for colour in colours)}"


def _distinct_forms(cell: np.ndarray, basis: np.ndarray, index: int) -> list[np.ndarray]:
    """Hermite normal forms of an index, one of each set that the parent's rotations map onto each other."""
    symmetry = find_site_symmetry(cell, basis)
    inverse = np.linalg.inv(cell)
    rotations = [cell.T @ rotation @ inverse.T for rotation in symmetry.distinct_rotations]  # Cartesian, on columns
    kept: list[np.ndarray] = []
    for form in _forms(index):
        lattice = form @ cell
        turned = [lattice @ rotation.T for rotation in rotations]
        if not any(_same_lattice(other @ cell, turned) for other in kept):
            kept.append(form)
    return kept


def _forms(index: int) -> Iterator[np.ndarray]:
    """Every lower triangular Hermite normal form of a determinant."""
    for a in range(1, index + 1):
        if index % a:
            continue
        for c in range(1, index // a + 1):
            if (index // a) % c:
                continue
            f = index // a // c
            for b, d, e in itertools.product(range(a), range(a), range(c)):
                yield np.array([[a, 0, 0], [b, c, 0], [d, e, f]])


def _same_lattice(lattice: np.ndarray, others: list[np.ndarray]) -> bool:
    inverse = np.linalg.inv(lattice)
    coefficients = np.asarray(others) @ inverse
    return bool((np.abs(coefficients - np.round(coefficients)) < 1e-6).all(axis=(1, 2)).any())


def _sites(cell: np.ndarray, basis: np.ndarray, form: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduced cell of a superlattice, and fractional positions of the parent's sites in it."""
    import spglib

    lattice = np.asarray(spglib.niggli_reduce(form @ cell))
    # Every parent cell in the block that the form spans, brought into the reduced cell.
    counts = [np.arange(form[i, i]) for i in range(3)]
    corners = np.stack(np.meshgrid(*counts, indexing="ij"), -1).reshape(-1, 3)
    cartesian = ((corners[:, None] + basis) @ cell).reshape(-1, 3)
    position = np.linalg.solve(lattice.T, cartesian.T).T
    return lattice, np.round(position - np.floor(position + 1e-9), 12)


def _colourings(symmetry: SiteSymmetry) -> list[tuple[int, ...]]:
    """Colourings with two to four colours and enough rotations, one of each equivalent set, none with a smaller cell.

    Third and fourth colours go to whole orbits of the two-coloured ones, which keeps their rotations.
    """
    found: set[tuple[int, ...]] = set()
    for pattern in _two_colourings(symmetry):
        kept = symmetry.keeping(pattern)
        if kept.n_rotations < FEWEST_ROTATIONS:
            continue
        orbits = kept.orbits()
        numbers = range(int(orbits.max()) + 1)
        recoloured = [(), *itertools.combinations(numbers, 1), *itertools.combinations(numbers, 2)]
        for chosen in recoloured:
            colours = pattern.copy()
            for colour, orbit in enumerate(chosen, start=2):
                colours[orbits == orbit] = colour
            if len(np.unique(colours)) > 1 and not symmetry.keeping(colours).has_translations:
                found.add(symmetry.canonical(colours))
    return sorted(found, key=lambda colours: (max(colours), colours))


def _two_colourings(symmetry: SiteSymmetry) -> np.ndarray:
    """(M, n) patterns of 0 and 1 that start with 0, one of each equivalent set, with enough rotations."""
    n_sites = symmetry.permutations.shape[1]
    codes = np.arange(2 ** (n_sites - 1))
    bits = (codes[:, None] >> np.arange(n_sites - 1)[::-1]) & 1
    bits = np.concatenate([np.zeros((len(codes), 1), dtype=bits.dtype), bits], axis=1)
    place = 2 ** np.arange(n_sites)[::-1]
    smallest = codes.copy()
    full = 2**n_sites - 1
    for permutation in np.unique(symmetry.permutations, axis=0):
        image = bits[:, permutation] @ place
        smallest = np.minimum(smallest, np.minimum(image, full - image))
    return bits[smallest == codes]
