from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from optiscale.cli.app import app
from optiscale.cli.laws import plot
from optiscale.errors import UserError
from optiscale.laws import StudyFits


@pytest.fixture
def table(tmp_path: Path) -> Path:
    sizes = [100, 200, 400, 800, 1600, 3200]
    rows = [(d, 5000, s, (1e4 / d) ** 0.4 * (1 + 0.01 * s), 2 * (1e4 / d) ** 0.2) for d in sizes for s in (0, 1, 2)]
    path = tmp_path / "runs.csv"
    pd.DataFrame(rows, columns=["D", "N", "seed", "val_loss", "val_other"]).to_csv(path, index=False)
    return path


def fit(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["fit", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_fit_writes_the_choice_and_the_tables(table: Path):
    said = fit(table)
    assert "error at held-out larger sizes" in said
    assert "is it broken?" in said
    saved = StudyFits.load(table.parent / "fits.json")
    assert saved.protocol == "held-out"
    assert saved.series[0].choice.best == "power"
    assert saved.series[0].breaks.verdict.startswith("no break is needed")


def test_fit_takes_another_loss_and_the_published_protocol(table: Path):
    fit(table, "--loss", "val_other", "--out", table.parent / "other")
    value = json.loads((table.parent / "other" / "fits.json").read_text())
    assert value["loss"] == "val_other"
    assert value["series"][0]["fits"]["power"]["params"]["a"][0] == pytest.approx(0.2, abs=1e-6)
    fit(table, "--published", "--out", table.parent / "published")
    assert StudyFits.load(table.parent / "published" / "fits.json").protocol == "published"


def test_residuals_may_be_linear(table: Path):
    errors = {}
    for space in ("log", "linear"):
        fit(table, "--space", space, "--out", table.parent / space)
        value = json.loads((table.parent / space / "fits.json").read_text())
        errors[space] = value["series"][0]["fits"]["power"]["params"]["a"]
    assert errors["linear"][0] == pytest.approx(errors["log"][0], rel=0.02)
    assert errors["linear"] != errors["log"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weights", "best"], "choose one of pooled"),
        (["--space", "cubic"], "choose one of log, linear"),
        (["--reach", "1"], "must be above 1"),
        (["--loss", "nope"], "no column nope"),
        (["--by", "group"], "no column group to split by"),
    ],
)
def test_bad_options_are_one_line(table: Path, options: list[str], message: str):
    with pytest.raises(UserError, match=message) as caught:
        fit(table, *options)
    assert "\n" not in str(caught.value)


def test_a_torn_file_of_curves_beside_the_runs_is_one_line(table: Path):
    pd.read_csv(table).to_parquet(table.parent / "runs.parquet")
    (table.parent / "curves.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(UserError, match=r"curves\.parquet: not a readable parquet table"):
        plot([table.parent], published=False, out=None)
