"""Graphs with equivalent atoms, edges and angles merged: what symmetry makes equal is computed once.

A message-passing network cannot tell apart two atoms (edges, angles) that have the same kind of surroundings: they have
the same features in every layer. Colour refinement (Weisfeiler and Leman, 1968) finds them. Each class becomes one row
that counts as often as the class has members; sums and means over rows, weighted so, are those of the whole graph.
The 52 edges of rocksalt (a = 5.6 Å, up to 5.5 Å) are of 6 kinds; a crystal without symmetry stays nearly whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-5
"""Lengths (Å) and cosines closer than this to the next are the same; float32 positions have errors of 1e-6 Å."""


@dataclass(frozen=True)
class FlatGraphs:
    """Graphs of several crystals, joined; rows of a crystal are contiguous, links sorted by target.

    Attributes
    ----------
    atom_crystal, edge_crystal, angle_crystal
        The crystal of each row, ascending.
    atomic_number
        (A,)
    edge_source, edge_target
        (E,) atoms.
    edge_length
        (E,) Å.
    angle_first, angle_second
        (T,) edges; `angle_second` is the target.
    angle_cos
        (T,)
    atom_weight, edge_weight, angle_weight
        How many rows of the whole graph each stands for.
    """

    atom_crystal: np.ndarray
    edge_crystal: np.ndarray
    angle_crystal: np.ndarray
    atomic_number: np.ndarray
    edge_source: np.ndarray
    edge_target: np.ndarray
    edge_length: np.ndarray
    angle_first: np.ndarray
    angle_second: np.ndarray
    angle_cos: np.ndarray
    atom_weight: np.ndarray
    edge_weight: np.ndarray
    angle_weight: np.ndarray


def quotient(whole: FlatGraphs) -> FlatGraphs:
    """Merge what no network can tell apart.

    Parameters
    ----------
    whole
        Graphs with all weights 1.

    Returns
    -------
    FlatGraphs
        An equitable partition of `whole`: all members of a class have the same number of links of each class.
    """
    length = _shells(whole.edge_length, whole.edge_crystal)
    cosine = _shells(whole.angle_cos, whole.angle_crystal)
    into_atom = _starts(whole.edge_target, len(whole.atomic_number))
    into_edge = _starts(whole.angle_second, len(whole.edge_length))
    atom = _mix(whole.atomic_number.astype(np.uint64), whole.atom_crystal.astype(np.uint64))
    own = length
    while True:
        # angles are many: they are looked at when the edges alone tell no more atoms apart
        atom, edge = _settled(atom, own, whole, into_atom)
        seen = _mix(edge, _sums(_mix(edge[whole.angle_first], cosine), into_edge))
        if _n_classes(seen) == _n_classes(edge):
            return _merged(whole, atom, edge, cosine)
        own = seen


def _settled(
    atom: np.ndarray, own: np.ndarray, whole: FlatGraphs, into_atom: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Refine the colours of atoms by the edges that arrive until no class falls apart; `own` (E,) colours the edges."""
    known = 0
    while True:
        edge = _mix(_mix(atom[whole.edge_source], own), atom[whole.edge_target])
        if (found := _n_classes(atom)) == known:
            return atom, edge
        known = found
        atom = _mix(atom, _sums(edge, into_atom))


def _merged(whole: FlatGraphs, atom: np.ndarray, edge: np.ndarray, cosine: np.ndarray) -> FlatGraphs:
    """Take the first member of every class as its representative."""
    atom_rows, atom_class, atom_weight = _classes(atom)
    edge_rows, edge_class, edge_weight = _classes(edge)
    target = atom_class[whole.edge_target[edge_rows]]
    order = np.argsort(target, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    edge_rows, edge_class, edge_weight = edge_rows[order], place[edge_class], edge_weight[order]
    # the edges of a class see the same angles: those of the first one stand for all
    first_of_class = np.zeros(len(edge_class), dtype=bool)
    first_of_class[edge_rows] = True
    angles = np.flatnonzero(first_of_class[whole.angle_second])
    found, _, angle_weight = _classes(
        _mix(_mix(edge[whole.angle_first[angles]], cosine[angles]), edge[whole.angle_second[angles]])
    )
    angle_rows = angles[found]
    angle_class = edge_class[whole.angle_second[angle_rows]]
    order = np.argsort(angle_class, kind="stable")
    angle_rows, angle_weight = angle_rows[order], (angle_weight * edge_weight[angle_class])[order]
    return FlatGraphs(
        atom_crystal=whole.atom_crystal[atom_rows],
        edge_crystal=whole.edge_crystal[edge_rows],
        angle_crystal=whole.angle_crystal[angle_rows],
        atomic_number=whole.atomic_number[atom_rows],
        edge_source=atom_class[whole.edge_source[edge_rows]],
        edge_target=atom_class[whole.edge_target[edge_rows]],
        edge_length=whole.edge_length[edge_rows],
        angle_first=edge_class[whole.angle_first[angle_rows]],
        angle_second=edge_class[whole.angle_second[angle_rows]],
        angle_cos=whole.angle_cos[angle_rows],
        atom_weight=atom_weight,
        edge_weight=edge_weight,
        angle_weight=angle_weight,
    )


def _classes(colour: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row of each class in ascending order, the class of each row, and how many rows it has."""
    _, first, inverse, count = np.unique(colour, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return first[order], place[inverse], count[order]


def _shells(value: np.ndarray, crystal: np.ndarray) -> np.ndarray:
    """Give equal values of a crystal one number; a gap wider than `TOLERANCE` begins the next."""
    span = np.ptp(value) + 1.0 if len(value) else 1.0
    order = np.argsort(value + span * crystal, kind="stable")  # one sort: rounding is far below the tolerance
    new = np.ones(len(order), dtype=np.uint64)
    new[1:] = (np.diff(value[order]) > TOLERANCE) | (np.diff(crystal[order]) > 0)
    label = np.empty_like(new)
    label[order] = np.cumsum(new)
    return label


def _n_classes(colour: np.ndarray) -> int:
    return len(np.unique(colour))


def _starts(target: np.ndarray, n: int) -> np.ndarray:
    """Return (n + 1,) where the links into each of n rows begin; `target` is ascending."""
    return np.searchsorted(target, np.arange(n + 1))


def _sums(colour: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Sum of the colours that arrive at each row: the same for the same multiset, in any order."""
    running = np.zeros(len(colour) + 1, dtype=np.uint64)
    np.cumsum(colour, out=running[1:])
    total = running[start[1:]] - running[start[:-1]]  # wraps around 2^64, which is what a sum of hashes may do
    return _mix(total, total)


def _mix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Hash two colours into one (the finalizer of splitmix64, Steele et al., doi:10.1145/2660193.2660195)."""
    z = first * np.uint64(0x9E3779B97F4A7C15)  # arrays wrap around 2^64 in silence
    z += second * np.uint64(0xD1B54A32D192ED03)
    z += np.uint64(1)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    return z
