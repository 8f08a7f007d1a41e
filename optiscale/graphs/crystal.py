"""Edges and angles of one crystal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vesin import NeighborList


@dataclass(frozen=True)
class CrystalGraph:
    """Edges and angles of a crystal, or of several joined one after the other; E edges, T angles.

    Attributes
    ----------
    edge_source, edge_target
        (E,) int64, sites; sorted by target, then source, then length.
    edge_image
        (E, 3) int32, the cell of the target, in lattice vectors from that of the source: the edge is the vector
        position[target] - position[source] + image @ lattice.
    edge_length
        (E,) float64, Å.
    angle_first, angle_second
        (T,) int64, the two edges (i->j, i->k) of an ordered three-body pair, j != k as images; sorted by the second.
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
    offset = np.array([0, len(position)])
    return crystal_graphs(np.asarray(lattice)[None], position, offset, cutoff=cutoff, angle_cutoff=angle_cutoff)


def crystal_graphs(
    lattice: np.ndarray, position: np.ndarray, offset: np.ndarray, *, cutoff: float, angle_cutoff: float
) -> CrystalGraph:
    """Build the graphs of several crystals, joined: sites and edges are counted through all of them.

    Parameters
    ----------
    lattice
        (n, 3, 3) Å, rows are the lattice vectors.
    position
        (A, 3) Å.
    offset
        (n + 1,) the sites of crystal c are offset[c] to offset[c + 1].
    cutoff, angle_cutoff
        Å.
    """
    points, boxes = np.asarray(position, dtype=np.float64), np.asarray(lattice, dtype=np.float64)
    neighbours = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)  # a cell is too small to be shared by threads
    found = [
        neighbours.compute(points=points[begin:end], box=box, periodic=True, quantities="PSDd", copy=True)
        for box, begin, end in zip(boxes, offset[:-1], offset[1:], strict=True)
    ]
    pairs, image, vector, length = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    first_site = np.repeat(offset[:-1], [len(lengths) for *_, lengths in found])
    source, target = (pairs.astype(np.int64) + first_site[:, None]).T
    order = _order(source - first_site, target, length)
    source, target, vector, length = source[order], target[order], vector[order], length[order]
    first, second = _edge_pairs(source, length <= angle_cutoff, len(points))
    cosine = np.zeros(len(first))
    for component in vector.T / length:
        cosine += component[first] * component[second]
    np.clip(cosine, -1.0, 1.0, out=cosine)
    return CrystalGraph(source, target, image[order], length, first, second, cosine)


def _order(source: np.ndarray, target: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return the order by target, source and length; sources are counted within their crystal."""
    by_length = np.argsort(length, kind="stable")
    ends = target * (source.max(initial=0) + 1) + source
    return by_length[_sorted_places(ends[by_length])]


def _sorted_places(numbers: np.ndarray) -> np.ndarray:
    """Return the stable order of whole numbers from 0, which numpy finds quickest where they have 16 bits."""
    return np.argsort(numbers.astype(np.min_scalar_type(numbers.max(initial=0))), kind="stable")


def _edge_pairs(source: np.ndarray, near: np.ndarray, n_sites: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all ordered pairs of different near edges with the same source, sorted by the second edge."""
    edges = np.flatnonzero(near)
    grouped = edges[_sorted_places(source[edges])]
    count = np.bincount(source[edges], minlength=n_sites)
    start = np.cumsum(count) - count
    partners = count[source[edges]]
    second = np.repeat(edges, partners)
    begin = start[source[edges]] - (np.cumsum(partners) - partners)
    first = grouped[np.repeat(begin, partners) + np.arange(len(second))]
    different = first != second
    return first[different], second[different]
