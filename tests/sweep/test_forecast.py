from __future__ import annotations

from pathlib import Path

import pytest
from small import study_content

from optiscale.config import load_study, parse_study
from optiscale.dataset import OpticalDataset
from optiscale.networks import TargetSpec
from optiscale.sweep.forecast import forecast
from optiscale.sweep.guess import random_batch
from optiscale.sweep.published import STATISTICS


def test_a_plan_counts_cells_and_parameters(dataset: OpticalDataset, tmp_path: Path) -> None:
    planned = forecast(parse_study(study_content(dataset.folder)), tmp_path)
    assert planned.cells == 4
    assert [(row.D, row.runs) for row in planned.rows] == [(4, 2), (8, 2)]
    assert all(row.seconds > 0 for row in planned.rows)
    assert planned.total == pytest.approx(sum(row.seconds * row.runs for row in planned.rows))
    assert planned.notes == ()


def test_a_plan_without_its_data_set_assumes_the_published_one(tmp_path: Path) -> None:
    study = load_study(
        "experiments/paper_grid_2d.yaml",
        ["grid.0.widths=[16, 32]", "grid.1.widths=[16, 32]", "training.device=cpu"],
    )
    planned = forecast(study, tmp_path)
    assert planned.cells == 84
    assert {(row.model, row.N) for row in planned.rows} == {
        ("OptiMetal2B-TC", 278275),
        ("OptiMetal2B-TC", 583779),
        ("OptiMetal3B-TC", 291827),
        ("OptiMetal3B-TC", 635459),
    }
    assert "no data set at 'data/optimetal'" in planned.notes[0]


def test_a_random_batch_has_the_statistics_asked_for() -> None:
    batch = random_batch(100, TargetSpec(11, ("re", "im"), ("omega_D",)), STATISTICS)
    assert batch.atomic_number.shape == (590,)
    assert batch.edge_index.shape == (2, 18500)
    assert batch.angle_index.shape == (2, 64400)
    assert int(batch.crystal.max()) == 99
    assert (batch.crystal.diff() >= 0).all()
