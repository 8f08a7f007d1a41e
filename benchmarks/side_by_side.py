"""Measure what several runs at once get out of one GPU.

    python benchmarks/side_by_side.py --case 2B-TC:64 --processes 1 --processes 2 --processes 4

Each run is a process of its own, as with `optiscale grid --workers`. Their rates are added over the time in which all
of them train. Adds to benchmarks/results/side_by_side.json.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from optiscale.bench.data import bench_dataset
from optiscale.graphs import GraphStore
from optiscale.io import read_json, write_json

RESULT = Path(__file__).parent / "results" / "side_by_side.json"
_PROGRAM = "import sys; sys.path.insert(0, {folder!r}); from side_by_side import train; train(*{parts!r})"


def train(folder: str, model: str, width: int, seconds: float, out: str) -> None:
    """Train for about `seconds` after the first epoch; write when each epoch began and ended."""
    import pytorch_lightning as pl

    from optiscale.bench.whole import bench_study
    from optiscale.config import Study
    from optiscale.dataset import OpticalDataset
    from optiscale.training import Cell
    from optiscale.training.assemble import RunOptions, assemble

    class Clock(pl.Callback):
        def __init__(self) -> None:
            self.epochs: list[tuple[float, float]] = []

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
            self.began = time.time()

        def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
            self.epochs.append((self.began, time.time()))  # the losses of a validation wait for the card
            trainer.should_stop = self.epochs[-1][1] - self.epochs[0][1] > seconds

    dataset = OpticalDataset(folder)
    content = bench_study(
        Path(folder), epochs=100_000, batch_size=256, precision="bf16-mixed", path="auto", device="cuda"
    )
    D = int(0.42 * len(dataset)) // 256 * 256
    clock = Clock()
    run = assemble(
        Study.model_validate(content),
        Cell(model, width, D, 1, 0),
        dataset,
        RunOptions(callbacks=(clock,), way="compiled"),
    )
    run.trainer.fit(run.module, datamodule=run.data)
    write_json(Path(out), {"epochs": clock.epochs, "D": D})


def side_by_side(folder: Path, model: str, width: int, processes: int, seconds: float) -> float:
    """Trained crystals a second of `processes` runs together, validation of every epoch included."""
    outs = [folder / f"side_{number}.json" for number in range(processes)]
    here = str(Path(__file__).parent)
    started = []
    for out in outs:
        program = _PROGRAM.format(folder=here, parts=(str(folder), model, width, seconds, str(out)))
        started.append(subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], stderr=subprocess.DEVNULL))
    if any(process.wait() for process in started):
        raise SystemExit(f"{model}:{width}: one of {processes} processes failed")
    found = [read_json(out) for out in outs]
    runs = [np.array(one["epochs"]) for one in found]
    begin, end = max(epochs[1, 0] for epochs in runs), min(epochs[-1, 1] for epochs in runs)
    if end <= begin:
        raise SystemExit(f"{model}:{width}: the runs did not overlap; raise --seconds")
    rate = 0.0
    for one, epochs in zip(found, runs, strict=True):
        overlap = np.clip(np.minimum(epochs[:, 1], end) - np.maximum(epochs[:, 0], begin), 0, None)
        rate += float(one["D"] * (overlap / (epochs[:, 1] - epochs[:, 0])).sum() / (end - begin))
    return rate


def main(
    case: Annotated[list[str], typer.Option(help="Network and width.")],
    processes: Annotated[list[int], typer.Option(help="How many at once.")],
    n: int = 40_000,
    seconds: float = 15.0,
    data: Path = Path("bench"),
    out: Path = RESULT,
) -> None:
    """Measure every case with every number of processes."""
    folder = data / f"{n}_0.0"
    GraphStore.open(bench_dataset(folder, n), cutoff=5.5, angle_cutoff=4.0)
    import torch

    rows: list[dict[str, Any]] = read_json(out)["rows"] if out.exists() else []
    mps = "CUDA_MPS_PIPE_DIRECTORY" in os.environ
    for text in case:
        model, _, width = text.partition(":")
        for number in processes:
            rate = side_by_side(folder, model, int(width), number, seconds)
            rows.append({"model": model, "width": int(width), "processes": number, "mps": mps, "rate": rate})
            typer.echo(f"{text}, {number} at once{', MPS' if mps else ''}: {rate:,.0f} crystals a second")
            write_json(out, {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "n": n, "rows": rows})


if __name__ == "__main__":
    typer.run(main)
