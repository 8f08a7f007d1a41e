"""Time and memory of the cached data set at the published size, on random crystals.

    python benchmarks/cache.py --out /tmp/cache-benchmark

Writes a set of 200,000 random crystals with spectra of 2001 complex values (about 3.3 GB, removed afterwards), opens
it, builds graphs and checks a part of it, and keeps what was measured in benchmarks/results/cache.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from optiscale.dataset import DatasetInfo, DatasetWriter, EnergyGrid, Material, OpticalDataset, Scalar
from optiscale.dataset.check import check_dataset
from optiscale.graphs.build import build_graphs
from optiscale.io import write_json

RESULTS = Path(__file__).parent / "results" / "cache.json"
ENERGY = EnergyGrid(start=0.0, stop=20.0, n=2001)
#: cells by site count 1 to 10 of the published set (arXiv:2602.05702)
SITES = np.array([68, 924, 11854, 73403, 28938, 19068, 7905, 18146, 9287, 31768])
#: Li to Bi without the elements that the published set leaves out
METALS = np.array([*range(3, 6), *range(11, 15), *range(19, 33), *range(37, 52), *range(55, 57), *range(72, 84)])

OPEN = """
import json, sys, time
start, start_cpu = time.perf_counter(), time.process_time()
from optiscale.dataset import OpticalDataset
imported = time.perf_counter()
dataset = OpticalDataset(sys.argv[1])
opened, opened_cpu = time.perf_counter(), time.process_time()
formulas = dataset.materials["reduced_formula"]
tabled = time.perf_counter()
atoms = dataset.atomic_number.sum(), dataset.position.sum()
structures = time.perf_counter()
# of this program alone: ru_maxrss would begin with that of the program that started it
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "import_s": imported - start,
    "open_s": opened - imported,
    "import_and_open_cpu_s": opened_cpu - start_cpu,
    "table_s": tabled - opened,
    "structures_s": structures - tabled,
    "peak_bytes": 1024 * int(status["VmHWM"].split()[0]),
}))
"""


def materials(start: int, n: int) -> Iterator[Material]:
    """Yield random crystals with random causal spectra of one oscillator, the same ones for the same number."""
    energies = ENERGY.values()
    for number in range(start, n):
        rng = np.random.default_rng([number, 11])
        sites = 1 + int(rng.choice(10, p=SITES / SITES.sum()))
        side = (16 * sites) ** (1 / 3)
        place, strength, width = rng.uniform(1, 12), rng.uniform(20, 200), rng.uniform(0.5, 3)
        eps = 1 + strength / (place**2 - energies**2 - 1j * width * energies)
        yield Material(
            id=f"random{number}",
            lattice=side * (np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3))),
            atomic_number=rng.choice(METALS, sites),
            position=rng.uniform(0, side, (sites, 3)),
            spectrum=np.stack([eps.real, eps.imag], axis=-1),
            scalars=rng.uniform(1, 12, 1),
            space_group=1,
            provenance={"seed": number},
        )


def info(n: int) -> DatasetInfo:
    """Describe the set."""
    return DatasetInfo(
        name="benchmark",
        source="random crystals",
        energy=ENERGY,
        components=("re", "im"),
        scalars=(Scalar(name="omega_D", unit="eV"),),
        build_key={"n": n},
    )


def write(folder: Path, n: int) -> OpticalDataset:
    """Write the set, or go on with it."""
    with DatasetWriter(folder, info(n)) as writer:
        for material in materials(writer.n_seen, n):
            writer.add(material)
        return writer.finish()


def timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Return the seconds that the work took (by the clock, and of one core), and its result."""
    start, start_cpu = time.perf_counter(), time.process_time()
    result = work()
    return {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - start_cpu}, result


def scaled(seconds: dict[str, float], factor: float) -> dict[str, float]:
    """Extrapolate."""
    return {name: factor * value for name, value in seconds.items()}


def measure(folder: Path, n: int, part: int) -> dict[str, Any]:
    """Measure everything."""
    make, _ = timed(lambda: sum(1 for _ in materials(0, n // 100)))
    written, dataset = timed(lambda: write(folder / "set", n))
    peak_write = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    bytes_on_disk = sum(path.stat().st_size for path in dataset.folder.iterdir())
    opened = subprocess.run([sys.executable, "-c", OPEN, dataset.folder], check=True, capture_output=True, text=True)
    small = write(folder / "part", part)
    graphs = folder / "graphs"
    graph, _ = timed(lambda: build_graphs(small, graphs, cutoff=5.5, angle_cutoff=4.0))
    graph_bytes = sum(path.stat().st_size for path in graphs.iterdir())
    checked, checks = timed(lambda: check_dataset(small))
    verified, _ = timed(lambda: check_files(dataset))
    return {
        "materials": n,
        "sites_mean": float(dataset.n_sites.mean()),
        "bytes": bytes_on_disk,
        "write": written,
        "of_which_making_crystals": scaled(make, 100),
        "write_peak_bytes": peak_write,
        "open": json.loads(opened.stdout),
        "verify_checksums": verified,
        "part": part,
        "graphs_part": graph,
        "graphs_extrapolated_to_all": scaled(graph, n / part),
        "graphs_part_bytes": graph_bytes,
        "edges_mean": float(np.load(graphs / "edge_offset.npy")[-1] / part),
        "angles_mean": float(np.load(graphs / "angle_offset.npy")[-1] / part),
        "check_part": checked,
        "check_extrapolated_to_all": scaled(checked, n / part),
        "check_status": {check.name: check.status for check in checks},
    }


def check_files(dataset: OpticalDataset) -> None:
    """Verify the checksums of a whole set."""
    from optiscale.dataset.store import damaged_files

    damaged = damaged_files(dataset.folder, dataset.manifest)
    if damaged:
        raise SystemExit(f"damaged: {damaged}")


def memory(pid: int) -> dict[str, int]:
    """Return the most memory that a process held since it began, and its own and its files' share of what it holds.

    ru_maxrss would begin with that of its parent.
    """
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    names = {"peak_bytes": "VmHWM", "own_bytes": "RssAnon", "mapped_bytes": "RssFile"}
    return {name: 1024 * int(status[field].split()[0]) for name, field in names.items()}


def machine() -> dict[str, Any]:
    """Name the machine."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "load_before": os.getloadavg()[0],
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the set, removed afterwards")
    parser.add_argument("--n", type=int, default=200_000, help="materials")
    parser.add_argument("--part", type=int, default=20_000, help="materials for graphs and checks")
    options = parser.parse_args()
    if options.out.exists():
        raise SystemExit(f"{options.out}: there already; name a new folder, which is removed afterwards")
    described = machine()
    try:
        measured = measure(options.out, options.n, options.part)
    finally:
        shutil.rmtree(options.out, ignore_errors=True)
    write_json(RESULTS, {"machine": described, **measured})
    print(RESULTS.read_text(), end="")


if __name__ == "__main__":
    main()
