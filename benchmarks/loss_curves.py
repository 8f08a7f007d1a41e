"""Whether the fast path learns as torch_geometric's layers do: losses over 200 steps, beside the noise of seeds.

    python benchmarks/loss_curves.py [--device cuda] [--way resident] [--networks 2B-TC] [--seeds 1 2 3 4 5 6 7 8]

Trains each network on the embedded shelf with `path: plain`, with `path: auto` (or the way that --way names) from the
same weights through the same batches, and with `path: plain` from weights changed in their last digit. Keeps the curves
in benchmarks/results/loss_curves_<device>.json, draws them into docs/fast-path/ and fills the tables of
docs/fast-path.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from cache import machine
from pages import fill

from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.dataset.source import open_source
from optiscale.figures.style import BLACK, BLUE, ORANGE, TWO_COLUMNS, new_figure, paper_style, save_figure
from optiscale.io import read_json, write_json
from optiscale.training import Cell, RunOptions, run_cell
from optiscale.training.assemble import Way, assemble
from optiscale.training.resident import ResidentModule

RESULTS = Path(__file__).parent / "results"
DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "fast-path.md"
MARKS = "<!-- benchmarks/loss_curves.py -->\n", "<!-- end of loss_curves -->"
NETWORKS = {"2B-TC": ("OptiMetal2B", "TC"), "2B-CGC": ("OptiMetal2B", "CGC"), "3B-TC": ("OptiMetal3B", "TC")}
PATHS = ("plain", "auto", "nudged")
_SHOWN = 3  # seeds in the picture
NUDGE = 2.0**-23  # float32's last digit
LOSSES = ("train_loss", "val_loss")


#: of the lines: path, label, look
STYLES: list[tuple[str, str, dict[str, Any]]] = [
    ("plain", "plain", {"color": ORANGE, "lw": 2.2}),
    ("nudged", "plain, nudged", {"color": BLACK, "lw": 0.7, "ls": (0, (2, 1.5))}),
    ("auto", "ours", {"color": BLUE, "lw": 0.9}),
]


def study_of(path: str, *, device: str, steps: int) -> Study:
    """Return a study of the three networks on the shelf, at the rates of the demo."""
    models = {
        name: {
            "network": {"type": kind, "message": message},
            "optimizer": {"lr": 7e-3, "weight_decay": 1e-6, "lr_rule": "constant"},
        }
        for name, (kind, message) in NETWORKS.items()
    }
    return parse_study(
        {
            "name": "loss-curves",
            "data": {"source": "dft-shelf", "split": {"train": 0.7, "validation": 0.2, "test": 0.1, "seed": 0}},
            "training": {
                "length": {"steps": steps},
                "batch_size": 16,
                "schedule": {"warmup": 10},
                "precision": "32-true" if device == "cpu" else "bf16-mixed",
                "validate_every": {"steps": 10},
                "device": device,
                "path": path,
            },
            "models": models,
            "grid": [{"model": name, "widths": [16], "data_sizes": [256], "seeds": [1]} for name in NETWORKS],
        }
    )


class Nudge(pl.Callback):
    """Changes the weights in their last digit before the first step, as another order of sums would soon do."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Change them."""
        with torch.no_grad():
            for weight in pl_module.parameters():
                weight.mul_(1 + NUDGE * torch.randint_like(weight, -1, 2))


def way_name(study: Study, cell: Cell, dataset: OpticalDataset, way: Way | None) -> str:
    """Say how a path is computed here."""
    run = assemble(study, cell, dataset, RunOptions(way=way))
    if isinstance(run.module, ResidentModule):
        return "compiled" if run.module.compile_ else "resident"
    return "plain"


def train(study: Study, cell: Cell, dataset: OpticalDataset, options: RunOptions) -> dict[str, list[float]]:
    """Train and return the curve."""
    with tempfile.TemporaryDirectory() as folder:
        record = run_cell(study, cell, dataset, Path(folder), options)
        if record["status"] != "finished":
            raise SystemExit(f"{cell.id}: {record['status']}: {record['message']}")
        curve = pd.read_parquet(Path(folder) / "curve.parquet")
    return {name: curve[name].tolist() for name in ("step", *LOSSES)}


def compare(curves: dict[str, list[dict[str, list[float]]]]) -> dict[str, dict[str, Any]]:
    """Measure how far each path is from the plain one at one seed, and two seeds of the plain path from each other.

    Root mean squares over validations and seeds; that of two seeds is their standard deviation times the root of 2.
    """
    result: dict[str, dict[str, Any]] = {}
    for loss in LOSSES:
        values = {path: np.array([run[loss] for run in curves[path]]) for path in PATHS}  # (seeds, validations)
        plain = values["plain"]
        result[loss] = {
            **{f"last_{path}": float(values[path][:, -1].mean()) for path in PATHS},
            **{f"apart_{path}": float(np.sqrt(((values[path] - plain) ** 2).mean())) for path in PATHS[1:]},
            "apart_seeds": float(np.sqrt(2 * plain.var(axis=0, ddof=1).mean())),
            **{f"more_{path}": _mean(values[path][:, -1] - plain[:, -1]) for path in PATHS[1:]},
        }
    return result


