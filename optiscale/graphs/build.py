"""The graphs of a whole data set, written as flat arrays in chunks that survive a killed program."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np

from optiscale.dataset import OpticalDataset
from optiscale.dataset.staging import Staging, remove_stale
from optiscale.errors import UserError
from optiscale.graphs.crystal import crystal_graphs
from optiscale.graphs.quotient import FlatGraphs, quotient
from optiscale.io import file_hash, write_json

GRAPH_SCHEMA_VERSION = 3
GRAPHS = "graphs.json"
_CHUNK = 32  # crystals that one call builds: what it works on stays in the cache of a core
_COMMIT = 8192
_WORTH_PROCESSES = 8192  # crystals; with fewer, starting processes takes longer than they save

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
    dataset: OpticalDataset,
    folder: Path,
    *,
    cutoff: float,
    angle_cutoff: float,
    track: Track | None = None,
    workers: int | None = None,
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
    workers
        Processes that build side by side, to the same bytes; by default one a core that this program may use where
        there are crystals enough, and none in a process that another one started.

    Raises
    ------
    UserError
        If a worker process is killed.
    """
    scratch = tuple(f"{name}.bin" for name in (*_WHOLE, *_COUNTS))
    staging = Staging(folder, complete=GRAPHS, scratch=scratch)
    staging.acquire()
    try:
        remove_stale(folder.parent, keep=staging)
        key = {"schema": GRAPH_SCHEMA_VERSION, "data": dataset.hash, "cutoff": cutoff, "angle_cutoff": angle_cutoff}
        if staging.resume(key):
            return
        left = len(dataset) - staging.state.get("rows", 0)
        recipe = functools.partial(_flat_graphs, cutoff=cutoff, angle_cutoff=angle_cutoff)
        rows = _append(dataset, staging, recipe, workers or _workers(left))
        for _ in track(rows, left) if track else rows:
            pass
        _finish(staging, len(dataset), key)
    except BrokenProcessPool as error:
        raise UserError(
            f"{folder}: a process that built graphs was killed, for lack of memory perhaps; the same command goes on "
            "from there"
        ) from error
    finally:
        staging.release()


def _workers(n: int) -> int:
    """Return how many processes are worth starting for n crystals."""
    if n < _WORTH_PROCESSES or multiprocessing.parent_process() is not None:
        return 1
    return joblib.cpu_count()  # those that this program may use


def _append(
    dataset: OpticalDataset, staging: Staging, recipe: Callable[[_Structures], Flat], workers: int
) -> Iterator[int]:
    """Append what is missing; yield every row as it is done."""
    begin, end = staging.state.get("rows", 0), len(dataset)
    with joblib.Parallel(n_jobs=workers, return_as="generator") as parallel:
        for start in range(begin, end, _COMMIT):  # no more than this is on its way, however slow the disk
            stop = min(start + _COMMIT, end)
            chunks = [range(first, min(first + _CHUNK, stop)) for first in range(start, stop, _CHUNK)]
            paths = [staging.folder / f"part{rows.start}" for rows in chunks]
            work = (
                joblib.delayed(_build_part)(recipe, _structures(dataset, rows), path)
                for rows, path in zip(chunks, paths, strict=True)
            )
            for rows, path, contents in zip(chunks, paths, parallel(work), strict=True):
                _append_part(staging, path, contents)
                yield from rows
            staging.commit({"rows": stop})


def _build_part(recipe: Callable[[_Structures], Flat], crystals: _Structures, path: Path) -> list[tuple[str, str, int]]:
    """Build graphs into a file; return the name, type and length of each array in it.

    Through the pipe from a process go these few bytes alone: one that is killed in the middle of more would leave its
    parent waiting for the rest.
    """
    flat = recipe(crystals)
    with path.open("wb") as stream:
        for array in flat.values():
            array.tofile(stream)
    return [(name, array.dtype.str, array.size) for name, array in flat.items()]


def _append_part(staging: Staging, path: Path, contents: list[tuple[str, str, int]]) -> None:
    with path.open("rb") as stream:
        for name, dtype, size in contents:
            array: np.ndarray = np.fromfile(stream, dtype=dtype, count=size).astype(_type(name), copy=False)
            staging.append(f"{name}.npy" if name in _FLOATS else f"{name}.bin", array)
    path.unlink()


