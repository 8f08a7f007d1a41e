"""Time and host memory of opening a large data set for training, and what a narrower type of its spectra would cost.

    python benchmarks/open_200k.py [--n 200000] [--device cuda] [--out /tmp/open-200k]

Makes crystals by substitution with the published site counts and spectra of 2001 complex values (about 3.3 GB at
200,000, and their graphs; removed afterwards unless they were there), opens them in fresh processes, trains a small
network on the embedded shelf and stores its true spectra in narrower types. Keeps what it measured in
benchmarks/results/open_200k_<device>.json and fills the tables of docs/data-set.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cache import machine, memory
from loss_curves import study_of
from pages import fill

from optiscale.bench.data import bench_dataset
from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import open_source
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.io import read_json, write_json
from optiscale.training import Cell, RunOptions
from optiscale.training.assemble import assemble
from optiscale.training.losses import batch_losses

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "data-set.md"
MARKS = "<!-- benchmarks/open_200k.py -->\n", "<!-- end of open_200k -->"
CUTOFFS = {"cutoff": 5.5, "angle_cutoff": 4.0}
BATCH = 256
#: what a fresh process does, in this order; each begins where the one before ended
STEPS = {
    "open": "the data set and its graphs opened",
    "tables": "compositions and structures read, the set split",
    "whole": "every crystal in batches of whole graphs, spectra included",
    "merged": "merged graphs brought to the device",
    "batches": "every crystal in batches of merged graphs, spectra included",
}
ROUTES = {"plain": ("open", "tables", "whole"), "merged": ("open", "tables", "merged", "batches")}


def route(folder: Path, name: str, device: str) -> dict[str, dict[str, float]]:
    """Go the way of a training program through the data; return seconds and memory of each step."""
    torch.set_num_threads(1)  # as the demo's runs; on a busy machine more of them wait for each other
    measured = {"imports": {"wall_s": 0.0, **memory(os.getpid())}}
    held: dict[str, Any] = {}
    steps: dict[str, Callable[[], None]] = {
        "open": lambda: held.update(graphs=GraphStore.open(OpticalDataset(folder), **CUTOFFS)),
        "tables": lambda: held.update(rows=_rows(held["graphs"].dataset)),
        "whole": lambda: _through(held["rows"], lambda rows: held["graphs"].batch(rows)),
        "merged": lambda: held.update(merged=MergedGraphs.of(held["graphs"], device=torch.device(device), angles=True)),
        "batches": lambda: _through(held["rows"], lambda rows: held["merged"].batch(rows)),
    }
    for step in ROUTES[name]:
        start, start_cpu = time.perf_counter(), time.process_time()
        steps[step]()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - start_cpu}
        measured[step] = {**seconds, **memory(os.getpid())}
    return measured


def _rows(dataset: OpticalDataset) -> np.ndarray:
    """Return all rows in random order, after reading what a split reads."""
    from optiscale.dataset import split_by_composition

    split_by_composition(dataset.materials["reduced_formula"], fractions=(0.8, 0.1, 0.1), seed=0)
    return np.random.default_rng(0).permutation(len(dataset.n_sites))


def _through(rows: np.ndarray, gather: Callable[[np.ndarray], Any]) -> None:
    for start in range(0, len(rows), BATCH):
        gather(rows[start : start + BATCH])


def fresh(folder: Path, name: str, device: str) -> dict[str, dict[str, float]]:
    """Go a route in a process of its own."""
    command = [sys.executable, __file__, "--route", name, "--out", str(folder), "--device", device]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


#: how true spectra could be stored; each function returns what is read back
WIDTHS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "float32": lambda spectra: spectra,
    "float16": lambda spectra: spectra.to(torch.float16).float(),
    "float16, scaled by the largest value of each spectrum": lambda spectra: _scaled(spectra),
    "bfloat16": lambda spectra: spectra.to(torch.bfloat16).float(),
}


def _scaled(spectra: torch.Tensor) -> torch.Tensor:
    scale = spectra.abs().amax(dim=(1, 2), keepdim=True)
    return (spectra / scale).to(torch.float16).float() * scale


def widths() -> dict[str, Any]:
    """Train a network on the shelf; return L_val of it with its true spectra stored in narrower types."""
    torch.set_num_threads(1)  # a network this small only waits for more
    dataset = open_source("dft-shelf")
    study = study_of("plain", device="cpu", steps=200)
    run = assemble(study, Cell("2B-TC", 16, 256, 1, 0), dataset, RunOptions(threads=1))
    run.trainer.fit(run.module, datamodule=run.data)
    network = run.module.network.eval()
    batches = list(run.data.val_dataloader())
    with torch.no_grad():
        predictions = [network(batch) for batch in batches]
    losses = {name: _loss(predictions, batches, width) for name, width in WIDTHS.items()}
    return {
        "network": "OptiMetal2B TC 16, 200 steps on the shelf",
        "materials": sum(batch.n_crystals for batch in batches),
        "largest_value": max(float(batch.spectrum.abs().max()) for batch in batches),
        "L_val": losses,
        "change": {name: value / losses["float32"] - 1 for name, value in losses.items()},
    }


def _loss(predictions: list[Any], batches: list[Any], width: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """Return the loss over all materials, summed in float64."""
    total = 0.0
    for prediction, batch in zip(predictions, batches, strict=True):
        stored = replace(batch, spectrum=width(batch.spectrum))
        parts = batch_losses(prediction, stored, components=[0, 1], scalars=[0])
        total += sum(float(part.double().sum()) for part in parts)
    return total / sum(batch.n_crystals for batch in batches)


def document() -> None:
    """Write the tables between the marks of the page."""
    lines: list[str] = []
    for path in sorted(RESULTS.glob("open_200k_*.json")):
        content = read_json(path)
        described = content["machine"]
        lines += [
            "",
            f"{content['materials']:,} materials of {content['n_omega']} complex values, {content['device']}, "
            f"{described['cpu']}, {described['cores']} cores, one thread, load {described['load_before']:.1f} before "
            f"([{path.name}](../benchmarks/results/{path.name})); files of {content['bytes'] / 1e9:.2f} GB:",
            "",
            "| one after the other | clock, s | a core, s | peak, GB | then its own, GB | mapped files, GB |",
            "|---|---|---|---|---|---|",
        ]
        for name, measured in content["routes"].items():
            for step in ROUTES[name]:
                one = measured[step]
                sizes = (one[key] / 1e9 for key in ("peak_bytes", "own_bytes", "mapped_bytes"))
                lines.append(
                    f"| {name}: {STEPS[step]} | {one['wall_s']:.2f} | {one['cpu_s']:.2f} | "
                    + " | ".join(f"{size:.2f}" for size in sizes)
                    + " |"
                )
        found = content["widths"]
        lines += [
            "",
            f"{found['network']}, {found['materials']} validation materials, values up to "
            f"{found['largest_value']:.0f}:",
            "",
            "| true spectra stored as | L_val | change |",
            "|---|---|---|",
            *(f"| {name} | {loss:.7f} | {found['change'][name]:+.1e} |" for name, loss in found["L_val"].items()),
            "",
        ]
    fill(PAGE, MARKS, "\n".join(lines) + "\n")


def measure(folder: Path, n: int, device: str) -> dict[str, Any]:
    """Measure everything."""
    dataset = bench_dataset(folder, n)
    graphs = GraphStore.open(dataset, **CUTOFFS)
    files = [*dataset.folder.glob("*.*"), *graphs.folder.iterdir()]
    return {
        "machine": machine(),
        "device": "cpu" if device == "cpu" else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "materials": n,
        "n_omega": dataset.spectrum.shape[1],
        "bytes": sum(path.stat().st_size for path in files),
        "statistics": graphs.statistics(),
        "routes": {name: fresh(folder, name, device) for name in ROUTES},
        "widths": widths(),
    }


def main() -> None:
    """Measure, keep, fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200_000, help="materials")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=Path("/tmp/open-200k"), help="folder of the set")  # noqa: S108
    parser.add_argument("--docs", action="store_true", help="only fill the page from the results that are there")
    parser.add_argument("--route", choices=tuple(ROUTES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.route:
        print(json.dumps(route(options.out, options.route, options.device)))
        return
    if not options.docs:
        kept = options.out.exists()
        try:
            content = measure(options.out, options.n, options.device)
        finally:
            if not kept:
                shutil.rmtree(options.out, ignore_errors=True)
        write_json(RESULTS / f"open_200k_{options.device}.json", content)
    document()


if __name__ == "__main__":
    main()
