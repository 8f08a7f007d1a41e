"""Whether two workers are twice as fast as one: the demo on each, its results compared row by row.

``python benchmarks/sweep_workers.py`` runs ``experiments/demo.yaml`` with one seed and a quarter of its steps on one
local worker and on two, and writes ``benchmarks/results/sweep_workers.json``; the line of ``docs/planning.md`` is
filled from that file, with ``--document`` alone, too. ``--steps N`` changes the length. About five minutes on two free
cores; on busy ones the ratio says nothing.
"""

from __future__ import annotations

import argparse
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

from optiscale.io import read_json, write_json

FOLDER = Path(__file__).parent
RESULT = FOLDER / "results" / "sweep_workers.json"
DOCUMENT = FOLDER.parent / "docs" / "planning.md"
MARKS = "<!-- benchmarks/sweep_workers.py -->\n", "<!-- end of workers -->"
STUDY = FOLDER.parent / "experiments" / "demo.yaml"
#: what may differ between two runs of a cell
PASSING = ["wall_s", "validation_s", "graphs_per_s", "peak_memory_mb", "at_once", "recorded_at", "git_commit"]


def main() -> None:
    """Run on one and on two, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150, help="Steps of each run (the demo: 600).")
    parser.add_argument("--document", action="store_true", help="Only fill the page.")
    options = parser.parse_args()
    if not options.document:
        with tempfile.TemporaryDirectory() as name:
            write_json(RESULT, measure(Path(name), options.steps))
    document(read_json(RESULT))


def measure(folder: Path, steps: int) -> dict[str, Any]:
    """Return the wall times of the runs and of the commands, and whether the rows are equal."""
    load = os.getloadavg()[0]
    spans, commands, tables = {}, {}, {}
    for workers in (1, 2):
        content = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
        content["training"]["length"] = {"steps": steps}
        for block in content["grid"]:
            block["seeds"] = block["seeds"][:1]
        path, out = folder / f"{workers}.yaml", folder / str(workers)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        command = [sys.executable, "-m", "optiscale.run", "grid", str(path), "--out", str(out)]
        command += ["--executor", "local", "--workers", str(workers)]
        subprocess.run([*command, "--budget", "0.001s"], check=True, capture_output=True)  # graphs
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        commands[workers] = time.perf_counter() - began
        spans[workers] = span(out)
        tables[workers] = pd.read_parquet(out / "runs.parquet").drop(columns=PASSING)
    pd.testing.assert_frame_equal(tables[1], tables[2])
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": round(load, 2),
        "steps": steps,
        "runs": len(tables[1]),
        "seconds": {str(workers): round(seconds, 1) for workers, seconds in spans.items()},
        "seconds_of_the_command": {str(workers): round(seconds, 1) for workers, seconds in commands.items()},
        "ratio": round(spans[1] / spans[2], 3),
    }


def span(out: Path) -> float:
    """Return the seconds from the beginning of the first run to the record of the last."""
    ends = {path: path.stat().st_mtime for path in (out / "cells").glob("*/record.json")}
    return max(ends.values()) - min(end - read_json(path)["wall_s"] for path, end in ends.items())


def document(result: dict[str, Any]) -> None:
    """Fill the line of the page."""
    seconds = result["seconds"]
    text = (
        f"\n`python benchmarks/sweep_workers.py` runs the demo with one seed and {result['steps']} steps "
        f"({result['runs']} runs) on one local worker and on two, with\n{result['cores']} cores: {seconds['1']:.0f} s "
        f"and {seconds['2']:.0f} s from the first run's begin to the last one's end. That is {result['ratio']:.2f} "
        "times as fast. "
        "The rows are equal,\ntimes and memory apart.\n"
    )
    if result["load"] > 0.5:
        text += f"The machine computed other things meanwhile (load {result['load']}), so that the ratio is rough.\n"
    fill(DOCUMENT, MARKS, text)


if __name__ == "__main__":
    main()