class _Structures(NamedTuple):
    """Crystals that one call builds graphs of: (n, 3, 3) Å, (A, 3) Å, (A,), (n + 1,)."""

    lattice: np.ndarray
    position: np.ndarray
    atomic_number: np.ndarray
    offset: np.ndarray


def _structures(dataset: OpticalDataset, rows: range) -> _Structures:
    offset = dataset.site_offset[rows.start : rows.stop + 1]
    sites = slice(int(offset[0]), int(offset[-1]))
    lattice = dataset.lattice[rows.start : rows.stop]
    return _Structures(lattice, dataset.position[sites], dataset.atomic_number[sites], offset - offset[0])


def _flat_graphs(crystals: _Structures, *, cutoff: float, angle_cutoff: float) -> Flat:
    """Build graphs, joined into the arrays of `GRAPH_ARRAYS`, with counts a crystal in place of offsets."""
    n_crystals = len(crystals.lattice)
    graph = crystal_graphs(
        crystals.lattice, crystals.position, crystals.offset, cutoff=cutoff, angle_cutoff=angle_cutoff
    )
    atom_crystal = np.repeat(np.arange(n_crystals), np.diff(crystals.offset))
    edge_crystal = atom_crystal[graph.edge_target]
    whole = FlatGraphs(
        atom_crystal=atom_crystal,
        edge_crystal=edge_crystal,
        angle_crystal=edge_crystal[graph.angle_second],
        atomic_number=crystals.atomic_number,
        edge_source=graph.edge_source,
        edge_target=graph.edge_target,
        edge_length=graph.edge_length,
        angle_first=graph.angle_first,
        angle_second=graph.angle_second,
        angle_cos=graph.angle_cos,
        atom_weight=np.ones(len(atom_crystal)),
        edge_weight=np.ones(len(edge_crystal)),
        angle_weight=np.ones(len(graph.angle_cos)),
    )
    flat = {"edge_image": graph.edge_image, **_within_crystals(whole, n_crystals)}
    flat |= {f"merged_{name}": array for name, array in _within_crystals(quotient(whole), n_crystals).items()}
    return {name: _small(name, flat[name]) for name in (*_COUNTS, *_FLOATS, *_WHOLE)}


def _small(name: str, array: np.ndarray) -> np.ndarray:
    """Return an array in the type that travels between processes quickly."""
    return array.astype(np.float32 if name in _FLOATS else _least_type(array.min(initial=0), array.max(initial=0)))


def _least_type(lowest: int, highest: int) -> np.dtype[Any]:
    """Return the smallest type of whole numbers that holds these two."""
    return np.min_scalar_type(min(lowest, -highest - 1) if lowest < 0 else highest)


def _within_crystals(graphs: FlatGraphs, n_crystals: int) -> Flat:
    """Return the arrays of graphs, with rows counted within their crystal."""
    counts = {
        what: np.bincount(getattr(graphs, f"{what}_crystal"), minlength=n_crystals)
        for what in ("atom", "edge", "angle")
    }
    first_atom = (np.cumsum(counts["atom"]) - counts["atom"])[graphs.edge_crystal]
    first_edge = (np.cumsum(counts["edge"]) - counts["edge"])[graphs.angle_crystal]
    return {
        **{f"{what}_count": count for what, count in counts.items()},
        "atom_number": graphs.atomic_number,
        "atom_weight": graphs.atom_weight,
        "edge_source": graphs.edge_source - first_atom,
        "edge_target": graphs.edge_target - first_atom,
        "edge_weight": graphs.edge_weight,
        "edge_length": graphs.edge_length,
        "angle_first": graphs.angle_first - first_edge,
        "angle_second": graphs.angle_second - first_edge,
        "angle_weight": graphs.angle_weight,
        "angle_cos": graphs.angle_cos,
    }


def _type(name: str) -> type:
    return np.float32 if name in _FLOATS else np.int64 if name in _COUNTS else np.int32


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
        _rewrite(staging, name, blocks, shape, str(_least_type(lowest, highest)))
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
