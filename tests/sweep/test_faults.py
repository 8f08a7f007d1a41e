"""Faults that a sweep must survive, each really done."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from faults import (
    assert_few_repeats,
    assert_same_results,
    faulty_study,
    kill_program,
    kill_scheduler,
    study_file,
    survive,
    undisturbed,
)

from optiscale.config import parse_study
from optiscale.dataset import OpticalDataset


@pytest.fixture(scope="module")
def content(dataset: OpticalDataset) -> dict[str, object]:
    return faulty_study(dataset.folder)


@pytest.fixture(scope="module")
def whole(content: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return undisturbed(content, tmp_path_factory.mktemp("undisturbed") / "out")


def test_killed_workers_and_a_killed_program_cost_nothing(
    content: dict[str, object], whole: Path, tmp_path: Path
) -> None:
    study, out = study_file(content, tmp_path / "study")
    killed = kill_program(study, out, random.Random(3), workers=2)
    assert killed == 3
    undisturbed(content, out)  # a later program, here
    assert_same_results(out, whole, parse_study(content))
    assert_few_repeats(out, 2 + 2)


def test_a_killed_scheduler_costs_nothing(content: dict[str, object], whole: Path, tmp_path: Path) -> None:
    study, out = study_file(content, tmp_path / "study")
    assert kill_scheduler(study, out, random.Random(5), workers=1) == 1
    undisturbed(content, out)
    assert_same_results(out, whole, parse_study(content))
    assert_few_repeats(out, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("worker", 8), ("scheduler", 4), ("program", 8)])
def test_a_study_survives_twenty_kills(
    content: dict[str, object], whole: Path, tmp_path: Path, kind: str, kills: int
) -> None:
    assert survive(kind, kills, content, whole, tmp_path, seed=1).kills == kills
