"""A real study that is run until an answer is known."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml
from faults import Program, records_in, wait_for, wait_for_a_run
from small import make_dataset, study_content
from typer.testing import CliRunner

from optiscale.adaptive import read_goal, run_until
from optiscale.cli.app import app
from optiscale.config import Study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import Executor, cells_of, run_grid

INLINE = Executor()


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> OpticalDataset:
    return make_dataset(tmp_path_factory.mktemp("until") / "data", n=60)


def content_of(dataset: OpticalDataset, **training: object) -> dict[str, object]:
    content = study_content(dataset.folder)
    content["training"] |= training  # type: ignore[operator]
    content["grid"] = [{"model": "2B", "widths": [8], "data_sizes": [4, 6, 9, 13, 19, 28], "seeds": [1, 2, 3]}]
    return content


@pytest.fixture
def study(larger: OpticalDataset) -> Study:
    return parse_study(content_of(larger))


def test_only_as_much_as_it_takes_is_run_and_the_grid_completes_it(study: Study, tmp_path: Path) -> None:
    lines: list[str] = []
    goal = read_goal("alpha ± 10")
    result, [finding] = run_until(study, tmp_path / "out", goal, executor=INLINE, say=lines.append)
    assert finding.met
    cells = list(cells_of(study))
    assert 6 <= result.ran < len(cells)
    assert result.left_out == len(cells) - result.ran
    assert len(result.runs) == result.ran == len(records_in(tmp_path / "out"))
    assert set(result.runs["D"]) <= {4, 6, 9, 13}, "the small ones come first"
    assert "alpha =" in lines[-1]
    again, [same] = run_until(study, tmp_path / "out", goal, executor=INLINE, say=lines.append)
    assert (again.ran, same) == (0, finding)
    completed = run_grid(study, tmp_path / "out")
    assert completed.ran == len(cells) - result.ran
    whole = run_grid(study, tmp_path / "whole")
    assert list(completed.runs["val_loss"]) == list(whole.runs["val_loss"]), "they are ordinary cells"


def test_a_goal_out_of_reach_runs_the_grid_once(study: Study, tmp_path: Path) -> None:
    result, [finding] = run_until(
        study, tmp_path / "out", read_goal("alpha ± 1e-9"), executor=INLINE, say=lambda line: None
    )
    assert not finding.met
    assert finding.why == "every cell of the grid has been run"
    assert (result.ran, result.left_out) == (18, 0)
    assert {record["attempts"] for record in records_in(tmp_path / "out").values()} == {1}


def test_a_budget_too_small_for_any_run_runs_none(study: Study, tmp_path: Path) -> None:
    result, [finding] = run_until(
        study, tmp_path / "out", read_goal("alpha ± 10"), executor=INLINE, budget_s=1e-3, say=lambda line: None
    )
    assert (result.ran, result.left_out) == (0, 18)
    assert finding.why.startswith("no run that is left fits into the time")


def test_a_round_keeps_to_the_time(study: Study, tmp_path: Path) -> None:
    cells = list(cells_of(study))[:4]
    assert run_grid(study, tmp_path / "out", executor=INLINE, only=cells, budget_s=1e-3).ran == 0
    assert run_grid(study, tmp_path / "out", executor=INLINE, only=cells, budget_s=1e3).ran == 4
    assert records_in(tmp_path / "out").keys() == {cell.id for cell in cells}


def test_an_answer_of_no_law_is_refused_before_any_run(study: Study, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no law of a line over D, as the grid of 2B is, has 'N_c'"):
        run_until(study, tmp_path / "out", read_goal("N_c ± 1 decade"), executor=INLINE)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_found(
    larger: OpticalDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content_of(larger)))
    command = ["grid", str(tmp_path / "study.yaml"), "--out", str(tmp_path / "out"), "--until"]
    met = CliRunner().invoke(app, [*command, "alpha +- 10", "--budget", "1h"])
    assert met.exit_code == 0, met.output
    assert "runs are left out; the same command without --until runs them" in met.output
    assert "± 10" not in met.output.splitlines()[-1]
    assert met.output.splitlines()[-1].endswith("as wanted")
    assert "2B: alpha = " in met.output.splitlines()[-1]
    monkeypatch.setattr("optiscale.cli.grid._finish", lambda *_: None)  # it fits and draws for ten seconds
    assert CliRunner().invoke(app, [*command, "alpha ± 1e-9"]).exit_code == 1
    for options, said in (
        (["alpha"], "write an answer, ± (or +-) and a positive half width"),
        (["alpha ± 1", "--dry-run"], "leave out --dry-run and --branch"),
    ):
        refused = CliRunner().invoke(app, [*command, *options])
        assert isinstance(refused.exception, UserError)
        assert said in str(refused.exception)


def test_a_killed_search_goes_on(larger: OpticalDataset, tmp_path: Path) -> None:
    content = content_of(larger, length={"steps": 100}, validate_every={"steps": 50})
    content["sweep"] = {"workers": 1, "threads": 1}
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    out = tmp_path / "out"
    program = Program(tmp_path / "study.yaml", out, "--until", "alpha ± 1e-9")
    wait_for(lambda: len(records_in(out)) >= 2 or not program.alive(), "two runs")
    wait_for_a_run(out, program, random.Random(1))
    assert program.alive(), "the search is over too soon for the test"
    program.kill()
    before = {path: path.read_bytes() for path in out.rglob("record.json")}
    assert 2 <= len(before) < 18
    result, _ = run_until(parse_study(content), out, read_goal("alpha ± 10"), executor=INLINE, say=lambda line: None)
    assert before.items() <= {path: path.read_bytes() for path in out.rglob("record.json")}.items()
    assert len(before) <= len(result.runs) < 18
