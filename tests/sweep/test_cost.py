from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from known_runs import TRUE, record, study_of
from small import study_content

from optiscale.config import Study, parse_study, save_study
from optiscale.dataset import OpticalDataset
from optiscale.errors import UserError
from optiscale.sweep import cells_of, plan, run_grid
from optiscale.sweep.calibrate import calibrate
from optiscale.sweep.cost import Rates, work_of
from optiscale.sweep.estimate import costs_of
from optiscale.sweep.forecast import forecast
from optiscale.sweep.history import History, Sample, rates_of, records_in
from optiscale.sweep.memory import memory_notes
from optiscale.training import Cell


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_work_is_counted() -> None:
    study = study_of(length={"epochs": 10}, batch_size=6, validate_every={"epochs": 3})
    work = work_of(study, Cell("2B", 8, 16, 1, 0))
    assert asdict(work) == {"steps": 30, "batch": 16 / 3, "largest": 6, "epochs": 10.0, "validations": 4}
    steps = work_of(study_of(length={"steps": 100}, validate_every={"steps": 30}), Cell("2B", 8, 16, 1, 0))
    assert (steps.steps, steps.epochs, steps.validations) == (100, 25.0, 4)
    assert work_of(study_of(), Cell("2B", 8, 9, 1, 0)).largest == 5, "a last batch of one joins the one before"


def sample(study: Study, D: int, rates: Rates = TRUE, *, validated: bool = True) -> Sample:
    work = work_of(study, Cell("2B", 8, D, 1, 0))
    validation = work.validations * rates.validation if validated else math.nan
    return Sample(D, work, rates.cost(work).seconds, validation, 500.0)


def test_rates_are_found_in_runs_and_tell_runs_of_another_size_and_length() -> None:
    before = study_of(length={"epochs": 20}, batch_size=8)
    found = rates_of([sample(before, D) for D in (5, 8, 20, 40, 80)])
    assert (found.step, found.crystal, found.epoch, found.validation) == pytest.approx(
        (TRUE.step, TRUE.crystal, TRUE.epoch, TRUE.validation), rel=1e-6
    )
    longer = work_of(
        study_of(length={"steps": 5000}, batch_size=8, validate_every={"steps": 50}), Cell("2B", 8, 60, 1, 0)
    )
    assert found.cost(longer).seconds == pytest.approx(TRUE.cost(longer).seconds, rel=1e-6)


def known(study: Study, records: list[dict[str, Any]], of: Study | None = None) -> dict[Cell, str]:
    history = History(study, "data", threads=1)
    history.add(of or study, records)
    return {cell: cost.source for cell, cost in history.costs(list(cells_of(study))).items()}


def test_earlier_runs_come_first_those_of_the_same_size_before_others() -> None:
    study = study_of()
    records = [record(study, Cell("2B", 8, D, 1, 0)) for D in (4, 8)]
    history = History(study, "data", threads=1)
    history.add(study, records)
    costs = history.costs(list(cells_of(study)))
    same, other = costs[Cell("2B", 8, 8, 42, 0)], costs[Cell("2B", 8, 16, 42, 0)]
    assert (same.seconds, same.memory_mb, same.source) == (records[1]["wall_s"], 612.0, "records")
    truth = TRUE.cost(work_of(study, Cell("2B", 8, 16, 42, 0))).seconds
    assert other.source == "records of other D"
    assert other.seconds == pytest.approx(truth, rel=0.2), "two sizes do not tell all four rates"
    assert not [cell for cell in costs if cell.width == 16], "another width says nothing"


@pytest.mark.parametrize(
    "field",
    [
        {"status": "diverged"},
        {"device": "cpu, 2 threads"},
        {"device": "NVIDIA H100"},
        {"versions": "optiscale=0.0.1"},
        {"data_hash": "other"},
        {"micro_batch": 2},
        {"resumed_from": 3},
        {"wall_s": math.nan},
    ],
)
def test_runs_that_took_something_else_do_not_count(field: dict[str, object]) -> None:
    study = study_of()
    cell = next(cells_of(study))
    assert known(study, [record(study, cell)])
    assert not known(study, [record(study, cell, **field)])


def test_runs_of_another_study_count_where_a_step_is_the_same() -> None:
    study, cell = study_of(), Cell("2B", 8, 8, 1, 0)
    longer = study_of(length={"steps": 60})
    assert known(study, [record(longer, cell)], of=longer)[cell] == "records of other D"
    batch = study_of(batch_size=5)
    assert not known(study, [record(batch, cell)], of=batch)
    content = study_content("x", graph={"cutoff": 4.0, "angle_cutoff": 3.0})
    other = parse_study(content)
    assert not known(study, [record(other, cell)], of=other)


def test_runs_of_this_machine_come_before_those_of_another() -> None:
    study, cell = study_of(), Cell("2B", 8, 4, 1, 0)
    here, there = record(study, cell, wall_s=2.0), record(study, cell, wall_s=9.0, host="elsewhere")
    for records, seconds in (([here, there], 2.0), ([there], 9.0)):
        history = History(study, "data", threads=1)
        history.add(study, records)
        assert history.costs([cell])[cell].seconds == seconds


