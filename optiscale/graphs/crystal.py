"""Edges and angles of one crystal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vesin import NeighborList


@dataclass(frozen=True)
class CrystalGraph:
    """Edges and angles of one crystal; E edges, T angles.

    Attributes
    ----------
    edge_source, edge_target
        (E,) int64, sites of the cell; sorted by target, then source, then length.
    edge_image
        (E, 3) int64, the cell of the target, in lattice vectors from that of the source: the edge is the vector
        position[target] - position[source] + image @ lattice.
    edge_length
        (E,) float64, Å.
    angle_first, angle_second
        (T,) int64, the two edges (i->j, i->k) of an ordered three-body pair, j != k as images.
    angle_cos
        (T,) float64, cosine of the angle at i.
    """

    edge_source: np.ndarray
    edge_target: np.ndarray
    edge_image: np.ndarray
    edge_length: np.ndarray
    angle_first: np.ndarray
    angle_second: np.ndarray
    angle_cos: np.ndarray


def crystal_graph(
    lattice: np.ndarray, position: np.ndarray, *, cutoff: float = 5.5, angle_cutoff: float = 4.0
) -> CrystalGraph:
    """Build the graph of a crystal (Großmann et al., arXiv:2602.05702).

    An edge for every periodic image pair closer than `cutoff`, an atom's own images included; an angle for every
    ordered pair of different edges that leave the same atom and are at most `angle_cutoff` long.

    Parameters
    ----------
    lattice
        (3, 3) Å, rows are the lattice vectors.
    position
        (n, 3) Å.
    cutoff, angle_cutoff
        Å.
    """
    source, target, image, vector, length = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=np.ascontiguousarray(position, dtype=np.float64),
        box=np.ascontiguousarray(lattice, dtype=np.float64),
        periodic=True,
        quantities="ijSDd",
        copy=True,
    )
    order = np.lexsort((length, source, target))
    source, target = source[order].astype(np.int64), target[order].astype(np.int64)
    image, vector, length = image[order].astype(np.int64), vector[order], length[order]
    first, second = _edge_pairs(source, length <= angle_cutoff, len(position))
    unit = vector / length[:, None] if len(length) else vector
    cosine = np.clip((unit[first] * unit[second]).sum(axis=1), -1.0, 1.0)
    return CrystalGraph(source, target, image, length, first, second, cosine)


def _edge_pairs(source: np.ndarray, near: np.ndarray, n_sites: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all ordered pairs of different near edges with the same source, sorted by the second edge."""
    edges = np.flatnonzero(near)
    grouped = edges[np.argsort(source[edges], kind="stable")]
    count = np.bincount(source[edges], minlength=n_sites)
    start = np.cumsum(count) - count
    partners = count[source[edges]]
    second = np.repeat(edges, partners)
    place = np.arange(len(second)) - np.repeat(np.cumsum(partners) - partners, partners)
    first = grouped[np.repeat(start[source[edges]], partners) + place]
    different = first != second
    return first[different], second[different]
