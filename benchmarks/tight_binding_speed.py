"""How fast tight-binding data sets are built, from the first draw to the published folder.

``python benchmarks/tight_binding_speed.py [--device cuda] [--n 1000] [--workers 2]`` builds one in a temporary folder,
prints a line and replaces its entry of ``benchmarks/results/tight_binding_speed.json``, one a device and n.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pages import fill

from optiscale.dataset.tight_binding import build_tight_binding
from optiscale.io import read_json, write_json
from optiscale.spectra.tight_binding.engine import SPACING, VERSION

RESULT = Path(__file__).parent / "results" / "tight_binding_speed.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "tight-binding.md"
MARKS = "<!-- benchmarks/tight_binding_speed.py -->\n", "<!-- end -->"


def machine(device: str) -> str:
    """Name what computes."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def measure(n: int, device: str, workers: int) -> dict[str, Any]:
    """Build a set of n materials and time it."""
    marks: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        dataset = build_tight_binding(
            Path(folder) / "set",
            n=n,
            device=device,
            workers=workers,
            report=lambda done: marks.append((time.perf_counter() - start, done)),
        )
        seconds = time.perf_counter() - start
        n_sites = dataset.n_sites
        skipped = len(dataset.manifest.provenance["skipped"])
        digest = dataset.hash
    return {
        "device": device,
        "machine": machine(device),
        "workers": workers,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "engine_version": VERSION,
        "mesh_spacing": SPACING,
        "n": n,
        "seconds": round(seconds, 1),
        "seconds_to_first": round(marks[0][0], 1),
        "seconds_to_publish": round(seconds - marks[-1][0], 1),
        "milliseconds_a_material": round(1e3 * seconds / n, 3),
        "mean_sites": round(float(np.mean(n_sites)), 2),
        "left_out": skipped,
        "data_hash": digest,
    }


def document(rows: list[dict[str, Any]]) -> None:
    """Write the rows as a table between the marks of the page."""
    table = [
        "| materials | machine | processes | seconds | of these before the first | engine version |",
        "|" + "---|" * 6,
    ]
    for row in rows:
        name = row["machine"] if row["device"] == "cuda" else f"CPU, {row['machine']}"
        table.append(
            f"| {row['n']:,} | {name} | {row['workers']} | {row['seconds']:.0f} | {row['seconds_to_first']:.0f} "
            f"| {row['engine_version']} |"
        )
    fill(DOCUMENT, MARKS, "\n".join(table) + "\n")


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    row = measure(options.n, options.device, options.workers)
    print(row, flush=True)
    rows = read_json(RESULT) if RESULT.exists() else []
    kept = [one for one in rows if (one["device"], one["n"]) != (row["device"], row["n"])]
    rows = sorted([*kept, row], key=lambda one: (one["device"], one["n"]))
    write_json(RESULT, rows)
    document(rows)


if __name__ == "__main__":
    main()
