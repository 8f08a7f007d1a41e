from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
from known_runs import record, study_of
from small import study_content

from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset
from optiscale.sweep import Executor
from optiscale.sweep.calibrate import mean_of
from optiscale.sweep.cost import MEASURED, Measured, Rates
from optiscale.sweep.forecast import forecast
from optiscale.sweep.history import History
from optiscale.sweep.slowdown import SHARED, assumed
from optiscale.training import Cell

RATES = Rates(1.0, 0.1, 0.0, 0.5, 0.0, 100.0, 1.0, MEASURED)
A, B = Cell("2B", 8, 4, 1, 0), Cell("2B", 8, 8, 1, 0)


def told(records: list[dict[str, Any]], *, at_once: int) -> tuple[float, str]:
    """Seconds of the cell B, and where they come from."""
    study = study_of()
    history = History(study, "data", threads=1, at_once=at_once)
    history.add(study, records)
    cost = history.costs([B])[B]
    return cost.seconds, cost.source


def test_runs_among_as_many_others_come_first() -> None:
    alone, beside = record(study_of(), B, wall_s=10.0, at_once=1), record(study_of(), B, wall_s=13.0, at_once=2)
    assert told([alone, beside], at_once=1) == (10.0, "records")
    assert told([alone, beside], at_once=2) == (13.0, "records")
    assert told([record(study_of(), B, wall_s=10.0)], at_once=2) == (10.0, "records"), "of an earlier version"


def test_runs_of_another_cell_with_both_numbers_tell_the_slowdown() -> None:
    study = study_of()
    pair = [record(study, A, wall_s=4.0, at_once=1), record(study, A, wall_s=6.0, at_once=2)]
    seconds, source = told([*pair, record(study, B, wall_s=10.0, at_once=1)], at_once=2)
    assert source == "records of other D", "those of 2 at once, by the steps of another D"
    assert seconds == pytest.approx(6.0, rel=0.2)
    wider = Cell("2B", 16, 4, 1, 0)
    pair = [record(study, wider, wall_s=4.0, at_once=1), record(study, wider, wall_s=6.0, at_once=2)]
    assert told([*pair, record(study, B, wall_s=10.0, at_once=1)], at_once=2) == (15.0, "records (1 at once)")
    assert told([*pair, record(study, B, wall_s=15.0, at_once=2)], at_once=1) == (10.0, "records (2 at once)")


def test_without_such_runs_it_is_assumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    seconds, source = told([record(study_of(), B, wall_s=10.0, at_once=1)], at_once=2)
    assert (seconds, source) == (pytest.approx(10.0 * SHARED), "records (1 at once)")
    assert assumed(1, threads=1) == 1.0
    assert assumed(4, threads=1) == SHARED
    assert assumed(8, threads=1) == assumed(4, threads=2) == 2 * SHARED, "more threads than cores"
    assert (assumed(3, threads=1, cards=1), assumed(8, threads=1, cards=8)) == (3.0, 1.0)


def test_the_means_of_what_processes_measured_count() -> None:
    slow, guessed = Rates(3.0, 0.3, 0.0, 1.5, 0.0, 300.0, 1.0, MEASURED), RATES.scaled(9.0, "extrapolated from 2B")
    both = mean_of([Measured({("2B", 8): RATES, ("2B", 16): RATES}, {}), Measured({("2B", 8): slow}, {})])
    assert both.rates["2B", 8] == Rates(2.0, 0.2, 0.0, 1.0, 0.0, 200.0, 1.0, MEASURED)
    assert both.rates["2B", 16] == RATES
    assert mean_of([Measured({("2B", 8): guessed}, {}), Measured({("2B", 8): slow}, {})]).rates["2B", 8] == slow
    bad = Measured({}, {("2B", 8): "ValueError: no good"})
    assert mean_of([Measured({("2B", 8): RATES}, {}), bad]) == bad


def test_as_many_networks_are_measured_at_once_as_there_will_be(
    dataset: OpticalDataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = study_content(dataset.folder, sweep={"workers": 2, "threads": 1})
    content["grid"] = [{"model": "2B", "widths": [8, 16], "data_sizes": [8], "seeds": [1]}]
    planned = forecast(parse_study(content), tmp_path)
    assert [row.source for row in planned.rows] == ["measured", "measured"]
    assert all(row.seconds > 0 and row.memory_mb > 50 for row in planned.rows)
    content["models"] = {
        "bad": {
            "network": {"type": "broken_network:Broken", "options": {"how": "die early"}},
            "optimizer": {"lr": 1e-3},
        }
    }
    content["grid"] = [{"model": "bad", "data_sizes": [4], "seeds": [1]}]
    planned = forecast(parse_study(content), tmp_path)
    assert math.isnan(planned.rows[0].seconds)
    assert planned.notes == ("bad: failed in the measurement, and so will its runs: the process was killed",)
    assert "2 of 2 short fits at once were killed (often for lack of memory)" in capsys.readouterr().err


def test_runs_on_other_machines_are_not_thought_to_be_beside_each_other() -> None:
    assert Executor("local", 4).at_once == 4
    assert Executor("tcp://elsewhere:8786", 4).at_once == 1
    assert Executor().at_once == 1
