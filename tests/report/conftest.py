"""A small study with known laws, a hostile name in every place that a file fills, and the page made from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from optiscale.laws import average_seeds, fit_study, get_law, read_losses
from optiscale.report import Evidence, read_evidence, render_page

HOSTILE = "</script><script>alert(1)</script>"
HOSTILE_MODEL = '<img src=x onerror="alert(2)">'
KAPLAN = (4.0, 2.8, 0.3, 0.1, 0.6)  # log10 Nc, log10 Dc, aN, a1, a2
D, N, SEEDS = (100, 200, 400, 800, 1600, 3200), (100_000, 300_000, 1_000_000), (1, 42)


def runs() -> pd.DataFrame:
    """Two networks that follow the Kaplan map, one on a grid, one over D alone, with 0.3 % noise; one run failed."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for model, sizes, shift in (("net", N, 1.0), (HOSTILE_MODEL, N[:1], 1.2)):
        for n in sizes:
            for d in D:
                for seed in SEEDS:
                    loss = shift * float(get_law("kaplan").function(n, d, *KAPLAN)) * np.exp(rng.normal(0, 0.003))
                    cell = f"{model}_W{n}_D{d}_s{seed}"
                    rows.append(
                        {"study": HOSTILE, "cell": cell, "model": model, "D": d, "N": n, "width": n // 1000}
                        | {"seed": seed, "val_loss": loss, "wall_s": 10.0, "status": "finished", "message": ""}
                        | {"device": "cpu, 1 threads", "versions": HOSTILE, "data_hash": "d4", "config_hash": cell}
                    )
    rows[-1] |= {"val_loss": np.nan, "status": "failed", "message": HOSTILE}
    return pd.DataFrame(rows)


def curves(table: pd.DataFrame, steps: int = 40) -> pd.DataFrame:
    """Losses that fall towards each run's own, the lowest in the middle."""
    parts = []
    for row in table[table["status"] == "finished"].itertuples():
        step = np.arange(1, steps + 1)
        val = row.val_loss * (1.0 + np.abs(step - steps // 2) / steps)
        part = pd.DataFrame({"epoch": step, "step": step, "train_loss": 0.5 * val, "val_loss": val})
        parts.append(part.assign(cell=row.cell, model=row.model, D=row.D, width=row.width))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder as `optiscale grid` leaves it."""
    made = tmp_path_factory.mktemp("report") / "results"
    made.mkdir()
    table = runs()
    table.to_parquet(made / "runs.parquet")
    curves(table).to_parquet(made / "curves.parquet")
    study = {"name": HOSTILE, "description": f"A study {HOSTILE}", "grid": [{"model": HOSTILE_MODEL}]}
    (made / "resolved.yaml").write_text(json.dumps(study))
    fit_study(average_seeds(read_losses(made / "runs.parquet"))).save(made / "fits.json")
    return made


@pytest.fixture(scope="session")
def evidence(folder: Path) -> Evidence:
    return read_evidence(folder)


@pytest.fixture(scope="session")
def page(evidence: Evidence) -> str:
    return render_page(evidence)


@dataclass
class Node:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Reader(HTMLParser):
    """Elements of a page in order, each with the text right inside it."""

    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[Node] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.nodes.append(node)
        if tag not in {"meta", "link", "input", "br", "img"}:
            self.open.append(node)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop().tag != tag:
            pass

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.text += data

    def all(self, *tags: str) -> Iterator[Node]:
        return (node for node in self.nodes if node.tag in tags)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def figures(page: str) -> dict[str, Any]:
    (data,) = (node for node in read(page).all("script") if node.attributes.get("type") == "application/json")
    value: dict[str, Any] = json.loads(data.text)["figures"]
    return value
