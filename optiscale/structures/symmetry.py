"""What the symmetry of a crystal does to its sites."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_SYMPREC = 1e-5  # in units of the lattice vectors given


@dataclass(frozen=True, eq=False)
class SiteSymmetry:
    """The operations of a space group in one cell, and how they permute its sites.

    Attributes
    ----------
    rotations
        (G, 3, 3) integers on fractional coordinates (columns).
    permutations
        (G, n): the site onto which each site is mapped.
    """

    rotations: np.ndarray
    permutations: np.ndarray

    @cached_property
    def distinct_rotations(self) -> np.ndarray:
        """(g, 3, 3): the point group."""
        return np.unique(self.rotations, axis=0)

    @property
    def n_rotations(self) -> int:
        """Order of the point group."""
        return len(self.distinct_rotations)

    @property
    def has_translations(self) -> bool:
        """Whether the cell is not primitive."""
        return len(self.rotations) > self.n_rotations

    def keeping(self, colours: np.ndarray) -> SiteSymmetry:
        """Return the operations that map every site onto one of its colour."""
        kept = (np.asarray(colours)[self.permutations] == colours).all(axis=1)
        return SiteSymmetry(self.rotations[kept], self.permutations[kept])

    def orbits(self) -> np.ndarray:
        """(n,) number of each site's orbit, counted in the order of the sites."""
        smallest = self.permutations.min(axis=0)
        return np.unique(smallest, return_inverse=True)[1]

    def canonical(self, colours: np.ndarray) -> tuple[int, ...]:
        """Return the smallest of the equivalent colourings, colours numbered as they appear."""
        images = {tuple(image) for image in np.asarray(colours)[self.permutations].tolist()}
        return min(map(_renumber, images))

    def twins(self, colours: np.ndarray) -> np.ndarray:
        """(T, k) orders of the k colours that give the same crystal; the first is that of the colours themselves."""
        colours = np.asarray(colours)
        first = np.unique(colours, return_index=True)[1]
        images = colours[self.permutations]  # (G, n)
        renamed = images[:, first]  # colour c becomes renamed[:, c]
        same = (renamed[:, colours] == images).all(axis=1)
        return np.unique(renamed[same], axis=0)


def _renumber(colours: tuple[int, ...]) -> tuple[int, ...]:
    rank: dict[int, int] = {}
    return tuple(rank.setdefault(colour, len(rank)) for colour in colours)


def find_site_symmetry(lattice: np.ndarray, position: np.ndarray, species: np.ndarray | None = None) -> SiteSymmetry:
    """Find the operations of a crystal with spglib.

    Parameters
    ----------
    lattice
        (3, 3) rows are the lattice vectors.
    position
        (n, 3) fractional.
    species
        (n,) integers; all alike if None.
    """
    import spglib

    kinds = np.ones(len(position), dtype=int) if species is None else np.asarray(species)
    found = spglib.get_symmetry((lattice, position, kinds), symprec=_SYMPREC)
    if found is None:
        raise ValueError("spglib finds no symmetry: sites coincide")
    moved = np.einsum("gij,nj->gni", found["rotations"], position) + found["translations"][:, None]
    apart = moved[:, :, None] - position
    apart = np.abs(apart - np.round(apart)).max(axis=-1)  # (G, n, n)
    return SiteSymmetry(np.asarray(found["rotations"], dtype=np.int64), apart.argmin(axis=2))


def find_space_group(lattice: np.ndarray, position: np.ndarray, species: np.ndarray) -> int:
    """Return the international number of a crystal; arguments as of `find_site_symmetry`."""
    import spglib

    found = spglib.get_symmetry_dataset((lattice, position, species), symprec=_SYMPREC)
    if found is None:
        raise ValueError("spglib finds no space group: sites coincide")
    return int(found.number)
