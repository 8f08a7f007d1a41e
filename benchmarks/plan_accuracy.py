"""How well the plan of a study tells what its runs take.

``python benchmarks/plan_accuracy.py`` plans a small study (two networks, three sizes of the data, one worker and two),
runs it and compares seconds and memory of every cell and of the whole; then it plans each cell again from the records
of the other D. It writes ``benchmarks/results/plan_accuracy.json``, from which the table of ``docs/planning.md`` is
filled; ``--document`` does only this. About six minutes on two free cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pages import fill

from optiscale.config import Study, load_study
from optiscale.io import read_json, write_json
from optiscale.sweep.forecast import Forecast, forecast
from optiscale.sweep.history import History
from optiscale.sweep.slowdown import SHARED
from optiscale.training import Cell

FOLDER = Path(__file__).parent
RESULT = FOLDER / "results" / "plan_accuracy.json"
DOCUMENT = FOLDER.parent / "docs" / "planning.md"
MARKS = "<!-- benchmarks/plan_accuracy.py -->\n", "<!-- end of accuracy -->"
STUDY = FOLDER.parent / "experiments" / "demo.yaml"
STEPS = 300
GRID = [
    {"model": "OptiMetal2B-TC", "widths": [16, 64], "data_sizes": [10, 40, 160], "seeds": [1]},
    {"model": "OptiMetal3B-TC", "widths": [16], "data_sizes": [40, 160], "seeds": [1]},
]
NEAR = 0.4


def main() -> None:
    """Plan, run, compare, write."""
    if sys.argv[1:] != ["--document"]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            studies = {f"{workers} worker{'s' if workers > 1 else ''}": measure(folder, workers) for workers in (1, 2)}
            beside = side_by_side(folder)
        machine = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2)}
        write_json(RESULT, {**machine, "steps": STEPS, "studies": studies, "side_by_side": beside})
    document(read_json(RESULT))


def measure(folder: Path, workers: int) -> dict[str, Any]:
    """Return what was said beforehand and what came of it."""
    path, out = folder / f"{workers}.yaml", folder / f"{workers}"
    content = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    content["training"]["length"] = {"steps": STEPS}
    content["grid"] = GRID
    content["sweep"] = {"workers": workers, "threads": 1}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [sys.executable, "-m", "optiscale.run", "grid", str(path), "--out", str(out)]
    subprocess.run([*command, "--budget", "0.001s"], check=True, capture_output=True)  # graphs
    began = time.perf_counter()
    planned = forecast(load_study(path), out)
    planning = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.perf_counter() - began
    runs = pd.read_parquet(out / "runs.parquet")
    cells = compare(planned, runs)
    return {
        "planning_s": round(planning, 1),
        "cells": cells,
        "total": {"planned": round(planned.total, 1), "measured": round(float(runs["wall_s"].sum()), 1)},
        "makespan": {"planned": round(planned.makespan, 1), "measured": round(whole, 1)},
        "from_other_sizes": from_other_sizes(load_study(path), runs, workers),
    }


def compare(planned: Forecast, runs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row a cell."""
    said = {(row.model, row.width, row.D): row for row in planned.rows}
    rows = []
    for run in runs.to_dict("records"):
        row = said[run["model"], int(run["width"]), int(run["D"])]
        rows.append(
            {
                "model": row.model,
                "width": row.width,
                "D": row.D,
                "source": row.source,
                "planned_s": round(row.seconds, 2),
                "measured_s": round(run["wall_s"], 2),
                "planned_mib": round(row.memory_mb),
                "measured_mib": round(run["peak_memory_mb"]),
            }
        )
    return rows


def side_by_side(folder: Path) -> dict[str, Any]:
    """Return how much longer two at once take, and planned over measured seconds of two from records of one alone."""
    tables = {workers: pd.read_parquet(folder / str(workers) / "runs.parquet") for workers in (1, 2)}
    alone, beside = (tables[workers].set_index("cell")["wall_s"] for workers in (1, 2))
    planned = forecast(load_study(folder / "2.yaml"), folder / "none", like=[folder / "1"])
    said = {(row.model, row.width, row.D): row for row in planned.rows}
    runs = tables[2].to_dict("records")
    ratios = [said[run["model"], int(run["width"]), int(run["D"])].seconds / run["wall_s"] for run in runs]
    return {
        "slowdown": round(float((beside / alone).median()), 2),
        "source": planned.rows[0].source,
        "planned_over_measured": [round(ratio, 3) for ratio in ratios],
        "assumed": SHARED,
    }


def from_other_sizes(study: Study, runs: pd.DataFrame, workers: int) -> list[float]:
    """Return planned over measured seconds of each run that the runs of the same network with another D tell of."""
    records = runs.to_dict("records")
    ratios = []
    for one in records:
        cell = Cell(*(one[name] for name in ("model", "width", "D", "seed", "subset_seed")))
        history = History(study, one["data_hash"], threads=1, at_once=workers)
        history.add(study, [record for record in records if record["D"] != cell.D])
        if (cost := history.costs([cell]).get(cell)) is not None:
            ratios.append(round(cost.seconds / one["wall_s"], 3))
    return ratios


def document(result: dict[str, Any]) -> None:
    """Fill the table of the page."""
    parts = [
        f"\n`python benchmarks/plan_accuracy.py` plans and runs a part of the demo ({result['steps']} steps, "
        f"on {result['cores']} cores, load {result['load']}):\n"
    ]
    for name, study in result["studies"].items():
        parts += [said(name, study), *(line(cell) for cell in study["cells"])]
    beside = result["side_by_side"]
    ratios = beside["planned_over_measured"]
    parts.append(
        f"\nOf two runs at once each took {beside['slowdown']:.2f} times as long as alone (median over the cells). "
        f"Planned for two from\nthe records of one alone ({beside['source']}), with the assumed factor "
        f"{beside['assumed']}, a cell takes {min(ratios):.2f} to {max(ratios):.2f} times what was measured.\n"
    )
    if result["load"] > result["cores"]:
        parts.append("\nThe machine computed other things meanwhile, so that the times are rough.\n")
    fill(DOCUMENT, MARKS, "".join(parts))


def said(name: str, study: dict[str, Any]) -> str:
    """Return a paragraph and the head of a table."""
    cells, total, end = study["cells"], study["total"], study["makespan"]
    within = sum(abs(cell["planned_s"] / cell["measured_s"] - 1) <= NEAR for cell in cells)
    others = study["from_other_sizes"]
    return (
        f"\n**{name}**, planned in {study['planning_s']:.0f} s (source: {cells[0]['source']}). All runs: "
        f"{total['planned']:.0f} s planned, {total['measured']:.0f} s measured "
        f"({total['planned'] / total['measured'] - 1:+.0%}). {within} of {len(cells)} cells lie within {NEAR:.0%}.\n"
        f"The end of the last run: {end['planned']:.0f} s planned; the command took {end['measured']:.0f} s with its "
        "start, its own measurement, fits and figures.\nPlanned afterwards from the records of the other D, a cell "
        f"takes {min(others):.2f} to {max(others):.2f} times what was measured.\n\n"
        "| network | width | D | s planned | s measured | MiB planned | MiB measured |\n|---|---|---|---|---|---|---|\n"
    )


def line(cell: dict[str, Any]) -> str:
    """Return a line of the table."""
    seconds = f"{cell['planned_s']:.1f} | {cell['measured_s']:.1f}"
    memory = f"{cell['planned_mib']} | {cell['measured_mib']}"
    return f"| {cell['model']} | {cell['width']} | {cell['D']} | {seconds} | {memory} |\n"


if __name__ == "__main__":
    main()
