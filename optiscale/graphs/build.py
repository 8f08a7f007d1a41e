"""The graphs of a whole data set, written as flat arrays in chunks that survive a killed program."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from optiscale.dataset import OpticalDataset
from optiscale.dataset.staging import Staging, remove_stale
from optiscale.graphs.crystal import crystal_graph
from optiscale.io import file_hash, write_json

GRAPH_SCHEMA_VERSION = 2
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
}
#: int32 while the largest value is unknown, then the smallest type that holds it: 200,000 crystals have 129 million
#: angles
_WHOLE = ("edge_source", "edge_target", "edge_image", "angle_first", "angle_second")
_COUNTS = ("edge_count", "angle_count")
_FLOATS = ("edge_length", "angle_cos")

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
    flat: Flat = {name: np.concatenate([getattr(graph, name) for graph in graphs]).astype(np.int32) for name in _WHOLE}
    flat |= {name: np.concatenate([getattr(graph, name) for graph in graphs]).astype(np.float32) for name in _FLOATS}
    flat["edge_count"] = np.array([len(graph.edge_length) for graph in graphs], dtype=np.int64)
    flat["angle_count"] = np.array([len(graph.angle_cos) for graph in graphs], dtype=np.int64)
    return flat


def _finish(staging: Staging, n_materials: int, key: dict[str, Any]) -> None:
    """Turn what was appended into the arrays of `GRAPH_ARRAYS`, and publish them."""
    totals = {}
    for what in ("edge", "angle"):
        count = np.fromfile(staging.path(f"{what}_count.bin"), dtype=np.int64)
        offset = np.concatenate([[0], np.cumsum(count)])
        totals[what] = int(offset[-1])
        _rewrite(staging, f"{what}_offset", [offset], (n_materials + 1,), "int64")
    for name in _FLOATS:
        staging.finish_array(f"{name}.npy", (totals[name.split("_")[0]],), "float32")
    for name in _WHOLE:
        shape = (totals[name.split("_")[0]], 3) if name == "edge_image" else (totals[name.split("_")[0]],)
        blocks = _Blocks(staging.path(f"{name}.bin"))
        lowest, highest = blocks.range()
        dtype = np.min_scalar_type(min(lowest, -highest - 1) if lowest < 0 else highest)
        _rewrite(staging, name, blocks, shape, str(dtype))
    files = {name: staging.folder / f"{name}.npy" for name in GRAPH_ARRAYS}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sha256 = {name: file_hash(path) for name, path in files.items()}
    write_json(staging.folder / GRAPHS, {**key, "n_materials": n_materials, "sizes": sizes, "sha256": sha256})
    staging.publish()


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
