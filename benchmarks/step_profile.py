"""Measure what a training step spends its time on, with the plain path and with ours.

    python benchmarks/step_profile.py --case 2B-TC:64 --case 3B-TC:64 [--device cuda]

Operations of a processor, or kernels of a GPU, are put into kinds by their names; what is left of a step's time the
processor (or the host) spends between them. Writes benchmarks/results/step_profile_cpu.json or _cuda.json;
`python benchmarks/speed_docs.py` puts them into the page.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch_geometric.loader import DataLoader

from optiscale.bench.data import bench_dataset
from optiscale.bench.plain import crystal_data, plain_step
from optiscale.bench.whole import bench_study
from optiscale.config import Study
from optiscale.graphs import GraphStore, MergedGraphs
from optiscale.graphs.merged import room
from optiscale.io import write_json
from optiscale.training import Cell, make_network, target_spec
from optiscale.training.captured import CapturedRun
from optiscale.training.host import HostRun

RESULTS = Path(__file__).parent / "results"
#: parts of the names, the first that fits; the rest is element by element
KINDS = {
    "our loops": ("_mlp", "_transformer", "_crystalnorm", "_gatherends", "_pool", "_adamw"),  # with their calls
    "attention": ("attend",),
    "optimizer": ("adam", "adamw", "fusedopti", "foreach_norm", "lpnorm", "clamp_copy_copy__div_lerp"),
    "matrix products": ("mm", "gemm", "nvjet", "cutlass", "cublas", "splitk"),
    "copies": ("copy_", "memcpy", "memset", "cat", "zero_", "fill"),
    "gathers": ("gather", "index_select", "take", "places", "aten::index"),
    "sums over rows": ("segment", "index_add", "scatter", "sum_at_ends", "sum", "mean", "red_fused", "per_fused"),
}
REST = "element by element"
_STEPS = 20


def main(
    case: Annotated[list[str], typer.Option(help="Network and width.")],
    device: str = "cpu",
    n: int = 2000,
    data: Path = Path("bench"),
) -> None:
    """Measure every case both ways."""
    torch.set_num_threads(1)
    card = device == "cuda"
    batch_size, precision = (256, "bf16-mixed") if card else (16, "32-true")
    dataset = bench_dataset(data / f"{n}_0.0", n)
    graphs = GraphStore.open(dataset, cutoff=5.5, angle_cutoff=4.0)
    content = bench_study(
        dataset.folder, epochs=4, batch_size=batch_size, precision=precision, path="auto", device=device
    )
    study = Study.model_validate(content)
    rows: list[dict[str, Any]] = []
    for text in case:
        model, _, width = text.partition(":")
        for path, stepper in (("plain", _plain), ("ours", _captured if card else _on_host)):
            torch.manual_seed(0)
            network = make_network(
                study, Cell(model, int(width), 2, 1, 0), target_spec(study.models[model], dataset.manifest)
            )
            step = stepper(network.to(device), graphs, batch_size, card)
            rows.append({"model": model, "width": int(width), "path": path, **_profiled(step, card=card)})
            typer.echo(str(rows[-1]))
    name = torch.cuda.get_device_name() if card else "cpu"
    found = {"device": name, "torch": torch.__version__, "batch_size": batch_size, "precision": precision, "rows": rows}
    write_json(RESULTS / f"step_profile_{device}.json", found)


def _plain(network: nn.Module, graphs: GraphStore, batch_size: int, card: bool) -> Callable[[], None]:
    angles = bool(network.needs_angles)
    crystals = [crystal_data(graphs, row, angles=angles) for row in range(4 * batch_size)]
    loader = DataLoader(crystals, batch_size=batch_size, shuffle=True)
    step = plain_step(network, torch.device("cuda" if card else "cpu"), lowered=card)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    return lambda: step(next(batches))


def _on_host(network: nn.Module, graphs: GraphStore, batch_size: int, card: bool) -> Callable[[], None]:  # noqa: ARG001
    merged = MergedGraphs(graphs, device=torch.device("cpu"), angles=bool(network.needs_angles))
    optimizer = HostRun.optimizer_of(network.parameters(), lr=1e-4, weight_decay=0.0)
    run = HostRun(network, merged, optimizer, clip=100.0, places=([0, 1], [0]))
    orders = _orders(len(graphs.dataset), batch_size)
    return lambda: run.step(torch.from_numpy(next(orders)), fitting=True)


def _captured(network: nn.Module, graphs: GraphStore, batch_size: int, card: bool) -> Callable[[], None]:  # noqa: ARG001
    device = torch.device("cuda")
    merged = MergedGraphs(graphs, device=device, angles=bool(network.needs_angles))
    optimizer = torch.optim.AdamW(network.parameters(), lr=torch.tensor(1e-4, device=device), capturable=True)
    shape = room(merged, np.arange(len(graphs.dataset)), batch_size)
    parts = {"precision": "bf16-mixed", "clip": 100.0, "places": ([0, 1], [0]), "batch_size": batch_size}
    run = CapturedRun(network, merged, optimizer, shape=shape, **parts)
    orders = _orders(len(graphs.dataset), batch_size)
    return lambda: run.step(torch.from_numpy(next(orders)).to(device), fitting=True)


def _orders(n: int, batch_size: int) -> Any:
    rng = np.random.default_rng(0)
    return (rng.permutation(n)[:batch_size] for _ in itertools.count())


def _profiled(step: Callable[[], None], *, card: bool) -> dict[str, Any]:
    """Milliseconds of a step, the number of its operations or kernels, and milliseconds of each kind of them."""
    for _ in range(6):  # compiling, capturing
        step()
    began = _now(card=card)
    for _ in range(_STEPS):
        step()
    whole = (_now(card=card) - began) / _STEPS * 1e3
    with profile(activities=[ProfilerActivity.CUDA if card else ProfilerActivity.CPU]) as found:
        for _ in range(_STEPS):
            step()
        _now(card=card)
    kinds = dict.fromkeys([*KINDS, REST], 0.0)
    number = 0
    for event in found.key_averages():
        spent = event.self_device_time_total if card else event.self_cpu_time_total
        if spent > 0 and (card or event.key.startswith(("aten::", "_"))):
            kinds[_kind(event.key)] += spent / _STEPS / 1e3
            number += event.count
    return {"step_ms": whole, "operations": number / _STEPS, "kinds_ms": kinds}


def _kind(name: str) -> str:
    lower = name.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), REST)


def _now(*, card: bool) -> float:
    if card:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


if __name__ == "__main__":
    typer.run(main)
