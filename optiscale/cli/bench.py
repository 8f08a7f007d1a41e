"""`optiscale bench`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import typer

from optiscale.errors import UserError

MODELS = ("2B-TC", "2B-CGC", "3B-TC")


def run(
    *,
    cases: list[str],
    n: int,
    batch_size: int,
    precision: str,
    device: str,
    rattle: float,
    epochs: int,
    data: Path | None,
    out: Path,
    compile_first: int,
) -> None:
    """Measure, print the table, write the numbers."""
    chosen = [_case(text) for text in cases]
    import logging
    import warnings

    import torch

    from optiscale.bench.measure import compile_cases, measure
    from optiscale.bench.table import grid_hours, markdown
    from optiscale.dataset.source import cache_folder
    from optiscale.io import write_json
    from optiscale.sweep.grid import git_commit

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: this machine has no CUDA device that torch sees; take --device cpu")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    folder = data or cache_folder() / "bench"
    shared: dict[str, Any] = {"n": n, "batch_size": batch_size, "precision": precision, "rattle": rattle}
    if compile_first:
        compile_cases(folder, chosen, side_by_side=compile_first, **shared)

    def report(row: dict[str, Any]) -> None:
        ratio = row["fast_train"] / row["plain_train"]
        typer.echo(f"{row['model']} {row['width']}: {row['fast_train']:,.0f} crystals a second, {ratio:.1f} x plain")

    result = measure(folder, chosen, device=device, epochs=epochs, report=report, **shared)
    result |= {"machine": platform.platform(), "commit": git_commit()}
    result["grid_hours"] = {path: grid_hours(result, path=path) for path in ("fast", "plain")}
    write_json(out, result)
    typer.echo(f"\n{markdown(result)}\n")
    if result["grid_hours"]["fast"] is not None:
        hours = result["grid_hours"]
        typer.echo(f"the published 294-run grid: {hours['fast']:.1f} h, plain {hours['plain']:.0f} h")
    typer.echo(f"{out}")


def _case(text: str) -> tuple[str, int]:
    model, _, width = text.partition(":")
    if model not in MODELS or not width.isdigit():
        raise UserError(f"case: {text!r} is no network and width; write for example 2B-TC:256 ({', '.join(MODELS)})")
    return model, int(width)
