"""What kill -9 costs a sweep: workers, schedulers and whole programs killed at random times.

``python benchmarks/sweep_faults.py`` kills 20 times in small studies of six runs on two workers, lets each study end,
compares it with an undisturbed one and writes ``benchmarks/results/sweep_faults.json``: runs lost, runs that were
begun again, and the time beyond that of as many undisturbed studies. About ten minutes on two free cores. The table of
``docs/sweeps.md`` is written from that file; ``--document`` does only this.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from faults import Program, dask_cluster, faulty_study, study_file, survive, undisturbed
from pages import fill
from small import make_dataset

from optiscale.io import read_json, write_json

RESULT = Path(__file__).parent / "results" / "sweep_faults.json"
DOCUMENT = Path(__file__).parents[1] / "docs" / "sweeps.md"
MARKS = "<!-- benchmarks/sweep_faults.py -->\n", "<!-- end -->"
KILLS = {"worker": 8, "scheduler": 4, "program": 8}


def main() -> None:
    """Kill, count, write."""
    if sys.argv[1:] != ["--document"]:
        measure()
    document(read_json(RESULT))


def document(result: dict[str, Any]) -> None:
    """Write the table of the page."""
    columns = ("kills", "runs_lost", "runs_repeated", "seconds_wasted_a_kill")
    table = {kind: " | ".join(str(of[name]) for name in columns) for kind, of in result["of"].items()}
    rows = "".join(f"| {kind} | {cells} s |\n" for kind, cells in table.items())
    text = (
        f"`python benchmarks/sweep_faults.py` kills workers, schedulers and whole programs with SIGKILL at "
        "random times in\nstudies of six runs on two workers, lets each study end, and compares every record with that "
        f"of an undisturbed run.\nOn {result['cores']} cores (load {result['load']}):\n\n"
        "| killed | times | runs lost | runs begun again | time lost a kill |\n|---|---|---|---|---|\n"
        f"{rows}\n"
    )
    if result["load"] > result["cores"]:
        text += "The machine computed other things meanwhile, so that the times are rough; the counts are not.\n"
    fill(DOCUMENT, MARKS, text)


def measure() -> None:
    """Kill and count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = faulty_study(make_dataset(folder / "data").folder)
        whole = undisturbed(content, folder / "whole")
        rows = {}
        for kind, kills in KILLS.items():
            alone = seconds_undisturbed(kind, content, folder / f"alone-{kind}")
            rows[kind] = row(kind, kills, content, whole, folder, alone)
            print(kind, rows[kind], flush=True)
    totals = {key: sum(entry[key] for entry in rows.values()) for key in ("kills", "runs_lost", "runs_repeated")}
    machine = {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2)}
    write_json(RESULT, {**machine, **totals, "of": rows})


def seconds_undisturbed(kind: str, content: dict[str, object], folder: Path) -> float:
    """Wall time of the same study when nothing is killed, its processes' start included."""
    study, out = study_file(content, folder)
    begin = time.perf_counter()
    if kind == "scheduler":
        with dask_cluster(folder) as (address, _, _):
            ended = Program(study, out, "--executor", address).wait()
    else:
        ended = Program(study, out).wait()
    if ended != 0:
        raise SystemExit(f"the undisturbed study failed: {out.with_name('out.log').read_text()}")
    return time.perf_counter() - begin


def row(kind: str, kills: int, content: dict[str, object], whole: Path, folder: Path, alone: float) -> dict[str, Any]:
    """Kill, let the studies end, and count; a run that is lost or differs ends the benchmark with an error."""
    tally = survive(kind, kills, content, whole, folder, seed=1)
    wasted = sum(tally.seconds) - tally.studies * alone
    return {
        "kills": tally.kills,
        "studies": tally.studies,
        "runs_lost": tally.lost,
        "runs_repeated": tally.repeated,
        "seconds_a_study_undisturbed": round(alone, 1),
        "seconds_wasted_a_kill": round(wasted / tally.kills, 1),
    }


if __name__ == "__main__":
    main()