def _mean(values: np.ndarray) -> list[float]:
    """Return mean and standard error."""
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Train everything."""
    dataset = open_source("dft-shelf")
    networks = {}
    for name in options.networks:
        curves: dict[str, list[dict[str, list[float]]]] = {path: [] for path in PATHS}
        ways = {}
        for path in PATHS:
            study = study_of("auto" if path == "auto" else "plain", device=options.device, steps=options.steps)
            way = cast(Way, options.way) if options.way and path == "auto" else None
            ways[path] = way_name(study, Cell(name, 16, 256, 1, 0), dataset, way)
            extras = RunOptions(threads=1, way=way, callbacks=[Nudge()] if path == "nudged" else [])
            for seed in options.seeds:
                curves[path].append(train(study, Cell(name, 16, 256, seed, 0), dataset, extras))
        if ways["auto"] == ways["plain"]:
            raise SystemExit(f"{name}: both paths are computed the {ways['plain']} way here; name another with --way")
        networks[name] = {"ways": ways, "seeds": options.seeds, "compared": compare(curves), "curves": curves}
        print(name, ways, networks[name]["compared"], flush=True)
    return {
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
        "machine": machine(),
        "torch": torch.__version__,
        "precision": "32-true" if options.device == "cpu" else "bf16-mixed",
        "steps": options.steps,
        "networks": networks,
    }


def draw(content: dict[str, Any], name: str) -> None:
    """Draw every run: training above, validation below."""
    with paper_style():
        fig = new_figure(width=TWO_COLUMNS, height=3.8)
        grid = fig.subplots(len(LOSSES), len(NETWORKS), sharex=True, sharey="row", squeeze=False)
        for column, (network, found) in enumerate(content["networks"].items()):
            grid[0, column].set_title(f"{network} ({found['ways']['auto']})")
            grid[-1, column].set_xlabel("step")
            for row, loss in enumerate(LOSSES):
                axes = grid[row, column]
                for path, label, style in STYLES:
                    for number, run in enumerate(found["curves"][path][:_SHOWN]):
                        axes.plot(run["step"], run[loss], label=None if number else label, **style)
        for row, label in enumerate(("training loss", "validation loss")):
            grid[row, 0].set_ylabel(label)
        grid[0, -1].legend(title="each line a seed")
        save_figure(fig, DOCS / "fast-path", name)


def document() -> None:
    """Write the tables of all devices measured between the marks of the page."""
    lines = []
    for path in sorted(RESULTS.glob("loss_curves_*.json")):
        content = read_json(path)
        lines += [
            "",
            f"{content['device']}, {content['precision']}, torch {content['torch']}, {content['steps']} steps "
            f"([{path.name}](../benchmarks/results/{path.name})):",
            "",
            "| network | way | seeds | loss | plain to ours | plain to nudged | seed to seed | last: plain | ours more "
            "| nudged more |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for name, found in content["networks"].items():
            for loss, label in zip(LOSSES, ("training", "validation"), strict=True):
                one = found["compared"][loss]
                numbers = [f"{one[f'apart_{other}']:.3f}" for other in ("auto", "nudged", "seeds")]
                ends = ["{:+.3f} ± {:.3f}".format(*one[f"more_{path}"]) for path in PATHS[1:]]
                cells = [
                    name,
                    found["ways"]["auto"],
                    str(len(found["seeds"])),
                    label,
                    *numbers,
                    f"{one['last_plain']:.3f}",
                    *ends,
                ]
                lines.append(f"| {' | '.join(cells)} |")
        lines += ["", f"![Losses of both paths](fast-path/{path.stem}.png)", ""]
    fill(PAGE, MARKS, "\n".join(lines) + "\n")


def main() -> None:
    """Measure, keep, draw, fill the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument(
        "--way", choices=("resident", "compiled"), help="how `path: auto` is computed; else as it chooses"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6, 7, 8])
    parser.add_argument(
        "--networks", nargs="+", choices=tuple(NETWORKS), default=list(NETWORKS), help="others are kept"
    )
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--docs", action="store_true", help="only draw and fill the page from the results")
    options = parser.parse_args()
    if not options.docs:
        path = RESULTS / f"loss_curves_{options.device}.json"
        before = read_json(path)["networks"] if path.exists() else {}
        content = measure(options)
        content["networks"] = {**before, **content["networks"]}
        write_json(path, content)
    for path in RESULTS.glob("loss_curves_*.json"):
        draw(read_json(path), path.stem)
    document()


if __name__ == "__main__":
    main()
