from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from advice.tables import FLOOR, LINE_D, MAP, runs
from optiscale.cli.app import app
from optiscale.errors import UserError

SIZES_D, SIZES_N = [2_500, 10_000, 40_000, 160_000], [200_000, 2_000_000, 20_000_000]


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    table = runs("chinchilla", MAP, D=SIZES_D, N=SIZES_N, wall=lambda n, d: 5 + 1e-9 * n * d)
    table["val_eps_loss"] = 0.5 * table["val_loss"]
    return written(table, tmp_path / "runs.csv")


@pytest.fixture
def line(tmp_path: Path) -> Path:
    table = runs("floor", FLOOR, D=LINE_D, N=[5_000_000], relative=1e-3)
    return written(table, tmp_path / "line.csv")


def written(table: pd.DataFrame, path: Path) -> Path:
    table.to_csv(path, index=False)
    return path


def said(*arguments: object) -> str:
    done = CliRunner().invoke(app, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_forecast_prints_and_writes_its_tables(line: Path):
    words = said("forecast", line, "--data", 512_000, "--data", 25_600_000, "--target", 0.2)
    assert "| loss | mean law, 90 % | new run, 90 % |" in words
    assert "unreachable: the floor is 0." in words
    assert "10,000 more materials lower it by" in words
    assert "100 times (2.0 decades) beyond the data" in words
    folder = line.parent / "forecast"
    losses = pd.read_csv(folder / "losses.csv")
    assert losses["D"].tolist() == [512_000, 25_600_000]
    assert (losses["low"] < losses["loss"]).all()
    assert pd.read_csv(folder / "targets.csv")["size"].isna().all()
    assert len(pd.read_csv(folder / "gains.csv")) == 3


def test_forecast_of_another_loss(grid: Path, tmp_path: Path):
    said("forecast", grid, "--data", 320_000, "--params", 2_000_000, "--out", tmp_path / "total")
    said(
        "forecast", grid, "--data", 320_000, "--params", 2_000_000, "--loss", "val_eps_loss", "--out", tmp_path / "eps"
    )
    total, eps = (pd.read_csv(tmp_path / name / "losses.csv")["loss"][0] for name in ("total", "eps"))
    assert eps == pytest.approx(0.5 * total, rel=1e-3)


def test_frontier_takes_the_wall_time_and_draws(grid: Path):
    words = said("frontier", grid, "--budget", 100)
    assert "budget (s)" in words
    assert "**100**" in words
    assert "wall_s of 36 runs" in words
    folder = grid.parent / "frontier"
    assert 100 in pd.read_csv(folder / "frontier.csv")["budget"].tolist()
    assert (folder / "frontier_net.png").exists()
    assert (folder / "frontier_net.pdf").exists()


def test_next_names_cells_and_seeds_within_the_budget(grid: Path):
    words = said("next", grid, "--budget", 5000, "--answer", "loss@640000,20000000", "--data", 320_000)
    assert "expected after these runs" in words
    table = pd.read_csv(grid.parent / "next" / "next.csv")
    assert table["cost"].sum() <= 5000
    assert {*table["D"]} <= {*SIZES_D, 320_000}
    assert {*table["seed"]} <= {1, 2, 3}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forecast"], "ask for a size"),
        (["forecast", "--data", "1", "--loss", "nope"], "no column nope"),
        (["forecast", "--data", "1", "--by", "group"], "no column group to split by"),
        (["frontier", "--budget", "1e9"], "over a grid of N and D"),
        (["next", "--budget", "1e9", "--answer", "zeta"], "answer 'zeta'"),
        (["next", "--budget", "1e9", "--answer", "alpha", "--cost", "hours"], "no column hours to take the cost from"),
    ],
)
def test_bad_options_are_one_line(line: Path, arguments: list[str], message: str):
    command, *options = arguments
    with pytest.raises(UserError, match=message) as caught:
        said(command, line, *options)
    assert "\n" not in str(caught.value)
