"""How fast graphs are built, beside pymatgen's way as the published code goes it, and that both give the same graphs.

    python benchmarks/graph_speed.py [--n 200000] [--compared 512] [--out /tmp/graph-speed]

Makes crystals by substitution with the published site counts (about 3.3 GB at 200,000, removed afterwards unless they
were there), compares both ways on some of them on one core, builds the cached graphs of all of them with as many
processes as there are cores for this program, keeps what it measured in benchmarks/results/graph_speed.json and fills
the table in docs/data-set.md.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
from cache import machine, memory
from pages import fill
from pymatgen.core import Structure

from optiscale.bench.data import bench_dataset
from optiscale.dataset import OpticalDataset
from optiscale.graphs import build
from optiscale.graphs.crystal import CrystalGraph, crystal_graphs
from optiscale.io import read_json, write_json
from optiscale.sweep.progress import track_rows

RESULTS = Path(__file__).parent / "results" / "graph_speed.json"
PAGE = Path(__file__).parents[1] / "docs" / "data-set.md"
MARKS = "<!-- benchmarks/graph_speed.py -->\n", "<!-- end of graph_speed -->"
CUTOFF, ANGLE_CUTOFF = 5.5, 4.0
_CHUNK = build._CHUNK

#: (source, target, image (E, 3), length), (first, second)
PymatgenGraph = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, np.ndarray]]


def pymatgen_graph(dataset: OpticalDataset, row: int, *, near_first: bool) -> PymatgenGraph:
    """Build the edges and angles of a crystal with pymatgen's neighbour list.

    The published code pairs all edges that leave an atom and drops the pairs with a long edge afterwards; `near_first`
    drops the long edges before, which is as quick as this way can be.
    """
    sites = slice(int(dataset.site_offset[row]), int(dataset.site_offset[row + 1]))
    crystal = Structure(
        dataset.lattice[row], dataset.atomic_number[sites], dataset.position[sites], coords_are_cartesian=True
    )
    source, target, image, length = crystal.get_neighbor_list(CUTOFF)
    leaving = defaultdict(list)
    for edge, site in enumerate(source):
        if not near_first or length[edge] <= ANGLE_CUTOFF:
            leaving[site].append(edge)
    pairs: list[tuple[int, int]] = []
    for edges in map(np.array, leaving.values()):
        one, two = np.meshgrid(np.arange(len(edges)), np.arange(len(edges)), indexing="ij")
        pairs.extend(zip(edges[one[one != two]], edges[two[one != two]], strict=True))
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    near = (length[first] <= ANGLE_CUTOFF) & (length[second] <= ANGLE_CUTOFF)
    return (source, target, image, length), (first[near], second[near])


def our_graphs(dataset: OpticalDataset, rows: range) -> CrystalGraph:
    """Build the edges, angles and cosines of some crystals our way."""
    crystals = build._structures(dataset, rows)
    return crystal_graphs(
        crystals.lattice, crystals.position, crystals.offset, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF
    )


def differences(dataset: OpticalDataset, row: int) -> dict[str, float]:
    """Count the edges and angles that only one way has, and say how far lengths are apart (Å)."""
    (*ends, length), (first, second) = pymatgen_graph(dataset, row, near_first=False)
    graph = our_graphs(dataset, range(row, row + 1))
    theirs, ours = _names(*ends), _names(graph.edge_source, graph.edge_target, graph.edge_image)
    lengths = dict(zip(theirs, length, strict=True)), dict(zip(ours, graph.edge_length, strict=True))
    their_angles = {(theirs[one], theirs[two]) for one, two in zip(first, second, strict=True)}
    our_angles = {(ours[one], ours[two]) for one, two in zip(graph.angle_first, graph.angle_second, strict=True)}
    return {
        "edges": len(set(theirs) ^ set(ours)) + abs(len(theirs) - len(ours)),
        "angles": len(their_angles ^ our_angles) + abs(len(first) - len(graph.angle_first)),
        "length": max((abs(lengths[0][edge] - lengths[1][edge]) for edge in {*theirs} & {*ours}), default=0.0),
    }


def _names(source: np.ndarray, target: np.ndarray, image: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(row) for row in np.column_stack([source, target, image]).astype(int).tolist()]


def compare(dataset: OpticalDataset, n: int) -> dict[str, Any]:
    """Time both ways on one core, a crystal at a time for pymatgen and chunks for ours, and compare what they give."""
    rows = np.linspace(0, len(dataset) - _CHUNK, n // _CHUNK).astype(int)  # first rows of chunks from all of the set
    chunks = [range(first, first + _CHUNK) for first in rows]
    every = [row for rows in chunks for row in rows]
    recipe = {"cutoff": CUTOFF, "angle_cutoff": ANGLE_CUTOFF}
    seconds = {
        "pymatgen": _cpu(lambda: [pymatgen_graph(dataset, row, near_first=False) for row in every]),
        "pymatgen_near_first": _cpu(lambda: [pymatgen_graph(dataset, row, near_first=True) for row in every]),
        "ours": _cpu(lambda: [our_graphs(dataset, rows) for rows in chunks]),
        "ours_with_merged": _cpu(
            lambda: [build._flat_graphs(build._structures(dataset, rows), **recipe) for rows in chunks]
        ),
    }
    found = [differences(dataset, row) for row in every]
    graphs = [our_graphs(dataset, rows) for rows in chunks]
    return {
        "crystals": len(every),
        "atoms_mean": float(np.mean(dataset.n_sites[every])),
        "edges_mean": sum(len(graph.edge_length) for graph in graphs) / len(every),
        "angles_mean": sum(len(graph.angle_cos) for graph in graphs) / len(every),
        "cpu_ms_a_crystal": {name: 1e3 * value / len(every) for name, value in seconds.items()},
        "different_edges": sum(one["edges"] for one in found),
        "different_angles": sum(one["angles"] for one in found),
        "largest_difference_of_lengths": max(one["length"] for one in found),
    }


def _cpu(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def whole(dataset: OpticalDataset, folder: Path) -> dict[str, Any]:
    """Build the graphs of all crystals, as a study does."""
    n_processes = build._workers(len(dataset))
    dataset.site_offset.sum()  # the structures are read
    start, marks = time.perf_counter(), []

    def track(rows: Any, total: int) -> Any:
        for row in track_rows("graphs")(rows, total):
            if not marks:
                marks.append(time.perf_counter() - start)
            yield row
        marks.append(time.perf_counter() - start)

    build.build_graphs(dataset, folder, cutoff=CUTOFF, angle_cutoff=ANGLE_CUTOFF, track=track)
    seconds = time.perf_counter() - start
    processes = [child for child in psutil.Process().children() if "popen_loky" in " ".join(child.cmdline())]
    return {
        "crystals": len(dataset),
        "processes": n_processes,
        "wall_s": seconds,
        "wall_s_to_the_first": marks[0],
        "wall_s_after_the_last": seconds - marks[1],
        "peak_bytes": memory(psutil.Process().pid)["peak_bytes"],
        "peak_bytes_of_a_worker": max((memory(child.pid)["peak_bytes"] for child in processes), default=0),
        "bytes_on_disk": sum(path.stat().st_size for path in folder.iterdir()),
    }


def document(content: dict[str, Any]) -> None:
    """Write the table between the marks of the page."""
    one, all_of_them, described = content["compared"], content["whole"], content["machine"]
    cost = one["cpu_ms_a_crystal"]
    names = {
        "pymatgen": "pymatgen's list, all pairs of edges, then those of near ones (as published)",
        "pymatgen_near_first": "pymatgen's list, pairs of near edges",
        "ours": "ours: edges, angles, cosines",
        "ours_with_merged": "ours with merged rows, as cached",
    }
    lines = [
        "| way | ms of a core a crystal | as published over this |",
        "|---|---|---|",
        *(f"| {name} | {cost[key]:.2f} | {cost['pymatgen'] / cost[key]:.1f} |" for key, name in names.items()),
        "",
        f"{one['crystals']:,} crystals by substitution: {one['atoms_mean']:.1f} atoms, {one['edges_mean']:.0f} edges, "
        f"{one['angles_mean']:.0f} angles each; {one['different_edges']} edges and {one['different_angles']} angles "
        f"that only one way has; lengths within {one['largest_difference_of_lengths']:.0e} Å.",
        "",
        f"Graphs of {all_of_them['crystals']:,} crystals in {all_of_them['processes']} processes: "
        f"{all_of_them['wall_s']:.0f} s by the clock, {all_of_them['wall_s_after_the_last']:.0f} s of them for "
        f"types, checksums and the rename; at most {all_of_them['peak_bytes'] / 1e9:.2f} GB in the program and"
        f" {all_of_them['peak_bytes_of_a_worker'] / 1e9:.2f} GB in each process; "
        f"{all_of_them['bytes_on_disk'] / 1e9:.2f} GB on disk. {described['cpu']}, {described['cores']} cores, load "
        f"{described['load_before']:.1f} before; "
        + ", ".join(f"{k} {v}" for k, v in content["versions"].items())
        + ".",
    ]
    fill(PAGE, MARKS, "\n" + "\n".join(lines) + "\n\n")


def main() -> None:
    """Measure, keep, fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000, help="crystals whose graphs are cached")
    parser.add_argument("--compared", type=int, default=512, help="crystals that both ways take")
    parser.add_argument("--out", type=Path, default=Path("/tmp/graph-speed"), help="folder of the set")  # noqa: S108
    parser.add_argument("--docs", action="store_true", help="only fill the page from the results that are there")
    options = parser.parse_args()
    if options.docs:
        document(read_json(RESULTS))
        return
    described, kept = machine(), options.out.exists()
    try:
        dataset = bench_dataset(options.out, options.n)
        described["load_before"] = machine()["load_before"]
        content = {
            "machine": described,
            "versions": {name: version(name) for name in ("pymatgen", "vesin", "numpy", "joblib")},
            "processes_allowed": joblib.cpu_count(),
            "compared": compare(dataset, options.compared),
            "whole": whole(dataset, options.out / "graphs" / "speed"),
        }
    finally:
        shutil.rmtree(options.out / "graphs" / "speed" if kept else options.out, ignore_errors=True)
    write_json(RESULTS, content)
    document(content)
    print(RESULTS.read_text(), end="")


if __name__ == "__main__":
    main()