def test_batches_far_from_those_of_earlier_runs_are_measured() -> None:
    study = study_of(batch_size=16)
    assert set(known(study, [record(study, Cell("2B", 8, 4, 1, 0))])) == {
        Cell("2B", 8, 4, 1, 0),
        Cell("2B", 8, 4, 42, 0),
    }


def test_networks_are_measured_on_the_data_on_their_way(
    dataset: OpticalDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optiscale.networks.fast import network

    seen = []
    forward = network.fast_forward
    monkeypatch.setattr("optiscale.training.losses.fast_forward", lambda *parts: (seen.append(1), forward(*parts))[1])
    study = study_of(dataset.folder, length={"steps": 40}, validate_every={"steps": 40})
    cells = plan(study, dataset.manifest)
    rates = calibrate(study, cells, dataset, n_validation=6, limit_s=20.0).rates
    assert len(seen) > 20, "merged graphs, as the runs on a processor take"
    assert set(rates) == {("2B", 8), ("2B", 16)}
    for each in rates.values():
        assert each.source == "measured"
        assert each.step + 4 * each.crystal > 1e-4
        assert each.validation > 1e-4
        assert 50 < each.memory < 20_000


def test_what_there_is_no_time_to_measure_is_extrapolated(dataset: OpticalDataset) -> None:
    study = study_of(dataset.folder)
    cells = plan(study, dataset.manifest)
    rates = calibrate(study, cells, dataset, n_validation=6, limit_s=0.0).rates
    narrow, wide = rates["2B", 8], rates["2B", 16]
    factor = cells[-1].N / cells[0].N
    assert (narrow.source, wide.source) == ("measured", "extrapolated from 2B width 8")
    assert (wide.step, wide.crystal) == pytest.approx((factor * narrow.step, factor * narrow.crystal))
    costs = costs_of(study, cells, dataset, limit_s=0.0)
    assert all(cost.seconds > 0 for cost in costs)


def test_a_wider_network_than_the_last_measured_costs_by_its_parameters() -> None:
    wider = TRUE.scaled(4.0, "extrapolated from width 8")
    work = work_of(study_of(), Cell("2B", 16, 8, 1, 0))
    assert wider.step == pytest.approx(4 * TRUE.step)
    assert wider.epoch == TRUE.epoch
    assert wider.cost(work).source == "extrapolated from width 8"


def test_the_measurement_keeps_its_time(dataset: OpticalDataset) -> None:
    study = study_of(dataset.folder, length={"steps": 100_000}, validate_every={"steps": 100_000})
    cells = plan(study, dataset.manifest)
    began = time.monotonic()
    calibrate(study, cells, dataset, n_validation=6, limit_s=3.0)
    assert time.monotonic() - began < 15.0


def test_a_network_that_fails_has_no_cost_and_the_plan_says_so(dataset: OpticalDataset, tmp_path: Path) -> None:
    content = study_content(dataset.folder)
    content["models"]["bad"] = {  # type: ignore[index]
        "network": {"type": "broken_network:Broken", "options": {"how": "raise"}},
        "optimizer": {"lr": 1e-3},
    }
    content["grid"].append({"model": "bad", "data_sizes": [4], "seeds": [1]})  # type: ignore[attr-defined]
    planned = forecast(parse_study(content), tmp_path)
    assert [row.model for row in planned.rows if math.isnan(row.seconds)] == ["bad"]
    assert planned.notes[0] == "bad: failed in the measurement, and so will its runs: ValueError: no good"


def test_a_plan_says_where_its_numbers_come_from(dataset: OpticalDataset, tmp_path: Path) -> None:
    study = study_of(dataset.folder)
    first = parse_study(
        study.resolved() | {"grid": [{"model": "2B", "widths": [8], "data_sizes": [4, 8], "seeds": [1]}]}
    )
    runs = run_grid(first, tmp_path / "first").runs
    planned = forecast(study, tmp_path / "new", like=[tmp_path / "first"])
    sources = {(row.width, row.D): row.source for row in planned.rows}
    assert sources[8, 4] == sources[8, 8] == "records"
    assert sources[8, 16] == "records of other D"
    assert sources[16, 4] == "measured"
    seconds = {(row.width, row.D): row.seconds for row in planned.rows}
    assert seconds[8, 4] == pytest.approx(float(runs["wall_s"].iloc[0]))
    assert planned.memory_mb >= runs["peak_memory_mb"].max()
    with pytest.raises(UserError, match="no results folder"):
        forecast(study, tmp_path / "new", like=[tmp_path / "nothing"])


def test_records_are_read_from_the_table_or_the_cells(dataset: OpticalDataset, tmp_path: Path) -> None:
    study = study_of(dataset.folder)
    (tmp_path / "cells").mkdir()
    save_study(study, tmp_path / "resolved.yaml")
    assert records_in(tmp_path)[1] == []


def test_too_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"total": 2 * 2**30}))
    study = study_of()
    cells = list(cells_of(study))[:3]
    assert memory_notes(study, [(cell, 1500.0) for cell in cells]) == []
    assert "1 runs need more memory than this machine has (2 GiB)" in memory_notes(study, [(cells[0], 2500.0)])[0]
    two = parse_study(study.resolved() | {"sweep": {"workers": 2}})
    assert "the 2 largest runs side by side need 2.93 GiB" in memory_notes(two, [(cell, 1500.0) for cell in cells])[0]
