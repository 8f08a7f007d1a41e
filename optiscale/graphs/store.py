"""Graphs of a whole data set as flat arrays, cached beside it, and the batches gathered from them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import cache_folder
from optiscale.dataset.store import damage
from optiscale.errors import UserError
from optiscale.graphs.batch import CrystalBatch
from optiscale.graphs.build import GRAPH_ARRAYS, GRAPH_SCHEMA_VERSION, GRAPHS, Track, build_graphs
from optiscale.io import read_json, value_hash


class GraphStore:
    """The graphs of a data set, memory-mapped.

    Parameters
    ----------
    dataset
        The data set.
    folder
        The cached graphs of this data set for one pair of cutoffs.

    Attributes
    ----------
    edge_offset, ..., merged_angle_cos
        Flat arrays; `optiscale.graphs.build.GRAPH_ARRAYS` states their shapes and units.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """

    edge_offset: np.ndarray
    edge_source: np.ndarray
    edge_target: np.ndarray
    edge_image: np.ndarray
    edge_length: np.ndarray
    angle_offset: np.ndarray
    angle_first: np.ndarray
    angle_second: np.ndarray
    angle_cos: np.ndarray
    merged_atom_offset: np.ndarray
    merged_atom_number: np.ndarray
    merged_atom_weight: np.ndarray
    merged_edge_offset: np.ndarray
    merged_edge_source: np.ndarray
    merged_edge_target: np.ndarray
    merged_edge_weight: np.ndarray
    merged_edge_length: np.ndarray
    merged_angle_offset: np.ndarray
    merged_angle_first: np.ndarray
    merged_angle_second: np.ndarray
    merged_angle_weight: np.ndarray
    merged_angle_cos: np.ndarray

    def __init__(self, dataset: OpticalDataset, folder: Path) -> None:
        self.dataset = dataset
        self.folder = folder
        try:
            sizes = read_json(folder / GRAPHS)["sizes"]
            whole = all((folder / f"{name}.npy").stat().st_size == sizes[name] for name in GRAPH_ARRAYS)
        except (OSError, ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            damaged = "; ".join(damaged_graphs(folder))
            raise UserError(f"{folder}: damaged: {damaged}; remove the folder and the graphs are built again")
        for name in GRAPH_ARRAYS:
            path = folder / f"{name}.npy"
            array = np.load(path, mmap_mode=None if sizes[name] < 4096 else "r", allow_pickle=False)
            setattr(self, name, array)

    @classmethod
    def open(
        cls, dataset: OpticalDataset, *, cutoff: float, angle_cutoff: float, track: Track | None = None
    ) -> GraphStore:
        """Open the cached graphs of a data set, building them the first time.

        Parameters
        ----------
        dataset
            The data set.
        cutoff, angle_cutoff
            Å.
        track
            Wraps the rows while graphs are built, with their number, to show progress.
        """
        key = value_hash([GRAPH_SCHEMA_VERSION, dataset.hash, cutoff, angle_cutoff])
        folder = dataset.folder / "graphs" / key
        if not folder.exists() and not os.access(dataset.folder, os.W_OK):
            folder = cache_folder() / "graphs" / key  # a data set shared read-only
        if not (folder / GRAPHS).exists():
            build_graphs(dataset, folder, cutoff=cutoff, angle_cutoff=angle_cutoff, track=track)
        return cls(dataset, folder)

    def batch(self, rows: np.ndarray, *, angles: bool = True) -> CrystalBatch:
        """Gather crystals into one batch.

        Parameters
        ----------
        rows
            (B,) rows of the data set, in the order wanted.
        angles
            Without them `angle_index` and `angle_cos` are empty.
        """
        rows = np.asarray(rows, dtype=np.int64)
        data = self.dataset
        atom, atom_count = _ranges(data.site_offset, rows)
        edge, edge_count = _ranges(self.edge_offset, rows)
        angle, angle_count = _ranges(self.angle_offset, rows if angles else rows[:0])
        first_atom = np.repeat(_starts(atom_count), edge_count)
        first_edge = np.repeat(_starts(edge_count) if angles else angle_count, angle_count)
        edge_index = np.stack([self.edge_source[edge] + first_atom, self.edge_target[edge] + first_atom])
        angle_index = np.stack([self.angle_first[angle] + first_edge, self.angle_second[angle] + first_edge])
        return CrystalBatch(
            atomic_number=torch.from_numpy(data.atomic_number[atom].astype(np.int64)),
            crystal=torch.from_numpy(np.repeat(np.arange(len(rows)), atom_count)),
            edge_index=torch.from_numpy(edge_index),
            edge_length=torch.from_numpy(np.asarray(self.edge_length[edge])),
            angle_index=torch.from_numpy(angle_index),
            angle_cos=torch.from_numpy(np.asarray(self.angle_cos[angle])),
            n_crystals=len(rows),
            spectrum=torch.from_numpy(np.asarray(data.spectrum[rows])) if data.manifest.components else None,
            scalars=torch.from_numpy(np.asarray(data.scalars[rows])),
            index=torch.from_numpy(rows),
        )

    def statistics(self) -> dict[str, float]:
        """Mean number of atoms, edges and angles a crystal."""
        return {
            "atoms": float(np.mean(self.dataset.n_sites)),
            "edges": float(self.edge_offset[-1] / len(self.dataset)),
            "angles": float(self.angle_offset[-1] / len(self.dataset)),
        }


def _ranges(offset: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the flat indices offset[r]..offset[r + 1] of all rows, joined, and their number a row."""
    start = np.asarray(offset[rows])
    count = np.asarray(offset[rows + 1]) - start
    return np.arange(count.sum()) + np.repeat(start - _starts(count), count), count


def _starts(count: np.ndarray) -> np.ndarray:
    return np.cumsum(count) - count


def damaged_graphs(folder: Path) -> list[str]:
    """Verify the size and the SHA-256 of every file of cached graphs; return a line for each damaged one."""
    try:
        content = read_json(folder / GRAPHS)
        expected = [(f"{name}.npy", content["sizes"][name], content["sha256"][name]) for name in GRAPH_ARRAYS]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{GRAPHS} is missing or not readable"]
    return [line for entry in expected if (line := damage(folder / entry[0], size=entry[1], sha256=entry[2]))]
