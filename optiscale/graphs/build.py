"""The graphs of a whole data set, written as flat arrays in chunks that survive a killed program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from optiscale.dataset import OpticalDataset
from optiscale.dataset.staging import Staging, remove_stale
from optiscale.graphs.crystal import crystal_graph
from optiscale.graphs.quotient import FlatGraphs, quotient
from optiscale.io import file_hash, write_json

GRAPH_SCHEMA_VERSION = 3
GRAPHS = "graphs.json"
_CHUNK = 128  # crystals that one call builds
_COMMIT = 4096

#: axes M materials, E edges, T angles; sites and edges are counted within their crystal
GRAPH_ARRAYS: dict[str, str] = {
    "edge_offset": "(M + 1) int64, first edge of each crystal",
    "edge_source": "(E) site",
    "edge_target": "(E) site",
    "edge_image": "(E, 3) cell of the target from that of the source, in lattice vectors",
    "edge_length": "(E) float32, Å",
    "angle_offset": "(M + 1) int64, first angle of each crystal",
    "angle_first": "(T) edge of the crystal",
    "angle_second": "(T) edge of the crystal",
    "angle_cos": "(T) float32",
    # what is left when equivalent atoms, edges and angles are merged (`optiscale.graphs.quotient`)
    "merged_atom_offset": "(M + 1) int64, first kind of atom of each crystal",
    "merged_atom_number": "(a) atomic number",
    "merged_atom_weight": "(a) atoms of this kind",
    "merged_edge_offset": "(M + 1) int64, first kind of edge of each crystal",
    "merged_edge_source": "(e) kind of atom",
    "merged_edge_target": "(e) kind of atom",
    "merged_edge_weight": "(e) edges of this kind",
    "merged_edge_length": "(e) float32, Å",
    "merged_angle_offset": "(M + 1) int64, first kind of angle of each crystal",
    "merged_angle_first": "(t) kind of edge",
    "merged_angle_second": "(t) kind of edge",
    "merged_angle_weight": "(t) angles of this kind",
    "merged_angle_cos": "(t) float32",
}
#: int32 while the largest value is unknown, then the smallest type that holds it: 200,000 crystals have 129 million
#: angles
_FLOATS = tuple(name for name, what in GRAPH_ARRAYS.items() if "float32" in what)
_OFFSETS = tuple(name for name in GRAPH_ARRAYS if name.endswith("_offset"))
_WHOLE = tuple(name for name in GRAPH_ARRAYS if name not in (*_FLOATS, *_OFFSETS))
_COUNTS = tuple(name.replace("_offset", "_count") for name in _OFFSETS)

Track = Callable[[Iterable[int], int], Iterable[int]]
Flat = dict[str, np.ndarray]


def build_graphs(
    dataset: OpticalDataset, folder: Path, *, cutoff: float, angle_cutoff: float, track: Track | None = None
) -> None:
    """Build the graphs of a data set into a folder, or wait for another program that does.

    Parameters
    ----------
    dataset
        The data set.
    folder
        Of the graphs; appears complete or not at all. What killed builds left beside it is removed.
    cutoff, angle_cutoff
        Å.
    track
        Wraps the rows as their graphs are done, with their number, to show progress.
    """
    scratch = tuple(f"{name}.bin" for name in (*_WHOLE, *_COUNTS))
    staging = Staging(folder, complete=GRAPHS, scratch=scratch)
    staging.acquire()
    try:
        remove_stale(folder.parent, keep=staging)
        key = {"schema": GRAPH_SCHEMA_VERSION, "data": dataset.hash, "cutoff": cutoff, "angle_cutoff": angle_cutoff}
        if staging.resume(key):
            return
        rows = _append(dataset, staging, cutoff, angle_cutoff)
        left = len(dataset) - staging.state.get("rows", 0)
        for _ in track(rows, left) if track else rows:
            pass
        _finish(staging, len(dataset), key)
    finally:
        staging.release()


def _append(dataset: OpticalDataset, staging: Staging, cutoff: float, angle_cutoff: float) -> Iterator[int]:
    """Append what is missing; yield every row as it is done."""
    begin, end = staging.state.get("rows", 0), len(dataset)
    for start in range(begin, end, _COMMIT):
        stop = min(start + _COMMIT, end)
        for first in range(start, stop, _CHUNK):
            rows = range(first, min(first + _CHUNK, stop))
            for name, array in _flat_graphs(dataset, rows, cutoff, angle_cutoff).items():
                staging.append(f"{name}.npy" if name in _FLOATS else f"{name}.bin", array)
            yield from rows
        staging.commit({"rows": stop})


def _flat_graphs(dataset: OpticalDataset, rows: range, cutoff: float, angle_cutoff: float) -> Flat:
    """Build graphs, joined into the arrays of `GRAPH_ARRAYS`, with counts a crystal in place of offsets."""
    offset, lattice, position = dataset.site_offset, dataset.lattice, dataset.position
    graphs = [
        crystal_graph(lattice[row], position[offset[row] : offset[row + 1]], cutoff=cutoff, angle_cutoff=angle_cutoff)
        for row in rows
    ]
    fields = ("edge_source", "edge_target", "edge_image", "edge_length", "angle_first", "angle_second", "angle_cos")
    flat: Flat = {name: np.concatenate([getattr(graph, name) for graph in graphs]) for name in fields}
    flat["edge_count"] = np.array([len(graph.edge_length) for graph in graphs], dtype=np.int64)
    flat["angle_count"] = np.array([len(graph.angle_cos) for graph in graphs], dtype=np.int64)
    flat |= _merged(
        flat, dataset.atomic_number[offset[rows.start] : offset[rows.stop]], np.diff(offset[rows.start : rows.stop + 1])
    )
    return {name: array.astype(_type(name)) for name, array in flat.items()}


def _type(name: str) -> type:
    return np.float32 if name in _FLOATS else np.int64 if name in _COUNTS else np.int32


def _merged(flat: Flat, atomic_number: np.ndarray, atom_count: np.ndarray) -> Flat:
    """Return the arrays of merged graphs; rows are counted within their crystal, there and here."""
    n_crystals = len(atom_count)
    counts = (atom_count, flat["edge_count"], flat["angle_count"])
    atom_crystal, edge_crystal, angle_crystal = (np.repeat(np.arange(n_crystals), count) for count in counts)
    atom_start, edge_start, _ = (np.cumsum(count) - count for count in counts)
    merged = quotient(
        FlatGraphs(
            atom_crystal=atom_crystal,
            edge_crystal=edge_crystal,
            angle_crystal=angle_crystal,
            atomic_number=atomic_number,
            edge_source=flat["edge_source"] + atom_start[edge_crystal],
            edge_target=flat["edge_target"] + atom_start[edge_crystal],
            edge_length=flat["edge_length"],
            angle_first=flat["angle_first"] + edge_start[angle_crystal],
            angle_second=flat["angle_second"] + edge_start[angle_crystal],
            angle_cos=flat["angle_cos"],
            atom_weight=np.ones(len(atom_crystal)),
            edge_weight=np.ones(len(edge_crystal)),
            angle_weight=np.ones(len(angle_crystal)),
        )
    )
    crystals = (merged.atom_crystal, merged.edge_crystal, merged.angle_crystal)
    atoms, edges, angles = (np.bincount(crystal, minlength=n_crystals) for crystal in crystals)
    atom_start, edge_start = np.cumsum(atoms) - atoms, np.cumsum(edges) - edges
    return {
        "merged_atom_count": atoms,
        "merged_atom_number": merged.atomic_number,
        "merged_atom_weight": merged.atom_weight,
        "merged_edge_count": edges,
        "merged_edge_source": merged.edge_source - atom_start[merged.edge_crystal],
        "merged_edge_target": merged.edge_target - atom_start[merged.edge_crystal],
        "merged_edge_weight": merged.edge_weight,
        "merged_edge_length": merged.edge_length,
        "merged_angle_count": angles,
        "merged_angle_first": merged.angle_first - edge_start[merged.angle_crystal],
        "merged_angle_second": merged.angle_second - edge_start[merged.angle_crystal],
        "merged_angle_weight": merged.angle_weight,
        "merged_angle_cos": merged.angle_cos,
    }


def _finish(staging: Staging, n_materials: int, key: dict[str, Any]) -> None:
    """Turn what was appended into the arrays of `GRAPH_ARRAYS`, and publish them."""
    totals = {}
    for what in (name.removesuffix("_count") for name in _COUNTS):
        count = np.fromfile(staging.path(f"{what}_count.bin"), dtype=np.int64)
        offset = np.concatenate([[0], np.cumsum(count)])
        totals[what] = int(offset[-1])
        _rewrite(staging, f"{what}_offset", [offset], (n_materials + 1,), "int64")
    for name in _FLOATS:
        staging.finish_array(f"{name}.npy", (totals[_rows(name)],), "float32")
    for name in _WHOLE:
        shape = (totals[_rows(name)], 3) if name == "edge_image" else (totals[_rows(name)],)
        blocks = _Blocks(staging.path(f"{name}.bin"))
        lowest, highest = blocks.range()
        dtype = np.min_scalar_type(min(lowest, -highest - 1) if lowest < 0 else highest)
        _rewrite(staging, name, blocks, shape, str(dtype))
    files = {name: staging.folder / f"{name}.npy" for name in GRAPH_ARRAYS}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sha256 = {name: file_hash(path) for name, path in files.items()}
    write_json(staging.folder / GRAPHS, {**key, "n_materials": n_materials, "sizes": sizes, "sha256": sha256})
    staging.publish()


def _rows(name: str) -> str:
    """Say which rows an array has: "merged_edge" for "merged_edge_length"."""
    return name.rpartition("_")[0]


class _Blocks:
    """An int32 file in blocks."""

    def __init__(self, path: Path, size: int = 1 << 22) -> None:
        self.path, self.size = path, size

    def __iter__(self) -> Iterator[np.ndarray]:
        with self.path.open("rb") as stream:
            while len(block := np.fromfile(stream, dtype=np.int32, count=self.size)):
                yield block

    def range(self) -> tuple[int, int]:
        """Return the lowest and the highest value, zero included."""
        lowest, highest = 0, 0
        for block in self:
            lowest, highest = min(lowest, int(block.min())), max(highest, int(block.max()))
        return lowest, highest


def _rewrite(staging: Staging, name: str, blocks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: str) -> None:
    for block in blocks:
        staging.append(f"{name}.npy", block.astype(dtype))
    staging.finish_array(f"{name}.npy", shape, dtype)
