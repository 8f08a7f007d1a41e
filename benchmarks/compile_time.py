"""Measure what compiling a step costs on a GPU, and after how many steps it has paid.

    python benchmarks/compile_time.py --case 2B-TC:64 --case 3B-TC:64

Each run is a program of its own: with an empty cache of the compiler, again with the cache that the first has left, and
without the compiler (the step is captured as it is). Writes benchmarks/results/compile_time.json; `optiscale` compiles
from `optiscale.training.assemble.COMPILED_FROM` steps on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from optiscale.bench.data import bench_dataset
from optiscale.graphs import GraphStore
from optiscale.io import read_json, write_json

RESULT = Path(__file__).parent / "results" / "compile_time.json"
_PROGRAM = "import sys; sys.path.insert(0, {folder!r}); from compile_time import train; train(*{parts!r})"
_BATCH = 256
_EPOCHS = 8


def train(folder: str, model: str, width: int, way: Any, out: str) -> None:
    """Train one cell one way; write the seconds of its first epoch and of a step after that."""
    from optiscale.bench.whole import bench_study, whole_run
    from optiscale.config import Study
    from optiscale.dataset import OpticalDataset
    from optiscale.training import Cell

    dataset = OpticalDataset(folder)
    content = bench_study(
        Path(folder), epochs=_EPOCHS, batch_size=_BATCH, precision="bf16-mixed", path="auto", device="cuda"
    )
    D = int(0.42 * len(dataset)) // _BATCH * _BATCH
    run = whole_run(Study.model_validate(content), Cell(model, width, D, 1, 0), dataset, way=way)
    write_json(Path(out), {"first_s": run.first_s, "step_s": _BATCH / run.rates.train, "steps_an_epoch": D // _BATCH})


def _measured(folder: Path, model: str, width: int, way: str, cache: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "times.json"
        program = _PROGRAM.format(folder=str(Path(__file__).parent), parts=(str(folder), model, width, way, str(out)))
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton"}
        subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, env=environment)
        found: dict[str, float] = read_json(out)
    return found


def main(
    case: Annotated[list[str], typer.Option(help="Network and width.")],
    n: int = 8000,
    data: Path = Path("bench"),
    out: Path = RESULT,
) -> None:
    """Measure every case."""
    folder = data / f"{n}_0.0"
    GraphStore.open(bench_dataset(folder, n), cutoff=5.5, angle_cutoff=4.0)
    import torch

    rows = []
    for text in case:
        model, _, width = text.partition(":")
        with tempfile.TemporaryDirectory() as cache:
            captured, cold, warm = (
                _measured(folder, model, int(width), way, cache) for way in ("resident", "compiled", "compiled")
            )
        gain = captured["step_s"] - cold["step_s"]
        row = {
            "model": model,
            "width": int(width),
            "captured_step_s": captured["step_s"],
            "compiled_step_s": cold["step_s"],
            "cold_s": cold["first_s"] - captured["first_s"],
            "warm_s": warm["first_s"] - captured["first_s"],
        }
        row |= {f"pays_after_{kind}": row[f"{kind}_s"] / gain for kind in ("cold", "warm")}
        rows.append(row)
        typer.echo(
            f"{text}: a step {captured['step_s'] * 1e3:.2f} ms, compiled {cold['step_s'] * 1e3:.2f}; compiling "
            f"{row['cold_s']:.0f} s, from the cache {row['warm_s']:.0f} s: paid after {row['pays_after_cold']:,.0f} "
            f"and {row['pays_after_warm']:,.0f} steps"
        )
        write_json(out, {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "n": n, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
