"""Measure the demo study with the plain path and with ours: ``python benchmarks/demo_speed.py``.

Each network of the demo trains for a while both ways in turn, one thread each, with its validations; seconds are those
of the processor. Their sum over the demo's runs gives the ratio. Writes benchmarks/results/demo_speed.json.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from optiscale.config import Study, load_study
from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import open_source
from optiscale.io import write_json
from optiscale.sweep.plan import cells_of
from optiscale.training import Cell, RunOptions, run_cell

DEMO = Path(__file__).parents[1] / "experiments" / "demo.yaml"
RESULT = Path(__file__).parent / "results" / "demo_speed.json"
STEPS = 180
TURNS = 6  # a machine may have other work at times: the quickest counts


def seconds(study: Study, cell: Cell, dataset: OpticalDataset) -> float:
    """Processor time of a run."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        record = run_cell(study, cell, dataset, Path(folder), RunOptions(threads=1))
        if record["status"] != "finished":
            raise SystemExit(f"{cell.id}: {record['message']}")
        return time.process_time() - began


def main() -> None:
    """Measure and keep."""
    torch.set_num_threads(1)
    dataset = open_source("dft-shelf")
    short = f"training.length.steps={STEPS}"
    studies = {path: load_study(DEMO, [f"training.path={path}", short]) for path in ("plain", "auto")}
    whole = load_study(DEMO)
    runs = Counter((cell.model, cell.width) for cell in cells_of(whole))
    steps = whole.models[next(iter(whole.models))].training.length.steps or 0
    rows: list[dict[str, Any]] = []
    for (model, width), number in runs.items():
        cell = Cell(model, width, 160, 1, 0)
        seconds(studies["auto"], cell, dataset)  # what only the first run does
        turns = [{path: seconds(study, cell, dataset) for path, study in studies.items()} for _ in range(TURNS)]
        times = {path: [turn[path] for turn in turns] for path in studies}
        best = {path: 1e3 * min(found) / STEPS for path, found in times.items()}
        rows.append({"model": model, "width": width, "runs": number, **{f"{path}_ms": best[path] for path in best}})
        print(rows[-1], flush=True)
    total = {path: sum(row["runs"] * row[f"{path}_ms"] * steps / 1e3 for row in rows) for path in studies}
    content = {"torch": torch.__version__, "steps": steps, "rows": rows, "seconds": total}
    ratio = total["plain"] / total["auto"]
    write_json(RESULT, {**content, "ratio": ratio})
    print(f"plain {total['plain']:.0f} s, ours {total['auto']:.0f} s of the processor: {ratio:.2f}")


if __name__ == "__main__":
    main()
