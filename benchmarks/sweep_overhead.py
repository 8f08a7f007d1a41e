"""What a sweep costs beside its runs: time and memory of a study of 10,000 runs, time around runs of ten seconds.

``python benchmarks/sweep_overhead.py`` plans, runs, merges and reads back a study of 10,000 trivial runs (forests of
one to five trees of four leaves, fitted to at most 20 materials), then runs small networks for about ten seconds each
in one process and on two workers. It writes ``benchmarks/results/sweep_overhead.json``, from which the tables of
``docs/planning.md`` are filled; ``--document`` does only this, and ``--many`` leaves the small networks as they were
measured before. About a quarter of an hour on two free cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import psutil
import yaml
from pages import fill
from small import make_dataset, study_content

from optiscale.io import read_json, write_json

RESULT = Path(__file__).parent / "results" / "sweep_overhead.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "planning.md"
MARKS = "<!-- benchmarks/sweep_overhead.py -->\n", "<!-- end of overhead -->"
SIZES, TREES, SEEDS = list(range(2, 21, 2)), [1, 2, 3, 4, 5], 200
RUN_S = 10.0
LONG_RUNS = 8
SHORT_RUNS = 200


def main() -> None:
    """Run, measure, write."""
    if sys.argv[1:] != ["--document"]:
        only_many = sys.argv[1:] == ["--many"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = make_dataset(folder / "data", 60).folder
            many = ten_thousand(source, folder / "many", SEEDS)
            print(many, flush=True)
            many["load"] = round(os.getloadavg()[0], 2)
            if only_many:
                around = read_json(RESULT)["around"]
            else:
                places = (("inline", 1), ("local", 2))
                around = {name: rows_around(source, folder / name, workers) for name, workers in places}
                around["load"] = round(os.getloadavg()[0], 2)
        write_json(RESULT, {"cores": len(os.sched_getaffinity(0)), "many": many, "around": around})
    document(read_json(RESULT))


class Command:
    """An ``optiscale`` command in a process of its own, with its time and the peak of its memory."""

    def __init__(self, *arguments: object) -> None:
        self.peak = {"rss": 0.0, "pss": 0.0}
        self.history: list[tuple[float, float]] = []  # clock and MiB
        self.cpu = 0.0
        began = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "optiscale.run", *map(str, arguments)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=RESULT.parents[2]
        )
        watcher = threading.Thread(target=self._watch, args=(psutil.Process(process.pid),))
        watcher.start()
        self.said, self.complained = process.communicate()
        watcher.join()
        self.seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{' '.join(command)}: {self.complained}")

    def _watch(self, process: psutil.Process) -> None:
        try:
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                memory = process.memory_full_info()
                self.cpu = sum(process.cpu_times()[:2])
                for kind in self.peak:
                    self.peak[kind] = max(self.peak[kind], getattr(memory, kind) / 2**20)
                self.history.append((time.time(), memory.rss / 2**20))
                time.sleep(0.25)
        except psutil.NoSuchProcess:
            return

    def row(self) -> dict[str, float]:
        """Return seconds and MiB."""
        return {
            "seconds": round(self.seconds, 1),
            "cpu_s": round(self.cpu, 1),
            "rss_mib": round(self.peak["rss"]),
            "pss_mib": round(self.peak["pss"]),
        }


def ten_thousand(source: Path, folder: Path, seeds: int) -> dict[str, Any]:
    """Plan, run, merge and read back a study of trivial runs; a part of it comes from a second folder."""
    folder.mkdir()
    one, two = (folder / f"{name}.yaml" for name in ("one", "two"))
    one.write_text(yaml.safe_dump(trivial(source, list(range(seeds)))))
    two.write_text(yaml.safe_dump(trivial(source, [seeds])))
    parts = {
        "plan": Command("grid", one, "--dry-run", "--out", folder / "one"),
        "run": Command("grid", one, "--out", folder / "one"),
        "plan again": Command("grid", one, "--dry-run", "--out", folder / "one"),
        "nothing to do": Command("grid", one, "--out", folder / "one"),
    }
    Command("grid", two, "--out", folder / "two")
    parts["merge"] = Command("merge", folder / "one", folder / "two", "--out", folder / "joined")
    parts["status"] = Command("status", folder / "joined")
    parts["fit"] = Command("fit", folder / "joined", "--out", folder / "fits")
    records = [read_json(path) for path in (folder / "one" / "cells").glob("*/record.json")]
    merged = (folder / "one" / "runs.parquet").stat().st_mtime
    cells = len(TREES) * len(SIZES) * seeds
    if len(records) != cells or {record["status"] for record in records} != {"finished"}:
        raise SystemExit(f"{len(records)} of {cells} runs have a record, or not all have finished")
    if f"{cells + len(TREES) * len(SIZES)} runs" not in parts["merge"].said:
        raise SystemExit(f"merge: {parts['merge'].said}")
    return {
        "cells": cells,
        "of": {name: part.row() for name, part in parts.items()},
        "seconds_in_runs": round(sum(record["wall_s"] for record in records), 1),
        "around_a_run": round(statistics.median(gaps(folder / "one", workers=1)), 4),
        "rss_mib_until_merged": round(max(mib for when, mib in parts["run"].history if when <= merged)),
    }


def trivial(source: Path, seeds: list[int]) -> dict[str, object]:
    """Return a study of forests that are fitted in milliseconds."""
    content = study_content(source)
    content["models"] = {"forest": {"baseline": {"type": "magpie-forest", "leaves": 4}}}
    content["grid"] = [{"model": "forest", "trees": TREES, "data_sizes": SIZES, "seeds": seeds}]
    return content


def rows_around(source: Path, folder: Path, workers: int) -> dict[str, Any]:
    """Run networks for ten seconds each, and for a moment each, and return what is around them."""
    folder.mkdir()
    pilot = network_study(source, folder / "pilot.yaml", steps=300, seeds=1, workers=1)
    Command("grid", pilot, "--out", folder / "pilot")
    step = read_json(next((folder / "pilot" / "cells").glob("*/record.json")))["wall_s"] / 300
    found = {}
    for name, runs, steps in (("long", LONG_RUNS, round(RUN_S / step)), ("short", SHORT_RUNS, 2)):
        study = network_study(source, folder / f"{name}.yaml", steps=steps, seeds=runs, workers=workers)
        command = Command("grid", study, "--out", folder / name)
        records = [read_json(path) for path in (folder / name / "cells").glob("*/record.json")]
        around = gaps(folder / name, workers=workers)
        run_s = statistics.mean(record["wall_s"] for record in records)
        found[name] = {
            "runs": len(records),
            "seconds_a_run": round(run_s, 2),
            "around_a_run": round(statistics.mean(around), 3),
            "share": round(statistics.mean(around) / run_s, 4),
            "program_cpu_share": round(command.cpu / command.seconds, 3) if workers > 1 else None,
        }
        print(workers, name, found[name], flush=True)
    return found


def network_study(source: Path, path: Path, *, steps: int, seeds: int, workers: int) -> Path:
    """Write a study of one small network."""
    content = study_content(source, sweep={"workers": workers, "threads": 1})
    content["grid"] = [{"model": "2B", "widths": [8], "data_sizes": [8], "seeds": list(range(seeds))}]
    length = {"length": {"steps": steps}, "validate_every": {"steps": max(1, steps // 10)}, "schedule": {"warmup": 1}}
    content["training"] = {**content["training"], **length}  # type: ignore[dict-item]
    path.write_text(yaml.safe_dump(content))
    return path


def gaps(out: Path, *, workers: int) -> list[float]:
    """Return the seconds of each run beside the `wall_s` of its record: from one record to the next on a worker.

    Of several workers the records are dealt out in the order of their times: the runs are equally long.
    """
    paths = sorted((out / "cells").glob("*/record.json"), key=lambda path: path.stat().st_mtime_ns)
    ends = [(path.stat().st_mtime_ns / 1e9, read_json(path)["wall_s"]) for path in paths]
    if workers == 1:
        return [now - before - wall for (before, _), (now, wall) in pairwise(ends)]
    first, last = ends[:workers], ends[-workers:]
    busy = sum(end for end, _ in last) - sum(end for end, _ in first)
    return [(busy - sum(wall for _, wall in ends[workers:])) / (len(ends) - workers)]


def document(result: dict[str, Any]) -> None:
    """Fill the tables of the page."""
    many, around = result["many"], result["around"]
    rows = "".join(
        f"| {name} | {part['seconds']:.1f} s | {part['cpu_s']:.1f} s | {part['rss_mib']:,} MiB | "
        f"{part['pss_mib']:,} MiB |\n"
        for name, part in many["of"].items()
    )
    runs = "".join(
        f"| {where}, {kind['runs']} runs of {kind['seconds_a_run']:.2g} s | {kind['around_a_run']:.3f} s | "
        f"{kind['share']:.1%} |\n"
        for where, kinds in (("one process", around["inline"]), ("two workers", around["local"]))
        for kind in kinds.values()
    )
    text = (
        f"\n`python benchmarks/sweep_overhead.py` runs {many['cells']:,} forests of one to five trees in one process\n"
        f"({many['seconds_in_runs']:,.0f} s in the runs themselves, {1000 * many['around_a_run']:.0f} ms around each), "
        f"on {result['cores']} cores (load {many['load']}; the time of a processor\nknows little of other programs). "
        "The memory is the peak of the process with the libraries that it shares with others,\nand with its share of "
        f"them. Until the runs are done and merged it is {many['rss_mib_until_merged']} MiB; the rest is fits, figures "
        f"and the page.\n\n| | time | of a processor | memory | with its share |\n|---|---|---|---|---|\n{rows}\n"
        f"Around the training of small networks (load {around['load']}):\n\n"
        f"| | beside each run | of its time |\n|---|---|---|\n{runs}\n"
    )
    if max(many["load"], around["load"]) > result["cores"]:
        text += "The machine computed other things meanwhile, so that the times are rough.\n"
    fill(DOCUMENT, MARKS, text)


if __name__ == "__main__":
    main()
