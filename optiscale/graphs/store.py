"""Graphs of a whole data set as flat arrays, cached beside it, and the batches gathered from them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import cache_folder
from optiscale.errors import UserError
from optiscale.graphs.batch import CrystalBatch
from optiscale.graphs.crystal import CrystalGraph, crystal_graph
from optiscale.io import read_json, value_hash, write_json

GRAPH_SCHEMA_VERSION = 1
_CHUNK = 2048  # graphs held as they come, some ten times larger than in the cache

#: axes M materials, E edges, T angles; sites and edges are counted within their crystal
GRAPH_ARRAYS = (
    "edge_offset",
    "edge_source",
    "edge_target",
    "edge_length",
    "angle_offset",
    "angle_first",
    "angle_second",
    "angle_cos",
)

Track = Callable[[Iterable[int], int], Iterable[int]]


class GraphStore:
    """The graphs of a data set, memory-mapped.

    Parameters
    ----------
    dataset
        The data set.
    folder
        The cached graphs of this data set for one pair of cutoffs.
    """

    edge_offset: np.ndarray
    edge_source: np.ndarray
    edge_target: np.ndarray
    edge_length: np.ndarray
    angle_offset: np.ndarray
    angle_first: np.ndarray
    angle_second: np.ndarray
    angle_cos: np.ndarray

    def __init__(self, dataset: OpticalDataset, folder: Path) -> None:
        self.dataset = dataset
        self.folder = folder
        sizes = read_json(folder / "graphs.json")["sizes"]
        for name in GRAPH_ARRAYS:
            path = folder / f"{name}.npy"
            if not path.exists() or path.stat().st_size != sizes[name]:
                raise UserError(f"{path}: missing or truncated; remove {folder} and the graphs are built again")
            array = np.load(path, allow_pickle=False) if sizes[name] < 4096 else np.load(path, mmap_mode="r")
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
        if not (folder / "graphs.json").exists():
            _build(dataset, folder, cutoff=cutoff, angle_cutoff=angle_cutoff, track=track)
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
            spectrum=torch.from_numpy(np.asarray(data.spectrum[rows])),
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


def _build(dataset: OpticalDataset, folder: Path, *, cutoff: float, angle_cutoff: float, track: Track | None) -> None:
    rows: Iterable[int] = range(len(dataset))
    chunks, graphs = [], []
    for row in track(rows, len(dataset)) if track else rows:
        graphs.append(_graph_of(dataset, row, cutoff, angle_cutoff))
        if len(graphs) == _CHUNK or row == len(dataset) - 1:
            chunks.append(_flatten(graphs))
            graphs = []
    arrays = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    for what in ("edge", "angle"):
        count = arrays.pop(f"{what}_count")
        arrays[f"{what}_offset"] = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".building."))
    try:
        for name, array in arrays.items():
            np.save(staging / f"{name}.npy", array, allow_pickle=False)
        sizes = {name: (staging / f"{name}.npy").stat().st_size for name in arrays}
        write_json(staging / "graphs.json", {"cutoff": cutoff, "angle_cutoff": angle_cutoff, "sizes": sizes})
        staging.chmod(0o755)
        try:
            staging.rename(folder)
        except OSError:
            if not (folder / "graphs.json").exists():  # else another program finished the same graphs first
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _graph_of(dataset: OpticalDataset, row: int, cutoff: float, angle_cutoff: float) -> CrystalGraph:
    sites = slice(int(dataset.site_offset[row]), int(dataset.site_offset[row + 1]))
    return crystal_graph(dataset.lattice[row], dataset.position[sites], cutoff=cutoff, angle_cutoff=angle_cutoff)


def _flatten(graphs: list[CrystalGraph]) -> dict[str, np.ndarray]:
    """Join graphs into compact arrays; chunks of other integer types join into the larger one."""
    flat = {
        name: np.concatenate([getattr(graph, name) for graph in graphs])
        for name in GRAPH_ARRAYS
        if not name.endswith("_offset")
    }
    whole = {name: array for name, array in flat.items() if array.dtype.kind == "i"}
    return {
        "edge_count": np.array([len(graph.edge_length) for graph in graphs]),
        "angle_count": np.array([len(graph.angle_cos) for graph in graphs]),
        "edge_length": flat["edge_length"].astype(np.float32),
        "angle_cos": flat["angle_cos"].astype(np.float32),
        # the smallest integer that holds the largest value: 200,000 crystals have 129 million angles
        **{name: array.astype(np.min_scalar_type(int(array.max(initial=0)))) for name, array in whole.items()},
    }
