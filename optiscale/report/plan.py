"""What was planned, what came of it, what it cost, and where it is from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from optiscale.figures.style import short_number
from optiscale.report.study import Evidence, unique
from optiscale.report.tables import Cell, Table, cell

FINISHED = "finished"
UNKNOWN = "not known: the table does not tell"
_MOST_VALUES = 6
_VERSIONS = ("versions", "device", "git_commit", "data_hash", "config_hash", "validate_every", "lr")
_WORDS = {
    "versions": "versions",
    "device": "devices",
    "git_commit": "commit of OptiScale",
    "data_hash": "hash of the data set",
    "config_hash": "hashes of the cells' configurations",
    "validate_every": "validated every",
    "lr": "learning rates",
}


@dataclass(frozen=True)
class Fact:
    """One line of provenance or of the question."""

    name: str
    value: str


def question(evidence: Evidence) -> list[Fact]:
    """Say what was varied: networks, ranges of D and N, widths, seeds, and which loss was fitted."""
    losses = evidence.losses
    facts = [Fact("Networks", ", ".join(unique(losses, "model")))]
    facts += [Fact("Data size D", _range(losses["D"])), Fact("Parameters N", _range(losses["N"]))]
    if evidence.has_runs:
        seeds = sorted(losses["seed"].unique())
        facts.append(Fact("Seeds", _several([str(seed) for seed in seeds])))
    elif "n_seeds" in losses.columns:
        facts.append(Fact("Seeds", f"{_several(unique(losses, 'n_seeds'))} a point (averaged elsewhere)"))
    else:
        facts.append(Fact("Seeds", "not known: the table is averaged"))
    facts.append(Fact("Loss", "L_val (val_loss)" if evidence.fits.loss == "val_loss" else evidence.fits.loss))
    return facts


def sentence(evidence: Evidence) -> str:
    """Put the question of the study in words."""
    losses = evidence.losses
    over = [
        words
        for words, varied in (
            ("the number of training materials D", len(set(losses["D"])) > 1),
            ("the number of parameters N", len(set(losses["N"])) > 1),
        )
        if varied
    ]
    networks = unique(losses, "model")
    who = networks[0] if len(networks) == 1 else f"{len(networks)} networks"
    if not over:
        return f"What loss does {who} reach?"
    return f"How does the validation loss of {who} fall with {' and with '.join(over)}, and what would more of it buy?"


def _range(values: pd.Series) -> str:
    sizes = sorted({float(value) for value in values})
    if len(sizes) == 1:
        return short_number(sizes[0])
    if len(sizes) <= _MOST_VALUES + 2:
        return ", ".join(short_number(size) for size in sizes)
    return f"{short_number(sizes[0])} to {short_number(sizes[-1])}, {len(sizes)} sizes"


def _several(values: Sequence[str]) -> str:
    if len(values) <= _MOST_VALUES:
        return ", ".join(values)
    return f"{', '.join(values[:_MOST_VALUES])} and {len(values) - _MOST_VALUES} more"


def plan_facts(evidence: Evidence) -> list[Fact]:
    """Cells, what came of them, and their cost."""
    rows = evidence.rows
    if not evidence.has_runs:
        return [
            Fact("Points", f"{len(rows):,}, averaged over seeds elsewhere"),
            Fact("Runs, failures, cost", UNKNOWN),
        ]
    facts = [Fact("Runs", f"{len(rows):,}")]
    if "status" in rows.columns:
        done = int((rows["status"] == FINISHED).sum())
        others = rows.loc[rows["status"] != FINISHED, "status"].astype(str).value_counts().to_dict()
        words = ", ".join(f"{count} {status}" for status, count in others.items()) or "none failed"
        facts.append(Fact("Finished", f"{done:,} ({words})"))
    else:
        facts.append(Fact("Failures", UNKNOWN))
    if "wall_s" in rows.columns and rows["wall_s"].notna().any():
        total = float(rows["wall_s"].sum())
        facts.append(
            Fact("Cost", f"{duration(total)} of runs, each on {_several(unique(rows, 'device')) or 'a device'}")
        )
    else:
        facts.append(Fact("Cost", UNKNOWN))
    if "recorded_at" in rows.columns and rows["recorded_at"].notna().any():
        times = pd.to_datetime(rows["recorded_at"], utc=True, format="ISO8601")
        facts.append(Fact("Recorded", f"{_minute(times.min())} to {_minute(times.max())} UTC"))
    return facts


def _minute(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%d %H:%M")


def duration(seconds: float) -> str:
    """Time in words, with the unit that suits."""
    for limit, unit, size in ((90, "s", 1), (5400, "minutes", 60), (2 * 86400, "hours", 3600)):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"


def plan_table(evidence: Evidence) -> Table:
    """Make a row a network and size N: its data sizes, seeds, runs, failures and cost."""
    rows = evidence.rows
    keys = [name for name in ("study", "model", "message_passing", "width", "N") if name in rows.columns]
    keys = [name for name in keys if name == "N" or len(rows[name].drop_duplicates()) > 1 or name == "model"]
    table = []
    has = set(rows.columns)
    for _, part in rows.groupby(keys, sort=True, dropna=False):
        done = int((part["status"] == FINISHED).sum()) if "status" in has else None
        line = [_key(part[name].iloc[0]) for name in keys]
        line += [Cell(_range(part["D"])), cell(len(part)), cell(done)]
        line.append(cell(None if done is None else len(part) - done))
        line.append(cell(float(part["wall_s"].sum())) if "wall_s" in has else cell(None))
        table.append(line)
    names = {"model": "network", "message_passing": "messages"}
    counted = "runs" if evidence.has_runs else "points"
    columns = [*(names.get(name, name) for name in keys), "D", counted, "finished", "not finished", "wall / s"]
    return Table(caption="Plan: what was run", columns=columns, rows=table, folded=len(table) > 12)


def _key(value: object) -> Cell:
    return cell(int(value)) if isinstance(value, float) and value.is_integer() else cell(value)


def provenance(evidence: Evidence) -> list[Fact]:
    """Hashes, versions, devices: what is needed to get the same numbers again."""
    facts = [Fact("losses", evidence.source.name), Fact("SHA-256 of the losses", evidence.source_hash)]
    for column in _VERSIONS:
        values = unique(evidence.rows, column)
        if values:
            facts.append(Fact(_WORDS[column], _several(values)))
        elif column in {"versions", "device", "data_hash"}:
            facts.append(Fact(_WORDS[column], UNKNOWN))
    facts.append(Fact("study file", "resolved.yaml, below" if evidence.resolved is not None else UNKNOWN))
    return facts
